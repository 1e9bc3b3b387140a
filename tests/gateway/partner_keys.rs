//! Keys for partner nodes: each goes to ComfyUI with the job that it came with, with every run of it, and is forgotten after.

use crate::support::{Inbox, Setup, TestGateway, canvas, canvas_files, eventually};
use comfygate::secret::Secret;
use comfygate::sim::{Fault, SimRequest};
use serde_json::{Value, json};
use std::time::Duration;

const KEY: &str = "comfyui-0123456789abcdef";

fn with_key(mut request: Value, key: &str) -> Value {
    request["api_key_comfy_org"] = json!(key);
    request
}

/// What ComfyUI was sent with each prompt besides the graph, oldest first.
fn extras(gateway: &TestGateway) -> Vec<Value> {
    let is_prompt = |request: &SimRequest| request.is_prompt();
    let prompts = gateway.sim.requests().into_iter().filter(is_prompt);
    prompts.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["extra_data"].clone()).collect()
}

async fn keys_held(gateway: &TestGateway) -> u64 {
    gateway.get("/ready").await.json()["partner_keys"].as_u64().unwrap()
}

async fn until_keys_held(gateway: &TestGateway, count: u64) {
    eventually("so many keys are held", async || (keys_held(gateway).await == count).then_some(())).await;
}

#[actix_web::test]
async fn a_key_goes_to_comfyui_with_its_own_job_only_and_is_forgotten_at_the_end() {
    let (gateway, inbox) = (TestGateway::start().await, Inbox::open());
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&with_key(canvas(&inbox.url()), KEY)).await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    assert_eq!(keys_held(&gateway).await, 1);
    let job = gateway.job(&id).await.to_string();
    assert!(!job.contains(KEY) && !job.contains("key"), "{job}");
    gateway.sim.release();
    let webhook = inbox.next().await;
    assert_eq!(webhook.body["status"], "success");
    until_keys_held(&gateway, 0).await;
    gateway.run_one(&inbox, &canvas_files(&inbox.url())).await;
    assert_eq!(extras(&gateway), [json!({ "api_key_comfy_org": KEY }), Value::Null]);
    gateway.close().await;
}

#[actix_web::test]
async fn another_run_of_a_job_has_its_key_too() {
    let (gateway, inbox) = (TestGateway::start().await, Inbox::open());
    let down_for = Duration::from_millis(100);
    gateway.sim.inject(Fault::Restart { at: Some("executing".into()), forget: true, down_for });
    let webhook = gateway.run_one(&inbox, &with_key(canvas(&inbox.url()), KEY)).await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    let expected = json!({ "api_key_comfy_org": KEY });
    assert_eq!(extras(&gateway), [expected.clone(), expected]);
    until_keys_held(&gateway, 0).await;
    gateway.close().await;
}

#[actix_web::test]
async fn after_a_restart_a_run_goes_on_and_a_waiting_job_whose_key_is_lost_fails_and_says_so() {
    let mut setup = Setup::new();
    setup.settings.backends.queue = 1;
    let (gateway, inbox) = (setup.start().await, Inbox::open());
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let runs = gateway.generate(&with_key(canvas_files(&inbox.url()), KEY)).await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let waits = gateway.generate(&with_key(canvas_files(&inbox.url()), KEY)).await;
    let without = gateway.generate(&canvas_files(&inbox.url())).await;
    let gateway = gateway.restart().await;
    gateway.sim.release();
    for _ in 0..3 {
        let webhook = inbox.next().await;
        if webhook.prompt_id() == waits {
            assert_eq!((&webhook.body["status"], &webhook.body["code"]), (&json!("failure"), &json!("api_key_lost")));
            let error = webhook.body["error"].as_str().unwrap();
            assert!(error.contains("restarted") && error.contains("send the request again"), "{error}");
        } else {
            assert!([&runs, &without].iter().any(|id| *id == webhook.prompt_id()));
            assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        }
    }
    assert_eq!(extras(&gateway), [json!({ "api_key_comfy_org": KEY }), Value::Null]);
    gateway.close().await;
}

#[actix_web::test]
async fn a_key_is_forgotten_with_a_job_that_never_runs_and_with_a_request_that_is_none() {
    let mut setup = Setup::new();
    setup.settings.backends.queue = 1;
    let (gateway, inbox) = (setup.start().await, Inbox::open());
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    gateway.generate(&canvas(&inbox.url())).await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let mut waiting = with_key(canvas(&inbox.url()), KEY);
    waiting["prompt_id"] = json!("0f8fad5b-d9cb-469f-a165-70867728950e");
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    for status in [202, 202] {
        assert_eq!(gateway.post_raw(&headers, waiting.to_string()).await.status, status);
    }
    assert_eq!(keys_held(&gateway).await, 1);
    let refused = gateway.post("/generate", &with_key(waiting.clone(), "another-key")).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "id_in_use"));
    assert_eq!(keys_held(&gateway).await, 1);
    let mut impatient = with_key(canvas(&inbox.url()), KEY);
    impatient["timeouts"] = json!({ "queue": "1ms" });
    let overdue = gateway.generate(&impatient).await;
    gateway.until(&overdue, "failure").await;
    until_keys_held(&gateway, 1).await;
    let path = format!("/jobs/{}/cancel", waiting["prompt_id"].as_str().unwrap());
    assert!(gateway.post(&path, &json!({})).await.status < 300);
    until_keys_held(&gateway, 0).await;
    gateway.sim.release();
    gateway.until_idle().await;
    gateway.close().await;
}

#[actix_web::test]
async fn what_is_no_key_is_refused_and_not_repeated() {
    let gateway = TestGateway::start().await;
    let long = "secretive".repeat(57);
    for wrong in ["", " ", "secretive\n", "secretive\r\nx: y", "secr\u{e4}etive", "secretive secretive", &long] {
        let answer = gateway.post("/generate", &with_key(canvas(""), wrong)).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_api_key"), "{wrong:?}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("secr"), "{wrong:?}");
    }
    let mut typed = canvas("");
    typed["api_key_comfy_org"] = json!(["secretive"]);
    let answer = gateway.post("/generate", &typed).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_type"));
    typed["api_key_comfy_org"] = Value::Null;
    gateway.generate(&typed).await;
    gateway.until_idle().await;
    assert_eq!(keys_held(&gateway).await, 0);
    gateway.close().await;
}

#[actix_web::test]
async fn the_operators_key_is_for_jobs_that_bring_none_and_a_failure_does_not_repeat_it() {
    let mut setup = Setup::new();
    setup.settings.backends.partner_key = Some(Secret::new("comfyui-the-operators"));
    let (gateway, inbox) = (setup.start().await, Inbox::open());
    let mut request = canvas_files(&inbox.url());
    for (color, key, expected) in [(1, None, "comfyui-the-operators"), (2, Some(KEY), KEY)] {
        request["color"] = json!(color);
        let message = format!("401 for {expected}");
        gateway.sim.inject(Fault::FailNode { node: "4".into(), message, exception_type: "ValueError".into() });
        let body = key.map_or_else(|| request.clone(), |key| with_key(request.clone(), key));
        let webhook = gateway.run_one(&inbox, &body).await;
        assert_eq!(webhook.body["code"], "node_error", "{}", webhook.body);
        assert_eq!(webhook.body["node"]["message"], "401 for ***");
        assert!(!webhook.body.to_string().contains(expected), "{}", webhook.body);
        assert_eq!(extras(&gateway).last().unwrap(), &json!({ "api_key_comfy_org": expected }));
    }
    gateway.close().await;
}
