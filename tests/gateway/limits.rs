//! How much callers may ask for: requests in a time, jobs that wait, jobs in a day, and ids that they choose.

use crate::keys::{OPERATOR, ask, with_keys};
use crate::support::{Answer, Inbox, Setup, TestGateway, canvas, eventually};
use comfygate::clock::{ManualClock, Timestamp};
use comfygate::settings::{Rate, RateChoice};
use comfygate::sim::Fault;
use serde_json::{Value, json};
use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

const JSON: (&str, &str) = ("content-type", "application/json");

#[actix_web::test]
async fn more_requests_than_the_rate_allows_are_told_when_to_come_back_and_then_are_let_in() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.callers.rate = RateChoice::Each(Rate::per_minute(NonZeroU32::new(3).unwrap()));
    let gateway = setup.start().await;
    for left in ["2", "1", "0"] {
        let answer = gateway.get("/jobs").await;
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, "\"requests\";q=3;w=60"));
        assert!(answer.header("ratelimit").starts_with(&format!("\"requests\";r={left};t=")), "{:?}", answer.headers);
    }
    let wrong = gateway.get("/jobs").await;
    refused(&wrong, 429, "rate_limited");
    assert_eq!(wrong.header("retry-after"), "20");
    refused(&gateway.post("/generate", &canvas("")).await, 429, "rate_limited");
    for path in ["/health", "/ready", "/openapi.json"] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, ""), "{path}");
    }
    clock.advance(Duration::from_millis(19_999));
    assert_eq!(gateway.get("/jobs").await.status, 429);
    clock.advance(Duration::from_millis(1));
    assert_eq!(gateway.get("/jobs").await.status, 200);
    assert_eq!(gateway.get("/nowhere").await.status, 429, "whatever is asked for");
    gateway.close().await;
}

#[actix_web::test]
async fn out_of_the_box_nobody_on_this_machine_is_held_back() {
    let gateway = TestGateway::start().await;
    for _ in 0..1000 {
        let answer = gateway.get("/jobs").await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, ""));
    }
    gateway.close().await;
}

#[actix_web::test]
async fn who_tries_wrong_keys_is_told_to_wait_and_a_good_key_is_let_in_all_the_same() {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let mut setup = Setup { clock: Arc::<ManualClock>::clone(&clock), ..with_keys() };
    setup.settings.callers.guesses = Rate::per_minute(NonZeroU32::new(5).unwrap());
    let gateway = setup.start().await;
    let none = &Value::Null;
    for number in 0..5 {
        let key = if number % 2 == 0 { "cg_abcdefghijkl_wrong" } else { "" };
        let answer = ask(&gateway, key, "GET", "/jobs", none).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"));
    }
    for key in ["cg_abcdefghijkl_wrong", ""] {
        let answer = ask(&gateway, key, "GET", "/jobs", none).await;
        refused(&answer, 429, "rate_limited");
        assert_eq!((answer.header("retry-after"), answer.header("www-authenticate")), ("12", ""));
    }
    let good = ask(&gateway, OPERATOR, "GET", "/jobs", none).await;
    assert_eq!((good.status, good.header("ratelimit-policy")), (200, "\"requests\";q=600;w=60"));
    clock.advance(Duration::from_secs(12));
    assert_eq!(ask(&gateway, "wrong", "GET", "/jobs", none).await.status, 401);
    assert_eq!(ask(&gateway, "wrong", "GET", "/jobs", none).await.status, 429);
    gateway.close().await;
}

#[actix_web::test]
async fn the_limits_of_a_key_go_before_the_settings() {
    let gateway = with_keys().start().await;
    let make = async |limits: Value| {
        let answer = gateway.post("/keys", &json!({ "name": "shop", "tenant": "shop", "limits": limits })).await;
        answer.json()["key"].as_str().unwrap().to_owned()
    };
    let list = async |key: &str| ask(&gateway, key, "GET", "/jobs", &Value::Null).await;
    let (slow, other) = (make(json!({ "per_minute": 60, "burst": 2 })).await, make(json!({})).await);
    for left in [1, 0] {
        let answer = list(&slow).await;
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, "\"requests\";q=60;w=60"));
        assert!(answer.header("ratelimit").starts_with(&format!("\"requests\";r={left};")), "{:?}", answer.headers);
    }
    refused(&list(&slow).await, 429, "rate_limited");
    assert_eq!(list(&other).await.status, 200, "another key of the tenant has its own");

    let few = make(json!({ "per_day": 1 })).await;
    let submit = async |key: &str| ask(&gateway, key, "POST", "/generate", &canvas("")).await;
    assert_eq!(submit(&other).await.status, 202);
    refused(&submit(&few).await, 429, "quota_exceeded");
    assert_eq!(submit(&other).await.status, 202, "jobs are counted by tenant, and this key has no such limit");
    gateway.close().await;
}

#[actix_web::test]
async fn a_refused_body_does_not_spoil_the_connection() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.callers.rate = RateChoice::Each(Rate::per_minute(NonZeroU32::MIN));
    let gateway = setup.start().await;
    assert_eq!(gateway.get("/jobs").await.status, 200);
    let body = json!({ "prompt": "x".repeat(500_000) });
    for _ in 0..5 {
        refused(&gateway.post("/generate", &body).await, 429, "rate_limited");
    }
    clock.advance(Duration::from_mins(1));
    assert_eq!(gateway.post("/generate", &canvas("")).await.status, 202);
    gateway.close().await;
}

#[actix_web::test]
async fn a_full_queue_takes_nothing_in_says_so_to_balancers_and_answers_repeats() {
    let mut setup = Setup::new();
    setup.settings.callers.max_queued = 3;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    // Two go to the backend, three wait.
    let taken_in = Cell::new(0);
    let taken = async || {
        let answer = post(&gateway, &format!("order-{}", taken_in.get()), &inbox).await;
        if answer.status == 202 {
            taken_in.set(taken_in.get() + 1);
        } else {
            refused(&answer, 503, "queue_full");
        }
        let queued = gateway.get("/ready").await.json()["backlog"]["queued"].as_u64().unwrap();
        assert!(queued <= 3, "{queued} wait");
        (taken_in.get() == 5).then_some(())
    };
    eventually("both places on the backend and all in the queue are taken", taken).await;
    let ready = eventually("the queue is full", async || {
        Some(gateway.get("/ready").await).filter(|answer| answer.status == 503)
    })
    .await;
    assert_eq!((&ready.json()["queue_full"], &ready.json()["backlog"]["queued"]), (&json!(true), &json!(3)));
    refused(&post(&gateway, "order-new", &inbox).await, 503, "queue_full");
    assert_eq!(gateway.get("/health").await.status, 200);
    let again = post(&gateway, "order-0", &inbox).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"), "it was taken in before");

    let gateway = gateway
        .restart_with(|settings| {
            settings.callers.max_queued = 4;
            settings.callers.max_queued_per_tenant = Some(3);
        })
        .await;
    refused(&post(&gateway, "order-new", &inbox).await, 429, "too_many_queued");
    gateway.sim.release();
    for _ in 0..5 {
        assert_eq!(inbox.next().await.body["status"], "success");
    }
    gateway.until_ready().await;
    let accepted = async || (post(&gateway, "order-new", &inbox).await.status == 202).then_some(());
    eventually("there is room again", accepted).await;
    inbox.next().await;
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_tenant_has_a_part_of_the_queue() {
    let mut setup = Setup::new();
    setup.settings.callers.max_queued_per_tenant = Some(1);
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    // Two go to the backend, one waits.
    let taken_in = Cell::new(0);
    let taken = async || {
        let answer = gateway.post("/generate", &canvas(&inbox.url())).await;
        if answer.status == 202 {
            taken_in.set(taken_in.get() + 1);
        } else {
            refused(&answer, 429, "too_many_queued");
        }
        (taken_in.get() == 3).then_some(())
    };
    eventually("all places are taken", taken).await;
    refused(&gateway.post("/generate", &canvas(&inbox.url())).await, 429, "too_many_queued");
    assert_eq!(gateway.get("/ready").await.status, 200, "for others there is room");
    gateway.sim.release();
    for _ in 0..3 {
        inbox.next().await;
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_days_jobs_are_counted_over_restarts_until_midnight() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.callers.jobs_per_day = Some(3);
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    for order in ["order-1", "order-2"] {
        assert_eq!(post(&gateway, order, &inbox).await.status, 202);
        assert_eq!(post(&gateway, order, &inbox).await.status, 202, "a repeat is no second job");
    }
    assert_eq!(gateway.post("/generate", &json!({ "prompt": "x", "promt": "y" })).await.status, 400);
    let gateway = gateway.restart().await;
    assert_eq!(post(&gateway, "order-3", &inbox).await.status, 202);
    let answer = post(&gateway, "order-4", &inbox).await;
    refused(&answer, 429, "quota_exceeded");
    // 1 800 000 000 is 08:00 UTC.
    assert_eq!(answer.header("retry-after"), (16 * 3600).to_string());
    assert_eq!(post(&gateway, "order-3", &inbox).await.status, 202);
    let gateway = gateway.restart().await;
    refused(&post(&gateway, "order-4", &inbox).await, 429, "quota_exceeded");
    // Whatever is under way while the clock leaps has taken too long.
    eventually("what was taken in is told", async || {
        let backlog = gateway.get("/ready").await.json()["backlog"].clone();
        (backlog == json!({ "queued": 0, "running": 0, "deliveries": 0 })).then_some(())
    })
    .await;
    clock.advance(Duration::from_hours(16));
    assert_eq!(post(&gateway, "order-4", &inbox).await.status, 202);
    for _ in 0..4 {
        inbox.next().await;
    }
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_caller_may_choose_the_id_which_is_a_uuid_that_nobody_has() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let with_id = |id: Value| {
        let mut body = canvas(&inbox.url());
        body["prompt_id"] = id;
        body
    };
    for id in [
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "01A1FD34-54C0-7915-A1D8-17A2FF775AF0",
        "00000000-0000-0000-0000-000000000000",
    ] {
        let small = id.to_ascii_lowercase();
        let answer = gateway.post("/generate", &with_id(json!(id))).await;
        assert_eq!((answer.status, &answer.json()["prompt_id"]), (202, &json!(small)), "{}", answer.json());
        assert_eq!(answer.header("location"), format!("/jobs/{small}"));
        let webhook = inbox.next().await;
        assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (small.as_str(), &json!("success")));
        assert_eq!(gateway.job(id).await["prompt_id"], small);
        for again in [id, &small] {
            refused(&gateway.post("/generate", &with_id(json!(again))).await, 409, "id_in_use");
        }
    }
    for wrong in [
        "a/../b",
        "",
        " ",
        "7",
        "0f8fad5bd9cb469fa16570867728950e",
        "{0f8fad5b-d9cb-469f-a165-70867728950e}",
        "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e",
        "0f8fad5b-d9cb-469f-a165-70867728950",
        "0f8fad5b-d9cb-469f-a165-70867728950g",
        "0f8fad5b-d9cb-469f-a165-70867728950e ",
        "０f8fad5b-d9cb-469f-a165-70867728950e",
    ] {
        refused(&gateway.post("/generate", &with_id(json!(wrong))).await, 400, "invalid_id");
    }
    for wrong in [json!(7), json!({}), json!(["0f8fad5b-d9cb-469f-a165-70867728950e"]), json!(true)] {
        refused(&gateway.post("/generate", &with_id(wrong)).await, 400, "invalid_type");
    }
    assert_eq!(gateway.post("/generate", &with_id(Value::Null)).await.status, 202);
    inbox.next().await;
    assert_eq!(gateway.get("/jobs").await.json()["jobs"].as_array().unwrap().len(), 4);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_chosen_id_and_an_idempotency_key_both_hold() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["prompt_id"] = json!("0f8fad5b-d9cb-469f-a165-70867728950e");
    let send =
        async |key: &str, body: &Value| gateway.post_raw(&[JSON, ("idempotency-key", key)], body.to_string()).await;
    assert_eq!(send("order-1", &body).await.status, 202);
    let again = send("order-1", &body).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"));
    refused(&send("order-2", &body).await, 409, "id_in_use");
    body["prompt_id"] = json!("0f8fad5b-d9cb-469f-a165-70867728950f");
    refused(&send("order-1", &body).await, 422, "idempotency_key_reused");
    assert_eq!(send("order-2", &body).await.status, 202, "a key of a refused request is free");
    inbox.next().await;
    inbox.next().await;
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

async fn post(gateway: &TestGateway, key: &str, inbox: &Inbox) -> Answer {
    gateway.post_raw(&[JSON, ("idempotency-key", key)], canvas(&inbox.url()).to_string()).await
}

/// Says that an answer is this error, and that whoever may come back is told when.
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.json());
    let wait: Option<u64> = answer.header("retry-after").parse().ok();
    assert_eq!(wait.is_some_and(|wait| wait >= 1), matches!(status, 429 | 503), "{:?}", answer.headers);
}
