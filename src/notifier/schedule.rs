//! What an answer means for its delivery, and how long to wait for the next attempt. Decides only; `run.rs` acts.

use crate::clock::Timestamp;
use crate::store::{Delivery, Verdict};
use std::time::Duration;

/// The longest wait that a receiver's `Retry-After` can ask for.
pub const RETRY_AFTER_CAP: Duration = Duration::from_hours(24);

/// The least wait after an answer that says that the receiver has too much to do.
const BUSY_WAIT: Duration = Duration::from_mins(1);

/// How far a wait may differ from the schedule, as a part of it.
const JITTER: f64 = 0.2;

/// Where a delivery stands on its schedule. A replay begins a new round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Round<'a> {
    /// The number of the attempt within the round, from 1.
    pub attempt: u32,
    /// The waits between attempts, so there is one attempt more than it has entries.
    pub schedule: &'a [Duration],
    /// When the round ends, whatever a receiver asks for and however long the gateway was away.
    pub deadline: Timestamp,
}

impl<'a> Round<'a> {
    /// Says where the next attempt of a delivery stands. The round may take as long as the schedule with the longest
    /// jitter, and as the longest `Retry-After` besides.
    pub fn of(delivery: &Delivery, schedule: &'a [Duration]) -> Self {
        let sum = schedule.iter().fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait));
        let longest = sum.saturating_add(sum / 5).saturating_add(RETRY_AFTER_CAP);
        Self {
            attempt: delivery.attempts.saturating_sub(delivery.attempts_before).saturating_add(1),
            schedule,
            deadline: delivery.begun_at() + longest,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The receiver answered.
    Status {
        /// The answer's status.
        status: u16,
        /// The wait that it asked for.
        retry_after: Option<Duration>,
    },
    /// There was no answer, for this reason.
    Failed(Trouble),
}

/// Why there was no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The attempt's time ran out.
    Timeout,
    /// The receiver's name could not be resolved.
    Dns,
    /// The receiver could not be reached.
    Connect,
    /// No secure connection came about.
    Tls,
    /// The connection broke off before an answer.
    ConnectionLost,
    /// What came back is not an HTTP answer.
    BadResponse,
    /// The URL cannot be called.
    InvalidUrl,
    /// The address is one that is not called.
    BlockedAddress,
    /// The host's name is one that is not called.
    BlockedHost,
    /// The URL is not `https`, and only such may be called.
    HttpsRequired,
    /// Our own body could not be read.
    BodyUnreadable,
    /// The host was down until the deadline, so it was not called.
    HostDown,
    /// The gateway itself failed on the attempt.
    Internal,
}

impl Trouble {
    /// Returns the stable word for the log of attempts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::ConnectionLost => "connection_lost",
            Self::BadResponse => "bad_response",
            Self::InvalidUrl => "invalid_url",
            Self::BlockedAddress => "blocked_address",
            Self::BlockedHost => "blocked_host",
            Self::HttpsRequired => "https_required",
            Self::BodyUnreadable => "body_unreadable",
            Self::HostDown => "host_down",
            Self::Internal => "internal",
        }
    }
}

impl Answer {
    /// Returns what went wrong as a stable word; none after a 2xx.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Status { status: 200..=299, .. } => None,
            Self::Status { status: 300..=399, .. } => Some("redirect"),
            Self::Status { status: 410, .. } => Some("gone"),
            Self::Status { status: 400..=499, .. } => Some("client_error"),
            Self::Status { status: 500..=599, .. } => Some("server_error"),
            Self::Status { .. } => Some(Trouble::BadResponse.as_str()),
            Self::Failed(trouble) => Some(trouble.as_str()),
        }
    }

    /// Returns the answer's status, where one came.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Failed(_) => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Failed(_) => None,
        }
    }

    /// Returns whether the receiver, or something in front of it, has more to do than it can.
    fn is_overload(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 429 | 502 | 504),
            Self::Failed(trouble) => *trouble == Trouble::Timeout,
        }
    }
}

/// Says what the answer to an attempt means; `chance` from 0 to 1 moves the wait by at most a fifth. No attempt is put
/// off beyond the round's deadline, and one that failed at the deadline or later was the last.
pub fn after(round: &Round<'_>, answer: &Answer, now: Timestamp, chance: f64) -> Verdict {
    match answer {
        Answer::Status { status: 200..=299, .. } => return Verdict::Delivered,
        Answer::Status { status: 410, .. } => return Verdict::Gone,
        Answer::Status { .. } | Answer::Failed(_) => {}
    }
    let place = usize::try_from(round.attempt.saturating_sub(1)).ok();
    let Some(step) = place.and_then(|place| round.schedule.get(place)) else { return Verdict::GiveUp };
    if now >= round.deadline {
        return Verdict::GiveUp;
    }
    let least = if answer.is_overload() { BUSY_WAIT } else { Duration::ZERO };
    let asked = answer.retry_after().unwrap_or(Duration::ZERO).min(RETRY_AFTER_CAP);
    let next = now + jittered(*step, chance).max(least).max(asked);
    Verdict::RetryAt(next.min(round.deadline))
}

/// Reads a `Retry-After`: whole seconds, or an HTTP date that is still to come. Anything else says nothing.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the cap.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(RETRY_AFTER_CAP));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    until.duration_since(now.system_time()).ok().map(|wait| wait.min(RETRY_AFTER_CAP))
}

fn jittered(wait: Duration, chance: f64) -> Duration {
    let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 0.5 };
    let factor = 1.0 + JITTER * (2.0 * chance - 1.0);
    Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(wait)
}

#[cfg(test)]
mod tests;
