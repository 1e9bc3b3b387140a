//! Bodies of `POST /generate` that are wrong, and the answer that each of them gets. None of them makes a job.

use crate::support::{Answer, Inbox, TestGateway, canvas};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

#[actix_web::test]
async fn what_is_not_one_json_object_is_refused() {
    let gateway = TestGateway::start().await;
    let texts: [&[u8]; 14] = [
        b"",
        b"[]",
        b"null",
        b"\"x\"",
        b"{",
        b"{}{}",
        br#"{"prompt":"\ud800"}"#,
        b"{\"prompt\":\"\xff\"}",
        b"\xef\xbb\xbf{\"prompt\":\"x\"}",
        br#"{"prompt":"x","steps":1e999}"#,
        br#"{"prompt":"x","steps":NaN}"#,
        br#"{"prompt":"x","steps":Infinity}"#,
        br#"{"prompt":"x",}"#,
        b"{'prompt':'x'}",
    ];
    for text in texts {
        let answer = gateway.post_raw(&[JSON], text.to_vec()).await;
        refused(&answer, "invalid_json", &String::from_utf8_lossy(text));
    }
    let deep = format!("{{\"metadata\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    refused(&gateway.post_raw(&[JSON], deep).await, "invalid_json", "20 000 brackets");
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn an_empty_prompt_is_refused_in_comfylites_words() {
    let gateway = TestGateway::start().await;
    for body in [json!({ "prompt": "" }), json!({ "prompt": "  " }), json!({})] {
        let answer = gateway.post("/generate", &body).await;
        refused(&answer, "empty_prompt", &body.to_string());
        assert_eq!(answer.json()["error"], "prompt cannot be empty");
    }
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn wrong_types_are_refused_by_name() {
    let gateway = TestGateway::start().await;
    let cases = [
        json!({ "prompt": 1 }),
        json!({ "prompt": null }),
        json!({ "prompt": {} }),
        json!({ "prompt": true }),
        json!({ "prompt": ["4", 0] }),
        json!({ "prompt": "x", "params": { "negative_prompt": { "__value__": ["4", 0] } } }),
        json!({ "prompt": "x", "params": { "negative_prompt": { "class_type": "X", "inputs": {} } } }),
        json!({ "prompt": "x", "width": "450" }),
        json!({ "prompt": "x", "width": 450.5 }),
        json!({ "prompt": "x", "workflow": 5 }),
        json!({ "prompt": "x", "params": [] }),
        json!({ "prompt": "x", "timeouts": "10m" }),
        json!({ "prompt": "x", "timeouts": { "run": 10 } }),
        json!({ "prompt": "x", "priority": "high" }),
    ];
    for body in cases {
        refused(&gateway.post("/generate", &body).await, "invalid_type", &body.to_string());
    }
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn unknown_names_are_refused() {
    let gateway = TestGateway::start().await;
    for name in ["promt", "extra_data", "client_id", "front", "number", "partial_execution_targets", "id"] {
        let body = json!({ "prompt": "x", name: 1 });
        let answer = gateway.post("/generate", &body).await;
        refused(&answer, "unknown_field", name);
        assert!(answer.json()["error"].as_str().unwrap().contains(name), "{:?}", answer.json());
    }
    for name in ["__proto__", "inputs.text", "6.inputs.text", "constructor"] {
        let body = json!({ "prompt": "x", "params": { name: "y" } });
        refused(&gateway.post("/generate", &body).await, "unknown_param", name);
    }
    let answer = gateway.post("/generate", &json!({ "prompt": "x", "workflow": "../../etc/passwd" })).await;
    refused(&answer, "unknown_workflow", "a path as a workflow");
    let answer = gateway.post("/generate", &json!({ "prompt": "x", "timeouts": { "total": "1m" } })).await;
    refused(&answer, "unknown_field", "timeouts.total");
    let twice = json!({ "prompt": "x", "steps": 3, "params": { "steps": 4 } });
    refused(&gateway.post("/generate", &twice).await, "duplicate_param", "steps twice");
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn values_outside_their_bounds_are_refused() {
    let gateway = TestGateway::start().await;
    let cases = [
        json!({ "prompt": "x", "width": -1 }),
        json!({ "prompt": "x", "width": 4_294_967_296_u64 }),
        json!({ "prompt": "x", "width": 100_000, "height": 100_000 }),
        json!({ "prompt": "x", "image_count": -1 }),
        json!({ "prompt": "x", "image_count": 1_000_000 }),
        json!({ "prompt": "x", "priority": 101 }),
        json!({ "prompt": "x", "timeouts": { "run": "1000h" } }),
        json!({ "prompt": "x", "timeouts": { "run": "0s" } }),
    ];
    for body in cases {
        refused(&gateway.post("/generate", &body).await, "out_of_range", &body.to_string());
    }
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn texts_that_are_too_long_or_no_texts_are_refused() {
    let gateway = TestGateway::start().await;
    let long = json!({ "prompt": "x".repeat(200_000) });
    refused(&gateway.post("/generate", &long).await, "too_long", "a long prompt");
    let metadata = json!({ "prompt": "x", "metadata": "m".repeat(4_095) });
    refused(&gateway.post("/generate", &metadata).await, "too_long", "long metadata");
    let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
    refused(&gateway.post("/generate", &json!({ "prompt": "x", "metadata": deep })).await, "too_long", "deep metadata");
    for body in [
        json!({ "prompt": "a\u{0}b" }),
        json!({ "prompt": "x", "metadata": { "k": "\u{0}" } }),
        json!({ "prompt": "x", "metadata": { "\u{0}": 1 } }),
    ] {
        refused(&gateway.post("/generate", &body).await, "invalid_string", &body.to_string());
    }
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn control_and_bidi_characters_are_text() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let prompt = "red \u{1b}[31m\r\nline two \u{202e}olleh";
    let body = json!({ "prompt": prompt, "width": 64, "height": 64, "webhook_url": inbox.url() });
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(webhook.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_without_a_webhook_is_taken_in() {
    let gateway = TestGateway::start().await;
    for webhook_url in [Value::Null, json!("")] {
        let mut body = canvas("");
        body["webhook_url"] = webhook_url;
        let id = gateway.generate(&body).await;
        gateway.until(&id, "success").await;
    }
    let id = gateway.generate(&json!({ "workflow": "canvas", "prompt": "x", "width": 64 })).await;
    gateway.until(&id, "success").await;
    gateway.close().await;
}

#[actix_web::test]
async fn an_idempotency_key_makes_one_job_and_one_only() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let body = canvas(&inbox.url()).to_string();
    let post = async |key: &str, body: String| gateway.post_raw(&[JSON, ("idempotency-key", key)], body).await;
    let answers = futures_util::future::join_all((0..20).map(|_| post("order-1", body.clone()))).await;
    let ids: std::collections::BTreeSet<String> =
        answers.iter().map(|answer| answer.json()["prompt_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    inbox.next().await;

    let other = post("order-1", json!({ "workflow": "canvas", "prompt": "x", "width": 32 }).to_string()).await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
    for key in ["k".repeat(256), String::new(), "schlüssel".to_owned()] {
        refused(&post(&key, body.clone()).await, "invalid_idempotency_key", &key);
    }
    assert_eq!(gateway.get("/jobs").await.json()["jobs"].as_array().unwrap().len(), 1);
    assert!(inbox.rest().is_empty());
    gateway.close().await;
}

fn refused(answer: &Answer, code: &str, case: &str) {
    let case: String = case.chars().take(100).collect();
    let error = answer.json();
    assert_eq!((answer.status, answer.code().as_str()), (400, code), "{case}: {error}");
    assert!(error["error"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {error}");
}

async fn no_job_was_made(gateway: TestGateway) {
    let jobs = gateway.get("/jobs").await.json();
    assert_eq!(jobs["jobs"], json!([]));
    gateway.close().await;
}
