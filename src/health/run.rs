//! The station that asks one backend how it is: now and then, sooner after a question without an answer, and at once when its
//! socket has come or gone. What the answers mean is decided by `state`.

use super::sight::Health;
use super::state::{Finding, State, Turn};
use crate::clock::{Clock, Timestamp};
use crate::comfy::Client;
use crate::tracker::{Desk, SocketState};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How long an answer may take. A healthy server stalls for seconds while it encodes images (T26).
pub const LIMIT: Duration = Duration::from_secs(10);

/// How soon a backend is asked again that did not answer, or whose socket has come or gone a moment ago.
const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::from_millis(100);

/// With each so many questions, and with each new socket, it is asked what it is, too.
const STATS_EVERY: u32 = 4;

/// What the station works with.
pub struct Parts {
    /// The backend's name.
    pub backend: String,
    /// The way to it.
    pub client: Client,
    /// Says how its socket is, and is told where it should be given no prompts.
    pub desk: Arc<Desk>,
    /// Where it is noted how the backend is.
    pub health: Arc<Health>,
    /// How often it is asked.
    pub every: Duration,
    /// How long an answer may take; [`LIMIT`], save in tests.
    pub limit: Duration,
    /// Says whether the server at its address is the one that is meant; it is not asked before. None: it always is.
    pub gate: Option<watch::Receiver<bool>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Rung when it may be given prompts again.
    pub queue_bell: Arc<Notify>,
    /// Hears whether it can be reached, once for each change.
    pub tell: Arc<dyn Fn(Change, Timestamp) + Send + Sync>,
}

/// A change that others hear of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It can be reached, for the first time or again.
    Back,
    /// It cannot be reached: its socket is gone, or it does not answer.
    Lost {
        /// Why.
        reason: String,
    },
}

/// Watches over a backend until told to stop.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let client = parts.client.clone().with_limit(parts.limit);
    let mut socket = parts.desk.socket();
    let mut watch = Watch {
        state: State::new(parts.clock.now()),
        due: parts.clock.now() + parts.every.min(SOON),
        beats: 0,
        question: None,
        parts,
    };
    watch.parts.health.set(watch.state.sight().clone());
    loop {
        let is_free = watch.question.is_none();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = socket.changed() => {
                // Whoever could say so has ended, and with it the whole backend.
                if changed.is_err() {
                    return;
                }
                let state = socket.borrow_and_update().clone();
                watch.take_socket(state);
            }
            Some(finding) = OptionFuture::from(watch.question.as_mut()) => watch.take_answer(finding),
            () = watch.parts.clock.sleep_until(watch.due), if is_free => watch.ask(&client),
        }
    }
}

struct Watch {
    parts: Parts,
    state: State,
    /// When it is asked next.
    due: Timestamp,
    /// Questions until it is asked what it is, too.
    beats: u32,
    question: Option<BoxFuture<'static, Finding>>,
}

impl Watch {
    fn take_socket(&mut self, socket: SocketState) {
        let now = self.parts.clock.now();
        let seen = &self.state.sight().socket;
        let is_new = socket.connections != seen.connections;
        let is_lost = !socket.stands && seen.link == super::Link::Connected;
        if is_new || is_lost {
            self.due = self.due.min(now + AT_ONCE);
        }
        if is_new {
            // It may be another process now.
            self.beats = 0;
        }
        self.take(Finding::Socket(socket), now);
    }

    fn take_answer(&mut self, finding: Finding) {
        self.question = None;
        let now = self.parts.clock.now();
        let is_missed = matches!(finding, Finding::Missed { .. });
        self.due = now + if is_missed { self.parts.every.min(SOON) } else { self.parts.every };
        if is_missed {
            debug!(backend = %self.parts.backend, ?finding, "the backend did not answer");
        }
        self.take(finding, now);
    }

    fn ask(&mut self, client: &Client) {
        let now = self.parts.clock.now();
        if self.parts.gate.as_ref().is_some_and(|gate| !*gate.borrow()) {
            self.due = now + self.parts.every.min(SOON);
            return;
        }
        let with_stats = self.beats == 0;
        self.beats = if with_stats { STATS_EVERY } else { self.beats }.saturating_sub(1);
        let (client, desk, clock) = (client.clone(), Arc::clone(&self.parts.desk), Arc::clone(&self.parts.clock));
        self.question = Some(question(client, desk, with_stats, clock).boxed());
    }

    fn take(&mut self, finding: Finding, now: Timestamp) {
        let turns = self.state.take(finding, now);
        self.parts.health.set(self.state.sight().clone());
        for turn in turns {
            self.perform(turn, now);
        }
    }

    fn perform(&self, turn: Turn, now: Timestamp) {
        let Parts { backend, desk, .. } = &self.parts;
        match turn {
            Turn::Back => {
                info!(%backend, "the backend can be reached");
                (self.parts.tell)(Change::Back, now);
            }
            Turn::Lost(reason) => {
                warn!(%backend, reason, "the backend cannot be reached");
                (self.parts.tell)(Change::Lost { reason }, now);
            }
            Turn::Unwell(reason) => desk.unwell(&reason),
            Turn::Well => {
                if desk.well() {
                    self.parts.queue_bell.notify_one();
                }
            }
        }
    }
}

/// Asks for the pulse, which is timed, and what the backend is.
async fn question(client: Client, desk: Arc<Desk>, with_stats: bool, clock: Arc<dyn Clock>) -> Finding {
    let (asked, before) = (clock.now(), desk.load());
    match client.probe().await {
        Ok(queue_remaining) => {
            let took = clock.now().since(asked);
            // What came to it or left it meanwhile is not held to be of others.
            let ours = u64::try_from(before.max(desk.load())).unwrap_or(u64::MAX);
            let system = if with_stats { client.system_stats().await.ok() } else { None };
            Finding::Answered { took, queue_remaining, ours, system }
        }
        Err(error) => Finding::Missed { asked, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
