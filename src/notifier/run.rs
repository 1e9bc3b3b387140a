//! The task: takes due deliveries from the store, and has each sent in a task of its own (`sending.rs`). Which goes next is decided
//! by `lanes.rs`, what an answer means by `schedule.rs`.

use super::announcer::{self, Announcer};
use super::attempt::{Caller, Made};
use super::client;
use super::gate::{Change, Shut, Sign};
use super::lanes::{Lanes, Most};
use super::schedule::{Round, Trouble};
use super::sending::{End, Fate, Sending, attempt_of, release, tell};
use super::settling::Settling;
use super::standing::Standing;
use super::target::TargetRules;
use crate::clock::{Clock, Timestamp};
use crate::egress::Guard;
use crate::job::{FrozenBody, JobId};
use crate::lifecycle::Lifecycle;
use crate::settings::WebhookSettings;
use crate::signing::Keyring;
use crate::store::{Delivery, Store, StoreError, Verdict, persist};
use crate::telemetry::job_span;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

/// How many deliveries are claimed at once.
const BATCH: u32 = 256;

/// How long to wait at most before the store is asked again, should a bell be lost.
const POLL: Duration = Duration::from_secs(5);

/// How long to wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How long a lease goes beyond the limit of an attempt. One that runs out in this process is only renewed.
const LEASE_MARGIN: Duration = Duration::from_mins(1);

/// How long a delivery for which there is no room is left in the store, unless there is room sooner.
const ASIDE: Duration = Duration::from_mins(10);

/// The bytes of a body, in pieces.
pub type BodyStream = BoxStream<'static, io::Result<Bytes>>;

/// Opens the bytes of a body; each time it gives the same.
pub(super) type BodyOf = Arc<dyn Fn(&FrozenBody) -> BodyStream + Send + Sync>;

/// What the notifier works with.
pub struct Parts {
    /// Where deliveries are.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where attempts are spawned.
    pub lifecycle: Lifecycle,
    /// Rings when a job has ended.
    pub bell: Arc<Notify>,
    /// Knows what is told of jobs that have not ended.
    pub announcer: Announcer,
    /// Opens the bytes of a body.
    pub body: Arc<dyn Fn(&FrozenBody) -> BodyStream + Send + Sync>,
    /// Who signs; none where webhooks go out unsigned.
    pub keyring: Option<Arc<Keyring>>,
    /// Schedule and limits.
    pub settings: WebhookSettings,
    /// Where calls may go.
    pub guard: Guard,
    /// How long attempts under way may go on after the signal to stop.
    pub grace: Duration,
    /// Chance from 0 to 1, for the waits.
    pub random: Box<dyn FnMut() -> f64 + Send>,
    /// Where it says how the receivers are.
    pub standing: Arc<Standing>,
}

/// Delivers until `stop`; then begins nothing, gives the attempts under way their grace, and puts the rest back for the
/// next start.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let bell = Arc::clone(&parts.bell);
    let clock = Arc::clone(&parts.clock);
    let grace = parts.grace;
    let (announcer, lifecycle) = (parts.announcer.clone(), parts.lifecycle.clone());
    let (settling, mut settled) = Settling::new(announcer.clone(), lifecycle.clone());
    let (mut station, mut ended) = Station::new(parts, settling);
    let announcing = announcer::run(announcer, Arc::clone(&station.caller), lifecycle.clone(), stop.clone());
    lifecycle.spawn_station("announcer", announcing);
    while !stop.is_cancelled() {
        let wake_at = station.fill().await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = bell.notified() => {}
            Some(end) = ended.recv() => station.take_in(&end),
            Some(job) = settled.recv() => station.let_in(job),
            () = clock.sleep_until(wake_at) => {}
        }
        while let Ok(end) = ended.try_recv() {
            station.take_in(&end);
        }
    }
    station.finish(&mut ended, grace).await;
}

struct Station {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
    random: Box<dyn FnMut() -> f64 + Send>,
    caller: Arc<Caller>,
    settling: Settling,
    /// What found no room in the lanes.
    aside: Vec<JobId>,
    schedule: Arc<[Duration]>,
    lease: Duration,
    lanes: Lanes,
    standing: Arc<Standing>,
    announcer: Announcer,
    give_up: CancellationToken,
    ended: mpsc::UnboundedSender<End>,
    store_failed: bool,
}

impl Station {
    fn new(parts: Parts, settling: Settling) -> (Self, mpsc::UnboundedReceiver<End>) {
        let settings = parts.settings;
        // Bounded by the number of attempts under way.
        let (sender, receiver) = mpsc::unbounded_channel();
        let caller = Caller {
            client: client::build(&parts.guard, &settings),
            clock: Arc::clone(&parts.clock),
            body: parts.body,
            rules: TargetRules { guard: parts.guard, https_only: settings.https_only },
            keyring: parts.keyring,
            limit: settings.attempt_timeout,
        };
        let station = Self {
            store: parts.store,
            clock: parts.clock,
            lifecycle: parts.lifecycle,
            random: parts.random,
            caller: Arc::new(caller),
            settling,
            aside: Vec::new(),
            lease: settings.attempt_timeout.saturating_add(LEASE_MARGIN),
            schedule: settings.schedule.into(),
            lanes: Lanes::new(Most {
                total: settings.concurrency,
                per_host: settings.per_host,
                memory: settings.memory,
            }),
            standing: parts.standing,
            announcer: parts.announcer,
            give_up: CancellationToken::new(),
            ended: sender,
            store_failed: false,
        };
        (station, receiver)
    }

    /// Claims what is due and begins what may begin. Returns when to look again.
    async fn fill(&mut self) -> Timestamp {
        self.tell_of_gates();
        let wake_at = self.claim().await;
        // Time has gone by: what may be called by now is not given up uncalled.
        self.begin_waiting();
        self.give_up_hopeless();
        let now = self.clock.now();
        let store_failed = wake_at.is_err();
        let wake_at = match wake_at {
            Ok(due) => due.unwrap_or(now + POLL).min(now + POLL),
            Err(error) => {
                if !self.store_failed {
                    warn!(%error, "the store cannot tell which webhooks are due");
                }
                now + STORE_PAUSE
            }
        };
        self.store_failed = store_failed;
        self.lanes.resumes_at(now).map_or(wake_at, |resumes_at| resumes_at.min(wake_at))
    }

    /// Returns when the next delivery is due, or none where all places are taken and an end will wake us.
    async fn claim(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            self.begin_waiting();
            let leased = self.lanes.take_leased(self.clock.now());
            release(&self.store, leased).await;
            if self.lanes.is_full() {
                return Ok(None);
            }
            let claimed = self.store.due_deliveries(self.clock.now(), self.lease, BATCH).await?;
            let were_all = claimed.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
            let now = self.clock.now();
            for delivery in claimed {
                if let Some(delivery) = self.settling.pass(delivery) {
                    self.admit(delivery, now);
                }
            }
            if !self.aside.is_empty() {
                let aside = std::mem::take(&mut self.aside);
                self.store.set_deliveries_aside(aside, now + ASIDE).await?;
            }
            if were_all {
                self.begin_waiting();
                return self.store.next_due().await;
            }
        }
    }

    fn begin_waiting(&mut self) {
        while let Some(delivery) = self.lanes.next(self.clock.now()) {
            let span = job_span(delivery.job);
            let sending = Sending {
                started_at: self.clock.now(),
                delivery,
                fate: Fate::Unrecordable,
                ended: self.ended.clone(),
                caller: Arc::clone(&self.caller),
                lifecycle: self.lifecycle.clone(),
                store: Arc::clone(&self.store),
                clock: Arc::clone(&self.clock),
                schedule: Arc::clone(&self.schedule),
                chance: (self.random)(),
                give_up: self.give_up.clone(),
                standing: Arc::clone(&self.standing),
            };
            self.lifecycle.spawn("delivery", sending.run().instrument(span));
        }
    }

    /// Tells others which hosts are left alone.
    fn tell_of_gates(&mut self) {
        if let Some(shut) = self.lanes.take_shut(self.clock.now()) {
            self.standing.set_hosts_down(shut.values().filter(|shut| **shut == Shut::Down).count());
            self.announcer.shut(shut);
        }
    }

    /// Gives a delivery its place in the lanes; one for which there is no room is put aside.
    fn admit(&mut self, delivery: Delivery, now: Timestamp) {
        let (job, deadline) = (delivery.job, Round::of(&delivery, &self.schedule).deadline);
        if !self.lanes.admit(delivery, deadline, now) {
            self.aside.push(job);
        }
    }

    /// Nothing is told of its job any more but the end.
    fn let_in(&mut self, job: JobId) {
        if let Some(delivery) = self.settling.take(job) {
            self.admit(delivery, self.clock.now());
        }
    }

    /// Ends what was to go to hosts that are down, and whose deadline has come.
    fn give_up_hopeless(&mut self) {
        let now = self.clock.now();
        for delivery in self.lanes.take_hopeless(now) {
            let span = job_span(delivery.job);
            let made = Made::failed(Trouble::HostDown, "the host was down until the deadline, so it was not called");
            let attempt = attempt_of(&delivery, made, now, now);
            tell(&delivery, &attempt, Verdict::GiveUp);
            self.standing.ended(Verdict::GiveUp);
            let (store, clock, give_up) = (Arc::clone(&self.store), Arc::clone(&self.clock), self.give_up.clone());
            let ended = self.ended.clone();
            let storing = async move {
                let write = || store.record_attempt(delivery.job, attempt.clone(), Verdict::GiveUp);
                persist(clock.as_ref(), &give_up, "an end without an attempt", write).await;
                // An error means that the station is gone.
                let _ = ended.send(End { job: delivery.job, fate: Fate::GivenUp });
            };
            self.lifecycle.spawn("delivery", storing.instrument(span));
        }
    }

    fn take_in(&mut self, end: &End) {
        let now = self.clock.now();
        let change = match end.fate {
            Fate::Settled { pause_until, sign } => {
                if let Some(until) = pause_until {
                    self.lanes.pause(end.job, until);
                }
                self.lanes.ended(end.job, false, sign, now)
            }
            Fate::Unrecordable => self.lanes.ended(end.job, true, Sign::NONE, now),
            Fate::GivenUp => {
                self.lanes.settled(end.job);
                None
            }
        };
        if let Some((host, change)) = change {
            match change {
                Change::WentDown(until) => {
                    warn!(%host, next = until.rfc3339(), "the host does not answer; its webhooks wait");
                }
                Change::CameBack => info!(%host, "the host answers again"),
            }
        }
    }

    async fn finish(mut self, ended: &mut mpsc::UnboundedReceiver<End>, grace: Duration) {
        let mut grace_over = self.clock.sleep_until(self.clock.now() + grace);
        let mut waiting = self.lanes.take_waiting();
        waiting.extend(self.settling.take_all());
        release(&self.store, waiting).await;
        while self.lanes.under_way() > 0 {
            tokio::select! {
                Some(end) = ended.recv() => self.take_in(&end),
                () = &mut grace_over, if !self.give_up.is_cancelled() => self.give_up.cancel(),
            }
        }
        let leased = self.lanes.take_leased(self.clock.now());
        release(&self.store, leased).await;
    }
}
