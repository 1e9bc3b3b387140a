//! What every answer means, which waits follow, and when a delivery ends.

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
        tenant: crate::job::Tenant::default(),
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
