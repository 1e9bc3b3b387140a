//! Tenants that share the gateway: how many jobs each has on backends, and whose deliveries are next, however many others wait.

use crate::support::{House, after, new_job, succeeded};
use comfygate::store::{Attempt, Delivery, SqliteStore, Store, Verdict};
use rusqlite::Connection;
use std::collections::HashMap;
use std::time::Duration;

#[tokio::test]
async fn jobs_on_backends_are_counted_for_each_tenant() {
    let house = House::new();
    for number in 1..=3 {
        accept(&house, number, "mill", 0).await;
        accept(&house, number + 10, "shop", 0).await;
    }
    assert!(house.store.on_backends_by_tenant().await.unwrap().is_empty());
    house.claim("a", 4, after(5)).await;
    house.claim("b", 1, after(6)).await;
    assert!(house.store.finish(succeeded(new_job(2).id, Some(1), after(7))).await.unwrap());
    let expected = [("mill", 2), ("shop", 2)].map(|(name, count)| (name.parse().unwrap(), count));
    assert_eq!(house.store.on_backends_by_tenant().await.unwrap(), HashMap::from(expected));
}

#[tokio::test]
async fn a_tenant_with_a_hundred_thousand_deliveries_does_not_fill_a_batch() {
    let mut house = House::new();
    flood_deliveries(&mut house, "mill", 100_000).await;
    for number in 1..=10 {
        accept(&house, number, "shop", 0).await;
        let id = new_job(number).id;
        let run = house.claim_one("gpu", after(20_000)).await.run.number;
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
        let claimed = house.claim_one("gpu", after(20_000)).await;
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

async fn accept(house: &House, number: u16, owner: &str, priority: i32) {
    let mut new = new_job(number);
    new.tenant = owner.parse().unwrap();
    new.request.priority = priority;
    house.store.accept(new).await.unwrap();
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
