//! What is old is removed, what may still be needed never is, also while others put the same outputs again.

use crate::support::{House, START, after, failed, image, keyed, new_job, profile, request, succeeded};
use bytes::Bytes;
use comfygate::clearing::{self, Parts, ROUND, STEP};
use comfygate::clock::{Clock, ManualClock, Timestamp};
use comfygate::job::{BlobId, FrozenBody, JobId, Outcome, Request};
use comfygate::lifecycle::Lifecycle;
use comfygate::media::Blobs;
use comfygate::store::{Attempt, Cleared, Ending, ListFilter, NewJob, Revision, Store, Verdict};
use futures_util::future::join_all;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

#[tokio::test]
async fn a_job_that_ended_long_ago_goes_with_all_that_belongs_to_it() {
    let house = House::new();
    let id = house.ended(1).await;
    house.store.record_attempt(id, attempt(1), Verdict::Delivered).await.unwrap();
    assert_eq!(house.store.profile(id).await.unwrap(), Some(profile(1)));
    let cleared = house.store.clear(Some(after(9_999)), after(9_999), 10).await.unwrap();
    assert_eq!(cleared, Cleared::default(), "it ended a millisecond too late");
    let cleared = house.store.clear(Some(after(10_000)), after(10_000), 10).await.unwrap();
    assert_eq!(cleared, Cleared { jobs: 1, keys: 0, uploads: 0, blobs: vec![BlobId("cd".repeat(32))] });
    assert_eq!(house.store.job(id).await.unwrap(), None);
    assert_eq!(house.store.finished(id).await.unwrap(), None);
    assert_eq!(house.store.delivery(id).await.unwrap(), None);
    assert_eq!(house.store.profile(id).await.unwrap(), None);
    let listed = house.store.list(ListFilter { limit: 10, ..ListFilter::default() }).await.unwrap();
    assert_eq!(listed, []);
    house.store.close().await;
    let connection = rusqlite::Connection::open(house.database()).unwrap();
    for table in ["job", "job_request", "output", "result", "delivery", "attempt", "profile"] {
        let rows: i64 = connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn the_graph_that_came_with_a_job_goes_with_it_and_a_workflows_revision_stays() {
    let house = House::new();
    let revision = |hash: &str, name: &str| {
        let (hash, name) = (hash.to_owned(), name.to_owned());
        Revision { hash, name, config: "c".to_owned(), template: "t".to_owned() }
    };
    house.store.keep_revision(revision("shared", "flux")).await.unwrap();
    let with = |number, own: Option<&str>| {
        let mut new = new_job(number);
        new.request.webhook_url = None;
        new.request.revision = own.unwrap_or("shared").to_owned();
        new.request.workflow = if own.is_some() { Request::GRAPH } else { "flux" }.to_owned();
        new.own_revision = own.map(|own| revision(own, Request::GRAPH));
        new
    };
    for new in [with(1, Some("one")), with(2, Some("two")), with(3, None)] {
        let id = house.store.accept(new).await.unwrap();
        let job = house.store.job(id).await.unwrap().unwrap();
        if job.request.revision != "two" {
            let body = FrozenBody { segments: Vec::new() };
            let ending =
                Ending { job: id, run: None, outcome: Outcome::Cancelled, body, profile: None, ended_at: after(10) };
            house.store.finish(ending).await.unwrap();
        }
    }
    let taken = NewJob { id: new_job(2).id, ..with(4, Some("refused")) };
    assert!(house.store.accept(taken).await.is_err());
    assert_eq!(house.store.clear(Some(after(10_000)), after(10_000), 10).await.unwrap().jobs, 2);
    let mut kept = Vec::new();
    for hash in ["one", "two", "shared", "refused"] {
        kept.extend(house.store.revision(hash).await.unwrap().map(|revision| revision.hash));
    }
    assert_eq!(kept, ["two", "shared"]);
}

#[tokio::test]
async fn what_lives_or_is_still_to_be_told_is_never_cleared() {
    let house = House::new();
    let for_ever = Timestamp::from_millis(i64::MAX);
    let pending = house.ended(1).await;
    let retried = house.ended(2).await;
    house.store.record_attempt(retried, attempt(1), Verdict::RetryAt(after(20_000))).await.unwrap();
    let ran = house.accept(3).await;
    let run = house.claim_one("gpu", after(30)).await;
    house.store.started(ran, run.run.number, after(40)).await.unwrap();
    let submitted = house.accept(4).await;
    house.claim_one("gpu", after(50)).await;
    let queued = house.accept(5).await;
    let again = house.accept(6).await;
    house.store.wish_cancel(again).await.unwrap();
    assert_eq!(house.store.clear(Some(for_ever), for_ever, 100).await.unwrap(), Cleared::default());
    for id in [pending, retried, ran, submitted, queued, again] {
        assert!(house.store.job(id).await.unwrap().is_some());
    }
    let house = House::new();
    for verdict in [Verdict::Gone, Verdict::GiveUp, Verdict::Delivered] {
        let id = house.ended(7).await;
        house.store.record_attempt(id, attempt(1), verdict).await.unwrap();
        assert_eq!(house.store.clear(Some(for_ever), for_ever, 100).await.unwrap().jobs, 1, "{verdict:?}");
    }
    assert_eq!(house.store.clear(None, after(0), 100).await.unwrap(), Cleared::default());
}

#[tokio::test]
async fn clearing_goes_in_steps_the_oldest_first_and_takes_keys_with_it() {
    let house = House::new();
    for number in 0..10 {
        let mut job = keyed(new_job(number), &format!("key {number}"), 1);
        job.request.webhook_url = None;
        house.store.accept(job).await.unwrap();
        let run = house.claim_one("gpu", after(20)).await;
        let ended_at = after(u64::from(1000 - number));
        house.store.finish(failed(run.job.id, Some(run.run.number), ended_at)).await.unwrap();
    }
    let a_day_later = START + Duration::from_hours(25);
    let cleared = house.store.clear(Some(a_day_later), a_day_later, 4).await.unwrap();
    assert_eq!((cleared.jobs, cleared.keys), (4, 4));
    let left = house.store.list(ListFilter { limit: 100, ..ListFilter::default() }).await.unwrap();
    // The later accepted ended first here.
    let left: Vec<JobId> = left.into_iter().map(|listed| listed.job.id).collect();
    assert_eq!(left, (0..6).rev().map(|number| new_job(number).id).collect::<Vec<_>>());
    let cleared = house.store.clear(Some(a_day_later), START, 100).await.unwrap();
    assert_eq!((cleared.jobs, cleared.keys), (6, 0), "keys that have not expired stay");
}

#[tokio::test]
async fn a_revision_goes_when_no_job_refers_to_it() {
    let house = House::new();
    for hash in ["ab".repeat(32), "cd".repeat(32)] {
        let revision = Revision { hash, name: "flux".into(), config: String::new(), template: String::new() };
        house.store.keep_revision(revision).await.unwrap();
    }
    house.accept(1).await;
    assert_eq!(house.store.clear_revisions().await.unwrap(), 1);
    assert!(house.store.revision(&"ab".repeat(32)).await.unwrap().is_some());
    assert!(house.store.revision(&"cd".repeat(32)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_probe_writes_and_leaves_nothing() {
    let house = House::new();
    let log = house.database().with_extension("db-wal");
    let before = std::fs::metadata(&log).unwrap().len();
    house.store.probe().await.unwrap();
    assert!(std::fs::metadata(&log).unwrap().len() > before);
    assert_eq!(house.store.clear_revisions().await.unwrap(), 0);
}

#[tokio::test]
async fn an_output_stays_as_long_as_any_job_names_it_or_a_run_may_come_to() {
    let den = Den::new();
    let content = Bytes::from_static(b"the same picture");
    let (first, blob) = den.ended(1, &content, false).await;
    let (second, _) = den.ended(2, &content, true).await;
    den.a_round().await;
    assert!(den.house.store.job(first).await.unwrap().is_none());
    assert!(den.blobs.path(&blob).exists(), "the second job names it");
    den.house.store.record_attempt(second, attempt(1), Verdict::Delivered).await.unwrap();

    // A run finds the content there and does not write it again; then the last job that named it goes.
    den.house.accept(3).await;
    let run = den.house.claim_one("gpu", den.clock.now()).await;
    den.blobs.put(content).await.unwrap();
    for _ in 0..3 {
        den.a_round().await;
    }
    assert!(den.house.store.job(second).await.unwrap().is_none());
    assert!(den.blobs.path(&blob).exists(), "a run that goes on may name it");
    den.house.store.finish(failed(run.job.id, Some(run.run.number), den.clock.now())).await.unwrap();
    den.a_round().await;
    den.a_round().await;
    assert!(!den.blobs.path(&blob).exists(), "the run came to nothing");
    den.lifecycle.end().await;
}

#[tokio::test]
async fn an_input_image_stays_while_it_is_taken_in_and_as_long_as_its_job() {
    let den = Den::new();
    let hold = den.blobs.hold();
    let (blob, bytes) = den.blobs.put(Bytes::from_static(b"an input")).await.unwrap();
    for _ in 0..4 {
        den.a_round().await;
    }
    assert!(den.blobs.path(&blob).exists(), "somebody is about to name it");
    let mut job = new_job(1);
    job.request = request(Some(crate::support::HOOK));
    job.request.images.insert("photo".into(), image(&blob, bytes));
    let id = den.house.store.accept(job).await.unwrap();
    drop(hold);
    den.house.store.finish(failed(id, None, den.clock.now())).await.unwrap();
    for _ in 0..4 {
        den.a_round().await;
    }
    assert!(den.blobs.path(&blob).exists(), "its job is still there, since nobody was told of it");
    den.house.store.record_attempt(id, attempt(1), Verdict::Delivered).await.unwrap();
    for _ in 0..4 {
        den.a_round().await;
    }
    assert!(!den.blobs.path(&blob).exists(), "its job is gone");
    den.lifecycle.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outputs_are_never_removed_from_under_runs_that_make_the_same_ones() {
    const RUNNERS: u64 = 8;
    let den = Arc::new(Den::new());
    let (next, cleared_and_put_again) = (AtomicU64::new(1), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let runners = join_all((0..RUNNERS).map(|runner| {
        let (den, next, cleared_and_put_again) = (&den, &next, &cleared_and_put_again);
        async move {
            for turn in 0..40 {
                // Few contents, so that all make the same ones all the time.
                let content = Bytes::from(format!("picture {}", (runner + turn) % 3));
                let number = u16::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                let id = den.house.store.accept(new_job(number)).await.unwrap();
                // Its own: others look for one at the same time.
                let run = den.house.claim_this(id, den.clock.now()).await;
                let (blob, _) = if turn % 2 == 0 {
                    den.blobs.put(content).await.unwrap()
                } else {
                    let chunks = stream::iter([Ok::<_, Infallible>(content)]);
                    den.blobs.put_stream(chunks, 1000).await.unwrap()
                };
                let (id, number) = (run.job.id, run.run.number);
                assert!(den.house.store.finish(den.ending(id, Some(number), &blob)).await.unwrap());
                // Nobody was told of it yet, so it cannot have been cleared.
                assert!(den.blobs.path(&blob).exists(), "output {blob} of job {id} is gone");
                tokio::task::yield_now().await;
                assert!(den.blobs.path(&blob).exists(), "output {blob} of job {id} is gone");
                den.house.store.record_attempt(id, attempt(1), Verdict::Delivered).await.unwrap();
                if den.house.store.unnamed(vec![blob]).await.unwrap().len() == 1 {
                    cleared_and_put_again.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }));
    let time = async {
        while !is_over.load(Ordering::Relaxed) {
            den.clock.advance(ROUND);
            tokio::task::yield_now().await;
        }
    };
    let both = async {
        tokio::join!(
            async {
                runners.await;
                is_over.store(true, Ordering::Relaxed);
            },
            time
        )
    };
    tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    assert!(cleared_and_put_again.load(Ordering::Relaxed) > 0, "clearing never came in between");
    for _ in 0..3 {
        den.a_round().await;
    }
    for number in 0..3 {
        // With the last job the last output went.
        let (blob, _) = Blobs::open(tempfile::tempdir().unwrap().path())
            .unwrap()
            .put(Bytes::from(format!("picture {number}")))
            .await
            .unwrap();
        assert!(!den.blobs.path(&blob).exists());
    }
    den.lifecycle.end().await;
}

#[tokio::test]
async fn many_old_jobs_go_in_one_round_of_small_steps() {
    let den = Den::new();
    for number in 0..u16::try_from(STEP * 3).unwrap() {
        den.ended(number, &Bytes::new(), false).await;
    }
    let mut left = u32::MAX;
    den.clock.advance(ROUND);
    for _ in 0..1000 {
        let filter = ListFilter { limit: 1000, ..ListFilter::default() };
        let now = u32::try_from(den.house.store.list(filter).await.unwrap().len()).unwrap();
        assert!(left == u32::MAX || left - now <= STEP * 2, "{left} became {now} at once");
        left = now;
        if left == 0 {
            break;
        }
        den.clock.advance(Duration::from_millis(10));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(left, 0);
    den.lifecycle.end().await;
}

/// A house in which clearing goes on, for jobs that are kept for one millisecond.
struct Den {
    house: House,
    blobs: Arc<Blobs>,
    clock: Arc<ManualClock>,
    lifecycle: Lifecycle,
    markers: AtomicU16,
}

impl Den {
    fn new() -> Self {
        let house = House::new();
        let blobs = Arc::new(Blobs::open(house.folder.path()).unwrap());
        let (clock, lifecycle) = (ManualClock::at(after(100)), Lifecycle::new());
        let parts = Parts {
            store: Arc::clone(&house.store) as Arc<dyn Store>,
            blobs: Arc::clone(&blobs),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            retention: Some(Duration::from_millis(1)),
        };
        lifecycle.spawn_station("clearing", clearing::run(parts, lifecycle.stop()));
        Self { house, blobs, clock, lifecycle, markers: AtomicU16::new(10_000) }
    }

    /// Lets clearing look once more and waits until it has.
    async fn a_round(&self) {
        // Jobs go at the beginning of a round, so the round of the first one is over when the second one has gone.
        for _ in 0..2 {
            let number = self.markers.fetch_add(1, Ordering::Relaxed);
            let (marker, _) = self.ended(number, &Bytes::from_static(b"marker"), false).await;
            let gone = async {
                while self.house.store.job(marker).await.unwrap().is_some() {
                    self.clock.advance(ROUND);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_mins(1), gone).await.unwrap();
        }
    }

    /// Takes a job through its run, which puts this output.
    async fn ended(&self, number: u16, content: &Bytes, has_webhook: bool) -> (JobId, BlobId) {
        let mut job = new_job(number);
        job.request = request(has_webhook.then_some(crate::support::HOOK));
        let id = self.house.store.accept(job).await.unwrap();
        let claimed = self.house.claim_this(id, self.clock.now()).await;
        let (blob, _) = self.blobs.put(content.clone()).await.unwrap();
        let ending = self.ending(id, Some(claimed.run.number), &blob);
        assert!(self.house.store.finish(ending).await.unwrap());
        (id, blob)
    }

    fn ending(&self, id: JobId, run: Option<u32>, blob: &BlobId) -> Ending {
        let mut ending = succeeded(id, run, self.clock.now());
        if let Outcome::Succeeded(outputs) = &mut ending.outcome {
            outputs[0].sha256 = blob.clone();
        }
        ending.body = FrozenBody { segments: Vec::new() };
        ending
    }
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        started_at: after(11_000),
        took: Duration::from_millis(3),
        status: Some(204),
        code: None,
        snippet: String::new(),
    }
}
