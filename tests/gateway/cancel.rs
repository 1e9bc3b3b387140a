//! The caller's wish to cancel, at every stage of a job.

use crate::support::{Inbox, TestGateway, canvas, canvas_files};
use comfygate::sim::{Fault, When};
use serde_json::{Value, json};

#[actix_web::test]
async fn a_running_job_is_stopped_on_the_backend_and_told_as_cancelled() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Slow(std::time::Duration::from_millis(200)));
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    let answer = gateway.post(&format!("/jobs/{id}/cancel"), &Value::Null).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("cancelling")));
    let webhook = inbox.next().await;
    assert_eq!((&webhook.body["status"], &webhook.body["code"]), (&json!("failure"), &json!("cancelled")));
    gateway.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();

    let again = gateway.post(&format!("/jobs/{id}/cancel"), &Value::Null).await;
    assert_eq!((again.status, again.code().as_str()), (409, "already_final"));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn jobs_that_wait_are_cancelled_at_once_and_never_run() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(gateway.generate(&canvas(&inbox.url())).await);
    }
    gateway.sim.wait_for(|sim| sim.hanging() == 1 && sim.queued() == 2).await.unwrap();
    // The second waits on the backend, the others in the gateway.
    for id in &ids[1..] {
        assert_eq!(gateway.post(&format!("/jobs/{id}/cancel"), &Value::Null).await.status, 202);
    }
    for _ in &ids[1..] {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["code"], "cancelled");
        assert!(ids[1..].iter().any(|id| id == webhook.prompt_id()));
    }
    gateway.sim.release();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (ids[0].as_str(), &json!("success")));
    assert_eq!(gateway.sim.executions().len(), 1, "what was cancelled never ran");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn cancelling_one_job_leaves_other_peoples_prompts_alone() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::Slow(std::time::Duration::from_millis(100)), When::Every);
    let first = gateway.generate(&canvas_files(&inbox.url())).await;
    let second = gateway.generate(&canvas_files(&inbox.url())).await;
    gateway.until(&first, "running").await;
    assert_eq!(gateway.post(&format!("/jobs/{second}/cancel"), &Value::Null).await.status, 202);
    let (one, other) = (inbox.next().await, inbox.next().await);
    let told: Vec<(&str, &Value)> =
        [&one, &other].map(|webhook| (webhook.prompt_id(), &webhook.body["status"])).to_vec();
    assert!(told.contains(&(first.as_str(), &json!("success"))), "{told:?}");
    assert!(told.contains(&(second.as_str(), &json!("failure"))), "{told:?}");
    let global = gateway.sim.requests().into_iter().filter(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        (request.path == "/interrupt" && body.get("prompt_id").is_none()) || body.get("clear").is_some()
    });
    assert_eq!(global.count(), 0, "nothing is interrupted or cleared without naming a prompt");
    gateway.close().await;
}
