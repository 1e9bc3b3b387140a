//! A wall clock that jumps, while the gateway runs and between two starts: no retry is lost or held up, and none hurried
//! beyond what a clock that is wrong at the start cannot tell.

use crate::support::{Inbox, PATIENCE, Setup, TestGateway, canvas};
use comfygate::clock::{Clock, SystemClock, Timestamp};
use comfygate::sim::Fault;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const START: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;

#[actix_web::test]
async fn a_wall_clock_that_jumps_while_the_gateway_runs_neither_hurries_nor_holds_up_a_retry() {
    let wall = Arc::new(AtomicI64::new(START));
    let read = Arc::clone(&wall);
    let mut setup = Setup::new();
    setup.clock = SystemClock::with_wall(move || Timestamp::from_millis(read.load(Ordering::Relaxed)));
    setup.settings.webhooks.schedule = vec![Duration::from_secs(2); 4];
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    inbox.answer_with(&[500, 500, 500, 500]);
    gateway.generate(&canvas(&inbox.url())).await;
    let mut last = (inbox.next().await, tokio::time::Instant::now());
    for jump in [60, -120, 60, -60] {
        let jump = jump * MINUTE;
        wall.fetch_add(jump, Ordering::Relaxed);
        let next = tokio::time::timeout(PATIENCE, inbox.next()).await;
        let next = (next.unwrap_or_else(|_| panic!("held up by a jump of {jump} ms")), tokio::time::Instant::now());
        let waited = next.1 - last.1;
        // The wait varies by a fifth, and the one before may have been noticed late.
        assert!(waited > Duration::from_secs(1), "hurried by a jump of {jump} ms: {waited:?}");
        // Receivers compare it with their own clocks.
        assert_eq!(i64::try_from(next.0.timestamp).unwrap(), wall.load(Ordering::Relaxed) / 1000);
        last = next;
    }
    assert_eq!(last.0.attempt, "5");
    gateway.close().await;
}

#[actix_web::test]
async fn a_clock_that_went_back_while_the_gateway_was_down_holds_up_no_retry() {
    let inbox = Inbox::open();
    let gateway = with_a_failed_attempt(&inbox).await;
    // The wait is an hour and varies by a fifth; a restart takes at most one minute.
    let gateway = gateway.restart_at(at(-60 * MINUTE)).await;
    let due = due(&gateway);
    assert!((-12 * MINUTE..=13 * MINUTE).contains(&due), "{due}");
    // Later starts find nothing to do, although by their clocks the first attempt is still to come.
    let gateway = gateway.restart_at(at(-20 * MINUTE)).await;
    assert_eq!(self::due(&gateway), due);
    assert!(inbox.rest().is_empty(), "hurried");
    let gateway = gateway.restart_at(at(15 * MINUTE)).await;
    assert_eq!(inbox.next().await.attempt, "2");
    gateway.close().await;
}

#[actix_web::test]
async fn a_clock_that_was_years_ahead_and_is_set_right_loses_nothing() {
    let inbox = Inbox::open();
    let years = 3 * 365 * 24 * 60 * MINUTE;
    let gateway = with_a_failed_attempt(&inbox).await.restart_at(at(-years)).await;
    assert!(inbox.rest().is_empty(), "hurried");
    let gateway = gateway.restart_at(at(-years + 75 * MINUTE)).await;
    assert_eq!(inbox.next().await.attempt, "2");
    gateway.close().await;
}

#[actix_web::test]
async fn a_clock_that_went_ahead_while_the_gateway_was_down_brings_one_attempt_early_and_no_more() {
    let inbox = Inbox::open();
    let gateway = with_a_failed_attempt(&inbox).await;
    inbox.answer_with(&[500]);
    let gateway = gateway.restart_at(at(120 * MINUTE)).await;
    assert_eq!(inbox.next().await.attempt, "2");
    let gateway = gateway.restart_at(at((120 + 40) * MINUTE)).await;
    assert!(inbox.rest().is_empty(), "the next wait is whole again");
    let gateway = gateway.restart_at(at((120 + 75) * MINUTE)).await;
    assert_eq!(inbox.next().await.attempt, "3");
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_waits_no_longer_than_its_queue_limit_after_the_clock_went_back() {
    let inbox = Inbox::open();
    let gateway = Setup { clock: at(0), ..Setup::new() }.start().await;
    gateway.sim.inject(Fault::Stall);
    let mut ids = Vec::new();
    for color in 0..4 {
        let mut body = canvas(&inbox.url());
        body["color"] = json!(color);
        body["timeouts"] = json!({ "queue": "10m" });
        ids.push(gateway.generate(&body).await);
    }
    gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
    let gateway = gateway.restart_at(at(-60 * MINUTE)).await;
    assert_eq!(gateway.job(&ids[3]).await["status"], "queued");
    let gateway = gateway.restart_at(at(-60 * MINUTE + 11 * MINUTE)).await;
    for id in &ids[2..] {
        assert_eq!(gateway.until(id, "failure").await["code"], "timeout_queue");
    }
    gateway.sim.release();
    for _ in &ids {
        inbox.next().await;
    }
    gateway.close().await;
}

/// When the webhook is due, counted from [`START`].
fn due(gateway: &TestGateway) -> i64 {
    let database = rusqlite::Connection::open(gateway.settings.storage.folder.join("comfygate.db")).unwrap();
    database.query_row("SELECT due_at - ?1 FROM delivery", [START], |row| row.get(0)).unwrap()
}

/// A gateway at [`START`] one of whose webhooks has failed once and is due again in an hour.
async fn with_a_failed_attempt(inbox: &Inbox) -> TestGateway {
    let mut setup = Setup { clock: at(0), ..Setup::new() };
    setup.settings.webhooks.schedule = vec![Duration::from_hours(1); 3];
    let gateway = setup.start().await;
    inbox.answer_with(&[500]);
    gateway.generate(&canvas(&inbox.url())).await;
    assert_eq!(inbox.next().await.attempt, "1");
    gateway
}

/// A clock that goes on from this many milliseconds after [`START`].
fn at(offset: i64) -> Arc<dyn Clock> {
    SystemClock::with_wall(move || Timestamp::from_millis(START + offset))
}
