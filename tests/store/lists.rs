//! What lists show: pages, filters, the backlog, and the jobs whose time is over.

use crate::support::{House, after, failed, keyed, new_job, succeeded};
use comfygate::job::{JobId, JobState, Tenant};
use comfygate::store::{Backlog, Counts, Cursor, DeliveryFilter, ListFilter, NewJob, Store, StoreError};
use std::time::Duration;

#[tokio::test]
async fn pages_are_stable_while_jobs_come_and_end() {
    let house = House::new();
    for number in 10..35 {
        house.accept(number).await;
    }
    let expected: Vec<JobId> = (10..35).rev().map(|number| new_job(number).id).collect();
    let mut seen = Vec::new();
    let mut before = None;
    for turn in 0..10 {
        let page = list(&house, ListFilter { before, limit: 7, ..ListFilter::default() }).await;
        let Some(last) = page.last() else { break };
        before = Some(cursor(*last));
        seen.extend(page);
        // Newer jobs, claims and ends between the pages move nothing.
        house.accept(100 + turn).await;
        let claimed = house.claim_one("gpu", after(50)).await;
        assert!(house.store.finish(failed(claimed.job.id, Some(1), after(60))).await.unwrap());
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_cursor_that_is_another_tenants_job_is_like_one_that_no_job_has() {
    let house = House::new();
    let (a, b): (Tenant, Tenant) = ("a".parse().unwrap(), "b".parse().unwrap());
    for (number, tenant) in [(10, &a), (20, &b), (30, &a), (40, &b), (50, &b)] {
        house.store.accept(NewJob { tenant: tenant.clone(), ..new_job(number) }).await.unwrap();
    }
    let page = async |job: JobId, number: u16| {
        let before = Some(Cursor { job, accepted_at: new_job(number).created_at });
        list(&house, ListFilter { tenant: Some(b.clone()), before, limit: 9, ..ListFilter::default() }).await
    };
    let ids = |numbers: &[u16]| numbers.iter().map(|number| new_job(*number).id).collect::<Vec<_>>();
    let nobodys = JobId::from_bytes([0xcd; 16]);
    for theirs in [10, 30] {
        assert_eq!(page(new_job(theirs).id, theirs).await, page(nobodys, theirs).await, "{theirs}");
    }
    assert_eq!(page(new_job(30).id, 30).await, ids(&[20]));
    assert_eq!(page(new_job(50).id, 50).await, ids(&[40, 20]));
    // Nothing of the other tenant's can be found out by a wrong time either: its job's row is not looked up.
    assert_eq!(page(new_job(30).id, 60).await, ids(&[50, 40, 20]));
}

#[tokio::test]
async fn a_list_says_how_many_outputs_there_are_and_which_is_the_first_image() {
    let house = House::new();
    for number in 1..=4 {
        house.accept(number).await;
    }
    for (number, kinds) in [(1, &["text/plain", "image/webp", "image/png"][..]), (2, &["video/mp4"]), (3, &[])] {
        house.claim_this(new_job(number).id, after(10)).await;
        let mut ending = succeeded(new_job(number).id, Some(1), after(20));
        let comfygate::job::Outcome::Succeeded(outputs) = &mut ending.outcome else { panic!("it succeeded") };
        let output = outputs.remove(0);
        let entry = |kind: &&str| comfygate::job::Output { content_type: (*kind).to_owned(), ..output.clone() };
        *outputs = kinds.iter().map(entry).collect();
        assert!(house.store.finish(ending).await.unwrap());
    }
    let listed = house.store.list(ListFilter { limit: 9, ..ListFilter::default() }).await.unwrap();
    let told: Vec<_> = listed.iter().map(|entry| (entry.outputs, entry.first_image)).collect();
    assert_eq!(told, [(0, None), (0, None), (1, None), (3, Some(1))]);
}

#[tokio::test]
async fn lists_are_filtered_by_state_and_workflow() {
    let house = House::new();
    for number in 1..=8 {
        let mut new = new_job(number);
        new.request.workflow = if number % 2 == 0 { "sdxl".into() } else { "flux".into() };
        house.store.accept(new).await.unwrap();
    }
    for number in 1..=4 {
        let claimed = house.claim_one("gpu", after(10)).await;
        assert_eq!(claimed.job.id, new_job(number).id);
    }
    assert!(house.store.finish(succeeded(new_job(1).id, Some(1), after(20))).await.unwrap());
    assert!(house.store.finish(failed(new_job(2).id, Some(1), after(20))).await.unwrap());
    assert!(house.store.started(new_job(3).id, 1, after(20)).await.unwrap());
    let by_state = |state| ListFilter { state: Some(state), limit: 50, ..ListFilter::default() };
    let ids = |numbers: &[u16]| numbers.iter().map(|number| new_job(*number).id).collect::<Vec<_>>();
    assert_eq!(list(&house, by_state(JobState::Queued)).await, ids(&[8, 7, 6, 5]));
    assert_eq!(list(&house, by_state(JobState::Submitted)).await, ids(&[4]));
    assert_eq!(list(&house, by_state(JobState::Running)).await, ids(&[3]));
    assert_eq!(list(&house, by_state(JobState::Succeeded)).await, ids(&[1]));
    assert_eq!(list(&house, by_state(JobState::Failed)).await, ids(&[2]));
    assert_eq!(list(&house, by_state(JobState::Cancelled)).await, ids(&[]));
    let flux = ListFilter { workflow: Some("flux".into()), limit: 50, ..ListFilter::default() };
    assert_eq!(list(&house, flux.clone()).await, ids(&[7, 5, 3, 1]));
    let narrow = ListFilter { state: Some(JobState::Queued), before: Some(cursor(new_job(7).id)), ..flux };
    assert_eq!(list(&house, narrow).await, ids(&[5]));
    assert_eq!(list(&house, ListFilter { limit: 0, ..ListFilter::default() }).await, ids(&[]));

    let failed = house.store.list(by_state(JobState::Failed)).await.unwrap();
    assert_eq!(failed[0].code.as_deref(), Some("node_error"));
    assert_eq!(failed[0].error.as_deref(), Some("node `31` raised: out of memory"));
    assert_eq!(failed[0].job, house.job(new_job(2).id).await);
    let backlog = house.store.backlog().await.unwrap();
    assert_eq!(backlog, Backlog { queued: 4, running: 2, deliveries: 2, oldest: backlog.oldest });
}

#[tokio::test]
async fn only_waiting_jobs_whose_time_is_over_are_overdue() {
    let house = House::new();
    let hour = Duration::from_hours(1);
    let (claimed, waiting, patient) = (house.accept(1).await, house.accept(2).await, new_job(3));
    let mut patient = patient;
    patient.request.limits.queue = Duration::MAX;
    house.store.accept(patient).await.unwrap();
    assert_eq!(house.claim_one("gpu", after(3)).await.job.id, claimed);
    let overdue = async |now| {
        let jobs = house.store.overdue(now, 10).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(overdue(after(1) + hour).await, []);
    assert_eq!(overdue(after(2) + hour).await, [waiting]);
    // A run that counted gives the job its whole limit again, one that never reached a backend does not.
    assert!(house.store.requeue(claimed, 1, true, after(500)).await.unwrap());
    assert_eq!(overdue(after(499) + hour).await, [waiting]);
    assert_eq!(overdue(after(500) + hour).await, [waiting, claimed]);
    assert_eq!(house.store.overdue(after(500) + hour, 1).await.unwrap().len(), 1);
    assert_eq!(house.claim_one("gpu", after(600)).await.job.id, claimed);
    assert!(house.store.requeue(claimed, 2, false, after(700)).await.unwrap());
    assert_eq!(overdue(after(500) + hour).await, [waiting, claimed]);
}

#[tokio::test]
async fn pages_go_on_with_ids_of_any_kind_also_where_the_last_job_was_cleared_away() {
    let house = House::new();
    // Such as callers choose: their order says nothing.
    let id_of = |number: u16| {
        let [_, mixed] = (number * 37).to_be_bytes();
        JobId::from_bytes([0x4a, mixed, 1, 2, 3, 4, 0x4a, 1, 0x8a, 1, 2, 3, 4, 5, 6, 7])
    };
    for number in 0..50 {
        house.store.accept(NewJob { id: id_of(number), ..new_job(number) }).await.unwrap();
        assert!(house.store.finish(succeeded(id_of(number), None, after(u64::from(number)))).await.unwrap());
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = house.store.list(ListFilter { before, limit: 7, ..ListFilter::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(Cursor { job: last.job.id, accepted_at: last.job.created_at });
        seen.extend(page.iter().map(|entry| entry.job.id));
    }
    assert_eq!(seen, (0..50).rev().map(id_of).collect::<Vec<_>>());

    let database = rusqlite::Connection::open(house.database()).unwrap();
    for number in [0, 20, 21, 22, 35] {
        assert_eq!(database.execute("DELETE FROM job WHERE id = ?1", [id_of(number).as_bytes()]).unwrap(), 1);
    }
    for (last, next) in [(36, Some(34)), (35, Some(34)), (22, Some(19)), (21, Some(19)), (20, Some(19)), (0, None)] {
        let before = Some(Cursor { job: id_of(last), accepted_at: new_job(last).created_at });
        let page = list(&house, ListFilter { before, limit: 1, ..ListFilter::default() }).await;
        assert_eq!(page, next.map(id_of).into_iter().collect::<Vec<_>>(), "after {last}");
        let filter = DeliveryFilter { before, limit: 1, ..DeliveryFilter::default() };
        let page = house.store.list_deliveries(filter).await.unwrap();
        assert_eq!(page.first().map(|entry| entry.job), next.map(id_of), "after {last}");
    }
}

#[tokio::test]
async fn an_id_that_another_job_has_is_refused_and_nothing_of_it_is_stored() {
    let house = House::new();
    house.accept(1).await;
    let taken = keyed(NewJob { id: new_job(1).id, ..new_job(2) }, "order-2", 2);
    assert!(matches!(house.store.accept(taken).await, Err(StoreError::IdInUse(id)) if id == new_job(1).id));
    assert_eq!(house.job(new_job(1).id).await.created_at, new_job(1).created_at);
    assert_eq!(house.store.backlog().await.unwrap().queued, 1);
    let free = keyed(new_job(3), "order-2", 3);
    assert_eq!(house.store.accept(free).await.unwrap(), new_job(3).id, "the key is not used");
}

#[tokio::test]
async fn waiting_jobs_and_those_of_a_day_are_counted_by_tenant() {
    let house = House::new();
    let tenant = |name: &str| name.parse::<Tenant>().unwrap();
    for number in 0..30_u16 {
        let tenant = tenant(if number % 3 == 0 { "shop" } else { "default" });
        house.store.accept(NewJob { tenant, ..new_job(number) }).await.unwrap();
    }
    house.claim_one("gpu", after(100)).await;
    house.store.wish_cancel(new_job(3).id).await.unwrap();
    let waiting = house.store.waiting().await.unwrap();
    assert_eq!((waiting.len(), waiting.values().sum::<u64>()), (2, 29));
    let since = |name: &'static str, at| house.store.accepted_since(tenant(name), at);
    for (name, at, count) in
        [("shop", 0, 10), ("shop", 3, 9), ("shop", 4, 8), ("default", 15, 10), ("default", 1000, 0), ("nobody", 0, 0)]
    {
        assert_eq!(since(name, after(at)).await.unwrap(), count, "{name} since {at}");
    }
    assert_eq!(House::new().store.accepted_since(tenant("shop"), after(0)).await.unwrap(), 0);
}

fn cursor(id: JobId) -> Cursor {
    Cursor { job: id, accepted_at: id.time().unwrap() }
}

async fn list(house: &House, filter: ListFilter) -> Vec<JobId> {
    house.store.list(filter).await.unwrap().into_iter().map(|listed| listed.job.id).collect()
}
