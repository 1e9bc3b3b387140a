//! The program as a process: killed at any moment, told to stop, and what it writes into its log.

use crate::folder::{codes, fsck};
use crate::support::{Inbox, PATIENCE, Program, Setup, Webhook, canvas, canvas_files, eventually};
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const QUICK: (&str, &str) = ("COMFYGATE_WEBHOOK_SCHEDULE", "50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms");

#[actix_web::test]
async fn every_job_that_was_taken_in_is_told_although_the_gateway_is_killed_again_and_again() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    let mut taken_in = BTreeSet::new();
    for (round, lifetime) in [0, 1, 2, 5, 9, 14, 20, 30, 45, 70, 110, 200].into_iter().enumerate() {
        inbox.answer_with(&[204, 500]);
        let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
        let post = async |number: usize| {
            let request = if number.is_multiple_of(2) { canvas } else { canvas_files };
            let mut body = request(&inbox.url());
            body["color"] = json!(round * 1000 + number);
            let answer = program.post(&body).await.filter(|answer| answer.status() == 202)?;
            let answer: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
            Some(answer["prompt_id"].as_str()?.to_owned())
        };
        taken_in.extend(post(0).await);
        let posting = async {
            for number in 1.. {
                taken_in.extend(post(number).await);
            }
        };
        // The moment of the kill is what this test is about; nothing waits for it.
        tokio::time::timeout(Duration::from_millis(lifetime), posting).await.ok();
        program.kill();
        let (_, report) = fsck(setup.folder.path());
        assert!(codes(&report).is_subset(&BTreeSet::from(["draft", "orphan"])), "something dangles: {report:#}");
    }
    assert!(taken_in.len() >= 12, "{}", taken_in.len());

    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    program.until_idle().await;
    let mut told: BTreeMap<String, Vec<Webhook>> = BTreeMap::new();
    for webhook in inbox.rest() {
        told.entry(webhook.prompt_id().to_owned()).or_default().push(webhook);
    }
    for id in &taken_in {
        assert!(told.contains_key(id), "job {id} was taken in and never told");
    }
    for (id, webhooks) in &told {
        let first = &webhooks[0];
        assert!(webhooks.iter().all(|webhook| (&webhook.id, &webhook.raw) == (&first.id, &first.raw)), "{webhooks:?}");
        let (status, job) = program.get(&format!("/jobs/{id}")).await.unwrap();
        assert_eq!((status, &job), (200, &first.body));
        assert_eq!(job["status"], "success", "job {id}: {job}");
    }
    program.kill();
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    program.terminate();
    assert!(program.ended().await.success());
    let (code, report) = fsck(setup.folder.path());
    assert_eq!((code, &report["problems"]), (0, &json!([])));
    sim.stop().await;
}

#[actix_web::test]
async fn asked_to_stop_it_takes_in_nothing_ends_what_it_tells_and_still_answers_meanwhile() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    let answer = program.post(&canvas(&url)).await.unwrap();
    let id = serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()["prompt_id"].clone();
    let id = id.as_str().unwrap();

    let accepted = tokio::time::timeout(PATIENCE, receiver.accept()).await.unwrap();
    let mut webhook = accepted.unwrap().0;
    webhook.readable().await.unwrap();
    program.terminate();
    eventually("it is not ready any more", async || program.get("/ready").await.filter(|(status, _)| *status == 503))
        .await;
    let refused = program.post(&canvas(&url)).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    // The receiver asks from within its handler.
    let (status, job) = program.get(&format!("/jobs/{id}")).await.unwrap();
    assert_eq!((status, &job["status"]), (200, &json!("success")));
    let mut buffer = vec![0; 1 << 20];
    let read = webhook.read(&mut buffer).await.unwrap();
    assert!(buffer[..read].starts_with(b"POST /hook"));
    webhook.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
    while webhook.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    let log = Arc::clone(&program.log);
    let ended = program.ended().await;
    assert!(ended.success(), "{ended}: {}", log.lock().unwrap());

    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    let (_, ready) = program.get("/ready").await.unwrap();
    assert_eq!(ready["backlog"]["deliveries"], 0, "the answer was recorded");
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn an_attempt_that_the_stop_broke_off_is_made_again_and_not_counted() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap();
    let short = ("COMFYGATE_SHUTDOWN_GRACE", "100ms");
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK, short]).await;
    program.post(&canvas(&format!("http://{address}/hook"))).await.unwrap();
    let (held, _) = tokio::time::timeout(PATIENCE, receiver.accept()).await.unwrap().unwrap();
    held.readable().await.unwrap();
    program.terminate();
    assert!(program.ended().await.success());
    drop((held, receiver));

    let inbox = Inbox::open_at(address);
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    let webhook = inbox.next().await;
    assert_eq!(webhook.attempt, "1");
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn idle_connections_never_take_all_files_and_others_are_served() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    let program = Program::serve_with_files(200, setup.folder.path(), &sim.url()).await;
    // What comes beyond the program's share waits before its door, which has room for 128.
    let idle = (0..200).map(|_| tokio::net::TcpStream::connect(program.address().to_owned()));
    let idle = futures_util::future::join_all(idle).await;
    assert!(idle.iter().all(Result::is_ok));
    assert_eq!(program.post(&canvas(&inbox.url())).await.unwrap().status(), 202);
    assert_eq!(inbox.next().await.body["status"], "success");
    let log = program.log();
    assert!(!log.contains("os error 24"), "{log}");
    drop(idle);
    program.kill();
    sim.stop().await;
}
