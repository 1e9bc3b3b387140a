//! Each limit of a job, with its own failure code. The clock stands still until the test moves it.

use crate::support::{Inbox, Setup, TestGateway, canvas, canvas_files, eventually};
use comfygate::clock::{ManualClock, Timestamp};
use comfygate::sim::{Fault, When};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[actix_web::test]
async fn a_job_that_runs_too_long_is_a_run_timeout_and_is_stopped_on_the_backend() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&with_timeout(&inbox, "run", "10m")).await;
    gateway.until(&id, "running").await;
    let webhook = told_in_time(&clock, &inbox, 600).await;
    assert_eq!(webhook["code"], "timeout_run");
    let stopped = |sim: &comfygate::sim::Sim| sim.requests().iter().any(|request| request.path == "/interrupt");
    gateway.sim.wait_for(stopped).await.unwrap();
    gateway.sim.release();
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_without_any_sign_of_life_is_a_silence_timeout() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&with_timeout(&inbox, "silence", "90s")).await;
    gateway.until(&id, "running").await;
    gateway.sim.inject_when(Fault::HungHttp, When::Every);
    let webhook = told_in_time(&clock, &inbox, 90).await;
    assert_eq!(webhook["code"], "timeout_silence");
    gateway.sim.clear_faults();
    gateway.sim.release();
    gateway.close().await;
}

#[actix_web::test]
async fn a_free_backend_that_does_not_begin_is_a_start_timeout() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Stall);
    let id = gateway.generate(&with_timeout(&inbox, "start", "4m")).await;
    gateway.until(&id, "submitted").await;
    gateway.sim.wait_for(|sim| sim.queued() == 1).await.unwrap();
    let webhook = told_in_time(&clock, &inbox, 240).await;
    assert_eq!(webhook["code"], "timeout_start");
    gateway.sim.release();
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_that_waits_too_long_is_a_queue_timeout_and_never_runs() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let first = gateway.generate(&canvas("")).await;
    gateway.until(&first, "running").await;
    // One waits on the backend, the other in the gateway.
    let waiting = [
        gateway.generate(&with_timeout(&inbox, "queue", "5m")).await,
        gateway.generate(&with_timeout(&inbox, "queue", "5m")).await,
    ];
    gateway.until(&waiting[0], "submitted").await;
    let one = told_in_time(&clock, &inbox, 300).await;
    let other = inbox.next().await.body;
    for webhook in [&one, &other] {
        assert_eq!(webhook["code"], "timeout_queue", "{webhook}");
        assert!(waiting.iter().any(|id| webhook["prompt_id"] == json!(id)));
    }
    gateway.sim.wait_for(|sim| sim.queued() == 1).await.unwrap();
    gateway.sim.release();
    gateway.until(&first, "success").await;
    assert_eq!(gateway.sim.executions().len(), 1);
    gateway.close().await;
}

#[actix_web::test]
async fn a_long_silence_is_no_timeout_while_the_backend_says_that_it_runs() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&with_timeout(&inbox, "silence", "30s")).await;
    gateway.until(&id, "running").await;
    for _ in 0..30 {
        let asked = looks(&gateway.sim);
        eventually("the gateway asks the backend", async || {
            clock.advance(Duration::from_secs(10));
            (looks(&gateway.sim) > asked).then_some(())
        })
        .await;
    }
    assert_eq!(gateway.job(&id).await["status"], "running");
    gateway.sim.release();
    assert_eq!(inbox.next().await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_that_ended_in_time_while_the_gateway_was_down_is_no_timeout() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let mut body = canvas_files(&inbox.url());
    body["timeouts"] = json!({ "queue": "5m", "run": "10m" });
    let running = gateway.generate(&body).await;
    gateway.until(&running, "running").await;
    let waiting = gateway.generate(&body).await;
    gateway.until(&waiting, "submitted").await;
    gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
    let gateway = gateway
        .restart_after(async |sim| {
            sim.release();
            sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
            clock.advance(Duration::from_hours(2));
        })
        .await;
    for _ in [running, waiting] {
        assert_eq!(inbox.next().await.body["status"], "success");
    }
    gateway.close().await;
}

async fn start() -> (TestGateway, Arc<ManualClock>) {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let setup = Setup { clock: Arc::<ManualClock>::clone(&clock), ..Setup::new() };
    (setup.start().await, clock)
}

fn with_timeout(inbox: &Inbox, name: &str, limit: &str) -> Value {
    let mut body = canvas(&inbox.url());
    body["timeouts"] = json!({ name: limit });
    body
}

/// Moves the clock until a webhook comes; not before the limit, and not long after it.
async fn told_in_time(clock: &ManualClock, inbox: &Inbox, limit: u64) -> Value {
    clock.advance(Duration::from_secs(limit - 1));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(inbox.rest().is_empty(), "told before its time");
    eventually("the timeout is told", async || {
        clock.advance(Duration::from_secs(2));
        inbox.try_next().map(|webhook| webhook.body)
    })
    .await
}

fn looks(sim: &comfygate::sim::Sim) -> usize {
    sim.requests().iter().filter(|request| request.path == "/queue" && request.method == "GET").count()
}
