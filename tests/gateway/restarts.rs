//! The gateway and its backend stop and start at the worst moments; no job is lost and none is told twice.

use crate::support::{Inbox, TestGateway, canvas, canvas_files};
use comfygate::sim::{Fault, When};
use serde_json::Value;
use std::time::Duration;

#[actix_web::test]
async fn a_backend_that_restarts_and_forgets_gets_the_job_again() {
    for at in ["execution_start", "executing", "executed", "execution_success"] {
        let gateway = TestGateway::start().await;
        let inbox = Inbox::open();
        let restart = Fault::Restart { at: Some(at.into()), forget: true, down_for: Duration::from_millis(200) };
        gateway.sim.inject(restart);
        let webhook = gateway.run_one(&inbox, &canvas_files(&inbox.url())).await;
        assert_eq!(webhook.body["status"], "success", "{at}: {}", webhook.body);
        gateway.close().await;
        assert!(inbox.rest().is_empty(), "{at}");
    }
}

#[actix_web::test]
async fn a_backend_that_forgets_again_and_again_is_given_up() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    // Each run is heard to begin, and counts; one that is lost before that does not.
    gateway.sim.inject_when(Fault::Slow(Duration::from_millis(50)), When::Every);
    let restart =
        Fault::Restart { at: Some("execution_success".into()), forget: true, down_for: Duration::from_millis(50) };
    gateway.sim.inject_when(restart, When::Every);
    // Slow enough that the beginning of each run is heard before the connection breaks: only such a run is a try.
    gateway.sim.inject_when(Fault::Slow(Duration::from_millis(30)), When::Every);
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    assert_eq!(webhook.body["code"], "backend_lost", "{}", webhook.body);
    let runs: usize = gateway.sim.executions().values().sum();
    assert_eq!(runs, 3);
    gateway.sim.clear_faults();
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_is_down_keeps_nobody_from_being_taken_in() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::from_millis(700) });
    let id = gateway.generate(&canvas(&inbox.url())).await;
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (id.as_str(), &Value::from("success")));
    gateway.close().await;
}

#[actix_web::test]
async fn a_gateway_that_restarts_in_mid_run_takes_its_runs_up_again() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(gateway.generate(&canvas_files(&inbox.url())).await);
    }
    gateway.until(&ids[0], "running").await;
    let gateway = gateway.restart().await;
    gateway.sim.release();
    let mut told = Vec::new();
    for _ in &ids {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        told.push(webhook.prompt_id().to_owned());
    }
    told.sort();
    assert_eq!(told, ids);
    assert!(gateway.sim.executions().values().all(|count| *count == 1), "{:?}", gateway.sim.executions());
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn images_that_were_sent_while_the_gateway_was_down_are_made_again() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    let gateway = gateway
        .restart_after(async |sim| {
            sim.release();
            sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
        })
        .await;
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (id.as_str(), &Value::from("success")));
    assert_eq!(webhook.images().len(), 1);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_webhook_survives_a_restart_between_acceptance_and_delivery() {
    let gateway = TestGateway::start().await;
    let closed = Inbox::open();
    let (address, url) = (closed.address(), closed.url());
    closed.close().await;
    let id = gateway.generate(&canvas(&url)).await;
    let before = gateway.until(&id, "success").await;
    let gateway = gateway.restart().await;
    assert_eq!(gateway.job(&id).await, before);
    let inbox = Inbox::open_at(address);
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body), (id.as_str(), &before));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_second_gateway_on_the_same_folder_refuses_to_start() {
    let gateway = TestGateway::start().await;
    let second = comfygate::app::App::build(
        &gateway.settings,
        comfygate::clock::SystemClock::start(),
        comfygate::lifecycle::Lifecycle::new(),
    )
    .await;
    let error = format!("{:#}", second.err().expect("the folder is taken"));
    assert!(error.contains("data"), "{error}");
    gateway.close().await;
}
