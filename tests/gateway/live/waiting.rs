//! A caller that waits for its answer.

use crate::support::{Inbox, TestGateway, canvas};
use comfygate::sim::Fault;
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");

#[actix_web::test]
async fn who_prefers_to_wait_gets_the_end_as_its_answer() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let body = canvas(&inbox.url()).to_string();
    let headers = [JSON, ("prefer", "wait=50"), ("idempotency-key", "once")];
    let answer = gateway.post_raw(&headers, body.clone()).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (200, "wait=50"));
    let object = answer.json();
    assert_eq!(object["status"], "success");
    let id = object["prompt_id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/jobs/{id}"));
    assert_eq!(
        answer.bytes,
        gateway.get(&format!("/jobs/{id}")).await.bytes,
        "the very object that the webhook carries"
    );
    let again = gateway.post_raw(&headers, body).await;
    assert_eq!((again.status, again.bytes), (200, answer.bytes), "a repeat waits too, and has waited enough");
    assert_eq!(inbox.until_end().await.last().unwrap().prompt_id(), id, "the webhook is told all the same");
    gateway.close().await;
}

#[actix_web::test]
async fn who_has_waited_in_vain_is_answered_as_if_it_had_not() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let answer = gateway.post_raw(&[JSON, ("prefer", "wait=1")], canvas(&inbox.url()).to_string()).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (202, ""));
    let id = answer.json()["prompt_id"].as_str().unwrap().to_owned();
    gateway.sim.release();
    gateway.until(&id, "success").await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_failure_is_an_end_too_and_who_does_not_wait_is_answered_at_once() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::FailNode {
        node: "EmptyImage".into(),
        message: "no paint left".into(),
        exception_type: "ValueError".into(),
    });
    let answer = gateway.post_raw(&[JSON, ("prefer", "respond-async, wait")], canvas(&inbox.url()).to_string()).await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (200, json!("node_error")));
    for prefer in ["wait=0", "wait=soon", "return=minimal"] {
        let answer = gateway.post_raw(&[JSON, ("prefer", prefer)], canvas(&inbox.url()).to_string()).await;
        assert_eq!(answer.status, 202, "{prefer}");
    }
    gateway.until_idle().await;
    gateway.close().await;
}
