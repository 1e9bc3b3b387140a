//! Deliveries in lists, and begun anew: which, from where, and what of them survives.

use crate::support::{House, after, new_job, request, succeeded};
use comfygate::clock::Timestamp;
use comfygate::job::JobId;
use comfygate::store::{
    Attempt, Cursor, Delivery, DeliveryFilter, DeliveryState, ListFilter, NewJob, ReplayFilter, Store, Verdict,
};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(30);

const ENDS: [(Verdict, DeliveryState); 3] = [
    (Verdict::Delivered, DeliveryState::Delivered),
    (Verdict::Gone, DeliveryState::Gone),
    (Verdict::GiveUp, DeliveryState::Undeliverable),
];

#[tokio::test]
async fn a_delivery_that_is_over_begins_anew_and_its_attempts_go_on_being_numbered() {
    for (verdict, state) in ENDS {
        let house = House::new();
        let id = house.ended(1).await;
        send(&house, id, 1, Verdict::RetryAt(after(10_000))).await;
        send(&house, id, 2, verdict).await;
        let over = delivery(&house, id).await;
        assert_eq!((over.state, over.ended_at), (state, Some(after(10_000) + Duration::from_millis(7))));

        assert_eq!(house.store.replay_delivery(id, after(50_000)).await.unwrap(), Some(state));
        // What was answered is on disk, whatever happens to the process now.
        let house = house.as_if_killed_now();
        let anew = delivery(&house, id).await;
        let wanted = Delivery {
            state: DeliveryState::Pending,
            attempts_before: 2,
            due_at: after(50_000),
            replays: 1,
            replayed_at: Some(after(50_000)),
            ended_at: None,
            ..over.clone()
        };
        assert_eq!(anew, wanted);
        assert_eq!((anew.begun_at(), over.begun_at()), (after(50_000), after(10_000)));
        assert_eq!(due(&house, after(49_999)).await, []);
        assert_eq!(due(&house, after(50_000)).await, [id]);
        assert_eq!(due(&house, after(50_001)).await, [], "it is leased like any other");
        send(&house, id, 3, Verdict::GiveUp).await;
        assert_eq!(house.store.replay_delivery(id, after(90_000)).await.unwrap(), Some(DeliveryState::Undeliverable));
        let twice = delivery(&house, id).await;
        assert_eq!((twice.attempts_before, twice.replays, twice.begun_at()), (3, 2, after(90_000)));
        let numbers = log(&house, id).await.iter().map(|attempt| attempt.number).collect::<Vec<_>>();
        assert_eq!(numbers, [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_pending_delivery_is_only_due_at_once() {
    let house = House::new();
    let id = house.ended(1).await;
    send(&house, id, 1, Verdict::RetryAt(after(900_000))).await;
    let before = delivery(&house, id).await;
    assert_eq!(house.store.replay_delivery(id, after(20_000)).await.unwrap(), Some(DeliveryState::Pending));
    assert_eq!(delivery(&house, id).await, Delivery { due_at: after(20_000), ..before.clone() });
    // One that is due already is not put off.
    house.store.replay_delivery(id, after(30_000)).await.unwrap();
    assert_eq!(delivery(&house, id).await, Delivery { due_at: after(20_000), ..before });
    assert_eq!(due(&house, after(20_000)).await, [id]);
}

#[tokio::test]
async fn a_delivery_under_way_is_not_handed_out_a_second_time() {
    let house = House::new();
    let id = house.ended(1).await;
    assert_eq!(due(&house, after(10_000)).await, [id]);
    assert_eq!(house.store.replay_delivery(id, after(10_001)).await.unwrap(), Some(DeliveryState::Pending));
    assert_eq!(due(&house, after(10_002)).await, []);
    assert_eq!(house.store.next_due().await.unwrap(), Some(after(10_000) + LEASE));
}

#[tokio::test]
async fn an_attempt_of_before_the_replay_that_comes_late_is_heard_only_when_it_was_for_good() {
    let house = House::new();
    let id = house.ended(1).await;
    send(&house, id, 1, Verdict::GiveUp).await;
    house.store.replay_delivery(id, after(50_000)).await.unwrap();
    record(&house, id, 1, Verdict::GiveUp).await;
    record(&house, id, 1, Verdict::RetryAt(after(1_000_000))).await;
    let pending = delivery(&house, id).await;
    assert_eq!((pending.state, pending.due_at), (DeliveryState::Pending, after(50_000)));
    record(&house, id, 1, Verdict::Delivered).await;
    assert_eq!(delivery(&house, id).await.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn what_has_no_delivery_cannot_be_begun_anew() {
    let house = House::new();
    assert_eq!(house.store.replay_delivery(new_job(9).id, after(1)).await.unwrap(), None);
    let living = house.accept(1).await;
    assert_eq!(house.store.replay_delivery(living, after(1)).await.unwrap(), None);
    let silent = to(&house, 2, None).await;
    assert_eq!(house.store.replay_delivery(silent, after(1)).await.unwrap(), None);
}

#[tokio::test]
async fn deliveries_are_listed_by_state_in_pages_newest_job_first() {
    let house = House::new();
    let mut by_state = [const { Vec::new() }; 4];
    for number in 0..40_u16 {
        let id = house.ended(number).await;
        due(&house, after(10_000)).await;
        let (verdict, place) = match number % 4 {
            0 => (Verdict::RetryAt(after(99_000 - u64::from(number))), 0),
            1 => (Verdict::Delivered, 1),
            2 => (Verdict::Gone, 2),
            _ => (Verdict::GiveUp, 3),
        };
        record(&house, id, 1, verdict).await;
        by_state[place].insert(0, id);
    }
    for (state, wanted) in DeliveryState::ALL.into_iter().zip(&by_state) {
        let listed = pages(&house, Some(state)).await;
        assert_eq!(listed, *wanted, "{state:?}");
    }
    let all: Vec<JobId> = (0..40).rev().map(|number| new_job(number).id).collect();
    assert_eq!(pages(&house, None).await, all);

    // A page that ended with a job which is not there any more goes on with the next older one.
    let between = JobId::new(after(19), [0; 10]);
    let filter = DeliveryFilter { before: Some(cursor(between)), limit: 1, ..DeliveryFilter::default() };
    assert_eq!(house.store.list_deliveries(filter).await.unwrap()[0].job, new_job(19).id);
    let oldest = JobId::new(Timestamp::from_millis(0), [0; 10]);
    let filter = DeliveryFilter { before: Some(cursor(oldest)), limit: 1, ..DeliveryFilter::default() };
    assert_eq!(house.store.list_deliveries(filter).await.unwrap(), []);

    let filter = DeliveryFilter { state: Some(DeliveryState::Undeliverable), limit: 1, ..DeliveryFilter::default() };
    let last = &house.store.list_deliveries(filter).await.unwrap()[0];
    assert_eq!((last.status, last.code.as_deref(), last.attempts), (Some(503), Some("server_error"), 1));
    assert_eq!(last.ended_at, Some(after(10_000) + Duration::from_millis(7)));

    let filter = ListFilter { limit: 4, ..ListFilter::default() };
    let jobs = house.store.list(filter).await.unwrap();
    let states: Vec<_> = jobs.into_iter().map(|entry| entry.delivery.unwrap()).rev().collect();
    assert_eq!(states, DeliveryState::ALL);
}

#[tokio::test]
async fn many_are_begun_anew_by_state_host_and_time() {
    let house = House::new();
    // More than one transaction takes.
    for number in 0..600_u16 {
        let host = if number % 2 == 0 { "https://a.example/hook" } else { "https://b.example:8443/hook?a.example" };
        let id = to(&house, number, Some(host)).await;
        let verdict = if number % 3 == 0 { Verdict::Delivered } else { Verdict::GiveUp };
        send(&house, id, 1, verdict).await;
    }
    let undeliverable = ReplayFilter { tenant: None, state: DeliveryState::Undeliverable, host: None, since: None };
    let filter = ReplayFilter { host: Some("c.example".into()), ..undeliverable.clone() };
    assert_eq!(house.store.replay_deliveries(filter, after(50_000)).await.unwrap(), 0);
    let filter = ReplayFilter { host: Some("b.example".into()), since: Some(ends(300)), ..undeliverable.clone() };
    assert_eq!(house.store.replay_deliveries(filter, after(50_000)).await.unwrap(), 100);
    assert_eq!(house.store.backlog().await.unwrap().deliveries, 100);
    assert_eq!(house.store.replay_deliveries(undeliverable.clone(), after(60_000)).await.unwrap(), 300);
    assert_eq!(house.store.replay_deliveries(undeliverable, after(60_000)).await.unwrap(), 0);
    let filter = ReplayFilter { tenant: None, state: DeliveryState::Delivered, host: None, since: Some(ends(598)) };
    assert_eq!(house.store.replay_deliveries(filter, after(60_000)).await.unwrap(), 0);
    let filter = ReplayFilter { tenant: None, state: DeliveryState::Delivered, host: None, since: Some(ends(597)) };
    assert_eq!(house.store.replay_deliveries(filter, after(60_000)).await.unwrap(), 1);

    let house = house.as_if_killed_now();
    assert_eq!(house.store.backlog().await.unwrap().deliveries, 401);
    let again = house.store.due_deliveries(after(60_000), LEASE, 999).await.unwrap();
    assert!(again.iter().all(|delivery| (delivery.replays, delivery.attempts_before) == (1, 1)));
    assert_eq!(again.len(), 401);
}

/// Every page of three.
async fn pages(house: &House, state: Option<DeliveryState>) -> Vec<JobId> {
    let mut seen = Vec::new();
    loop {
        let filter = DeliveryFilter { tenant: None, state, before: seen.last().copied().map(cursor), limit: 3 };
        let page = house.store.list_deliveries(filter).await.unwrap();
        if page.is_empty() {
            return seen;
        }
        assert!(page.len() <= 3 && state.is_none_or(|state| page.iter().all(|entry| entry.state == state)));
        seen.extend(page.iter().map(|entry| entry.job));
    }
}

fn cursor(id: JobId) -> Cursor {
    Cursor { job: id, accepted_at: id.time().unwrap() }
}

/// When the job of this number ends, in [`to`].
fn ends(number: u16) -> Timestamp {
    after(10_000 + u64::from(number))
}

/// Takes a job to its end whose caller is to be told at this URL.
async fn to(house: &House, number: u16, url: Option<&str>) -> JobId {
    let new = NewJob { request: request(url), ..new_job(number) };
    let id = house.store.accept(new).await.unwrap();
    assert!(house.store.finish(succeeded(id, None, ends(number))).await.unwrap());
    id
}

async fn send(house: &House, id: JobId, number: u32, verdict: Verdict) {
    house.store.due_deliveries(after(10_700), LEASE, 9).await.unwrap();
    record(house, id, number, verdict).await;
}

async fn due(house: &House, now: Timestamp) -> Vec<JobId> {
    let due = house.store.due_deliveries(now, LEASE, 99).await.unwrap();
    due.into_iter().map(|delivery| delivery.job).collect()
}

async fn record(house: &House, id: JobId, number: u32, verdict: Verdict) {
    let attempt = Attempt {
        number,
        started_at: after(10_000),
        took: Duration::from_millis(7),
        status: Some(503),
        code: Some("server_error".into()),
        snippet: String::new(),
    };
    house.store.record_attempt(id, attempt, verdict).await.unwrap();
}

async fn delivery(house: &House, id: JobId) -> Delivery {
    house.store.delivery(id).await.unwrap().unwrap().0
}

async fn log(house: &House, id: JobId) -> Vec<Attempt> {
    house.store.delivery(id).await.unwrap().unwrap().1
}
