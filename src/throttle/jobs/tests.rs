//! Places for jobs: what waits, what is on its way, what was taken in today.

use super::*;
use crate::clock::ManualClock;
use async_trait::async_trait;
use std::sync::atomic::{AtomicU64, Ordering};

const LIMITS: JobLimits = JobLimits { all: 10, tenant: Some(4), day: None };

#[tokio::test]
async fn what_is_on_its_way_counts_and_a_place_that_is_not_kept_is_free_again() {
    let (_, store, jobs) = jobs();
    let shop = tenant("shop");
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push(jobs.enter(&shop, LIMITS).await.unwrap().unwrap());
    }
    assert_eq!(refused(&jobs, &shop, LIMITS).await, Refusal::TenantQueue { most: 4 });
    drop(places.pop());
    places.push(jobs.enter(&shop, LIMITS).await.unwrap().unwrap());
    for place in places {
        place.keep();
    }
    assert_eq!(refused(&jobs, &shop, LIMITS).await, Refusal::TenantQueue { most: 4 });
    store.put(&shop, 4);
    jobs.sample().await.unwrap();
    assert_eq!(refused(&jobs, &shop, LIMITS).await, Refusal::TenantQueue { most: 4 });
    store.put(&shop, 3);
    jobs.sample().await.unwrap();
    jobs.enter(&shop, LIMITS).await.unwrap().unwrap().keep();
    assert_eq!(refused(&jobs, &shop, LIMITS).await, Refusal::TenantQueue { most: 4 });
}

#[tokio::test]
async fn the_queue_of_all_is_bounded_whoever_asks() {
    let (_, _, jobs) = jobs();
    for number in 0..10 {
        jobs.enter(&tenant(&format!("t{number}")), LIMITS).await.unwrap().unwrap().keep();
    }
    assert_eq!(refused(&jobs, &tenant("other"), LIMITS).await, Refusal::Queue { most: 10 });
    jobs.sample().await.unwrap();
    assert!(jobs.enter(&tenant("other"), LIMITS).await.unwrap().is_ok(), "none of them waits any more");
    jobs.sample().await.unwrap();
    assert!(jobs.lock().tenants.is_empty(), "who has no job is forgotten");
}

#[tokio::test]
async fn a_job_that_is_stored_while_a_sample_is_taken_is_not_lost() {
    let (_, store, jobs) = jobs();
    let shop = tenant("shop");
    let before = jobs.enter(&shop, LIMITS).await.unwrap().unwrap();
    jobs.enter(&shop, LIMITS).await.unwrap().unwrap().keep();
    store.put(&shop, 1);
    // The sample sees one; the other, and one more, come to the store after it has looked.
    let held = store.hold();
    let sampling = jobs.sample();
    let meanwhile = async {
        before.keep();
        jobs.enter(&shop, LIMITS).await.unwrap().unwrap().keep();
        drop(held);
    };
    let (sampled, ()) = tokio::join!(sampling, meanwhile);
    sampled.unwrap();
    assert_eq!(jobs.lock().all.count(), 3);
    assert_eq!(jobs.lock().tenants[&shop].count(), 3);
}

#[tokio::test]
async fn a_day_ends_at_midnight_and_is_counted_by_the_store_once() {
    let (clock, store, jobs) = jobs();
    let (shop, limits) = (tenant("shop"), JobLimits { all: 1000, tenant: None, day: Some(5) });
    store.today.store(3, Ordering::Relaxed);
    for _ in 0..2 {
        jobs.enter(&shop, limits).await.unwrap().unwrap().keep();
    }
    let until_midnight =
        Duration::from_millis((86_400_000 - clock.now().millis().rem_euclid(86_400_000)).unsigned_abs());
    assert_eq!(refused(&jobs, &shop, limits).await, Refusal::Day { most: 5, wait: until_midnight });
    assert_eq!(store.asked.load(Ordering::Relaxed), 1);
    assert!(jobs.enter(&shop, JobLimits { day: Some(6), ..limits }).await.unwrap().is_ok(), "not kept");
    assert!(jobs.enter(&shop, JobLimits { day: Some(6), ..limits }).await.unwrap().is_ok(), "so there is room still");
    clock.advance(until_midnight.saturating_sub(Duration::from_millis(1)));
    jobs.sample().await.unwrap();
    assert!(matches!(refused(&jobs, &shop, limits).await, Refusal::Day { .. }));
    clock.advance(Duration::from_millis(1));
    store.today.store(0, Ordering::Relaxed);
    for _ in 0..5 {
        jobs.enter(&shop, limits).await.unwrap().unwrap().keep();
    }
    assert!(matches!(refused(&jobs, &shop, limits).await, Refusal::Day { .. }));
    assert_eq!(store.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn many_at_once_never_get_more_places_than_there_are() {
    let (_, _, jobs) = jobs();
    let jobs = Arc::new(jobs);
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..200 {
        let jobs = Arc::clone(&jobs);
        asking.spawn(async move {
            let place = jobs.enter(&tenant(&format!("t{}", number % 3)), LIMITS).await.unwrap();
            place.map(Place::keep).is_ok()
        });
    }
    let places = asking.join_all().await.into_iter().filter(|entered| *entered).count();
    assert_eq!(places, 10);
}

async fn refused(jobs: &Jobs, tenant: &Tenant, limits: JobLimits) -> Refusal {
    jobs.enter(tenant, limits).await.unwrap().err().expect("a refusal")
}

fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

fn jobs() -> (Arc<ManualClock>, Arc<Shelf>, Jobs) {
    let clock = ManualClock::at(Timestamp::from_millis(1_795_229_844_921));
    let store = Arc::new(Shelf::default());
    let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn Counts>, Arc::clone(&clock) as Arc<dyn Clock>);
    (clock, store, jobs)
}

/// A store that says what it is told to.
#[derive(Debug, Default)]
struct Shelf {
    waiting: Mutex<HashMap<Tenant, u64>>,
    today: AtomicU64,
    asked: AtomicU64,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Shelf {
    fn put(&self, tenant: &Tenant, count: u64) {
        self.waiting.lock().unwrap().insert(tenant.clone(), count);
    }

    fn hold(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.gate).try_lock_owned().unwrap()
    }
}

#[async_trait]
impl Counts for Shelf {
    async fn waiting(&self) -> Result<HashMap<Tenant, u64>, StoreError> {
        let waiting = self.waiting.lock().unwrap().clone();
        let _answered = self.gate.lock().await;
        Ok(waiting)
    }

    async fn accepted_since(&self, _: Tenant, _: Timestamp) -> Result<u64, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.today.load(Ordering::Relaxed))
    }
}
