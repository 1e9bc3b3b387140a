//! Streams of one job and of all.

use super::{Reader, states};
use crate::keys::{OPERATOR, ask, make, with_keys};
use crate::support::{Inbox, Setup, TestGateway, canvas, starter};
use base64::Engine;
use comfygate::clock::{ManualClock, Timestamp};
use comfygate::sim::Fault;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[actix_web::test]
async fn a_stream_tells_a_job_from_its_place_in_the_queue_to_its_end() {
    let mut setup = Setup::new();
    setup.settings.backends.queue = 1;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Slow(Duration::from_millis(60)));
    let first = gateway.generate(&starter(&inbox.url())).await;
    gateway.until(&first, "running").await;
    let answer = gateway.post("/generate", &starter(&inbox.url())).await.json();
    let id = answer["prompt_id"].as_str().unwrap().to_owned();
    assert_eq!(answer["events_url"], format!("/jobs/{id}/events"));
    let reader = Reader::open(&gateway, answer["events_url"].as_str().unwrap(), None).await;
    assert_eq!(reader.headers["content-type"], "text/event-stream");
    assert_eq!(reader.headers["cache-control"], "no-cache");
    assert_eq!(reader.headers["x-accel-buffering"], "no");
    let events = reader.rest().await;

    assert_eq!(states(&events), ["queued", "submitted", "running", "succeeded"], "{events:?}");
    assert_eq!(events[0].data["status"], "queued", "how it stands is told first");
    assert!(events.iter().all(|event| event.data["prompt_id"] == json!(id) && event.data["workflow"] == "starter"));
    assert!(events.iter().all(|event| event.id.is_some() && event.data["at"].is_string()));
    let placed = events.iter().find(|event| event.data["position"].is_number()).unwrap();
    assert_eq!((&placed.data["position"], &placed.data["waiting_reason"]), (&json!(1), &json!("no_backend_free")));
    let running = events.iter().find(|event| event.data["status"] == "running").unwrap();
    assert_eq!(running.data["run"]["number"], 1);

    let nodes: Vec<&Value> = events.iter().filter(|event| event.name == "node").map(|event| &event.data).collect();
    let sampler =
        |state: &str| nodes.iter().any(|node| node["node"]["class_type"] == "KSampler" && node["state"] == state);
    assert!(sampler("running") && sampler("finished"), "{nodes:?}");
    let last = nodes.last().unwrap();
    assert_eq!(last["nodes_done"], last["nodes_total"], "{last}");

    let progress: Vec<&Value> =
        events.iter().filter(|event| event.name == "progress").map(|event| &event.data).collect();
    let percents: Vec<u64> = progress.iter().map(|data| data["percent"].as_u64().unwrap()).collect();
    assert!(percents.is_sorted() && percents.len() > 5, "{percents:?}");
    let told: Vec<(&Value, &Value, &Value)> =
        progress.iter().map(|data| (&data["percent"], &data["node"]["id"], &data["value"])).collect();
    assert!(told.windows(2).all(|two| two[0] != two[1]), "nothing is told twice: {told:?}");
    let steps = progress.iter().find(|data| data["node"]["class_type"] == "KSampler" && data["max"] == 20);
    assert!(steps.is_some_and(|data| data["value"].is_u64()), "{progress:?}");

    let preview = events.iter().find(|event| event.name == "preview").unwrap();
    assert_eq!(preview.data["content_type"], "image/jpeg");
    let jpeg = base64::engine::general_purpose::STANDARD.decode(preview.data["data_base64"].as_str().unwrap()).unwrap();
    assert!(jpeg.starts_with(b"\xff\xd8\xff") && preview.data["node"]["class_type"] == "KSampler");

    let (end, before) = events.split_last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["status"]), ("status", &json!("succeeded")));
    let output = &before.iter().rfind(|event| event.name == "output").unwrap().data["output"];
    let known = gateway.job(&id).await["outputs"][0].clone();
    for field in ["node_id", "index", "content_type", "bytes", "sha256"] {
        assert_eq!(output[field], known[field], "{field}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn who_comes_after_the_end_hears_the_outputs_and_the_end() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let good = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&good, "success").await;
    gateway.sim.inject(Fault::FailNode {
        node: "3".into(),
        message: "no <paint> left".into(),
        exception_type: "ValueError".into(),
    });
    let bad = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&bad, "failure").await;
    let gateway = gateway.restart().await;
    for _ in 0..2 {
        let events = Reader::open(&gateway, &format!("/jobs/{good}/events"), None).await.rest().await;
        let told: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(told, ["output", "status"]);
        assert_eq!(events[1].data["status"], "succeeded");
        assert_eq!(events[0].data["output"]["sha256"], gateway.job(&good).await["outputs"][0]["sha256"]);
    }
    let events = Reader::open(&gateway, &format!("/jobs/{bad}/events"), None).await.rest().await;
    let [end] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&end.data["status"], &end.data["code"]), (&json!("failed"), &json!("node_error")));
    assert!(end.data["error"].as_str().unwrap().contains("no <paint> left"), "{end:?}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_run_that_is_repeated_is_told_as_that() {
    let setup = Setup::new();
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::LoseFrames);
    let mut all = Reader::open(&gateway, "/events", None).await;
    let id = gateway.generate(&canvas(&inbox.url())).await;
    let again = all.until("status", |data| data["will_retry"] == true).await;
    assert_eq!((&again.data["prompt_id"], &again.data["status"]), (&json!(id), &json!("queued")));
    assert!(again.data["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let end = all.until("status", |data| data["status"] == "succeeded").await;
    assert_eq!(end.data["run"]["number"], 2);
    gateway.close().await;
}

#[actix_web::test]
async fn a_stream_of_all_jobs_begins_with_a_greeting_and_tells_what_was_asked_for() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut all = Reader::open(&gateway, "/events", None).await;
    let hello = all.next().await.unwrap();
    assert_eq!((hello.name.as_str(), hello.data["at"].is_string()), ("hello", true));
    let mut statuses = Reader::open(&gateway, "/events?events=status&workflow=canvas", None).await;
    let mut previews = Reader::open(&gateway, "/events?events=preview", None).await;
    let other = gateway.generate(&starter(&inbox.url())).await;
    let id = gateway.generate(&canvas(&inbox.url())).await;
    previews.until("preview", |data| data["prompt_id"] == json!(other)).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "succeeded") {
        let event = statuses.next().await.unwrap();
        if event.name == "hello" {
            continue;
        }
        assert_eq!((event.name.as_str(), &event.data["prompt_id"]), ("status", &json!(id)));
        told.push(event.data["status"].as_str().unwrap().to_owned());
    }
    told.dedup();
    assert_eq!(told, ["queued", "submitted", "running", "succeeded"]);
    let end = all.until("status", |data| data["prompt_id"] == json!(id) && data["status"] == "succeeded").await;
    assert!(end.id.is_some());
    gateway.close().await;
}

#[actix_web::test]
async fn what_cannot_be_asked_for_is_refused_by_name() {
    let gateway = TestGateway::start().await;
    let unknown = gateway.get("/jobs/01a1fd34-54c0-7915-a1d8-17a2ff775af0/events").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));
    for (path, code, named) in [
        ("/events?events=status,statsu", "not_allowed", "statsu"),
        ("/events?previews=perhaps", "not_allowed", "perhaps"),
        ("/events?prompt_id=7", "invalid_type", "`7`"),
        ("/events?job=7", "unknown_field", "`job`"),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{path}");
        assert!(answer.json()["error"].as_str().unwrap().contains(named), "{path}");
    }
    let head = gateway.head("/events").await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_stream_on_which_nothing_happens_shows_that_it_lives_and_ends_with_the_gateway() {
    let (setup, clock) = Setup::with_manual_clock();
    let gateway = setup.start().await;
    let mut all = Reader::open(&gateway, "/events", None).await;
    all.next().await.unwrap();
    let moving = async {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let quiet = async {
        while all.comments.is_empty() {
            // It ends only with an event, so it is given little time and asked again.
            let _ = tokio::time::timeout(Duration::from_millis(50), all.next()).await;
        }
    };
    tokio::select! {
        () = quiet => {}
        () = moving => unreachable!("it never ends"),
    }
    assert_eq!(all.comments[0], "keepalive");
    let ((), told) = tokio::join!(gateway.close(), all.until("cut_off", |_| true));
    assert!(told.data["reason"].as_str().unwrap().contains("stopping"), "{told:?}");
    assert_eq!(all.next().await, None);
}

#[actix_web::test]
async fn a_tenant_hears_of_its_own_jobs_alone_and_an_operator_of_all_and_of_backends() {
    let gateway = with_keys().start().await;
    let inbox = Inbox::open();
    let (_, one) = make(&gateway, "one", &["submit", "read"]).await;
    let (_, other) = make(&gateway, "other", &["submit", "read"]).await;
    let mut streams = Vec::new();
    for key in [one.as_str(), other.as_str(), OPERATOR] {
        streams.push(Reader::open_with(&gateway, "/events?previews=false", &[("x-api-key", key)]).await);
    }
    let mut ids = Vec::new();
    for key in [&one, &other] {
        let answer = ask(&gateway, key, "POST", "/generate", &canvas(&inbox.url())).await;
        ids.push(answer.json()["prompt_id"].as_str().unwrap().to_owned());
        streams[2].until("status", |data| data["status"] == "succeeded").await;
    }
    let drained = gateway.pool.backends()[0].name.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(ask(&gateway, OPERATOR, "POST", &format!("/backends/{drained}/drain"), &Value::Null).await.status, 200);
    streams[2].until("backend", |data| data["event"] == "backend_draining").await;
    for (stream, id) in streams.iter_mut().zip(&ids) {
        let mut told = Vec::new();
        while told.last().is_none_or(|last: &super::Event| last.data["status"] != "succeeded") {
            told.extend(stream.next().await.filter(|event| event.name != "hello"));
        }
        assert!(told.iter().all(|event| event.data["prompt_id"] == id.as_str()), "{told:?}");
    }
    let theirs = ask(&gateway, &one, "GET", &format!("/jobs/{}/events", ids[1]), &Value::Null).await;
    assert_eq!(theirs.status, 404);
    gateway.close().await;
}

#[actix_web::test]
async fn a_stream_ends_soon_after_its_key_was_taken_back() {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let setup = Setup { clock: Arc::<ManualClock>::clone(&clock), ..with_keys() };
    let gateway = setup.start().await;
    let (id, key) = make(&gateway, "one", &["read"]).await;
    let mut stream = Reader::open_with(&gateway, "/events", &[("x-api-key", &key)]).await;
    assert_eq!(stream.next().await.unwrap().name, "hello");
    let mut others = Reader::open_with(&gateway, "/events", &[("x-api-key", OPERATOR)]).await;
    assert_eq!(others.next().await.unwrap().name, "hello");
    assert_eq!(ask(&gateway, OPERATOR, "DELETE", &format!("/keys/{id}"), &Value::Null).await.status, 200);
    let moving = async {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::select! {
        told = stream.until("cut_off", |_| true) => told,
        () = moving => unreachable!("it never ends"),
    };
    assert!(told.data["reason"].as_str().unwrap().contains("the key"), "{told:?}");
    assert_eq!(stream.next().await, None);
    let ((), told) = tokio::join!(gateway.close(), others.until("cut_off", |_| true));
    assert!(told.data["reason"].as_str().unwrap().contains("stopping"), "the key of the other is good");
}
