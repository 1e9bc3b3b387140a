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
    /// The address is one that is never called.
    BlockedAddress,
    /// The URL is not `https`, and only such may be called.
    HttpsRequired,
    /// Our own body could not be read.
    BodyUnreadable,
    /// The attempt broke off by a fault of ours.
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
            Self::HttpsRequired => "https_required",
            Self::BodyUnreadable => "body_unreadable",
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
mod tests {
    use super::*;
    use crate::job::{FrozenBody, JobId};
    use crate::settings::WebhookSettings;
    use crate::store::DeliveryState;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn every_status_has_its_meaning() {
        let schedule = WebhookSettings::default().schedule;
        for status in 0..=999 {
            let verdict = after(&round(1, &schedule), &status_only(status), NOW, 0.5);
            let wanted = match status {
                200..=299 => Verdict::Delivered,
                410 => Verdict::Gone,
                429 | 502 | 504 => Verdict::RetryAt(NOW + Duration::from_mins(1)),
                _ => Verdict::RetryAt(NOW + Duration::from_secs(5)),
            };
            assert_eq!(verdict, wanted, "{status}");
            assert_eq!(status_only(status).code().is_none(), wanted == Verdict::Delivered, "{status}");
        }
    }

    #[test]
    fn every_trouble_is_tried_again_and_a_timeout_not_before_a_minute() {
        for (trouble, seconds) in [
            (Trouble::Timeout, 60),
            (Trouble::Dns, 5),
            (Trouble::Connect, 5),
            (Trouble::Tls, 5),
            (Trouble::ConnectionLost, 5),
            (Trouble::BadResponse, 5),
            (Trouble::InvalidUrl, 5),
            (Trouble::BlockedAddress, 5),
            (Trouble::HttpsRequired, 5),
            (Trouble::BodyUnreadable, 5),
            (Trouble::Internal, 5),
        ] {
            let verdict = after(&round(1, &[Duration::from_secs(5)]), &Answer::Failed(trouble), NOW, 0.5);
            assert_eq!(verdict, Verdict::RetryAt(NOW + Duration::from_secs(seconds)), "{trouble:?}");
        }
    }

    #[test]
    fn the_default_schedule_has_ten_attempts_over_three_days() {
        let schedule = WebhookSettings::default().schedule;
        let mut waits = Vec::new();
        for attempt in 1.. {
            match after(&round(attempt, &schedule), &status_only(500), NOW, 0.5) {
                Verdict::RetryAt(at) => waits.push(at.since(NOW).as_secs()),
                Verdict::GiveUp => break,
                other @ (Verdict::Delivered | Verdict::Gone) => panic!("{other:?}"),
            }
        }
        assert_eq!(waits, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
    }

    #[test]
    fn a_retry_after_raises_the_wait_and_never_lowers_it() {
        for (step, asked, waited) in [
            (5, Some(120), 120),
            (300, Some(120), 300),
            (5, None, 5),
            (5, Some(0), 5),
            (5, Some(u64::MAX), 86_400),
            (200_000, Some(u64::MAX), 200_000),
        ] {
            for status in [302, 404, 500, 503] {
                let answer = Answer::Status { status, retry_after: asked.map(Duration::from_secs) };
                let verdict = after(&round(1, &[Duration::from_secs(step)]), &answer, NOW, 0.5);
                assert_eq!(verdict, Verdict::RetryAt(NOW + Duration::from_secs(waited)), "{status} {step} {asked:?}");
            }
        }
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date_to_come() {
        let date = |seconds: u64| httpdate::fmt_http_date((NOW + Duration::from_secs(seconds)).system_time());
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            (date(90).as_str(), Some(90)),
            (date(999_999).as_str(), Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("abc", None),
            ("nan", None),
            ("1e300", None),
            ("", None),
            ("５", None),
        ] {
            assert_eq!(retry_after(text, NOW).map(|wait| wait.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn no_wait_goes_beyond_the_deadline_and_at_the_deadline_is_the_last_attempt() {
        let schedule = [Duration::from_secs(100); 3];
        let day = Answer::Status { status: 503, retry_after: Some(RETRY_AFTER_CAP) };
        for (left, answer, wanted) in [
            (3600, &day, Some(3600)),
            (1, &day, Some(1)),
            (0, &day, None),
            (3600, &status_only(500), Some(100)),
            (60, &status_only(500), Some(60)),
            (0, &status_only(500), None),
        ] {
            let round = Round { attempt: 1, schedule: &schedule, deadline: NOW + Duration::from_secs(left) };
            let wanted = wanted.map_or(Verdict::GiveUp, |wait| Verdict::RetryAt(NOW + Duration::from_secs(wait)));
            assert_eq!(after(&round, answer, NOW, 0.5), wanted, "{left} {answer:?}");
        }
        let late = Round { attempt: 1, schedule: &schedule, deadline: Timestamp::from_millis(0) };
        assert_eq!(after(&late, &status_only(204), NOW, 0.5), Verdict::Delivered);
        assert_eq!(after(&late, &status_only(410), NOW, 0.5), Verdict::Gone);
    }

    #[test]
    fn a_replay_begins_the_schedule_and_its_deadline_anew() {
        let schedule = [Duration::from_secs(10), Duration::from_secs(20)];
        let later = NOW + Duration::from_hours(500);
        let mut delivery = delivery();
        let first = Round::of(&delivery, &schedule);
        assert_eq!((first.attempt, first.deadline), (4, NOW + Duration::from_secs(36) + RETRY_AFTER_CAP));
        (delivery.attempts_before, delivery.replayed_at) = (3, Some(later));
        let second = Round::of(&delivery, &schedule);
        assert_eq!((second.attempt, second.deadline), (1, later + Duration::from_secs(36) + RETRY_AFTER_CAP));
        let endless = [Duration::MAX; 2];
        assert_eq!(Round::of(&delivery, &endless).deadline, Timestamp::from_millis(i64::MAX));
    }

    #[test]
    fn chance_moves_a_wait_by_a_fifth_at_most_and_nonsense_by_nothing() {
        let step = Duration::from_secs(100);
        for (chance, seconds) in
            [(0.0, 80), (0.5, 100), (1.0, 120), (-3.0, 80), (9.0, 120), (f64::NAN, 100), (f64::INFINITY, 100)]
        {
            let waited = jittered(step, chance);
            assert!(waited.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1), "{chance}: {waited:?}");
        }
        assert_eq!(jittered(Duration::MAX, 1.0), Duration::MAX);
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds_and_attempts_end(
            schedule in prop::collection::vec(1..40_000_000_u64, 0..12),
            status in prop_oneof![Just(None), (0..1000_u16).prop_map(Some)],
            asked in prop::option::of(any::<u64>()),
            chance in any::<f64>(),
            attempt in any::<u32>(),
        ) {
            let schedule: Vec<Duration> = schedule.into_iter().map(Duration::from_secs).collect();
            let answer = match status {
                Some(status) => Answer::Status { status, retry_after: asked.map(Duration::from_secs) },
                None => Answer::Failed(Trouble::Timeout),
            };
            let verdict = after(&round(attempt, &schedule), &answer, NOW, chance);
            if let Verdict::RetryAt(at) = verdict {
                let place = usize::try_from(attempt.saturating_sub(1)).unwrap();
                let step = schedule[place];
                prop_assert!(at >= NOW + step.mul_f64(0.799));
                let cap = step.mul_f64(1.201).max(RETRY_AFTER_CAP);
                prop_assert!(at <= NOW + cap);
            }
            if usize::try_from(attempt).unwrap() > schedule.len() {
                prop_assert!(!matches!(verdict, Verdict::RetryAt(_)));
            }
        }

        #[test]
        fn no_retry_after_is_longer_than_a_day_or_panics(text in "\\PC*", seconds in any::<u64>()) {
            prop_assert!(retry_after(&text, NOW).is_none_or(|wait| wait <= RETRY_AFTER_CAP));
            let wait = retry_after(&seconds.to_string(), NOW);
            prop_assert_eq!(wait, Some(Duration::from_secs(seconds).min(RETRY_AFTER_CAP)));
        }
    }

    fn delivery() -> Delivery {
        Delivery {
            job: JobId::new(NOW, [0; 10]),
            url: String::new(),
            body: FrozenBody { segments: Vec::new() },
            attempts: 3,
            attempts_before: 0,
            created_at: NOW,
            due_at: NOW,
            state: DeliveryState::Pending,
            replays: 0,
            replayed_at: None,
            ended_at: None,
        }
    }

    /// A round without a deadline.
    fn round(attempt: u32, schedule: &[Duration]) -> Round<'_> {
        Round { attempt, schedule, deadline: Timestamp::from_millis(i64::MAX) }
    }

    fn status_only(status: u16) -> Answer {
        Answer::Status { status, retry_after: None }
    }
}
