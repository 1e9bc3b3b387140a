//! Workflows that are dropped in, changed and spoiled while the gateway serves.

use crate::support::{Inbox, Setup, TestGateway, canvas, eventually};
use comfygate::workflow::shipped;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

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

/// A drawing as ComfyUI saves it: an image of one colour, sent over the socket.
fn drawing() -> Value {
    json!({
        "last_node_id": 2, "last_link_id": 1, "groups": [], "config": {}, "extra": {}, "version": 0.4,
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "nodes": [
            {
                "id": 1, "type": "EmptyImage", "title": "Paper", "pos": [0, 0], "size": [200, 100], "flags": {},
                "order": 0, "mode": 0, "inputs": [], "properties": {}, "widgets_values": [64, 64, 1, 255],
                "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1], "slot_index": 0}]
            },
            {
                "id": 2, "type": "SaveImageWebsocket", "pos": [300, 0], "size": [200, 100], "flags": {},
                "order": 1, "mode": 0, "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
                "outputs": [], "properties": {}, "widgets_values": []
            }
        ]
    })
}

#[actix_web::test]
async fn a_drawing_that_is_dropped_in_with_three_lines_of_yaml_is_served_within_three_seconds() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    // The backend has told its nodes, as it has some seconds after any start.
    let known = async || (gateway.get("/ready").await.status == 200).then_some(());
    eventually("the gateway is ready", known).await;
    // On a machine that is slow everything takes longer, as a job does of which nothing is new.
    let begun = tokio::time::Instant::now();
    gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let slowness = begun.elapsed() * 10;
    tokio::time::timeout(Duration::from_secs(3) + slowness, async {
        let config = "node_mappings:\n  width: { title: Paper, property: width }\n  colour: { class: EmptyImage, property: color }\n";
        fs::write(gateway.settings.workflows.configs.join("sheet.yaml"), config).unwrap();
        fs::write(gateway.settings.workflows.templates.join("sheet.json"), drawing().to_string()).unwrap();
        let body = json!({ "workflow": "sheet", "width": 32, "colour": 7, "webhook_url": inbox.url() });
        let taken_in = async || (gateway.post("/generate", &body).await.status == 202).then_some(());
        eventually("the drawing is served", taken_in).await;
        let webhook = inbox.next().await;
        assert_eq!((&webhook.body["status"], &webhook.body["workflow"]), (&json!("success"), &json!("sheet")));
        assert_eq!(webhook.body["images"].as_array().unwrap().len(), 1);
    })
    .await
    .expect("within three seconds");
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
        let none = Value::Null;
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
