//! Telling the caller, until told.

use crate::support::{Inbox, TestGateway, canvas};
use serde_json::json;

#[actix_web::test]
async fn a_receiver_that_was_down_is_told_when_it_is_up() {
    let gateway = TestGateway::start().await;
    let closed = Inbox::open();
    let (address, url) = (closed.address(), closed.url());
    closed.close().await;
    let id = gateway.generate(&canvas(&url)).await;
    gateway.until(&id, "success").await;
    let inbox = Inbox::open_at(address);
    let webhook = inbox.next().await;
    assert_eq!(webhook.prompt_id(), id);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn every_attempt_has_the_same_id_and_the_same_bytes() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    inbox.answer_with(&[500, 404, 302, 418, 501]);
    gateway.generate(&canvas(&inbox.url())).await;
    let first = inbox.next().await;
    for number in 2..=6 {
        let webhook = inbox.next().await;
        assert_eq!((&webhook.id, &webhook.raw), (&first.id, &first.raw));
        assert_eq!(webhook.attempt, number.to_string());
        assert!(webhook.timestamp >= first.timestamp);
    }
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_receiver_that_is_gone_is_not_asked_again() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    inbox.answer_with(&[410]);
    gateway.generate(&canvas(&inbox.url())).await;
    inbox.next().await;
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_job_that_failed_is_told_like_one_that_succeeded() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    inbox.answer_with(&[500]);
    let fault = comfygate::sim::Fault::FailNode {
        node: "3".into(),
        message: "no".into(),
        exception_type: "RuntimeError".into(),
    };
    gateway.sim.inject(fault);
    let id = gateway.generate(&canvas(&inbox.url())).await;
    let (first, second) = (inbox.next().await, inbox.next().await);
    assert_eq!((first.prompt_id(), &first.body["status"]), (id.as_str(), &json!("failure")));
    assert_eq!(first.raw, second.raw);
    gateway.close().await;
}
