//! The remote control: each of its promises with the exact request and the exact answer, over real sockets.

mod doors;
mod prompts;
mod relay;
mod runs;
mod updates;
mod workflow;

use crate::support::{Setup, TestGateway};
use comfygate::sim::SimRequest;
use serde_json::{Value, json};

/// A gateway whose remote control holds this workflow.
async fn with_workflow(name: &str) -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.runner.workflow = Some(name.to_owned());
    setup.start().await
}

/// The graph that ComfyUI was sent last.
fn last_graph(gateway: &TestGateway) -> Value {
    let sent = gateway.sim.requests().into_iter().rfind(SimRequest::is_prompt).unwrap();
    serde_json::from_slice::<Value>(&sent.body).unwrap()["prompt"].clone()
}

/// Runs the workflow in memory, which must go well.
async fn run(gateway: &TestGateway) -> Value {
    let answer = gateway.get("/runner/queue").await;
    let told = answer.json();
    assert_eq!((answer.status, &told["STATUS"]), (200, &json!("success")), "{told}");
    told
}
