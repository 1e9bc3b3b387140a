//! Runs of the workflow in memory: waited for, failed, interrupted, left alone; and where their pictures are.

use super::{run, with_workflow};
use crate::support::{Setup, TestGateway, client, eventually};
use comfygate::sim::Fault;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

/// S0-06: the health of the process is one word, without asking anybody, for load balancers.
#[actix_web::test]
async fn health_is_one_word_and_asks_nobody() {
    let mut setup = Setup::new();
    setup.settings.access.keys = comfygate::settings::KeyMode::Required;
    setup.settings.access.admin_key = Some(comfygate::secret::Secret::new("0123456789abcdefghijklmnopqrstuv"));
    let gateway = setup.start().await;
    gateway.sim.inject(Fault::Stall);
    let asked = gateway.sim.requests().len();
    let answer = client().build().unwrap().get(gateway.url("/runner/health")).send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!((answer.status().as_u16(), kind.as_str()), (200, "text/plain; charset=utf-8"));
    assert_eq!(answer.text().await.unwrap(), "running");
    assert_eq!(gateway.sim.requests().len(), asked);
    gateway.sim.release();
    gateway.close().await;
}

/// S0-07, S0-17: a run is answered once it has ended, with its picture's name and ComfyUI's own link to it.
#[actix_web::test]
async fn a_run_is_answered_at_its_end_with_comfyuis_link() {
    let gateway = with_workflow("canvas-files").await;
    let answer = gateway.get("/runner/queue").await;
    let told = answer.json();
    assert_eq!(answer.status, 200, "{told}");
    let view = format!("{}/view?filename=canvas_00001_.png&subfolder=comfygate&type=output", gateway.sim.url());
    let picture = (&told["STATUS"], &told["image_filename"], &told["image_url"]);
    assert_eq!(picture, (&json!("success"), &json!("canvas_00001_.png"), &json!(view)));
    let id = told["prompt_id"].as_str().unwrap();
    assert_eq!(gateway.job(id).await["status"], "success", "it is a job like any other");
    let output = told["output_url"].as_str().unwrap();
    assert!(output.starts_with(&gateway.url(&format!("/jobs/{id}/outputs/0?exp="))), "{output}");
    let client = client().build().unwrap();
    let mut pictures = Vec::new();
    for link in [view.as_str(), output] {
        let answer = client.get(link).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{link}");
        pictures.push(answer.bytes().await.unwrap());
    }
    assert!(pictures[0].starts_with(b"\x89PNG") && pictures[0] == pictures[1]);
    assert_eq!(told["outputs"][0]["bytes"], pictures[0].len());

    // Nothing has changed, so ComfyUI runs nothing and gives the same file.
    let again = gateway.post("/runner/queue", &Value::Null).await.json();
    assert_eq!(again["image_url"], json!(view));
    assert_ne!(again["prompt_id"], told["prompt_id"]);
    gateway.close().await;
}

/// S0-07: a picture that went over the socket alone is in no folder of ComfyUI's, so its link and its name are the gateway's.
#[actix_web::test]
async fn a_picture_without_a_file_has_the_gateways_own_link() {
    let gateway = with_workflow("canvas").await;
    let told = run(&gateway).await;
    assert_eq!((&told["image_filename"], &told["image_url"]), (&json!("output-0.png"), &told["output_url"]));
    let link = told["image_url"].as_str().unwrap();
    let picture = client().build().unwrap().get(link).send().await.unwrap().bytes().await.unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    gateway.close().await;
}

/// S0-07, S0-19: a run that fails is answered with its reason and a status that says whose fault it is.
#[actix_web::test]
async fn a_run_that_fails_says_why() {
    let gateway = with_workflow("canvas").await;
    gateway.sim.inject(Fault::FailNode {
        node: "2".into(),
        exception_type: "ValueError".into(),
        message: "no size".into(),
    });
    let answer = gateway.get("/runner/queue").await;
    let told = answer.json();
    assert_eq!(
        (answer.status, &told["STATUS"], &told["code"]),
        (422, &json!("failure"), &json!("node_error")),
        "{told}"
    );
    assert!(told["error"].as_str().unwrap().contains("node `2` (ImageScale)"), "{told}");
    assert_eq!(
        (&told["image_filename"], &told["image_url"], &told["outputs"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    assert_eq!(gateway.job(told["prompt_id"].as_str().unwrap()).await["error"], told["error"]);
    run(&gateway).await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_run_that_is_out_of_time_says_so() {
    let config = "node_mappings: {}\noutputs: ['3']\ntimeouts: { run: 300ms, silence: 10s }\n";
    let canvas = comfygate::workflow::shipped::PAIRS.iter().find(|pair| pair.name == "canvas").unwrap();
    let mut setup = Setup::new().with_workflow("short", config, canvas.template);
    setup.settings.runner.workflow = Some("short".into());
    let gateway = setup.start().await;
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let answer = gateway.get("/runner/queue").await;
    let told = answer.json();
    assert_eq!((answer.status, &told["code"]), (504, &json!("timeout_run")), "{told}");
    gateway.sim.release();
    gateway.close().await;
}

/// S0-07: callers at the same time each have a run of their own.
#[actix_web::test]
async fn callers_at_the_same_time_each_have_their_run() {
    let gateway = with_workflow("canvas").await;
    let all = join_all((0..5).map(|_| run(&gateway))).await;
    let mut ids: Vec<String> = all.iter().map(|told| told["prompt_id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), gateway.sim.executions().len()), (5, 5));
    assert_eq!(gateway.get("/runner/status").await.json()["state"], "idle");
    gateway.close().await;
}

/// S0-07: a run goes on though its caller has gone.
#[actix_web::test]
async fn a_caller_that_goes_away_does_not_lose_the_run() {
    let gateway = with_workflow("canvas").await;
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let impatient = client().timeout(Duration::from_millis(300)).build().unwrap();
    assert!(impatient.get(gateway.url("/runner/queue")).send().await.unwrap_err().is_timeout());
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let standing = gateway.get("/runner/status").await.json();
    assert_eq!(standing["state"], "running", "{standing}");
    gateway.sim.release();
    let id = standing["runs"][0].as_str().unwrap();
    gateway.until(id, "success").await;
    until_idle(&gateway).await;
    gateway.close().await;
}

/// S0-13: an interrupt is answered at once, stops what runs, clears what waits, and leaves the jobs of others alone.
#[actix_web::test]
async fn an_interrupt_stops_its_own_runs_at_once_and_nothing_else() {
    let gateway = with_workflow("canvas").await;
    gateway.sim.inject(Fault::Slow(Duration::from_millis(200)));
    let runs = async { join_all((0..3).map(|_| gateway.get("/runner/queue"))).await };
    let interrupt = async {
        let standing = async || {
            let standing = gateway.get("/runner/status").await.json();
            let running = gateway.get("/queue").await.json()["running"] != json!(0);
            (standing["runs"].as_array().unwrap().len() == 3 && running).then_some(())
        };
        eventually("all three are taken in and one runs", standing).await;
        let other = gateway.generate(&json!({ "workflow": "canvas", "prompt": "x" })).await;
        let answer = gateway.post_raw_to("/runner/interrupt", &[], "").await;
        let told = answer.json();
        assert_eq!((answer.status, &told["state"]), (200, &json!("idle")), "{told}");
        let count = |name: &str| told[name].as_array().unwrap().len();
        assert_eq!(count("running") + count("waiting"), 3, "{told}");
        let message = format!("{} running and {} waiting were stopped", count("running"), count("waiting"));
        assert_eq!(told["message"], json!(message));
        assert_eq!(gateway.get("/runner/status").await.json()["state"], "idle");
        other
    };
    let (answers, other) = futures_util::future::join(runs, interrupt).await;
    for answer in answers {
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["STATUS"], &told["code"]),
            (409, &json!("cancelled"), &json!("cancelled")),
            "{told}"
        );
    }
    gateway.until(&other, "success").await;
    let told = gateway.post("/runner/interrupt", &Value::Null).await.json();
    assert_eq!(told["message"], "0 running and 0 waiting were stopped");
    run(&gateway).await;
    gateway.close().await;
}

/// S0-19: what a gateway that stops does not wait for goes on when it is back.
#[actix_web::test]
async fn a_run_that_is_waited_for_does_not_hold_up_the_end_and_goes_on_afterwards() {
    let gateway = with_workflow("canvas").await;
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let url = gateway.url("/runner/queue");
    let (tell, told) = tokio::sync::oneshot::channel();
    actix_web::rt::spawn(async move {
        let answer = client().build().unwrap().get(url).send().await.unwrap();
        tell.send((answer.status().as_u16(), serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()))
            .ok();
    });
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let gateway = gateway.restart().await;
    let (status, told) = told.await.unwrap();
    assert_eq!((status, &told["code"]), (503, &json!("shutting_down")), "{told}");
    let id = told["details"]["prompt_id"].as_str().unwrap();
    gateway.sim.release();
    gateway.until(id, "success").await;
    gateway.close().await;
}

async fn until_idle(gateway: &TestGateway) {
    let is_idle = async || (gateway.get("/runner/status").await.json()["state"] == "idle").then_some(());
    eventually("nothing runs any more", is_idle).await;
}
