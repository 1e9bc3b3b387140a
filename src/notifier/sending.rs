//! One attempt as a task of its own: makes the call, says what it means, and records it, however long that takes. The station is
//! told in any case.

use super::attempt::{Caller, Made};
use super::gate::Sign;
use super::schedule::{Answer, Round, Trouble, after};
use super::standing::Standing;
use super::target::lane_of;
use crate::clock::{Clock, Timestamp};
use crate::crash::{self, Point};
use crate::job::JobId;
use crate::lifecycle::{Lifecycle, Panicked};
use crate::store::{Attempt, Delivery, Store, Verdict, persist};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The longest time for which a 429 holds up what else goes to its host.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// One delivery under way. However it ends, a panic included, the station is told.
pub(super) struct Sending {
    pub(super) delivery: Delivery,
    pub(super) started_at: Timestamp,
    pub(super) fate: Fate,
    pub(super) ended: mpsc::UnboundedSender<End>,
    pub(super) caller: Arc<Caller>,
    pub(super) lifecycle: Lifecycle,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) schedule: Arc<[Duration]>,
    pub(super) chance: f64,
    pub(super) give_up: CancellationToken,
    pub(super) standing: Arc<Standing>,
}

/// Tells that a delivery is no longer under way.
pub(super) struct End {
    pub(super) job: JobId,
    pub(super) fate: Fate,
}

/// What is known of an attempt that is over.
pub(super) enum Fate {
    /// The store knows it, or knows of no attempt. Nothing more may go to its host before that time.
    Settled { pause_until: Option<Timestamp>, sign: Sign },
    /// It was given up without an attempt, and the store knows it or is told at the next start.
    GivenUp,
    /// The store will never know it: sending it again would have no end.
    Unrecordable,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let fate = std::mem::replace(&mut self.fate, Fate::Unrecordable);
        // An error means that the station is gone, and with it who wants to know.
        let _ = self.ended.send(End { job: self.delivery.job, fate });
    }
}

impl Sending {
    /// Makes the attempt.
    pub(super) async fn run(mut self) {
        let calling = async {
            crash::pass(Point::Leased);
            let made = self.caller.call(&self.delivery).await;
            crash::pass(Point::Answered);
            made
        };
        let made = tokio::select! {
            // An answer that is there counts, even in the moment in which the grace is over.
            biased;
            // Whether it arrived is not known; it counts, so that one on which we always fail has an end too.
            made = self.lifecycle.contain("delivery", calling) => made.unwrap_or_else(|Panicked| {
                Made::failed(Trouble::Internal, "the gateway failed on this attempt; its log says more")
            }),
            () = self.give_up.cancelled() => {
                let number = self.delivery.attempts.saturating_add(1);
                info!(attempt = number, "the attempt was broken off by the stop and will be made at the next start");
                release(&self.store, vec![self.delivery.job]).await;
                self.fate = Fate::Settled { pause_until: None, sign: Sign::NONE };
                return;
            }
        };
        self.record(made).await;
        crash::pass(Point::Recorded);
    }

    /// Records what came of the attempt, however long the store cannot write.
    async fn record(&mut self, made: Made) {
        let (now, delivery) = (self.clock.now(), &self.delivery);
        let verdict = after(&Round::of(delivery, &self.schedule), &made.answer, now, self.chance);
        let sign = Sign::of(&made.answer);
        let pause_until = pause_until(&made.answer, verdict, now);
        let answer = made.answer.code();
        let attempt = attempt_of(delivery, made, self.started_at, now);
        tell(delivery, &attempt, verdict);
        self.standing.attempted(delivery, &attempt, answer, verdict);
        let write = || self.store.record_attempt(delivery.job, attempt.clone(), verdict);
        if persist(self.clock.as_ref(), &self.give_up, "an attempt", write).await.is_some() {
            self.fate = Fate::Settled { pause_until, sign };
        }
    }
}

/// Writes an attempt for the log.
pub(super) fn attempt_of(delivery: &Delivery, made: Made, started_at: Timestamp, now: Timestamp) -> Attempt {
    Attempt {
        number: delivery.attempts.saturating_add(1),
        started_at,
        took: now.since(started_at),
        status: made.answer.status(),
        code: made.answer.code().map(str::to_owned),
        snippet: made.snippet,
    }
}

/// A 429 that asks for a wait asks it of all that goes to that host.
fn pause_until(answer: &Answer, verdict: Verdict, now: Timestamp) -> Option<Timestamp> {
    match (answer, verdict) {
        (Answer::Status { status: 429, retry_after: Some(asked) }, Verdict::RetryAt(_) | Verdict::GiveUp) => {
            Some(now + (*asked).min(LONGEST_PAUSE))
        }
        (Answer::Status { .. } | Answer::Failed(_), _) => None,
    }
}

/// Logs an attempt, without anything of its URL but the host.
pub(super) fn tell(delivery: &Delivery, attempt: &Attempt, verdict: Verdict) {
    let host = lane_of(&delivery.url);
    let took_ms = u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX);
    let (number, status, code) = (attempt.number, attempt.status, attempt.code.as_deref());
    match verdict {
        Verdict::Delivered => info!(host, attempt = number, status, took_ms, "webhook delivered"),
        Verdict::RetryAt(at) => {
            info!(host, attempt = number, status, code, took_ms, next = at.rfc3339(), "webhook not delivered yet");
        }
        Verdict::Gone => warn!(host, attempt = number, status, "the receiver wants no webhooks any more"),
        Verdict::GiveUp => warn!(host, attempt = number, status, code, took_ms, "webhook undeliverable"),
    }
}

/// Ends leases. One that cannot be ended runs out by itself.
pub(super) async fn release(store: &Arc<dyn Store>, jobs: Vec<JobId>) {
    let released = join_all(jobs.into_iter().map(|job| store.release_delivery(job))).await;
    if let Some(error) = released.into_iter().find_map(Result::err) {
        warn!(%error, "a delivery could not be put back; it comes back when its lease ends");
    }
}
