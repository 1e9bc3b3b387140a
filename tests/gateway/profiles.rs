//! How a run went is told with its end, when somebody asks, and to those who come after it: as how long they should take.

use crate::proxy::{At, Effect, On};
use crate::support::{Inbox, PATIENCE, Setup, TestGateway, as_time_goes_by, canvas_files, eventually, starter};
use comfygate::clock::ManualClock;
use comfygate::job::Estimate;
use comfygate::sim::Fault;
use comfygate::store::{EstimateStore, SqliteStore};
use serde_json::{Value, json};
use std::time::Duration;

/// A workflow whose every node has its result kept.
const PLAIN: &str = "node_mappings:\n  color: {node_id: '1', property: color}\noutputs: ['2']\n";
const PLAIN_GRAPH: &str = r#"{
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}}}"#;

/// What the sampler of the small workflow is.
const SAMPLER: &str = "3";

#[actix_web::test]
async fn the_end_of_a_job_tells_how_its_run_went() {
    let (setup, clock) = Setup::with_manual_clock();
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let id = sampled(&gateway, &clock, &inbox, 7_000).await;
    let told = inbox.next().await;
    let profile = &told.body["profile"];
    assert_eq!((&profile["run"], &profile["run_ms"], &profile["waited_ms"]), (&json!(1), &json!(7_000), &json!(0)));
    assert_eq!((&profile["nodes_executed"], &profile["nodes_cached"]), (&json!(7), &json!(0)), "{profile}");
    assert_eq!(profile["backend"], gateway.sim.url(), "{profile}");
    let slowest = json!({"id": SAMPLER, "class": "KSampler", "title": "Sampler", "ms": 7_000});
    assert_eq!((&profile["slowest"][0], profile["slowest"].as_array().unwrap().len()), (&slowest, 5));
    assert!(profile.get("partial").is_none() && profile.get("nodes").is_none(), "{profile}");
    assert_eq!(gateway.job(&id).await["profile"], *profile, "the job is the webhook's body");

    let whole = gateway.get(&format!("/jobs/{id}/profile")).await;
    assert_eq!(whole.status, 200);
    let nodes = whole.json()["nodes"].as_array().unwrap().clone();
    assert_eq!(nodes.len(), 7);
    assert!(nodes.iter().any(|node| node["id"] == SAMPLER && node["ms"] == 7_000 && node["at_ms"] == 0), "{nodes:?}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_failed_run_tells_how_it_went_and_a_job_without_a_run_has_nothing_to_tell() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::FailNode {
        node: SAMPLER.into(),
        message: "no".into(),
        exception_type: "ValueError".into(),
    });
    let failed = gateway.run_one(&inbox, &starter(&inbox.url())).await;
    assert_eq!(failed.body["code"], "node_error");
    let nodes = failed.body["profile"]["nodes_executed"].as_u64().unwrap();
    assert!((1..7).contains(&nodes), "{}", failed.body);

    gateway.sim.inject(Fault::Hang { at: "execution_start".into() });
    let running = gateway.generate(&starter(&inbox.url())).await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let early = gateway.get(&format!("/jobs/{running}/profile")).await;
    assert_eq!((early.status, early.code().as_str()), (404, "not_found"));
    assert!(early.json()["error"].as_str().unwrap().contains("once it has ended"), "{:?}", early.json());
    let waiting = gateway.generate(&starter(&inbox.url())).await;
    assert_eq!(gateway.post(&format!("/jobs/{waiting}/cancel"), &Value::Null).await.status, 202);
    let cancelled = gateway.until(&waiting, "failure").await;
    if cancelled["profile"].is_null() {
        assert_eq!(gateway.get(&format!("/jobs/{waiting}/profile")).await.status, 404);
    }
    gateway.sim.release();
    gateway.until(&running, "success").await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_rerun_whose_results_are_kept_says_so_and_teaches_nothing() {
    let setup = Setup::new().with_workflow("plain", PLAIN, PLAIN_GRAPH);
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let mut request = json!({"workflow": "plain", "color": 7, "webhook_url": inbox.url()});
    let first = gateway.run_one(&inbox, &request).await;
    assert_eq!(first.body["profile"]["nodes_cached"], 0, "{}", first.body);
    let ran = first.body["profile"]["nodes_executed"].as_u64().unwrap();
    assert!(ran > 0, "{}", first.body);
    let (gateway, learnt) = restarted(gateway).await;
    assert_eq!((learnt.len(), learnt[0].runs), (1, 1), "{learnt:?}");
    let again = gateway.run_one(&inbox, &request).await;
    let profile = &again.body["profile"];
    assert_eq!((&profile["nodes_executed"], &profile["nodes_cached"]), (&json!(0), &json!(ran)), "{profile}");
    let (gateway, after) = restarted(gateway).await;
    assert_eq!(after, learnt);
    request["color"] = json!(8);
    gateway.run_one(&inbox, &request).await;
    let (gateway, after) = restarted(gateway).await;
    assert_eq!((after.len(), after[0].runs), (1, 2), "{after:?}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_says_when_it_should_end_by_what_was_learnt_before_a_restart() {
    let (mut setup, clock) = Setup::with_manual_clock();
    // The second job waits here, not on the backend.
    setup.settings.backends.queue = 1;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let id = sampled(&gateway, &clock, &inbox, 9_000).await;
    inbox.next().await;
    assert!(gateway.job(&id).await.get("eta").is_none(), "it has ended");
    let gateway = gateway.restart().await;
    gateway.sim.inject(Fault::Hang { at: "progress".into() });
    let id = gateway.generate(&starter(&inbox.url())).await;
    let before = gateway.until(&id, "running").await;
    assert_eq!(before["eta_ms"], 9_000, "{before}");
    clock.advance(Duration::from_secs(4));
    let job = gateway.job(&id).await;
    let end = comfygate::clock::Timestamp::parse_rfc3339(job["eta"]["end"].as_str().unwrap()).unwrap();
    assert_eq!((&job["eta_ms"], end), (&json!(5_000), gateway.clock().now() + Duration::from_secs(5)));
    let listed = gateway.get("/jobs?status=running").await.json();
    assert_eq!(listed["jobs"][0]["eta_ms"], 5_000, "{listed}");
    // Another one of the same workflow waits for its end, and then takes as long.
    let next = gateway.generate(&starter(&inbox.url())).await;
    let seen = async || Some(gateway.job(&next).await).filter(|job| job.get("position").is_some());
    let waiting = eventually("the second job is seen", seen).await;
    assert_eq!((&waiting["status"], &waiting["position"]), (&json!("queued"), &json!(1)), "{waiting}");
    assert_eq!(waiting["waiting_reason"], "no_backend_free", "{waiting}");
    let eta = waiting["eta_ms"].as_u64().unwrap();
    assert!((9_000..=27_000).contains(&eta), "{waiting}");
    assert!(waiting["eta"]["start"].as_str().unwrap() < waiting["eta"]["end"].as_str().unwrap(), "{waiting}");
    // It takes longer than any before: when it ends is not known.
    clock.advance(Duration::from_secs(6));
    assert!(gateway.job(&id).await.get("eta_ms").is_none());
    gateway.sim.release();
    inbox.next().await;
    inbox.next().await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_run_whose_socket_was_cut_says_that_it_was_not_heard_to_its_end() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let inbox = Inbox::open();
    proxy.until("the handshake is done", |proxy| proxy.events() == 1).await;
    proxy.arm(On::WebSocket, At::Event(4), Effect::Reset);
    let id = gateway.generate(&canvas_files(&inbox.url())).await;
    let ended = as_time_goes_by(&clock, "the job ends", async || {
        Some(gateway.job(&id).await).filter(|job| job["status"] == "success")
    });
    let job = ended.await;
    assert_eq!(job["profile"]["partial"], true, "{job}");
    // The simulator is done in moments, and the clock has gone on by seconds until that was heard.
    assert!(job["profile"]["run_ms"].as_u64().unwrap() < 500, "{job}");
    inbox.next().await;
    gateway.close().await;
}

/// Has a job run whose sampler takes this long and whose other nodes take no time.
async fn sampled(gateway: &TestGateway, clock: &ManualClock, inbox: &Inbox, millis: u64) -> String {
    gateway.sim.inject(Fault::Hang { at: "progress".into() });
    let id = gateway.generate(&starter(&inbox.url())).await;
    // Four nodes are done, and the sampler's first step is heard of.
    let begun = async || (gateway.job(&id).await["progress"]["fraction"].as_f64()? > 4.0 / 7.0).then_some(());
    eventually("the sampler has begun", begun).await;
    clock.advance(Duration::from_millis(millis));
    gateway.sim.release();
    gateway.until(&id, "success").await;
    id
}

/// Restarts a gateway, and says what had been learnt until then.
async fn restarted(gateway: TestGateway) -> (TestGateway, Vec<Estimate>) {
    let folder = gateway.settings.storage.folder.clone();
    let mut learnt = Vec::new();
    let gateway = gateway
        .restart_after(async |_| {
            let store = eventually("the folder is free", async || SqliteStore::open(&folder).ok()).await;
            learnt = tokio::time::timeout(PATIENCE, store.estimates()).await.unwrap().unwrap();
            store.close().await;
        })
        .await;
    (gateway, learnt)
}
