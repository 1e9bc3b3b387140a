//! Workflows that are dropped in, changed and spoiled while the gateway serves.

use crate::support::{Inbox, TestGateway, canvas, eventually};
use comfygate::workflow::shipped;
use serde_json::json;
use std::fs;

#[actix_web::test]
async fn a_pair_that_is_dropped_in_serves_without_a_restart() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["workflow"] = json!("mine");
    let answer = gateway.post("/generate", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "unknown_workflow"));

    let pair = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    fs::write(gateway.settings.workflows.configs.join("mine.yaml"), pair.config).unwrap();
    fs::write(gateway.settings.workflows.templates.join("mine.json"), pair.template).unwrap();
    let names = async || {
        let ready = gateway.get("/ready").await.json();
        ready["workflows"].as_array()?.contains(&json!("mine")).then_some(())
    };
    eventually("the new workflow is known", names).await;
    assert_eq!(gateway.run_one(&inbox, &body).await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn a_pair_that_is_spoiled_keeps_its_last_good_version_and_is_told_with_its_line() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let config = gateway.settings.workflows.configs.join("canvas.yaml");
    let spoiled = fs::read_to_string(&config)
        .unwrap()
        .replace("node_id: \"1\", property: color", "node_id: \"77\", property: color");
    fs::write(&config, &spoiled).unwrap();
    let line = spoiled.lines().position(|line| line.contains("\"77\"")).unwrap() + 1;
    let told = async || {
        let ready = gateway.get("/ready").await.json();
        ready["workflow_problems"].as_array()?.first()?.as_str().map(str::to_owned)
    };
    let problem = eventually("the problem is told", told).await;
    assert!(problem.contains(&format!("canvas.yaml:{line}")) && problem.contains("77"), "{problem}");
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_runs_with_the_version_that_it_was_checked_against() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(comfygate::sim::Fault::Hang { at: "executing".into() });
    let mut ids = Vec::new();
    for color in 0..4 {
        let mut body = canvas(&inbox.url());
        body["color"] = json!(color);
        ids.push(gateway.generate(&body).await);
    }
    // The last two still wait in the gateway when the workflow is taken away from under them.
    gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
    fs::remove_file(gateway.settings.workflows.configs.join("canvas.yaml")).unwrap();
    fs::remove_file(gateway.settings.workflows.templates.join("canvas.json")).unwrap();
    let gone = async || {
        let ready = gateway.get("/ready").await.json();
        (!ready["workflows"].as_array()?.contains(&json!("canvas"))).then_some(())
    };
    eventually("the workflow is gone", gone).await;
    gateway.sim.release();
    for _ in &ids {
        assert_eq!(inbox.next().await.body["status"], "success");
    }
    gateway.close().await;
}
