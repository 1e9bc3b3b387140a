//! How much one host may be sent at once, and whether anything: its places, its pause, its breaker. Decides only, from
//! what the answers say.

use super::schedule::{Answer, Trouble};
use crate::clock::Timestamp;
use std::time::Duration;

/// After so many calls in a row that failed, the host counts as down.
const FAILURES: u32 = 10;

/// How long a host that is down is left alone: at first, and at most. Each failed probe doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// What an answer says of the host that gave it, or did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sign {
    health: Health,
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    /// It answers, even if it did not like this request.
    Alive,
    /// It does not answer, or what answers has lost it.
    Failed,
    /// The fault was our own: that says nothing.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    Faster,
    Same,
    Slower,
}

impl Sign {
    /// What an attempt says that was never made.
    pub(super) const NONE: Self = Self { health: Health::Unknown, pace: Pace::Same };

    /// Reads an answer.
    pub(super) fn of(answer: &Answer) -> Self {
        let (health, pace) = match answer {
            Answer::Status { status: 200..=299 | 410, .. } => (Health::Alive, Pace::Faster),
            // With a `Retry-After` it is the pause that slows down.
            Answer::Status { status: 429, retry_after: None } => (Health::Alive, Pace::Slower),
            // Of one request, mostly: another job's path may do.
            Answer::Status { status: 300..=499, .. } => (Health::Alive, Pace::Same),
            Answer::Status { status: 502 | 504, .. } | Answer::Failed(Trouble::Timeout) => {
                (Health::Failed, Pace::Slower)
            }
            Answer::Status { .. } => (Health::Failed, Pace::Same),
            Answer::Failed(trouble) => (health_after(*trouble), Pace::Same),
        };
        Self { health, pace }
    }
}

fn health_after(trouble: Trouble) -> Health {
    match trouble {
        Trouble::Timeout
        | Trouble::Dns
        | Trouble::Connect
        | Trouble::Tls
        | Trouble::ConnectionLost
        | Trouble::BadResponse => Health::Failed,
        Trouble::InvalidUrl
        | Trouble::BlockedAddress
        | Trouble::BlockedHost
        | Trouble::HttpsRequired
        | Trouble::BodyUnreadable
        | Trouble::HostDown
        | Trouble::Internal => Health::Unknown,
    }
}

/// What changed for a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It counts as down, and is left alone until then.
    WentDown(Timestamp),
    /// It answers again.
    CameBack,
}

/// Why nothing goes through a gate but now and then a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shut {
    /// The host is down, for as long as it takes.
    Down,
    /// It asked to be left alone until then.
    Until(Timestamp),
}

/// The gate before one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Gate {
    /// How many may be under way when all is well, and how many now.
    most: usize,
    places: usize,
    paused_until: Option<Timestamp>,
    /// In a row.
    failures: u32,
    down: Option<Down>,
}

/// A host that is down.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Down {
    until: Timestamp,
    wait: Duration,
    is_probed: bool,
}

impl Gate {
    /// Makes the gate of a host of which nothing is known.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), places: most.max(1), paused_until: None, failures: 0, down: None }
    }

    /// Says whether one more may begin beside those under way.
    pub(super) fn is_open(&self, under_way: usize, now: Timestamp) -> bool {
        let has_place = match &self.down {
            None => under_way < self.places,
            Some(down) => !down.is_probed && now >= down.until,
        };
        has_place && !self.is_paused(now)
    }

    /// Says whether the host counts as down.
    pub(super) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// Says whether the gate is shut, and for how long.
    pub(super) fn shut(&self, now: Timestamp) -> Option<Shut> {
        let pause = self.paused_until.filter(|until| *until > now).map(Shut::Until);
        self.down.as_ref().map(|_| Shut::Down).or(pause)
    }

    /// Says whether nothing is known of the host any more, so that it can be forgotten.
    pub(super) fn is_as_new(&self, now: Timestamp) -> bool {
        self.down.is_none() && self.failures == 0 && self.places == self.most && !self.is_paused(now)
    }

    /// Notes that one begins. Returns whether it is the probe of a host that is down.
    pub(super) fn begin(&mut self) -> bool {
        if let Some(down) = &mut self.down {
            down.is_probed = true;
        }
        self.down.is_some()
    }

    /// Notes how one ended.
    pub(super) fn end(&mut self, is_probe: bool, sign: Sign, now: Timestamp) -> Option<Change> {
        self.places = match sign.pace {
            Pace::Faster => (self.places + 1).min(self.most),
            Pace::Same => self.places,
            Pace::Slower => (self.places / 2).max(1),
        };
        match sign.health {
            Health::Alive => {
                self.failures = 0;
                self.down.take().map(|_| Change::CameBack)
            }
            Health::Failed => self.failed(is_probe, now),
            Health::Unknown => {
                if let (true, Some(down)) = (is_probe, &mut self.down) {
                    down.is_probed = false;
                }
                None
            }
        }
    }

    fn failed(&mut self, is_probe: bool, now: Timestamp) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        match &mut self.down {
            Some(down) if is_probe => {
                let wait = (down.wait * 2).min(LONGEST_WAIT);
                *down = Down { until: now + wait, wait, is_probed: false };
                None
            }
            None if self.failures >= FAILURES => {
                let until = now + FIRST_WAIT;
                self.down = Some(Down { until, wait: FIRST_WAIT, is_probed: false });
                // When it comes back it is not met by all at once.
                self.places = 1;
                Some(Change::WentDown(until))
            }
            // It began before the host went down, and says nothing new; or it is not one too many yet.
            Some(_) | None => None,
        }
    }

    /// Lets nothing through before `until`.
    pub(super) fn pause(&mut self, until: Timestamp) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// Returns when a gate that is shut for a time opens; none where it waits for an end.
    pub(super) fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let probe_at = self.down.as_ref().filter(|down| !down.is_probed).map(|down| down.until);
        probe_at.max(self.paused_until).filter(|at| *at > now)
    }

    fn is_paused(&self, now: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests;
