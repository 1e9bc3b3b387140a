//! Tenants that share the backends: whose job is claimed next, however many others wait.

use crate::support::{House, after, new_job, offer, succeeded};
use comfygate::job::Tenant;
use comfygate::store::{Attempt, Claimed, Delivery, SqliteStore, Store, Vacancy, Verdict};
use rusqlite::Connection;
use std::num::NonZeroUsize;
use std::time::Duration;

#[tokio::test]
async fn behind_ten_thousand_jobs_of_another_tenant_a_job_waits_for_one_of_them() {
    let mut house = House::new();
    flood(&mut house, "mill", 10_000).await;
    for number in 1..=10 {
        accept(&house, number, "shop", 0).await;
    }
    let mut order = Vec::new();
    for _ in 0..30 {
        order.extend(claim(&house, 1, None).await);
    }
    let of_shop: Vec<usize> = (0..order.len()).filter(|place| tenant(&order[*place]) == "shop").collect();
    assert_eq!(of_shop.len(), 10);
    for pair in of_shop.windows(2) {
        assert!(pair[1] - pair[0] <= 2, "shop was claimed at {of_shop:?}");
    }
    assert!(of_shop[0] <= 1, "shop was claimed at {of_shop:?}");
}

#[tokio::test]
async fn one_who_comes_late_is_next_and_gets_nothing_for_the_time_before() {
    let mut house = House::new();
    flood(&mut house, "mill", 100).await;
    for _ in 0..20 {
        claim(&house, 1, None).await;
    }
    for number in 1..=10 {
        accept(&house, number, "shop", 0).await;
    }
    let names: Vec<String> = claim(&house, 6, None).await.iter().map(tenant).collect();
    assert_eq!(names, ["shop", "mill", "shop", "mill", "shop", "mill"]);
}

#[tokio::test]
async fn a_priority_moves_a_job_before_those_of_its_own_tenant_only() {
    let house = House::new();
    for (number, owner, priority) in
        [(1, "mill", 100), (2, "mill", 0), (3, "mill", 100), (4, "shop", -100), (5, "shop", 0)]
    {
        accept(&house, number, owner, priority).await;
    }
    let order: Vec<_> = claim(&house, 5, None).await.iter().map(|claimed| claimed.job.id).collect();
    assert_eq!(order, [1, 5, 3, 4, 2].map(|number| new_job(number).id));
}

#[tokio::test]
async fn a_tenant_with_as_many_on_backends_as_it_may_is_passed_over_and_the_others_go_on() {
    let house = House::new();
    for number in 1..=6 {
        accept(&house, number, "mill", 0).await;
        accept(&house, number + 10, "shop", 0).await;
    }
    let names = |claimed: &[Claimed]| claimed.iter().map(tenant).collect::<Vec<_>>();
    let first = claim(&house, 3, Some(2)).await;
    assert_eq!(names(&first), ["mill", "shop", "mill"]);
    // On whatever backend they are.
    let elsewhere = vacancy("another", 5, Some(2));
    let second = house.store.claim_beside(elsewhere, after(20)).await.unwrap();
    assert_eq!(names(&second), ["shop"]);
    assert!(claim(&house, 5, Some(2)).await.is_empty());
    assert!(house.store.requeue(first[0].job.id, 1, true, after(21)).await.unwrap());
    assert_eq!(claim(&house, 5, Some(2)).await[0].job.id, first[0].job.id);
    assert_eq!(names(&claim(&house, 2, None).await), ["shop", "mill"]);
}

#[tokio::test]
async fn a_tenant_whose_jobs_cannot_run_here_holds_up_no_other() {
    let house = House::new();
    for number in 1..=3 {
        accept(&house, number, "mill", 100).await;
        accept(&house, number + 10, "shop", 0).await;
    }
    for claimed in claim(&house, 6, None).await {
        let id = claimed.job.id;
        if tenant(&claimed) == "mill" {
            assert!(house.store.pass_on(id, 1, "no such model").await.unwrap());
        } else {
            assert!(house.store.requeue(id, 1, false, after(9)).await.unwrap());
        }
    }
    let names: Vec<String> = claim(&house, 6, None).await.iter().map(tenant).collect();
    assert_eq!(names, ["shop"; 3]);
}

#[tokio::test]
async fn a_tenant_with_a_hundred_thousand_deliveries_does_not_fill_a_batch() {
    let mut house = House::new();
    flood_deliveries(&mut house, "mill", 100_000).await;
    for number in 1..=10 {
        accept(&house, number, "shop", 0).await;
        let id = new_job(number).id;
        let run = claim(&house, 1, None).await[0].run.number;
        assert!(house.store.finish(succeeded(id, Some(run), after(30_000))).await.unwrap());
    }
    // Those of the flood have waited for longer.
    let due = |limit| house.store.due_deliveries(after(60_000), Duration::from_mins(1), limit);
    let owners = |batch: &[Delivery]| {
        let of_shop = batch.iter().filter(|delivery| delivery.tenant.name() == "shop").count();
        (of_shop, batch.len() - of_shop)
    };
    assert_eq!(owners(&due(8).await.unwrap()), (4, 4));
    // What one has too few of, the other gets.
    assert_eq!(owners(&due(100).await.unwrap()), (6, 94));
    assert_eq!(owners(&due(100).await.unwrap()), (0, 100));
    assert_eq!(house.store.next_due().await.unwrap(), Some(after(0)));
}

#[tokio::test]
async fn with_more_tenants_than_a_batch_has_places_each_gets_its_turn() {
    let house = House::new();
    for number in 1..=9_u16 {
        accept(&house, number, &format!("tenant{number}"), 0).await;
        let claimed = claim(&house, 1, None).await.remove(0);
        assert!(house.store.finish(succeeded(claimed.job.id, Some(1), after(30_000))).await.unwrap());
    }
    let mut seen = Vec::new();
    for _ in 0..5 {
        for delivery in house.store.due_deliveries(after(60_000), Duration::from_mins(1), 2).await.unwrap() {
            seen.push(delivery.tenant.name().to_owned());
        }
    }
    seen.sort();
    assert_eq!(seen, (1..=9).map(|number| format!("tenant{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_set_aside_is_due_when_that_time_is_over_or_it_is_released() {
    let house = House::new();
    let ids = [house.ended(1).await, house.ended(2).await];
    let due = |at| house.store.due_deliveries(at, Duration::from_secs(1), 9);
    assert_eq!(due(after(20_000)).await.unwrap().len(), 2);
    house.store.set_deliveries_aside(ids.to_vec(), after(90_000)).await.unwrap();
    assert_eq!(house.store.next_due().await.unwrap(), Some(after(90_000)));
    house.store.release_delivery(ids[0]).await.unwrap();
    assert_eq!(due(after(30_000)).await.unwrap().iter().map(|it| it.job).collect::<Vec<_>>(), [ids[0]]);
    assert_eq!(due(after(90_000)).await.unwrap().len(), 2);
}

async fn claim(house: &House, places: u8, per_tenant: Option<usize>) -> Vec<Claimed> {
    house.store.claim_beside(vacancy("gpu", places, per_tenant), after(20_000)).await.unwrap()
}

fn vacancy(backend: &str, places: u8, per_tenant: Option<usize>) -> Vacancy {
    let per_tenant = per_tenant.and_then(NonZeroUsize::new);
    let (backend, with_images) = (backend.into(), places.into());
    Vacancy { backend, others: Vec::new(), offered: offer(places), with_images, per_tenant }
}

async fn accept(house: &House, number: u16, owner: &str, priority: i32) {
    let mut new = new_job(number);
    new.tenant = owner.parse().unwrap();
    new.request.priority = priority;
    house.store.accept(new).await.unwrap();
}

/// Lets so many jobs of one tenant wait.
async fn flood(house: &mut House, owner: &str, count: u32) {
    let model = new_job(60_000);
    house.store.accept(model).await.unwrap();
    house.store.close().await;
    let database = Connection::open(house.database()).unwrap();
    database
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO job (id, tenant, workflow, priority, created_at, queue_limit, queue_deadline)
             SELECT randomblob(16), '{owner}', 'flux', 0, 0, 1, 9999999999999 FROM n;
             INSERT INTO job_request SELECT row, (SELECT request FROM job_request LIMIT 1) FROM job
             WHERE tenant = '{owner}';
             DELETE FROM job_request WHERE job IN (SELECT row FROM job WHERE tenant = '');
             DELETE FROM job WHERE tenant = '';
             COMMIT;"
        ))
        .unwrap();
    drop(database);
    house.store = SqliteStore::open(house.folder.path()).unwrap();
}

/// Lets so many deliveries of one tenant be due.
async fn flood_deliveries(house: &mut House, owner: &str, count: u32) {
    let id = house.ended(60_001).await;
    house.store.close().await;
    let database = Connection::open(house.database()).unwrap();
    database
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO job (id, tenant, workflow, state, priority, created_at, queue_limit, queue_deadline, ended_at)
             SELECT randomblob(16), '{owner}', 'flux', 'succeeded', 0, 0, 1, 1, 1 FROM n;
             INSERT INTO job_request SELECT row, (SELECT request FROM job_request LIMIT 1) FROM job
             WHERE tenant = '{owner}';
             INSERT INTO result SELECT row, (SELECT body FROM result LIMIT 1) FROM job WHERE tenant = '{owner}';
             INSERT INTO delivery (job, tenant, url, created_at, due_at)
             SELECT row, tenant, 'http://dead/', {start}, {start} FROM job WHERE tenant = '{owner}';
             COMMIT;",
            start = after(0).millis()
        ))
        .unwrap();
    drop(database);
    house.store = SqliteStore::open(house.folder.path()).unwrap();
    let leased = house.store.due_deliveries(after(50_000), Duration::from_mins(1), 1).await.unwrap();
    assert_eq!(leased[0].job, id, "the default tenant's comes first by name");
    let attempt = Attempt {
        number: 1,
        started_at: after(50_000),
        took: Duration::ZERO,
        status: Some(200),
        code: None,
        snippet: String::new(),
    };
    house.store.record_attempt(id, attempt, Verdict::Delivered).await.unwrap();
}

fn tenant(claimed: &Claimed) -> String {
    Tenant::name(&claimed.job.tenant).to_owned()
}
