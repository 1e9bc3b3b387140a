//! Webhooks of jobs that go on: what receivers are told before the end, in which order, and what a bad receiver cannot do.

use crate::support::{Inbox, OnEvent, Setup, TestGateway, Webhook, canvas, canvas_files, starter};
use comfygate::sim::{Fault, When};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

const ALL: [&str; 4] = ["started", "progress", "output", "completed"];

#[actix_web::test]
async fn a_receiver_is_told_of_the_start_the_progress_and_each_output_before_the_end() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Slow(Duration::from_millis(150)));
    let mut request = told_of(&ALL, starter(&inbox.url()));
    request["metadata"] = json!({ "order": 7 });
    request["image_count"] = json!(2);
    let id = gateway.generate(&request).await;
    let told = inbox.until_end().await;
    let kinds = in_order(&told);
    assert_eq!(kinds.first(), Some(&"started"), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "started").count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "output").count(), 2, "{kinds:?}");
    let progress: Vec<&Webhook> = told.iter().filter(|webhook| kind_of(webhook) == "progress").collect();
    assert!(progress.len() >= 2, "{kinds:?}");

    let end = told.last().unwrap();
    assert_eq!((&end.body["status"], end.prompt_id()), (&json!("success"), id.as_str()));
    for event in told.iter().filter(|webhook| webhook.is_event()) {
        assert_eq!((&event.body["prompt_id"], &event.body["metadata"]["order"]), (&json!(id), &json!(7)));
        assert_eq!((&event.body["workflow"], &event.body["run"]["number"]), (&json!("starter"), &json!(1)));
        assert_eq!(event.attempt, "1");
        assert!(event.raw.len() < 1000 && event.body.get("images").is_none(), "{}", event.body);
    }
    let fractions: Vec<f64> =
        progress.iter().map(|event| event.body["progress"]["fraction"].as_f64().unwrap()).collect();
    assert!(fractions.is_sorted() && fractions.iter().all(|fraction| (0.0..=1.0).contains(fraction)), "{fractions:?}");
    assert!(progress.iter().any(|event| event.body["progress"]["node"]["id"].is_string()));
    let outputs = end.body["outputs"].as_array().unwrap();
    for event in told.iter().filter(|webhook| kind_of(webhook) == "output") {
        let output = &event.body["output"];
        let same = outputs.iter().find(|known| known["sha256"] == output["sha256"]).unwrap();
        for name in ["node_id", "index", "content_type", "bytes"] {
            assert_eq!(output[name], same[name], "{name}");
        }
    }
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn whoever_asks_for_nothing_is_told_of_the_end_alone() {
    let gateway = TestGateway::start().await;
    for events in [None, Some(json!(null)), Some(json!([])), Some(json!(["completed"]))] {
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Slow(Duration::from_millis(20)));
        let mut request = canvas(&inbox.url());
        if let Some(events) = events {
            request["webhook_events"] = events;
        }
        let webhook = gateway.run_one(&inbox, &request).await;
        assert_eq!(webhook.body["status"], "success");
        assert!(inbox.rest().is_empty());
    }
    gateway.close().await;
}

#[actix_web::test]
async fn only_what_was_asked_for_is_told_and_the_end_always() {
    let gateway = TestGateway::start().await;
    for events in [&["started"][..], &["output", "output"], &["progress", "completed"]] {
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Slow(Duration::from_millis(20)));
        gateway.generate(&told_of(events, canvas(&inbox.url()))).await;
        let told = inbox.until_end().await;
        let kinds: HashSet<&str> = in_order(&told).into_iter().collect();
        assert_eq!(kinds, HashSet::from([events[0]]));
    }
    gateway.close().await;
}

#[actix_web::test]
async fn the_end_comes_last_whatever_the_timing() {
    let gateway = TestGateway::start().await;
    for round in 0..24_u64 {
        let inbox = Inbox::open();
        if round % 3 > 0 {
            inbox.on_events(OnEvent::Wait(Duration::from_millis(round * 7 % 50)));
        }
        gateway.sim.inject(Fault::Slow(Duration::from_millis(round % 5)));
        let mut request = told_of(&ALL, canvas(&inbox.url()));
        request["image_count"] = json!(1 + round % 4);
        let id = gateway.generate(&request).await;
        let told = inbox.until_end().await;
        let kinds = in_order(&told);
        assert_eq!(kinds.first(), Some(&"started"), "{round}: {kinds:?}");
        let outputs = kinds.iter().filter(|kind| **kind == "output").count();
        assert_eq!(outputs as u64, 1 + round % 4, "{round}: {kinds:?}");
        gateway.until(&id, "success").await;
        assert!(inbox.rest().is_empty(), "{round}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_receiver_that_hangs_on_events_holds_up_the_end_for_one_event_and_the_run_not_at_all() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    // What a job takes here of which nobody is told before its end: a busy machine may be slower by that.
    let began = gateway.clock().now();
    let mut plain = canvas(&inbox.url());
    plain["color"] = json!(1);
    gateway.run_one(&inbox, &plain).await;
    let slowness = gateway.clock().now().since(began) * 10;
    inbox.on_events(OnEvent::Hang);
    gateway.sim.inject(Fault::Slow(Duration::from_millis(20)));
    let began = gateway.clock().now();
    let id = gateway.generate(&told_of(&ALL, canvas(&inbox.url()))).await;
    let job = gateway.until(&id, "success").await;
    assert!(
        gateway.clock().now().since(began) < Duration::from_secs(3) + slowness,
        "the run was held up for {:?}",
        gateway.clock().now().since(began)
    );
    assert_eq!(job["status"], "success");
    let told = inbox.until_end().await;
    assert_eq!(in_order(&told), ["started"]);
    let took = gateway.clock().now().since(began);
    assert!((Duration::from_secs(4)..Duration::from_secs(9) + slowness).contains(&took), "the end came after {took:?}");
    // The host is known to be slow now: nobody waits for its events for a while.
    let began = gateway.clock().now();
    gateway.generate(&told_of(&ALL, canvas(&inbox.url()))).await;
    let told = inbox.until_end().await;
    assert_eq!((told.len(), told[0].is_event()), (1, false));
    assert!(gateway.clock().now().since(began) < Duration::from_secs(3) + slowness);
    gateway.close().await;
}

#[actix_web::test]
async fn an_event_that_is_refused_is_not_tried_again_and_the_end_is_told() {
    let gateway = TestGateway::start().await;
    for status in [500, 404, 301, 410, 429] {
        let inbox = Inbox::open();
        inbox.on_events(OnEvent::Answer(status));
        gateway.generate(&told_of(&ALL, canvas(&inbox.url()))).await;
        let told = inbox.until_end().await;
        assert_eq!(in_order(&told), ["started"], "{status}");
        assert!(inbox.rest().is_empty(), "{status}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_failure_and_a_cancel_come_last_too() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let fault = Fault::FailNode { node: "3".into(), message: "no".into(), exception_type: "RuntimeError".into() };
    gateway.sim.inject(fault);
    gateway.generate(&told_of(&ALL, starter(&inbox.url()))).await;
    let told = inbox.until_end().await;
    assert_eq!(in_order(&told).first(), Some(&"started"));
    assert_eq!(told.last().unwrap().body["code"], "node_error");

    gateway.sim.inject(Fault::Slow(Duration::from_millis(200)));
    let id = gateway.generate(&told_of(&ALL, starter(&inbox.url()))).await;
    assert_eq!(kind_of(&inbox.next().await), "started");
    assert_eq!(gateway.post(&format!("/jobs/{id}/cancel"), &json!({})).await.status, 202);
    let told = inbox.until_end().await;
    assert!(in_order(&told).iter().all(|kind| *kind != "started"));
    assert_eq!(told.last().unwrap().body["code"], "cancelled");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn each_run_tells_its_start_once_and_with_its_number() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let restart = Fault::Restart { at: Some("executing".into()), forget: true, down_for: Duration::from_millis(200) };
    gateway.sim.inject(Fault::Slow(Duration::from_millis(50)));
    gateway.sim.inject(restart);
    gateway.generate(&told_of(&ALL, canvas(&inbox.url()))).await;
    let told = inbox.until_end().await;
    in_order(&told);
    let runs: Vec<&Value> = starts(&told).map(|start| &start.body["run"]["number"]).collect();
    assert_eq!(runs, [&json!(1), &json!(2)]);
    let ids: HashSet<&str> = starts(&told).map(|start| start.id.as_str()).collect();
    assert_eq!(ids.len(), 2);
    gateway.close().await;
}

#[actix_web::test]
async fn a_run_that_is_taken_up_again_after_a_restart_does_not_tell_its_start_again() {
    let gateway = Setup::new().start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::Slow(Duration::from_millis(300)), When::Next);
    let id = gateway.generate(&told_of(&ALL, canvas_files(&inbox.url()))).await;
    let first = inbox.next().await;
    assert_eq!(kind_of(&first), "started");
    gateway.until(&id, "running").await;
    let gateway = gateway.restart().await;
    let mut told = vec![first];
    told.extend(inbox.until_end().await);
    in_order(&told);
    assert_eq!(starts(&told).count(), 1);
    assert_eq!(told.last().unwrap().body["status"], "success");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_wish_for_events_that_cannot_be_met_is_refused() {
    let gateway = TestGateway::start().await;
    let url = "http://127.0.0.1:9/hook";
    for (events, code) in [
        (json!("started"), "invalid_type"),
        (json!({ "started": true }), "invalid_type"),
        (json!([1]), "invalid_type"),
        (json!([null]), "invalid_type"),
        (json!(["Started"]), "not_allowed"),
        (json!(["started", ""]), "not_allowed"),
        (json!(vec!["started"; 17]), "too_long"),
    ] {
        let mut request = canvas(url);
        request["webhook_events"] = events.clone();
        let answer = gateway.post("/generate", &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{events}: {}", answer.json());
        if code == "not_allowed" {
            let error = answer.json()["error"].to_string();
            assert!(ALL.iter().all(|word| error.contains(word)), "{error}");
        }
    }
    let nowhere = json!({ "workflow": "canvas", "prompt": "x", "webhook_events": ["started"] });
    let answer = gateway.post("/generate", &nowhere).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "not_allowed"));
    let nothing = json!({ "workflow": "canvas", "prompt": "x", "webhook_events": ["completed"] });
    gateway.generate(&nothing).await;
    gateway.close().await;
}

fn told_of(events: &[&str], mut request: Value) -> Value {
    request["webhook_events"] = json!(events);
    request
}

fn kind_of(webhook: &Webhook) -> &str {
    webhook.body["type"].as_str().unwrap().strip_prefix("generation.").unwrap()
}

fn starts(told: &[Webhook]) -> impl Iterator<Item = &Webhook> {
    told.iter().filter(|webhook| kind_of(webhook) == "started")
}

/// The kinds of the events before the end, all of one job. Checks what is so for every job: each webhook has an id of its
/// own, which begins with the end's; no status is that of an end but the last.
fn in_order(told: &[Webhook]) -> Vec<&str> {
    let (end, events) = told.split_last().unwrap();
    let ids: HashSet<&str> = told.iter().map(|webhook| webhook.id.as_str()).collect();
    assert_eq!(ids.len(), told.len(), "{ids:?}");
    assert_eq!(end.id, format!("msg_{}", end.prompt_id().replace('-', "")));
    assert!(!end.is_event());
    for event in events {
        assert!(event.id.starts_with(&format!("{}_{}_", end.id, kind_of(event))), "{}", event.id);
        assert!(!event.id.contains('.'));
        assert!(event.is_event());
    }
    events.iter().map(kind_of).collect()
}
