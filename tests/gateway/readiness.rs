//! What `/ready` and `/health` answer for each reason for which nothing can be taken in or run.

use crate::backends_passed::encoded;
use crate::keys::with_keys;
use crate::support::{Setup, TestGateway, canvas, eventually};
use comfygate::sim::Fault;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

#[actix_web::test]
async fn without_any_backend_it_is_not_ready_and_still_healthy_and_takes_jobs_in() {
    let gateway = TestGateway::start().await;
    gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::from_secs(3) });
    let ready = not_ready(&gateway).await;
    assert_eq!((&ready["backends"][0]["connected"], &ready["queue_full"]), (&json!(false), &json!(false)), "{ready}");
    healthy(&gateway).await;
    let id = gateway.generate(&canvas("")).await;
    gateway.until_ready().await;
    gateway.until(&id, "success").await;
    gateway.close().await;
}

#[actix_web::test]
async fn with_none_but_draining_backends_it_is_not_ready_until_one_serves_again() {
    let gateway = with_keys().start().await;
    let name = encoded(&gateway.sim.url());
    let turn = async |what: &str| gateway.post(&format!("/backends/{name}/{what}"), &Value::Null).await.status;
    assert_eq!(turn("drain").await, 200);
    let ready = not_ready(&gateway).await;
    let backend = &ready["backends"][0];
    assert_eq!((&backend["connected"], &backend["duty"]), (&json!(true), &json!("draining")), "{ready}");
    healthy(&gateway).await;
    assert_eq!(turn("resume").await, 200);
    gateway.until_ready().await;
    // A pause is an operator's wish of which no load balancer should hear.
    assert_eq!(gateway.post("/queue/pause", &Value::Null).await.status, 200);
    let paused = gateway.get("/ready").await;
    assert_eq!((paused.status, &paused.json()["queue_paused"]), (200, &json!(true)));
    gateway.close().await;
}

#[actix_web::test]
async fn without_the_default_workflow_it_is_not_ready_and_still_healthy() {
    let mut setup = Setup::new();
    setup.settings.workflows.default = "mine".into();
    let (configs, templates) = (setup.settings.workflows.configs.clone(), setup.settings.workflows.templates.clone());
    fs::copy(configs.join("canvas.yaml"), configs.join("mine.yaml")).unwrap();
    fs::copy(templates.join("canvas.json"), templates.join("mine.json")).unwrap();
    let gateway = setup.start().await;
    fs::remove_file(configs.join("mine.yaml")).unwrap();
    fs::remove_file(templates.join("mine.json")).unwrap();
    let ready = not_ready(&gateway).await;
    assert_eq!(ready["default_workflow"], json!({ "name": "mine", "loaded": false }));
    assert_eq!(ready["backends"][0]["connected"], json!(true));
    healthy(&gateway).await;
    gateway.close().await;
}

#[actix_web::test]
async fn with_as_many_jobs_waiting_as_may_it_is_not_ready_and_still_healthy() {
    let mut setup = Setup::new();
    setup.settings.callers.max_queued = 1;
    let gateway = setup.start().await;
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    // Two go to the backend, the third waits.
    let taken = async || {
        gateway.post("/generate", &canvas("")).await;
        let ready = gateway.get("/ready").await.json();
        let (on_backend, waiting) = (&ready["backends"][0]["prompts"], &ready["backlog"]["queued"]);
        (on_backend == &json!(2) && waiting == &json!(1)).then_some(())
    };
    eventually("as many wait as may", taken).await;
    let ready = not_ready(&gateway).await;
    assert_eq!((&ready["backends"][0]["connected"], &ready["draining"]), (&json!(true), &json!(false)));
    healthy(&gateway).await;
    gateway.sim.release();
    gateway.until_ready().await;
    gateway.until_idle().await;
    gateway.close().await;
}

/// Waits until it says 503; returns what it says besides.
async fn not_ready(gateway: &TestGateway) -> Value {
    let answer =
        eventually("it is not ready", async || Some(gateway.get("/ready").await).filter(|answer| answer.status == 503))
            .await;
    assert_eq!(answer.json()["status"], "not_ready");
    answer.json()
}

async fn healthy(gateway: &TestGateway) {
    let answer = gateway.get("/health").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ok" })));
}
