//! The way to the receiver breaks in every place: it is told again with the same id and the same bytes until it has
//! answered, and twice only where its answer was lost. What it is told, it can read back at that moment.

use crate::proxy::{At, Effect, On, Proxy, Way};
use crate::support::{Inbox, Program, Setup, TestGateway, Webhook, as_time_goes_by, canvas, canvas_files, eventually};
use comfygate::clock::ManualClock;
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const WEBHOOK: On = On::Call("POST /hook");
/// So large that a webhook is cut in the middle of its body.
const IMAGE: usize = 300_000;

#[actix_web::test]
async fn a_webhook_that_breaks_on_its_way_there_is_told_once() {
    let cuts = [
        (At::Request(0), Effect::Reset),
        (At::Request(300), Effect::Reset),
        (At::Request(100_000), Effect::Reset),
        (At::Request(100_000), Effect::Close),
        (At::Request(399_000), Effect::Reset),
    ];
    for (at, effect) in cuts {
        let webhooks = told_through(|proxy| proxy.arm(WEBHOOK, at, effect)).await;
        assert_eq!(webhooks.len(), 1, "{at:?} {effect:?}");
    }
    let webhooks = told_through(|proxy| proxy.arm_times(5, WEBHOOK, At::Request(200_000), Effect::Reset)).await;
    assert_eq!((webhooks.len(), webhooks[0].attempt.as_str()), (1, "6"));
}

#[actix_web::test]
async fn a_webhook_whose_answer_is_lost_is_told_twice_and_the_same() {
    let cuts = [
        (At::Answer(0), Effect::Reset),
        (At::Answer(0), Effect::Close),
        (At::Answer(9), Effect::Close),
        (At::Answer(30), Effect::Reset),
    ];
    for (at, effect) in cuts {
        let webhooks = told_through(|proxy| proxy.arm(WEBHOOK, at, effect)).await;
        assert_eq!(webhooks.len(), 2, "{at:?} {effect:?}");
    }
    for (at, effect) in
        [(At::Answer(0), Effect::Swallow(Way::ToClient)), (At::Answer(9), Effect::Freeze(Way::ToClient))]
    {
        let webhooks = told_through_silence(|proxy| proxy.arm(WEBHOOK, at, effect)).await;
        assert_eq!(webhooks.len(), 2, "{at:?} {effect:?}");
    }
}

#[actix_web::test]
async fn a_way_that_goes_nowhere_is_given_up_in_time_and_taken_anew() {
    for (at, effect) in [
        (At::Request(0), Effect::Swallow(Way::Both)),
        (At::Request(200_000), Effect::Swallow(Way::Both)),
        (At::Request(150_000), Effect::Freeze(Way::ToServer)),
    ] {
        let webhooks = told_through_silence(|proxy| proxy.arm(WEBHOOK, at, effect)).await;
        assert_eq!((webhooks.len(), webhooks[0].attempt.as_str()), (1, "2"), "{at:?} {effect:?}");
    }
    let webhooks = told_through(|proxy| proxy.arm_times(3, On::Any, At::Connect, Effect::Reset)).await;
    assert_eq!(webhooks.len(), 1);
}

#[actix_web::test]
async fn a_receiver_that_is_only_slow_is_told_once() {
    let late = Effect::Delay(Way::Both, Duration::from_millis(300));
    let webhooks = told_through(|proxy| proxy.arm(WEBHOOK, At::Request(0), late)).await;
    assert_eq!((webhooks.len(), webhooks[0].attempt.as_str()), (1, "1"));
    let slow = Effect::Throttle(Way::ToServer, 800_000);
    let webhooks = told_through(|proxy| proxy.arm(WEBHOOK, At::Request(0), slow)).await;
    assert_eq!((webhooks.len(), webhooks[0].attempt.as_str()), (1, "1"));
}

#[actix_web::test]
async fn ten_attempts_and_three_restarts_later_it_is_the_same_webhook() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { noise_image_bytes: IMAGE, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    let proxy = Proxy::before(inbox.address()).await;
    let schedule = ("COMFYGATE_WEBHOOK_SCHEDULE", ["100ms"; 40].join(","));
    let schedule = (schedule.0, schedule.1.as_str());
    let mut program = Program::serve(setup.folder.path(), &sim.url(), &[schedule]).await;
    // Whatever comes is answered with an error, or the answer is lost, until all restarts are over.
    inbox.answer_with(&[500, 404, 302, 503, 418, 401, 501, 400, 500, 204, 204, 204]);
    let post = program.post(&canvas(&format!("{}/hook", proxy.url()))).await.unwrap();
    assert_eq!(post.status(), 202);
    let mut webhooks: Vec<Webhook> = Vec::new();
    for restart in 0..3 {
        for _ in 0..3 {
            webhooks.push(inbox.next().await);
        }
        match restart {
            0 => program.kill(),
            1 => {
                program.terminate();
                assert!(program.ended().await.success());
            }
            _ => {
                proxy.arm_times(3, WEBHOOK, At::Answer(0), Effect::Reset);
                webhooks.push(inbox.next().await);
                program.kill();
            }
        }
        program = Program::serve(setup.folder.path(), &sim.url(), &[schedule]).await;
    }
    program.until_idle().await;
    webhooks.extend(inbox.rest());
    assert!(webhooks.len() >= 11, "{} attempts", webhooks.len());
    let first = &webhooks[0];
    assert!(first.raw.len() > IMAGE && first.id.starts_with("msg_"));
    for webhook in &webhooks {
        assert_eq!(webhook.id, first.id);
        assert!(webhook.raw == first.raw, "the body of attempt {} differs", webhook.attempt);
        assert_eq!(webhook.content_length, Some(first.raw.len()));
    }
    let (_, job) = program.get(&format!("/jobs/{}", first.prompt_id())).await.unwrap();
    assert_eq!(job, first.body);
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn whoever_is_told_can_read_the_same_object_at_that_moment() {
    for (status, code) in [("success", None), ("failure", Some("node_error")), ("failure", Some("cancelled"))] {
        let gateway = TestGateway::start().await;
        let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", receiver.local_addr().unwrap());
        match code {
            Some("node_error") => gateway.sim.inject(Fault::FailNode {
                node: "SaveImage".into(),
                message: "no".into(),
                exception_type: "OSError".into(),
            }),
            Some(_) => gateway.sim.inject(Fault::Slow(Duration::from_millis(100))),
            None => {}
        }
        let id = gateway.generate(&canvas_files(&url)).await;
        if code == Some("cancelled") {
            gateway.until(&id, "running").await;
            assert_eq!(gateway.post(&format!("/jobs/{id}/cancel"), &Value::Null).await.status, 202);
        }
        // The second attempt finds the same object.
        for answer in ["500 No", "204 No Content"] {
            let (mut webhook, body) = next_webhook(&receiver).await;
            let answered = gateway.get(&format!("/jobs/{id}")).await;
            assert_eq!((answered.status, answered.bytes == body), (200, true), "{status} {code:?}");
            let job = answered.json();
            assert_eq!((&job["status"], &job["code"]), (&json!(status), &json!(code)), "{job}");
            let listed = gateway.get("/jobs").await.json();
            let state = if code == Some("cancelled") {
                "cancelled"
            } else {
                ["failed", "succeeded"][usize::from(code.is_none())]
            };
            assert_eq!(listed["jobs"][0]["status"], state, "{listed}");
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            webhook.write_all(answer.as_bytes()).await.unwrap();
        }
        gateway.close().await;
    }
}

/// Runs a job whose webhook goes through a proxy with a fault in it. Returns what the receiver got, which is always the
/// same, and has come at the latest when the gateway takes it for told.
async fn told_through(arm: impl FnOnce(&Proxy)) -> Vec<Webhook> {
    tell(Setup::new(), None, arm).await
}

/// The same where nobody answers for so long that an attempt, and a minute after it, must go by.
async fn told_through_silence(arm: impl FnOnce(&Proxy)) -> Vec<Webhook> {
    let (setup, clock) = Setup::with_manual_clock();
    tell(setup, Some(clock), arm).await
}

async fn tell(setup: Setup, clock: Option<Arc<ManualClock>>, arm: impl FnOnce(&Proxy)) -> Vec<Webhook> {
    let setup = Setup { sim: SimOptions { noise_image_bytes: IMAGE, ..SimOptions::default() }, ..setup };
    let gateway = Box::pin(setup.start()).await;
    let inbox = Inbox::open();
    let proxy = Proxy::before(inbox.address()).await;
    arm(&proxy);
    let id = gateway.generate(&canvas(&format!("{}/hook", proxy.url()))).await;
    proxy.until("the fault strikes", |proxy| proxy.struck() > 0).await;
    let told = async || (gateway.get("/ready").await.json()["backlog"]["deliveries"] == json!(0)).then_some(());
    gateway.until(&id, "success").await;
    match clock {
        Some(clock) => as_time_goes_by(&clock, "the receiver is told", told).await,
        None => eventually("the receiver is told", told).await,
    }
    let job = gateway.get(&format!("/jobs/{id}")).await;
    gateway.close().await;
    let webhooks = inbox.rest();
    for webhook in &webhooks {
        assert_eq!((webhook.prompt_id(), &webhook.id), (id.as_str(), &webhooks[0].id));
        assert!(webhook.raw == webhooks[0].raw && webhook.raw == job.bytes);
    }
    webhooks
}

/// Takes in a webhook and leaves it to the caller to answer.
async fn next_webhook(receiver: &TcpListener) -> (TcpStream, Vec<u8>) {
    let read = async {
        let (mut stream, _) = receiver.accept().await.unwrap();
        let mut got = Vec::new();
        loop {
            stream.read_buf(&mut got).await.unwrap();
            let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&got[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if got.len() == end + 4 + length.parse::<usize>().unwrap() {
                return (stream, got.split_off(end + 4));
            }
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, read).await.expect("a webhook comes")
}
