//! What lists show: pages, filters, the backlog, and the jobs whose time is over.

use crate::support::{House, after, failed, new_job, succeeded};
use comfygate::job::{JobId, JobState, Tenant};
use comfygate::store::{Backlog, ListFilter, NewJob, Store};
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
        before = Some(*last);
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
    // The ids are not in the order of acceptance, as after a clock that went back.
    for (number, tenant) in [(50, &a), (10, &b), (90, &b), (30, &a), (20, &b)] {
        house.store.accept(NewJob { tenant: tenant.clone(), ..new_job(number) }).await.unwrap();
    }
    let page = async |number: u16| {
        let filter =
            ListFilter { tenant: Some(b.clone()), before: Some(new_job(number).id), limit: 9, ..ListFilter::default() };
        list(&house, filter).await
    };
    let ids = |numbers: &[u16]| numbers.iter().map(|number| new_job(*number).id).collect::<Vec<_>>();
    for (theirs, nobodys) in [(50, [49, 51]), (30, [29, 31])] {
        for nobodys in nobodys {
            assert_eq!(page(theirs).await, page(nobodys).await, "{theirs} {nobodys}");
        }
    }
    assert_eq!(page(50).await, ids(&[20, 90, 10]));
    assert_eq!(page(20).await, ids(&[90, 10]));
    assert_eq!(page(90).await, ids(&[10]));
    assert_eq!(page(5).await, ids(&[]));
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
    let narrow = ListFilter { state: Some(JobState::Queued), before: Some(new_job(7).id), ..flux };
    assert_eq!(list(&house, narrow).await, ids(&[5]));
    assert_eq!(list(&house, ListFilter { limit: 0, ..ListFilter::default() }).await, ids(&[]));

    let failed = house.store.list(by_state(JobState::Failed)).await.unwrap();
    assert_eq!(failed[0].code.as_deref(), Some("node_error"));
    assert_eq!(failed[0].error.as_deref(), Some("node `31` raised: out of memory"));
    assert_eq!(failed[0].job, house.job(new_job(2).id).await);
    let backlog = house.store.backlog().await.unwrap();
    assert_eq!(backlog, Backlog { queued: 4, running: 2, deliveries: 2 });
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

async fn list(house: &House, filter: ListFilter) -> Vec<JobId> {
    house.store.list(filter).await.unwrap().into_iter().map(|listed| listed.job.id).collect()
}
