//! A request that is repeated under its idempotency key is one job and one webhook, whenever it is repeated.

use crate::support::{Answer, Inbox, Program, Setup, TestGateway, canvas, eventually};
use comfygate::clock::{Clock, SystemClock, Timestamp};
use comfygate::sim::{Sim, SimOptions};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const JSON: (&str, &str) = ("content-type", "application/json");

#[actix_web::test]
async fn fifty_posts_at_once_under_one_key_are_one_job_and_one_webhook_before_and_after_a_restart() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let body = canvas(&inbox.url()).to_string();
    let answers = join_all((0..50).map(|_| post(&gateway, "order-1", &body))).await;
    let ids: BTreeSet<String> = answers.iter().map(id_of).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let first = answers.iter().filter(|answer| answer.header("idempotent-replayed") != "true").count();
    assert_eq!(first, 1, "one of them made the job, and the others are told that they did not");
    inbox.next().await;

    let gateway = gateway.restart().await;
    let again = post(&gateway, "order-1", &body).await;
    assert_eq!((BTreeSet::from([id_of(&again)]), again.header("idempotent-replayed")), (ids, "true"));
    let other = post(&gateway, "order-1", &body.replace("64", "32")).await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
    assert_eq!(jobs(&gateway).await, 1);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_key_holds_for_a_day_and_then_makes_a_new_job() {
    let inbox = Inbox::open();
    let body = canvas(&inbox.url()).to_string();
    let gateway = Setup { clock: at(0), ..Setup::new() }.start().await;
    let first = id_of(&post(&gateway, "order-1", &body).await);
    inbox.next().await;
    let gateway = gateway.restart_at(at(24 * 60 - 5)).await;
    assert_eq!(id_of(&post(&gateway, "order-1", &body).await), first);
    let gateway = gateway.restart_at(at(24 * 60 + 1)).await;
    // Another body is no longer a contradiction.
    let new = post(&gateway, "order-1", &body.replace("64", "32")).await;
    assert_ne!(id_of(&new), first);
    inbox.next().await;
    assert_eq!(jobs(&gateway).await, 2);
    gateway.close().await;
}

#[actix_web::test]
async fn a_repeat_is_answered_whatever_became_of_the_job_and_its_workflow() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let body = canvas(&inbox.url()).to_string();
    let first = id_of(&post(&gateway, "order-1", &body).await);
    gateway.until(&first, "success").await;
    inbox.next().await;
    std::fs::remove_file(gateway.settings.workflows.configs.join("canvas.yaml")).unwrap();
    std::fs::remove_file(gateway.settings.workflows.templates.join("canvas.json")).unwrap();
    let gone = async || {
        let ready = gateway.get("/ready").await.json();
        (!ready["workflows"].as_array()?.contains(&json!("canvas"))).then_some(())
    };
    eventually("the workflow is gone", gone).await;
    assert_eq!(post(&gateway, "order-2", &body).await.code(), "unknown_workflow");
    assert_eq!(id_of(&post(&gateway, "order-1", &body).await), first);

    // As one day's clearing of old jobs will leave it.
    let database = rusqlite::Connection::open(gateway.settings.storage.folder.join("comfygate.db")).unwrap();
    database.pragma_update(None, "foreign_keys", true).unwrap();
    assert_eq!(database.execute("DELETE FROM job", ()).unwrap(), 1);
    assert_eq!(id_of(&post(&gateway, "order-1", &body).await), first);
    assert_eq!((gateway.get(&format!("/jobs/{first}")).await.status, jobs(&gateway).await), (404, 0));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_request_that_is_refused_does_not_use_its_key() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let good = canvas(&inbox.url()).to_string();
    for wrong in ["{", r#"{"prompt":""}"#, r#"{"prompt":"x","workflow":"nowhere"}"#, r#"{"prompt":"x","width":-1}"#] {
        assert_eq!(post(&gateway, "order-1", wrong).await.status, 400, "{wrong}");
    }
    let answer = post(&gateway, "order-1", &good).await;
    assert_eq!((answer.status, answer.header("idempotent-replayed")), (202, ""), "{}", answer.json());
    inbox.next().await;

    for key in ["k".repeat(256), String::new(), "schl\u{fc}ssel".to_owned()] {
        let answer = post(&gateway, &key, &good).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_idempotency_key"), "{key}");
    }
    let two = gateway.post_raw(&[JSON, ("idempotency-key", "a"), ("idempotency-key", "b")], good.clone()).await;
    assert_eq!((two.status, two.code().as_str()), (400, "invalid_idempotency_key"));
    assert_eq!(id_of(&post(&gateway, &"k".repeat(255), &good).await).len(), 36);
    inbox.next().await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_request_that_comes_while_the_gateway_stops_does_not_use_its_key() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let held = canvas(&format!("http://{}/hook", receiver.local_addr().unwrap()));
    let grace = ("COMFYGATE_SHUTDOWN_GRACE", "1s");
    let program = Program::serve(setup.folder.path(), &sim.url(), &[grace]).await;
    assert_eq!(program.post(&held).await.unwrap().status(), 202);
    let webhook = receiver.accept().await.unwrap();
    program.terminate();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |program: &Program, body: &Value| {
        let request = client.post(program.url("/generate")).header("idempotency-key", "order-1");
        request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap().status()
    };
    eventually("it stops", async || program.get("/ready").await.filter(|(status, _)| *status == 503)).await;
    let body = json!({ "workflow": "canvas", "prompt": "x", "width": 64, "height": 64 });
    assert_eq!(post(&program, &body).await, 503);
    assert!(program.ended().await.success());
    drop(webhook);

    let program = Program::serve(setup.folder.path(), &sim.url(), &[grace]).await;
    let other = json!({ "workflow": "canvas", "prompt": "y", "width": 64, "height": 64 });
    assert_eq!(post(&program, &other).await, 202);
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn a_repeat_after_a_lost_answer_finds_the_job_that_was_stored() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    let body = canvas(&inbox.url()).to_string();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |program: &Program| {
        let request = client.post(program.url("/generate")).header("idempotency-key", "order-1");
        request.header("content-type", "application/json").body(body.clone()).send().await
    };
    // The process dies between the commit and the answer.
    let program = Program::serve_with_fault("kill:accepted", setup.folder.path(), &sim.url(), &[]).await;
    assert!(post(&program).await.is_err(), "there is no answer");
    assert!(!program.ended().await.success());
    let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    let answer = post(&program).await.unwrap();
    assert_eq!(answer.status(), 202);
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(inbox.next().await.prompt_id(), answer["prompt_id"]);
    program.until_idle().await;
    assert_eq!(program.get("/jobs").await.unwrap().1["jobs"].as_array().unwrap().len(), 1);
    assert!(inbox.rest().is_empty());
    program.kill();
    sim.stop().await;
}

async fn post(gateway: &TestGateway, key: &str, body: &str) -> Answer {
    gateway.post_raw(&[JSON, ("idempotency-key", key)], body.to_owned()).await
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.json());
    answer.json()["prompt_id"].as_str().unwrap().to_owned()
}

async fn jobs(gateway: &TestGateway) -> usize {
    gateway.get("/jobs").await.json()["jobs"].as_array().unwrap().len()
}

/// A clock that goes on from so many minutes after some moment.
fn at(minutes: i64) -> Arc<dyn Clock> {
    SystemClock::with_wall(move || Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000))
}
