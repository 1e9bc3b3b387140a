//! More than one backend: what one of them cannot run goes to another, and what no other can mend does not.

use crate::support::{Inbox, Setup, TestGateway, canvas, canvas_files, starter};
use comfygate::sim::{Fault, Refusal, Sim, SimOptions, When};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

#[actix_web::test]
async fn a_model_that_one_backend_lacks_is_used_on_another() {
    let whole = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = lacking("one.safetensors").start_beside(&[whole.url()], 2).await;
    gateway.until_stock_is_known(2).await;
    let inbox = Inbox::open();
    for _ in 0..6 {
        gateway.generate(&starter(&inbox.url())).await;
    }
    for _ in 0..6 {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    }
    assert_eq!((posts(&gateway.sim), executions(&whole)), (0, 6), "who lacks the model is not even asked");
    assert_eq!(gateway.run_behind(&inbox).await, json!("success"));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
    whole.stop().await;
}

#[actix_web::test]
async fn what_no_backend_can_run_fails_with_the_reason_of_each() {
    let other = Sim::start(lacking("two.safetensors").sim).await.unwrap();
    let gateway = lacking("one.safetensors").start_beside(&[other.url()], 2).await;
    gateway.until_stock_is_known(2).await;
    let inbox = Inbox::open();
    // Both are busy, and the job need not wait for them to hear that neither can run it.
    for sim in [&gateway.sim, &other] {
        sim.inject(Fault::Hang { at: "executing".into() });
    }
    let busy = [gateway.generate(&canvas("")).await, gateway.generate(&canvas("")).await];
    for id in &busy {
        gateway.until(id, "running").await;
    }
    let webhook = gateway.run_one(&inbox, &starter(&inbox.url())).await;
    assert_eq!(webhook.body["code"], "validation", "{}", webhook.body);
    let error = webhook.body["error"].as_str().unwrap();
    for sim in [&gateway.sim, &other] {
        assert!(error.contains(&sim.url()), "{error}");
        assert_eq!(posts(sim), 1, "only what it can run was offered to it");
        sim.release();
    }
    assert!(error.contains("no model `v1-5-pruned-emaonly-fp16.safetensors` for `ckpt_name`"), "{error}");
    assert_eq!(webhook.body["node"]["class"], "CheckpointLoaderSimple", "{}", webhook.body);
    for id in &busy {
        gateway.until(id, "success").await;
    }
    gateway.close().await;
    assert!(inbox.rest().is_empty());
    other.stop().await;
}

#[actix_web::test]
async fn a_job_that_waits_for_another_backend_does_not_hold_up_those_behind_it() {
    let away = free_address();
    let gateway = lacking("one.safetensors").start_beside(&[format!("http://{away}")], 1).await;
    let inbox = Inbox::open();
    gateway.until_stock_is_known(1).await;
    let waits = gateway.generate(&starter(&inbox.url())).await;
    for _ in 0..3 {
        assert_eq!(gateway.run_behind(&inbox).await, json!("success"));
    }
    assert_eq!(gateway.job(&waits).await["status"], "queued");
    let back = Sim::start(SimOptions { addr: away, ..SimOptions::default() }).await.unwrap();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (waits.as_str(), &json!("success")));
    assert_eq!(executions(&back), 1);
    gateway.close().await;
    back.stop().await;
}

#[actix_web::test]
async fn a_restart_remembers_who_cannot_run_a_job() {
    let away = free_address();
    let gateway = Setup::new().start_beside(&[format!("http://{away}")], 1).await;
    gateway.until_stock_is_known(1).await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Refuse(Refusal::Invalid(no_such_model())));
    let id = gateway.generate(&starter(&inbox.url())).await;
    gateway.until_refused(&id).await;
    let gateway = gateway.restart().await;
    // Another one like it need not be refused to know.
    let like = gateway.generate(&starter(&inbox.url())).await;
    for _ in 0..3 {
        assert_eq!(gateway.run_behind(&inbox).await, json!("success"));
    }
    assert_eq!((offered(&gateway.sim).get(&id), offered(&gateway.sim).get(&like)), (Some(&1), None));
    let back = Sim::start(SimOptions { addr: away, ..SimOptions::default() }).await.unwrap();
    for _ in [id, like] {
        assert_eq!(inbox.next().await.body["status"], "success");
    }
    assert_eq!(executions(&back), 2);
    gateway.close().await;
    back.stop().await;
}

#[actix_web::test]
async fn a_job_whose_last_hope_is_not_configured_any_more_ends_at_the_next_start() {
    let gateway = Setup::new().start_beside(&[format!("http://{}", free_address())], 1).await;
    gateway.until_stock_is_known(1).await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Refuse(Refusal::Invalid(no_such_model())));
    let id = gateway.generate(&starter(&inbox.url())).await;
    gateway.until_refused(&id).await;
    let gateway = gateway.restart_with(|settings| settings.backends.addresses.truncate(1)).await;
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["code"]), (id.as_str(), &json!("validation")));
    assert!(webhook.body["error"].as_str().unwrap().contains("gone.safetensors"), "{}", webhook.body);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn a_job_that_only_an_absent_backend_may_run_ends_with_its_queue_limit() {
    let gateway = lacking("one.safetensors").start_beside(&[format!("http://{}", free_address())], 1).await;
    let inbox = Inbox::open();
    let mut body = starter(&inbox.url());
    body["timeouts"] = json!({ "queue": "1s" });
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(webhook.body["code"], "timeout_queue", "{}", webhook.body);
    gateway.close().await;
}

#[actix_web::test]
async fn a_class_that_one_backend_lacks_is_used_on_another() {
    let refusal = json!({"error": {"type": "missing_node_type", "details": "Node ID '#3'", "extra_info":
        {"node_id": "3", "class_type": "EmptyImage", "node_title": "x"},
        "message": "Node 'x' not found. The custom node may not be installed."}, "node_errors": {}});
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = Setup::new().start_beside(&[other.url()], 2).await;
    gateway.until_stock_is_known(2).await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::Refuse(Refusal::Invalid(refusal.to_string())), When::Every);
    for _ in 0..3 {
        assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    }
    assert_eq!((executions(&gateway.sim), executions(&other)), (0, 3));
    assert!(posts(&gateway.sim) <= 1, "once it has said so, no graph like that is offered to it");
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_graph_that_is_wrong_and_a_node_that_raises_are_not_tried_elsewhere() {
    let wrong = json!({"error": {"type": "prompt_outputs_failed_validation", "message": "m", "details": ""},
        "node_errors": {"1": {"class_type": "EmptyImage", "errors": [{"type": "value_smaller_than_min",
        "message": "Value 0 smaller than min of 1", "details": "width", "extra_info": {"input_name": "width"}}]}}});
    let raises = |exception: &str| Fault::FailNode {
        node: "SaveImageWebsocket".into(),
        message: "no".into(),
        exception_type: exception.into(),
    };
    let cases = [
        (Fault::Refuse(Refusal::Invalid(wrong.to_string())), "validation", 0),
        (raises("ValueError"), "node_error", 1),
    ];
    for (fault, code, runs) in cases {
        let other = Sim::start(SimOptions::default()).await.unwrap();
        let gateway = Setup::new().start_beside(&[other.url()], 2).await;
        let inbox = Inbox::open();
        for sim in [&gateway.sim, &other] {
            sim.inject_when(fault.clone(), When::Every);
        }
        let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
        assert_eq!(webhook.body["code"], code, "{}", webhook.body);
        assert_eq!(posts(&gateway.sim) + posts(&other), 1, "{code}: it was tried again");
        assert_eq!(executions(&gateway.sim) + executions(&other), runs, "{code}");
        gateway.close().await;
        other.stop().await;
    }
}

#[actix_web::test]
async fn a_job_that_its_backend_lost_goes_to_another() {
    let other = Sim::start(SimOptions::default()).await.unwrap();
    let gateway = Setup::new().start_beside(&[other.url()], 2).await;
    let inbox = Inbox::open();
    let crash = Fault::Restart { at: Some("executed".into()), forget: true, down_for: Duration::ZERO };
    let slow = Fault::Slow(Duration::from_millis(20));
    for sim in [&gateway.sim, &other] {
        sim.inject_when(slow.clone(), When::Every);
    }
    // Whichever gets a job first falls with it.
    gateway.sim.inject_when(crash.clone(), When::Every);
    for _ in 0..4 {
        let webhook = gateway.run_one(&inbox, &canvas_files(&inbox.url())).await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        gateway.until_connected(2).await;
    }
    assert_eq!(executions(&other), 4);
    assert!(executions(&gateway.sim) <= 4, "no job was given back to the backend that lost it");
    gateway.sim.clear_faults();
    gateway.close().await;
    other.stop().await;
}

/// A gateway whose own simulator has only this model.
fn lacking(model: &str) -> Setup {
    let mut setup = Setup::new();
    setup.sim.models = Some(vec![model.to_owned()]);
    setup
}

/// What ComfyUI says of a model that it does not have.
fn no_such_model() -> String {
    let error = json!({"type": "value_not_in_list", "message": "Value not in list",
        "details": "ckpt_name: 'gone.safetensors' not in []", "extra_info": {"input_name": "ckpt_name"}});
    json!({"error": {"type": "prompt_outputs_failed_validation", "message": "m", "details": ""},
        "node_errors": {"4": {"class_type": "CheckpointLoaderSimple", "errors": [error]}}})
    .to_string()
}

/// An address where nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn posts(sim: &Sim) -> usize {
    offered(sim).values().sum()
}

/// How often each prompt was offered to a backend.
fn offered(sim: &Sim) -> std::collections::BTreeMap<String, usize> {
    let mut offered = std::collections::BTreeMap::new();
    for request in sim.requests() {
        if request.is_prompt() {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            *offered.entry(body["prompt_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    offered
}

fn executions(sim: &Sim) -> usize {
    sim.executions().values().sum()
}

impl TestGateway {
    /// Runs a job that every backend can run, and returns its status.
    async fn run_behind(&self, inbox: &Inbox) -> Value {
        let webhook = self.run_one(inbox, &canvas(&inbox.url())).await;
        webhook.body["status"].clone()
    }

    /// Waits until a job was offered to the gateway's own simulator and is back in the queue.
    async fn until_refused(&self, id: &str) {
        self.sim.wait_for(|sim| posts(sim) == 1).await.unwrap();
        self.until(id, "queued").await;
    }
}
