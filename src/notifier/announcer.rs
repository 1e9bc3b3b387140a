//! Tells receivers of jobs that go on: best effort, one try each, beside the deliveries and without a place of theirs. What
//! is told, and when, is decided by `announcing.rs`.

use super::announcing::{Board, Due, Gates, LIMIT, Settled};
use super::attempt::{Caller, Message};
use super::target::lane_of;
use crate::clock::{Clock, Timestamp};
use crate::job::{Announcement, JobId};
use crate::lifecycle::Lifecycle;
use crate::telemetry::job_span;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};

/// Takes announcements, and knows when the end of a job may be told.
#[derive(Clone)]
pub struct Announcer {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    board: Mutex<Board>,
    /// Rung when something was taken in or is over.
    bell: Notify,
    /// Rung when something is over.
    over: Notify,
}

impl Announcer {
    /// Makes one that knows of nothing.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shared = Shared { clock, board: Mutex::default(), bell: Notify::new(), over: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Takes what happened. Never waits; what cannot be told soon is dropped.
    pub fn announce(&self, announcement: Announcement) {
        let now = self.shared.clock.now();
        self.board().take(announcement, now);
        self.shared.bell.notify_one();
    }

    /// Takes in which hosts deliveries leave alone now. They are told nothing, and what waits for them is dropped.
    pub(super) fn shut(&self, gates: Gates) {
        let now = self.shared.clock.now();
        self.board().shut(gates, now);
        self.shared.over.notify_waiters();
    }

    /// Says whether the end of a job may be told now. From then on, nothing else of it will be.
    pub(super) fn is_settled(&self, job: JobId) -> bool {
        let now = self.shared.clock.now();
        self.board().settle(job, now) == Settled::Yes
    }

    /// Waits until nothing of a job is under way, and sees to it that nothing will be: at most for as long as one event may
    /// take.
    pub(super) async fn settled(&self, job: JobId) {
        loop {
            let over = self.shared.over.notified();
            tokio::pin!(over);
            // From here on a ring is heard, also one between the look and the wait.
            over.as_mut().enable();
            let now = self.shared.clock.now();
            let settled = self.board().settle(job, now);
            let Settled::NotBefore(end_at) = settled else { return };
            tokio::select! {
                () = over => {}
                // What is under way ends by itself at that time, and rings.
                () = self.shared.clock.sleep_until(end_at), if now < end_at => {}
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.shared.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends until `stop`; then drops what waits and breaks off what is under way.
pub(super) async fn run(announcer: Announcer, caller: Arc<Caller>, lifecycle: Lifecycle, stop: CancellationToken) {
    let clock = Arc::clone(&announcer.shared.clock);
    let caller = Arc::new(Caller { limit: LIMIT.min(caller.limit), ..caller.as_ref().clone() });
    loop {
        // What is told beside the deliveries must not end them.
        let begun = lifecycle.contain_now("announcer", || begin(&announcer, &caller, &lifecycle, &stop));
        let wakes_at = begun.unwrap_or_default();
        tokio::select! {
            () = stop.cancelled() => break,
            () = announcer.shared.bell.notified() => {}
            () = sleep_until(clock.as_ref(), wakes_at) => {}
        }
    }
    announcer.board().close();
    announcer.shared.over.notify_waiters();
}

/// Begins what may begin. Returns when to look again.
fn begin(
    announcer: &Announcer,
    caller: &Arc<Caller>,
    lifecycle: &Lifecycle,
    stop: &CancellationToken,
) -> Option<Timestamp> {
    let now = announcer.shared.clock.now();
    loop {
        let mut board = announcer.board();
        let Some(due) = board.next(now) else { return board.wakes_at() };
        drop(board);
        let job = due.announcement.audience.job;
        let telling = Telling { job, was_taken: false, announcer: announcer.clone() };
        let (caller, stop) = (Arc::clone(caller), stop.clone());
        let telling = async move {
            tokio::select! {
                () = telling.run(&caller, &due) => {}
                () = stop.cancelled() => {}
            }
        };
        lifecycle.spawn("announcement", telling.instrument(job_span(job)));
    }
}

async fn sleep_until(clock: &dyn Clock, at: Option<Timestamp>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One event under way. However it ends, a panic included, the board is told.
struct Telling {
    job: JobId,
    was_taken: bool,
    announcer: Announcer,
}

impl Drop for Telling {
    fn drop(&mut self) {
        let shared = &self.announcer.shared;
        let now = shared.clock.now();
        self.announcer.board().over(self.job, self.was_taken, now);
        shared.over.notify_waiters();
        shared.bell.notify_one();
    }
}

impl Telling {
    async fn run(mut self, caller: &Caller, due: &Due) {
        let audience = &due.announcement.audience;
        let body = due.announcement.body();
        let message = Message {
            id: due.id.clone(),
            job: audience.job,
            tenant: &audience.tenant,
            url: &audience.url,
            body: &body,
            attempt: 1,
        };
        let clock = Arc::clone(&self.announcer.shared.clock);
        let answer = tokio::select! {
            made = caller.post(&message) => made.answer,
            () = clock.sleep_until(due.until) => return debug!(host = lane_of(&audience.url), "an event was not taken in time"),
        };
        self.was_taken = answer.code().is_none();
        let event = due.announcement.news.event().as_str();
        debug!(
            host = lane_of(&audience.url),
            event,
            status = answer.status(),
            code = answer.code(),
            "told of an event"
        );
    }
}
