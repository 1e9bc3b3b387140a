//! Webhooks that did not arrive: listed, looked at, and sent again.

use crate::support::{Answer, Inbox, PATIENCE, Program, Setup, TestGateway, canvas, eventually};
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[actix_web::test]
async fn what_did_not_arrive_is_listed_and_sent_again_after_a_restart_with_the_same_id_and_bytes() {
    let gateway = impatient().await;
    let inbox = Inbox::open();
    inbox.answer_with(&[500, 500]);
    let id = gateway.generate(&canvas(&format!("{}?token=secret", inbox.url()))).await;
    let first = inbox.next().await;
    until(&gateway, &id, "undeliverable").await;
    assert_eq!(inbox.rest().len(), 1);
    let listed = gateway.get("/deliveries?state=undeliverable").await.json();
    assert_eq!(listed["deliveries"][0]["prompt_id"], json!(id));
    assert_eq!((&listed["deliveries"][0]["url"], &listed["next_cursor"]), (&json!(inbox.url()), &Value::Null));
    assert_eq!(gateway.get("/jobs").await.json()["jobs"][0]["delivery"], "undeliverable");

    let gateway = gateway.restart().await;
    assert_eq!(gateway.get("/deliveries?state=undeliverable").await.json(), listed, "it is not forgotten");
    inbox.answer_with(&[500]);
    let answer = replay(&gateway, &id, &first.id).await;
    let wanted = json!({ "id": first.id, "prompt_id": id, "state": "pending", "was": "undeliverable" });
    assert_eq!((answer.status, answer.json()), (202, wanted));
    for number in ["3", "4"] {
        let again = inbox.next().await;
        assert_eq!((&again.id, &again.raw, again.attempt.as_str()), (&first.id, &first.raw, number));
    }
    let delivered = until(&gateway, &id, "delivered").await;
    assert_eq!((&delivered["attempt_count"], &delivered["replays"]), (&json!(4), &json!(1)));
    let statuses: Vec<_> = delivered["attempts"].as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
    assert_eq!(statuses, [500, 500, 500, 204]);
    assert_eq!(gateway.job(&id).await, first.body, "the job is what it was");
    assert_eq!(gateway.get("/deliveries?state=undeliverable").await.json()["deliveries"], json!([]));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_replay_that_was_answered_survives_a_kill_and_the_receiver_gets_the_same() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    inbox.answer_with(&[410]);
    let mut program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    program.post(&canvas(&inbox.url())).await.unwrap();
    let first = inbox.next().await;
    let id = first.prompt_id().to_owned();
    let mut was = "gone";
    for replays in 1..=5 {
        eventually("the delivery is over", async || delivery_in(&program, &id, was).await).await;
        assert_eq!(inbox.rest().len(), 0);
        let path = format!("/jobs/{id}/deliveries/{}/replay", first.id);
        let answer = program.post_to(&path, &Value::Null).await.unwrap();
        assert_eq!(answer.status(), 202);
        program.kill();
        program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
        let log = eventually("it was sent again", async || delivery_in(&program, &id, "delivered").await).await;
        assert_eq!(log["replays"], replays, "{log}");
        let told = inbox.rest();
        // Twice at the most: the kill may have come between the answer and its record.
        assert!((1..=2).contains(&told.len()), "{}", told.len());
        assert!(told.iter().all(|webhook| (&webhook.id, &webhook.raw) == (&first.id, &first.raw)));
        was = "delivered";
    }
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn the_log_of_attempts_is_what_the_receiver_saw() {
    let mut setup = Setup::new();
    setup.settings.webhooks.schedule = vec![Duration::from_millis(50); 9];
    setup.settings.webhooks.attempt_timeout = Duration::from_secs(5);
    let gateway = setup.start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let id = gateway.generate(&canvas(&url)).await;
    let answers: [(&str, Value, Value, &str); 6] = [
        ("HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\nbroken", json!(500), json!("server_error"), "broken"),
        ("HTTP/1.1 503 No\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n", json!(503), json!("server_error"), ""),
        ("silence", Value::Null, json!("timeout"), "no answer in time"),
        ("reset", Value::Null, json!("connection_lost"), "reset"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            json!(302),
            json!("redirect"),
            "",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\u{e9}", json!(200), Value::Null, "\u{e9}"),
    ];
    let mut seen = Vec::new();
    for (answer, ..) in &answers {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        let (mut stream, _) = accepted.unwrap().unwrap();
        seen.push(attempt_of(&mut stream).await);
        match *answer {
            "silence" => {
                let look = async || Some(log(&gateway, &id).await).filter(|log| log["last_code"] == "timeout");
                let webhook_id = eventually("the timeout is logged", look).await["id"].as_str().unwrap().to_owned();
                // The schedule now waits for a minute; for an attempt at once there is the replay of what is pending.
                assert_eq!(replay(&gateway, &id, &webhook_id).await.json()["was"], "pending");
            }
            "reset" => stream.set_zero_linger().unwrap(),
            text => {
                stream.write_all(text.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    }
    let log = until(&gateway, &id, "delivered").await;
    let attempts = log["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), answers.len(), "{log}");
    for ((attempt, (number, second)), (_, status, code, said)) in attempts.iter().zip(&seen).zip(&answers) {
        assert_eq!(attempt["number"].to_string(), *number, "{attempt}");
        let began = comfygate::clock::Timestamp::parse_rfc3339(attempt["started_at"].as_str().unwrap()).unwrap();
        assert!((0..=20).contains(&(second - began.millis().div_euclid(1000))), "{attempt} {second}");
        assert_eq!((&attempt["status"], &attempt["code"]), (status, code), "{attempt}");
        let kept = if status.is_null() { "error" } else { "answer" };
        assert!(attempt[kept].as_str().unwrap().contains(said), "{attempt}");
        let took = attempt["duration_ms"].as_u64().unwrap();
        assert!(if *code == "timeout" { (5_000..30_000).contains(&took) } else { took < 30_000 }, "{attempt}");
    }
    assert_eq!((&log["attempt_count"], &log["replays"], &log["last_status"]), (&json!(6), &json!(0), &json!(200)));
    gateway.close().await;
}

#[actix_web::test]
async fn many_are_sent_again_at_once_and_each_arrives_once() {
    let gateway = impatient().await;
    let (inbox, other) = (Inbox::open(), Inbox::open());
    inbox.answer_with(&[500; 10]);
    other.answer_with(&[500; 2]);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(gateway.generate(&canvas(&inbox.url())).await);
    }
    let elsewhere = gateway.generate(&canvas(&other.url())).await;
    for id in ids.iter().chain([&elsewhere]) {
        until(&gateway, id, "undeliverable").await;
    }
    assert_eq!((inbox.rest().len(), other.rest().len()), (10, 2));
    let body = json!({ "state": "undeliverable", "host": inbox.address().to_string() });
    let answer = gateway.post("/deliveries/replay", &body).await;
    assert_eq!((answer.status, answer.json()), (202, json!({ "replayed": 5 })));
    let mut told = Vec::new();
    for _ in &ids {
        told.push(inbox.next().await.prompt_id().to_owned());
    }
    told.sort();
    assert_eq!(told, ids);
    assert_eq!(log(&gateway, &elsewhere).await["state"], "undeliverable");

    // What has arrived can be sent again too, by its time.
    let mut ends = Vec::new();
    for id in &ids {
        ends.push((until(&gateway, id, "delivered").await["created_at"].as_str().unwrap().to_owned(), id.clone()));
    }
    ends.sort();
    let since = ends[3].0.clone();
    let mut wanted: Vec<String> = ends.into_iter().filter(|(end, _)| *end >= since).map(|(_, id)| id).collect();
    wanted.sort();
    let answer = gateway.post("/deliveries/replay", &json!({ "state": "delivered", "since": since })).await;
    assert_eq!(answer.json(), json!({ "replayed": wanted.len() }));
    let mut told = Vec::new();
    for _ in &wanted {
        told.push(inbox.next().await.prompt_id().to_owned());
    }
    told.sort();
    assert_eq!(told, wanted);
    gateway.close().await;
    assert!(inbox.rest().is_empty() && other.rest().is_empty());
}

#[actix_web::test]
async fn what_cannot_be_sent_again_is_said() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let living = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&living, "running").await;
    let webhook_id = format!("msg_{}", living.replace('-', ""));
    let code = |answer: Answer| (answer.status, answer.code());
    assert_eq!(code(replay(&gateway, &living, &webhook_id).await), (409, "not_final".into()));
    assert_eq!(code(replay(&gateway, &living, "msg_1").await), (404, "not_found".into()));
    let unknown = "01a1fd34-54c0-7915-a1d8-17a2ff775af0";
    assert_eq!(code(replay(&gateway, unknown, &webhook_id).await), (404, "not_found".into()));
    assert_eq!(gateway.get(&format!("/jobs/{unknown}/deliveries")).await.status, 404);
    assert_eq!(log_of(&gateway, &living).await, json!({ "prompt_id": living, "deliveries": [] }));
    gateway.sim.release();
    inbox.next().await;

    let silent = gateway.generate(&json!({ "workflow": "canvas", "prompt": "x", "width": 64, "height": 64 })).await;
    gateway.until(&silent, "success").await;
    let webhook_id = format!("msg_{}", silent.replace('-', ""));
    assert_eq!(code(replay(&gateway, &silent, &webhook_id).await), (409, "no_delivery".into()));
    assert_eq!(log_of(&gateway, &silent).await["deliveries"], json!([]));

    for (body, wanted) in [
        (json!({}), "missing_field"),
        (json!({ "state": "delivered" }), "missing_field"),
        (json!({ "state": "lost" }), "not_allowed"),
        (json!({ "state": 1 }), "invalid_type"),
        (json!({ "state": "gone", "since": "yesterday" }), "invalid_type"),
        (json!({ "state": "gone", "hots": "a" }), "unknown_field"),
        (json!(["undeliverable"]), "invalid_json"),
    ] {
        assert_eq!(code(gateway.post("/deliveries/replay", &body).await), (400, wanted.into()), "{body}");
    }
    for (query, wanted) in [
        ("state=lost", "not_allowed"),
        ("limit=0", "out_of_range"),
        ("limit=201", "out_of_range"),
        ("cursor=x", "invalid_cursor"),
        ("status=gone", "unknown_field"),
    ] {
        assert_eq!(code(gateway.get(&format!("/deliveries?{query}")).await), (400, wanted.into()), "{query}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn lists_of_deliveries_have_pages() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, gateway.generate(&canvas(&inbox.url())).await);
        inbox.next().await;
    }
    let mut seen = Vec::new();
    let mut path = "/deliveries?limit=2".to_owned();
    for _ in 0..3 {
        let page = gateway.get(&path).await.json();
        seen.extend(
            page["deliveries"].as_array().unwrap().iter().map(|it| it["prompt_id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/deliveries?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    gateway.close().await;
}

/// A gateway that makes two attempts and then gives up.
pub(crate) async fn impatient() -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.webhooks.schedule = vec![Duration::from_millis(50)];
    setup.start().await
}

async fn replay(gateway: &TestGateway, id: &str, delivery: &str) -> Answer {
    gateway.post(&format!("/jobs/{id}/deliveries/{delivery}/replay"), &Value::Null).await
}

pub(crate) async fn log_of(gateway: &TestGateway, id: &str) -> Value {
    gateway.get(&format!("/jobs/{id}/deliveries")).await.json()
}

/// The only delivery of a job.
async fn log(gateway: &TestGateway, id: &str) -> Value {
    log_of(gateway, id).await["deliveries"][0].clone()
}

pub(crate) async fn until(gateway: &TestGateway, id: &str, state: &str) -> Value {
    let look = async || Some(log(gateway, id).await).filter(|log| log["state"] == state);
    eventually(&format!("the delivery of {id} is {state}"), look).await
}

/// The only delivery of a job, where it is in this state.
async fn delivery_in(program: &Program, id: &str, state: &str) -> Option<Value> {
    let (_, log) = program.get(&format!("/jobs/{id}/deliveries")).await?;
    Some(log["deliveries"][0].clone()).filter(|delivery| delivery["state"] == state)
}

/// Reads a webhook; returns its number and its second.
async fn attempt_of(stream: &mut tokio::net::TcpStream) -> (String, i64) {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request broke off");
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let found = head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name);
            found.unwrap().1.to_owned()
        };
        if body.len() >= header("content-length").parse::<usize>().unwrap() {
            return (header("x-gateway-attempt"), header("webhook-timestamp").parse().unwrap());
        }
    }
}
