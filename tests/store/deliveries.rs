//! From the end of a job to the arrival of its webhook: leases, attempts, verdicts.

use crate::support::{House, after, new_job};
use comfygate::clock::Timestamp;
use comfygate::job::JobId;
use comfygate::store::{Attempt, Delivery, DeliveryState, Store, StoreError, Verdict};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_delivery_is_due_at_the_end_of_its_job_and_leased_once() {
    let house = House::new();
    assert_eq!(house.store.next_due().await.unwrap(), None);
    let id = house.ended(1).await;
    assert_eq!(house.store.next_due().await.unwrap(), Some(after(10_000)));
    assert_eq!(due(&house, after(9_999)).await, []);
    assert_eq!(due(&house, after(10_000)).await, [id]);
    assert_eq!(due(&house, after(10_001)).await, []);
    assert_eq!(house.store.next_due().await.unwrap(), Some(after(10_000) + LEASE));
    assert_eq!(due(&house, after(9_999) + LEASE).await, []);
    assert_eq!(due(&house, after(10_000) + LEASE).await, [id]);
}

#[tokio::test]
async fn leases_end_with_the_process_that_held_them() {
    let house = House::new();
    let id = house.ended(1).await;
    assert_eq!(due(&house, after(10_000)).await, [id]);
    let killed = house.as_if_killed_now();
    assert_eq!(due(&killed, after(10_001)).await, [id]);
    assert_eq!(due(&killed, after(10_002)).await, []);
    let house = house.reopened().await;
    assert_eq!(due(&house, after(10_001)).await, [id]);
}

#[tokio::test]
async fn the_longest_due_comes_first_and_the_limit_holds() {
    let house = House::new();
    let ids = [house.ended(1).await, house.ended(2).await, house.ended(3).await];
    assert_eq!(due(&house, after(10_000)).await, ids);
    for (id, wait) in [(ids[0], 300), (ids[1], 100), (ids[2], 200)] {
        record(&house, id, 1, Verdict::RetryAt(after(20_000 + wait))).await;
    }
    assert_eq!(house.store.next_due().await.unwrap(), Some(after(20_100)));
    let first = house.store.due_deliveries(after(30_000), LEASE, 2).await.unwrap();
    assert_eq!(first.iter().map(|delivery| delivery.job).collect::<Vec<_>>(), [ids[1], ids[2]]);
    assert_eq!(due(&house, after(30_000)).await, [ids[0]]);
}

#[tokio::test]
async fn claims_at_once_never_share_a_delivery() {
    let house = House::new();
    for number in 0..40 {
        house.ended(number).await;
    }
    let calls = (0..20).map(|_| house.store.due_deliveries(after(10_000), LEASE, 3));
    let leased = futures_util::future::join_all(calls).await;
    let mut jobs: Vec<_> = leased.into_iter().flat_map(Result::unwrap).map(|delivery| delivery.job).collect();
    jobs.sort();
    assert_eq!(jobs, (0..40).map(|number| new_job(number).id).collect::<Vec<_>>());
}

#[tokio::test]
async fn attempts_are_logged_and_the_body_stays_the_same() {
    let house = House::new();
    let id = house.ended(1).await;
    let body = house.store.finished(id).await.unwrap().unwrap().body;
    let mut log = Vec::new();
    for number in 1..=3 {
        let now = after(10_000 * u64::from(number));
        let leased = house.store.due_deliveries(now, LEASE, 9).await.unwrap();
        assert_eq!(leased[0], Delivery { due_at: now, attempts: number - 1, ..delivery(&house, id).await });
        assert_eq!(leased[0].body, body);
        let attempt = Attempt { started_at: now, ..attempt(number) };
        let verdict = if number < 3 { Verdict::RetryAt(now + Duration::from_secs(10)) } else { Verdict::Delivered };
        house.store.record_attempt(id, attempt.clone(), verdict).await.unwrap();
        log.push(attempt);
    }
    let house = house.reopened().await;
    let (delivery, attempts) = house.store.delivery(id).await.unwrap().unwrap();
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 3));
    assert_eq!(attempts, log);
    assert_eq!(house.store.next_due().await.unwrap(), None);
    assert_eq!(due(&house, Timestamp::from_millis(i64::MAX)).await, []);
    assert_eq!(house.store.backlog().await.unwrap().deliveries, 0);
}

#[tokio::test]
async fn what_is_over_is_never_due_again() {
    for (verdict, state) in [
        (Verdict::Delivered, DeliveryState::Delivered),
        (Verdict::Gone, DeliveryState::Gone),
        (Verdict::GiveUp, DeliveryState::Undeliverable),
    ] {
        let house = House::new();
        let id = house.ended(1).await;
        due(&house, after(10_000)).await;
        record(&house, id, 1, verdict).await;
        for late in [Verdict::RetryAt(after(10_001)), Verdict::Delivered, Verdict::Gone, Verdict::GiveUp] {
            record(&house, id, 2, late).await;
            assert_eq!(delivery(&house, id).await.state, state);
        }
        house.store.release_delivery(id).await.unwrap();
        assert_eq!(due(&house, Timestamp::from_millis(i64::MAX)).await, []);
    }
}

#[tokio::test]
async fn a_late_twin_of_a_logged_attempt_counts_only_when_the_receiver_said_yes_or_no() {
    let house = House::new();
    let id = house.ended(1).await;
    due(&house, after(10_000)).await;
    due(&house, after(10_000) + LEASE).await;
    record(&house, id, 1, Verdict::RetryAt(after(90_000))).await;
    // The first of the two, whose lease had run out, comes to an end only now.
    record(&house, id, 1, Verdict::RetryAt(after(500_000))).await;
    record(&house, id, 1, Verdict::GiveUp).await;
    let pending = delivery(&house, id).await;
    assert_eq!((pending.state, pending.due_at, pending.attempts), (DeliveryState::Pending, after(90_000), 1));
    record(&house, id, 1, Verdict::Delivered).await;
    assert_eq!(delivery(&house, id).await.state, DeliveryState::Delivered);
    assert_eq!(house.store.delivery(id).await.unwrap().unwrap().1.len(), 1);
}

#[tokio::test]
async fn a_released_delivery_is_due_again_at_once_and_no_attempt_is_counted() {
    let house = House::new();
    let id = house.ended(1).await;
    assert_eq!(due(&house, after(10_000)).await, [id]);
    house.store.release_delivery(id).await.unwrap();
    assert_eq!(house.store.next_due().await.unwrap(), Some(after(10_000)));
    assert_eq!(due(&house, after(10_000)).await, [id]);
    assert_eq!(delivery(&house, id).await.attempts, 0);
}

#[tokio::test]
async fn an_attempt_for_a_job_without_a_delivery_is_an_error() {
    let house = House::new();
    let id = house.accept(1).await;
    let answer = house.store.record_attempt(id, attempt(1), Verdict::Delivered).await;
    assert!(matches!(answer, Err(StoreError::Damaged(text)) if text.contains(&id.to_string())));
    assert_eq!(house.store.delivery(id).await.unwrap(), None);
}

async fn due(house: &House, now: Timestamp) -> Vec<JobId> {
    let due = house.store.due_deliveries(now, LEASE, 99).await.unwrap();
    due.into_iter().map(|delivery| delivery.job).collect()
}

async fn record(house: &House, id: JobId, number: u32, verdict: Verdict) {
    house.store.record_attempt(id, attempt(number), verdict).await.unwrap();
}

async fn delivery(house: &House, id: JobId) -> Delivery {
    house.store.delivery(id).await.unwrap().unwrap().0
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        started_at: after(10_000),
        took: Duration::from_micros(1_234_567),
        status: Some(503),
        code: Some("status".into()),
        snippet: "try\u{0} later 🦀".into(),
    }
}
