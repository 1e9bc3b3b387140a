//! Workflows that are dropped in, changed and spoiled while the gateway serves.

use crate::support::{Inbox, Setup, TestGateway, canvas, eventually};
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
async fn a_job_tells_which_version_it_runs_and_what_its_outputs_are_called() {
    let pair = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    let config = pair
        .config
        .replace(r#"outputs: ["3"]"#, "outputs: {\"sent\": \"3\", kept: {class: SaveImage}}\naliases: [paper]");
    let gateway = Setup::new()
        .with_workflow("sheet@2", &config, pair.template)
        .with_workflow("sheet@1", pair.config, pair.template)
        .start()
        .await;
    let inbox = Inbox::open();
    for (asked, runs) in [("sheet", "sheet@2"), ("sheet@2", "sheet@2"), ("paper", "sheet@2"), ("sheet@1", "sheet@1")] {
        let mut body = canvas(&inbox.url());
        body["workflow"] = json!(asked);
        body["webhook_events"] = json!(["output"]);
        let id = gateway.generate(&body).await;
        let mut last = inbox.next().await;
        let mut told = Vec::new();
        while last.body["type"] == "generation.output" {
            told.push(last.body["output"]["name"].clone());
            last = inbox.next().await;
        }
        assert_eq!((&last.body["workflow"], &last.body["status"]), (&json!(runs), &json!("success")));
        let outputs = last.body["outputs"].as_array().unwrap();
        let names: Vec<_> = outputs.iter().map(|output| (&output["node_id"], &output["name"])).collect();
        let (three, four) = (json!("3"), json!("4"));
        let none = serde_json::Value::Null;
        if runs == "sheet@2" {
            assert_eq!(names, [(&three, &json!("sent")), (&four, &json!("kept"))]);
            assert!(told.iter().all(|name| name == "sent" || name == "kept"), "{told:?}");
        } else {
            assert_eq!(names, [(&three, &none)]);
        }
        assert_eq!(gateway.job(&id).await["outputs"], last.body["outputs"]);
    }
    let listed = gateway.get("/jobs?workflow=sheet@2").await.json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 3);
    let mut body = canvas("");
    body["workflow"] = json!("sheet@9");
    let answer = gateway.post("/generate", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "unknown_workflow"));
    let told = answer.json()["error"].to_string();
    assert!(told.contains("paper, sheet, sheet@1, sheet@2"), "{told}");
    gateway.close().await;
}

#[actix_web::test]
async fn the_same_request_by_another_name_of_the_workflow_is_another_body_for_its_key() {
    let pair = shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    let config = format!("aliases: [paper]\n{}", pair.config);
    let gateway = Setup::new().with_workflow("sheet", &config, pair.template).start().await;
    let post = async |name: &str| {
        let body = json!({ "workflow": name, "prompt": "x" }).to_string();
        gateway.post_raw(&[("content-type", "application/json"), ("idempotency-key", "k")], body).await
    };
    let first = post("sheet").await;
    assert_eq!((first.status, post("sheet").await.json()), (202, first.json()));
    assert_eq!(post("paper").await.code(), "idempotency_key_reused");
    let id = first.json()["prompt_id"].as_str().unwrap().to_owned();
    gateway.until(&id, "success").await;
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
