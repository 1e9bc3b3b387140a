//! A backend that answers everything and runs nothing, or says nothing at all: jobs end in time and with the reason,
//! prompts are stopped by their own ids, and a dead worker is not fed for ever.

use crate::proxy::{At, Effect, On, Way};
use crate::support::{Inbox, Setup, TestGateway, as_time_goes_by, canvas, canvas_files};
use comfygate::clock::ManualClock;
use comfygate::sim::{Fault, Sim};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[actix_web::test]
async fn a_worker_that_takes_nothing_from_its_queue_is_told_of_and_not_fed_for_ever() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Stall);
    for colour in 0..8 {
        gateway.generate(&with(canvas_files(&inbox.url()), colour, &json!({ "start": "1m", "queue": "8m" }))).await;
    }
    let mut codes = Vec::new();
    while codes.len() < 8 {
        let told = as_time_goes_by(&clock, "the jobs end", async || inbox.try_next()).await;
        codes.push(told.body["code"].as_str().unwrap().to_owned());
        if codes.len() == 2 {
            let trouble = trouble(&gateway).await;
            assert!(trouble.starts_with("accepts prompts and runs none: a free backend did not begin"), "{trouble}");
            assert_eq!(gateway.get("/ready").await.status, 200, "it takes jobs in as before");
        }
    }
    // Two were given to it at once, and then one now and then; the others waited here until their time was over.
    let started = codes.iter().filter(|code| *code == "timeout_start").count();
    assert!((3..8).contains(&started), "{codes:?}");
    assert!(codes.iter().all(|code| code == "timeout_start" || code == "timeout_queue"), "{codes:?}");
    gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    assert_eq!(submissions(&gateway.sim), started, "nothing was given to it that it was not asked to run");

    // It runs again: one job shows it, and the trouble is over.
    gateway.sim.release();
    let id = gateway.generate(&canvas_files(&inbox.url())).await;
    let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!((told.prompt_id(), &told.body["status"]), (id.as_str(), &json!("success")));
    assert_eq!(gateway.get("/ready").await.json()["backends"][0]["error"], Value::Null);
    gateway.close().await;
}

#[actix_web::test]
async fn a_restart_of_a_dead_worker_is_noticed_at_once() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Stall);
    for colour in 0..3 {
        gateway.generate(&with(canvas_files(&inbox.url()), colour, &json!({ "start": "1m" }))).await;
    }
    for _ in 0..2 {
        let told = as_time_goes_by(&clock, "a job ends", async || inbox.try_next()).await;
        assert_eq!(told.body["code"], "timeout_start");
    }
    assert_eq!(submissions(&gateway.sim), 2, "the third one waits here");
    gateway.sim.release();
    gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::ZERO });
    let before = clock_of(&gateway);
    let told = as_time_goes_by(&clock, "the third job ends", async || inbox.try_next()).await;
    assert_eq!(told.body["status"], "success", "{}", told.body);
    assert!(clock_of(&gateway) - before < 30_000, "it did not wait for the end of the rest");
    gateway.close().await;
}

#[actix_web::test]
async fn a_worker_that_dies_in_a_prompt_ends_that_job_in_time_and_gets_no_other_until_it_let_go() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    // It is in `queue_running` for ever, deaf to interrupts.
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let dead = gateway.generate(&with(canvas_files(&inbox.url()), 1, &json!({ "run": "1m" }))).await;
    gateway.until(&dead, "running").await;
    let told = as_time_goes_by(&clock, "the job ends", async || inbox.try_next()).await;
    assert_eq!((told.prompt_id(), &told.body["code"]), (dead.as_str(), &json!("timeout_run")));
    let named = async || {
        let trouble = trouble(&gateway).await;
        trouble.contains(&format!("{dead} was stopped and still runs")).then_some(())
    };
    as_time_goes_by(&clock, "the trouble is told", named).await;
    let before = submissions(&gateway.sim);
    let next = gateway.generate(&with(canvas_files(&inbox.url()), 2, &json!({ "start": "1m" }))).await;
    for _ in 0..30 {
        clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((&gateway.job(&next).await["status"], submissions(&gateway.sim)), (&json!("queued"), before));
    // Somebody restarted it.
    gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::ZERO });
    let told = as_time_goes_by(&clock, "the next job ends", async || inbox.try_next()).await;
    assert_eq!((told.prompt_id(), &told.body["status"]), (next.as_str(), &json!("success")), "{}", told.body);
    assert_eq!(gateway.get("/ready").await.json()["backends"][0]["error"], Value::Null);
    gateway.close().await;
}

#[actix_web::test]
async fn behind_a_prompt_of_somebody_else_that_never_ends_jobs_end_by_their_queue_limit() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    submit_as_somebody_else(&gateway.sim).await;
    for colour in 0..3 {
        gateway.generate(&with(canvas_files(&inbox.url()), colour, &json!({ "queue": "4m", "start": "1m" }))).await;
    }
    for _ in 0..3 {
        let told = as_time_goes_by(&clock, "the jobs end", async || inbox.try_next()).await;
        assert_eq!(told.body["code"], "timeout_queue", "{}", told.body);
    }
    assert!(trouble(&gateway).await.starts_with("accepts prompts and runs none"), "{}", trouble(&gateway).await);
    gateway.sim.wait_for(|sim| sim.queued() == 1).await.unwrap();
    only_by_name(&gateway.sim);
    gateway.sim.release();
    gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    assert!(gateway.sim.remembers("somebody-else"), "it went on to its end");
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_answers_nothing_is_a_timeout_and_its_prompt_is_stopped_when_it_answers_again() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&with(canvas(&inbox.url()), 1, &json!({ "silence": "90s" }))).await;
    gateway.until(&id, "running").await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    submit_as_somebody_else(&gateway.sim).await;
    // Not a word gets through, and no connection breaks.
    proxy.arm_every(On::Any, At::Connect, Effect::Swallow(Way::Both));
    proxy.strike(&On::Any, Effect::Swallow(Way::Both));
    let told = as_time_goes_by(&clock, "the job ends", async || inbox.try_next()).await;
    assert_eq!((told.prompt_id(), &told.body["code"]), (id.as_str(), &json!("timeout_silence")), "{}", told.body);
    assert_eq!(gateway.sim.queued(), 2, "nobody could stop it yet");
    // Whatever was asked of it at that time fails for good.
    proxy.refuse().await;
    proxy.strike(&On::Any, Effect::Reset);
    for _ in 0..30 {
        clock.advance(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(gateway.sim.queued(), 2, "nobody could stop it yet");
    // The network is back, and the prompt would go on.
    proxy.heal();
    proxy.accept().await;
    let interrupted = async || interrupts(&gateway.sim).contains(&id).then_some(());
    as_time_goes_by(&clock, "the prompt is stopped", interrupted).await;
    only_by_name(&gateway.sim);
    gateway.sim.release();
    gateway.sim.wait_for(|sim| sim.queued() == 0 && sim.remembers("somebody-else")).await.unwrap();
    assert!(gateway.sim.images().iter().all(|image| image.prompt == "somebody-else"), "ours made no image any more");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn prompts_that_were_cut_off_for_too_long_are_stopped_there_and_run_again() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&with(canvas(&inbox.url()), 1, &json!({ "silence": "30s" }))).await;
    gateway.until(&id, "running").await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    proxy.refuse().await;
    proxy.strike(&On::Any, Effect::Reset);
    let back = async || (gateway.job(&id).await["status"] == "queued").then_some(());
    as_time_goes_by(&clock, "the job waits again", back).await;
    proxy.accept().await;
    let interrupted = async || interrupts(&gateway.sim).contains(&id).then_some(());
    as_time_goes_by(&clock, "the first prompt is stopped", interrupted).await;
    gateway.sim.release();
    let told = as_time_goes_by(&clock, "the job ends", async || inbox.try_next()).await;
    assert_eq!((told.prompt_id(), &told.body["status"]), (id.as_str(), &json!("success")), "{}", told.body);
    assert!(gateway.sim.images().iter().all(|image| image.prompt != id), "only the second run made an image");
    only_by_name(&gateway.sim);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

async fn start() -> (TestGateway, Arc<ManualClock>) {
    let (setup, clock) = Setup::with_manual_clock();
    (setup.start().await, clock)
}

fn with(mut body: Value, colour: u32, timeouts: &Value) -> Value {
    body["color"] = json!(colour);
    body["timeouts"] = timeouts.clone();
    body
}

async fn trouble(gateway: &TestGateway) -> String {
    gateway.get("/ready").await.json()["backends"][0]["error"].as_str().unwrap_or("none").to_owned()
}

/// The time that the gateway has, in milliseconds.
fn clock_of(gateway: &TestGateway) -> i64 {
    gateway.clock().now().millis()
}

fn submissions(sim: &Sim) -> usize {
    sim.requests().iter().filter(|request| request.is_prompt()).count()
}

/// The prompts that were interrupted, by name.
fn interrupts(sim: &Sim) -> Vec<String> {
    let interrupts = sim.requests().into_iter().filter(|request| request.path == "/interrupt");
    let name = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["prompt_id"].as_str().unwrap().to_owned();
    interrupts.map(|request| name(&request.body)).collect()
}

/// Nothing was interrupted or cleared without naming a prompt, and nobody else's was named.
fn only_by_name(sim: &Sim) {
    for request in sim.requests().iter().filter(|request| request.method == "POST") {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        assert!(body.get("clear").is_none(), "{body}");
        assert!(request.path != "/interrupt" || body["prompt_id"].is_string(), "{body}");
        let names_another = request.path != "/prompt" && body.to_string().contains("somebody-else");
        assert!(!names_another, "{} {body}", request.path);
    }
}

/// Queues a prompt past the gateway, as another client of the same ComfyUI does.
async fn submit_as_somebody_else(sim: &Sim) {
    let graph = json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 64, "height": 64, "batch_size": 1, "color": 9 } },
        "2": { "class_type": "SaveImage", "inputs": { "images": ["1", 0], "filename_prefix": "other" } },
    });
    let body = json!({ "prompt": graph, "prompt_id": "somebody-else", "client_id": "other" });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{}/prompt", sim.url())).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}
