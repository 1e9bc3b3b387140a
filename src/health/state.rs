//! Decides how a backend is, from its answers and its socket, and what has changed with that. Pure: asking is `run`'s.
//!
//! A server that encodes a large image or reads a large graph is mute for seconds and not dead (T26), so one question without an
//! answer says little, and right after a reconnect, while it starts, nothing.

use super::sight::{HttpSight, Link, Sight, Standing};
use crate::clock::Timestamp;
use crate::comfy::SystemStats;
use crate::tracker::SocketState;
use std::sync::Arc;
use std::time::Duration;

/// So many questions in a row without an answer, and a backend is down.
pub(super) const MISSES: u32 = 3;

/// So many tries to connect that failed, and a backend that never had a socket is one that cannot be reached.
const TRIES: u32 = 3;

/// For so long after its socket has come up no question counts that has no answer.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// What was found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Finding {
    /// This is how its socket is.
    Socket(SocketState),
    /// It answered a question.
    Answered {
        /// How long that answer took.
        took: Duration,
        /// How many prompts run or wait there.
        queue_remaining: u64,
        /// How many of ours may be among them, at most.
        ours: u64,
        /// What it said of itself, where it was asked for that too.
        system: Option<SystemStats>,
    },
    /// It did not answer a question.
    Missed {
        /// When it was asked.
        asked: Timestamp,
        /// Why.
        reason: String,
    },
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// It can be reached and was not before.
    Back,
    /// It cannot be reached any more.
    Lost(String),
    /// It is not to be given prompts: it leaves questions without an answer.
    Unwell(String),
    /// It answers again, or stands anew.
    Well,
}

/// All that is known of one backend.
#[derive(Debug)]
pub(super) struct State {
    sight: Sight,
    grace_until: Option<Timestamp>,
    /// Whether it could be reached, as was said last; none where nothing was said yet.
    reachable: Option<bool>,
    /// It has answered since its socket was lost.
    answered_since: bool,
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { sight: Sight::new(now), grace_until: None, reachable: None, answered_since: false }
    }

    /// Returns how the backend is.
    pub(super) fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Takes in what was found out, and returns what has changed, in the order in which it did.
    pub(super) fn take(&mut self, finding: Finding, now: Timestamp) -> Vec<Turn> {
        let mut turns = Vec::new();
        match finding {
            Finding::Socket(socket) => {
                let sight = &self.sight.socket;
                let is_new = socket.connections > sight.connections;
                if is_new && sight.link == Link::Connected {
                    // It was lost and came up again since somebody looked.
                    self.take_socket(
                        &SocketState { stands: false, connections: sight.connections, ..socket.clone() },
                        now,
                    );
                    self.settle(now, &mut turns);
                }
                self.take_socket(&socket, now);
                if is_new && socket.stands {
                    self.is_up(now);
                }
            }
            Finding::Answered { took, queue_remaining, ours, system } => {
                self.answered_since = true;
                let (answered_at, took_ms) = (Some(now), u64::try_from(took.as_millis()).ok());
                self.sight.http = HttpSight { misses: 0, reason: None, answered_at, took_ms };
                self.sight.queue_remaining = Some(queue_remaining);
                self.sight.foreign = Some(queue_remaining.saturating_sub(ours));
                if let Some(system) = system {
                    self.sight.system = Some(Arc::new(system));
                }
            }
            Finding::Missed { asked, reason } => {
                let is_spared = self.grace_until.is_some_and(|until| asked < until);
                let http = &mut self.sight.http;
                http.reason = Some(reason);
                (self.sight.queue_remaining, self.sight.foreign) = (None, None);
                if !is_spared {
                    http.misses = http.misses.saturating_add(1);
                }
            }
        }
        self.settle(now, &mut turns);
        turns
    }

    fn take_socket(&mut self, socket: &SocketState, now: Timestamp) {
        let link = match socket {
            SocketState { stands: true, .. } => Link::Connected,
            SocketState { tries: 1.., .. } => Link::Disconnected,
            SocketState { connections: 1.., .. } => Link::Reconnecting,
            SocketState { .. } => Link::Connecting,
        };
        let sight = &mut self.sight.socket;
        if link != sight.link {
            if sight.link == Link::Connected {
                self.answered_since = false;
            }
            (sight.link, sight.since) = (link, now);
        }
        (sight.tries, sight.connections) = (socket.tries, socket.connections);
        sight.reason.clone_from(&socket.reason);
    }

    /// A socket begins with an answer to an HTTP request, so what was missed before is over.
    fn is_up(&mut self, now: Timestamp) {
        self.grace_until = Some(now + GRACE);
        self.sight.http.misses = 0;
        self.sight.http.reason = None;
    }

    /// Brings all that follows from what is known up to date.
    fn settle(&mut self, now: Timestamp, turns: &mut Vec<Turn>) {
        let was_down = self.sight.standing == Standing::Down;
        let standing = self.standing();
        self.sight.reason = self.reason(standing);
        if standing != self.sight.standing {
            (self.sight.standing, self.sight.since) = (standing, now);
        }
        let is_down = standing == Standing::Down;
        let why = || self.sight.reason.clone().unwrap_or_default();
        match (was_down, is_down) {
            (false, true) => turns.push(Turn::Unwell(why())),
            (true, false) => turns.push(Turn::Well),
            (true, true) | (false, false) => {}
        }
        match (self.reachable, self.can_be_reached()) {
            (None | Some(false), Some(true)) => turns.push(Turn::Back),
            (None | Some(true), Some(false)) => turns.push(Turn::Lost(why())),
            (_, None) | (Some(true), Some(true)) | (Some(false), Some(false)) => return,
        }
        self.reachable = self.can_be_reached();
    }

    fn standing(&self) -> Standing {
        let (socket, http) = (&self.sight.socket, &self.sight.http);
        match (socket.link, http.misses) {
            (_, MISSES..) => Standing::Down,
            (Link::Connected, 0) => Standing::Up,
            (Link::Connecting, _) => Standing::Connecting,
            (Link::Disconnected, _) if socket.connections == 0 && http.answered_at.is_none() => Standing::Connecting,
            (Link::Connected | Link::Disconnected | Link::Reconnecting, _) => Standing::Silent,
        }
    }

    fn can_be_reached(&self) -> Option<bool> {
        let socket = &self.sight.socket;
        let has_failed = socket.connections > 0 || socket.tries >= TRIES;
        match (self.sight.standing, socket.link) {
            (Standing::Down, _) => Some(false),
            (Standing::Connecting | Standing::Up | Standing::Silent, Link::Connected) => Some(true),
            (Standing::Connecting | Standing::Up | Standing::Silent, _) => has_failed.then_some(false),
        }
    }

    fn reason(&self, standing: Standing) -> Option<String> {
        let (socket, http) = (&self.sight.socket, &self.sight.http);
        let (stands, misses) = (socket.link == Link::Connected, http.misses);
        let because = |reason: &Option<String>| reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        let (no_answer, no_socket) = (because(&http.reason), because(&socket.reason));
        match standing {
            Standing::Up => None,
            Standing::Connecting => socket.reason.clone().or_else(|| http.reason.clone()),
            Standing::Down if stands => {
                Some(format!("its socket stands, but {misses} questions had no answer{no_answer}"))
            }
            Standing::Down => Some(format!("it has no socket, and {misses} questions had no answer{no_answer}")),
            Standing::Silent if stands => Some(format!("{misses} of {MISSES} questions had no answer{no_answer}")),
            Standing::Silent if self.answered_since => Some(format!("it answers, but it has no socket{no_socket}")),
            Standing::Silent => Some(format!("its socket is gone{no_socket}")),
        }
    }
}

#[cfg(test)]
mod tests;
