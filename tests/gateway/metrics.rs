//! What `GET /metrics` tells: of jobs, runs, webhooks, requests and the store, to whom, and never more rows than there may be.

use crate::exposition::Exposition;
use crate::keys::{ask, make, with_keys};
use crate::support::{Inbox, Setup, TestGateway, canvas, client, eventually};
use comfygate::metrics::METRICS;
use comfygate::sim::{Fault, Sim, When};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

async fn told(gateway: &TestGateway) -> Exposition {
    let answer = gateway.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Exposition::open(&String::from_utf8(answer.bytes).unwrap())
}

/// Waits until a row has this value.
async fn until(gateway: &TestGateway, name: &str, labels: &[(&str, &str)], value: f64) -> Exposition {
    eventually(&format!("{name} {labels:?} is {value}"), async || {
        Some(told(gateway).await).filter(|told| told.value(name, labels) == Some(value))
    })
    .await
}

#[actix_web::test]
async fn what_happens_to_jobs_runs_webhooks_and_requests_is_counted() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    for width in [64, 128] {
        let mut body = canvas(&inbox.url());
        body["width"] = json!(width);
        assert_eq!(gateway.post("/generate", &body).await.status, 202);
        inbox.next().await;
    }
    assert_eq!(gateway.post("/generate", &json!({ "workflow": "nobodys", "prompt": "x" })).await.status, 400);
    gateway.sim.inject(Fault::Slow(Duration::from_millis(200)));
    let slow = gateway.generate(&canvas("")).await;
    gateway.until(&slow, "running").await;
    assert_eq!(gateway.post(&format!("/jobs/{slow}/cancel"), &Value::Null).await.status, 202);
    let cancelled = [("workflow", "canvas"), ("status", "cancelled")];
    let told = until(&gateway, "comfygate_jobs_ended_total", &cancelled, 1.0).await;
    let ended = [("workflow", "canvas"), ("status", "succeeded"), ("code", "")];
    assert_eq!(told.value("comfygate_jobs_ended_total", &ended), Some(2.0));
    assert_eq!(told.value("comfygate_jobs_accepted_total", &[]), Some(3.0));
    assert_eq!(told.value("comfygate_jobs_refused_total", &[("reason", "unknown_workflow")]), Some(1.0));
    let backend = gateway.sim.url();
    let backend = backend.trim_end_matches('/');
    let of = |name: &str, more: &[(&str, &str)]| {
        told.value(name, &[&[("backend", backend)], more].concat()).unwrap_or_else(|| panic!("{name} {told:?}"))
    };
    assert_eq!(of("comfygate_runs_total", &[("outcome", "succeeded")]).to_bits(), 2.0_f64.to_bits());
    assert_eq!(of("comfygate_runs_total", &[("outcome", "cancelled")]).to_bits(), 1.0_f64.to_bits());
    assert_eq!(of("comfygate_run_seconds_count", &[]).to_bits(), 3.0_f64.to_bits());
    assert_eq!(told.value("comfygate_queue_wait_seconds_count", &[]), Some(3.0));
    assert_eq!(of("comfygate_backend_up", &[]).to_bits(), 1.0_f64.to_bits());
    assert_eq!(of("comfygate_backend_slots", &[]).to_bits(), 1.0_f64.to_bits());
    assert_eq!(of("comfygate_backend_draining", &[]).to_bits(), 0.0_f64.to_bits());
    let posts = [("route", "/generate"), ("method", "POST")];
    let of_posts = |status| told.value("comfygate_http_requests_total", &[&posts[..], &[("status", status)]].concat());
    assert_eq!((of_posts("2xx"), of_posts("4xx")), (Some(3.0), Some(1.0)));
    assert_eq!(told.value("comfygate_http_request_seconds_count", &[("route", "/generate")]), Some(4.0));
    // Each accepted job was a write, and each was committed.
    assert!(told.value("comfygate_store_commit_writes_sum", &[]).unwrap() >= 3.0);
    let told = until(&gateway, "comfygate_deliveries_total", &[("outcome", "delivered")], 2.0).await;
    assert_eq!(told.value("comfygate_delivery_attempts_total", &[("answer", "ok")]), Some(2.0));
    assert_eq!(told.value("comfygate_delivery_first_attempt_seconds_count", &[]), Some(2.0));
    let outputs = told.value("comfygate_outputs_total", &[]);
    assert!(outputs == Some(2.0) && told.value("comfygate_output_bytes_total", &[]).unwrap() >= 200.0, "{told:?}");
    assert!(of("comfygate_executed_nodes_total", &[]) >= 4.0, "{told:?}");
    let size = |file| told.value("comfygate_store_bytes", &[("file", file)]).unwrap();
    assert!(size("database") >= 4096.0 && size("log") > 0.0, "{told:?}");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(told.value("comfygate_build_info", &version), Some(1.0));
    gateway.close().await;
    inbox.close().await;
}

#[actix_web::test]
async fn what_an_alert_counts_is_told_as_zero_before_it_happens_first() {
    let gateway = TestGateway::start().await;
    let fresh = told(&gateway).await;
    for outcome in ["delivered", "gone", "undeliverable"] {
        assert_eq!(fresh.value("comfygate_deliveries_total", &[("outcome", outcome)]), Some(0.0), "{outcome}");
    }
    assert!(fresh.rows("comfygate_deliveries_total").all(|(_, count)| count < 1.0));
    let failed = |told: &Exposition, workflow| {
        let of = [("workflow", workflow), ("status", "failed"), ("code", "node_error")];
        told.value("comfygate_jobs_ended_total", &of)
    };
    assert_eq!((failed(&fresh, "other"), failed(&fresh, "canvas")), (Some(0.0), None));
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    gateway.generate(&canvas("")).await;
    eventually("it hangs", async || (gateway.sim.hanging() == 1).then_some(())).await;
    assert_eq!(failed(&told(&gateway).await, "canvas"), Some(0.0), "it has not ended yet");
    gateway.sim.release();
    gateway.until_idle().await;
    let over = told(&gateway).await;
    assert_eq!(over.value("comfygate_jobs_ended_total", &[("status", "succeeded"), ("workflow", "canvas")]), Some(1.0));
    assert_eq!(failed(&over, "canvas"), Some(0.0));
    gateway.close().await;
}

#[actix_web::test]
async fn where_there_is_no_backend_at_all_their_number_says_so() {
    let mut setup = with_keys();
    setup.settings.backends.addresses = Vec::new();
    let gateway = setup.start_alone().await;
    assert_eq!(told(&gateway).await.value("comfygate_backends", &[]), Some(0.0));
    let url = gateway.sim.url();
    assert_eq!(gateway.post("/backends", &json!({ "name": "first", "url": url })).await.status, 201);
    assert_eq!(told(&gateway).await.value("comfygate_backends", &[]), Some(1.0));
    gateway.close().await;
}

#[actix_web::test]
async fn how_the_queue_stands_is_looked_at_when_somebody_asks() {
    let gateway = with_keys().start().await;
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    for _ in 0..5 {
        gateway.generate(&canvas("")).await;
    }
    // Two go to the backend, the others wait.
    let told = until(&gateway, "comfygate_queue_jobs", &[("state", "queued")], 3.0).await;
    assert_eq!(told.value("comfygate_queue_jobs", &[("state", "running")]), Some(2.0));
    assert_eq!(told.value("comfygate_backend_prompts", &[]), Some(2.0));
    let busy = until(&gateway, "comfygate_queue_waiting_jobs", &[("why", "no_backend_free")], 3.0).await;
    let all: f64 = busy.rows("comfygate_queue_waiting_jobs").map(|(_, count)| count).sum();
    assert_eq!(all.to_bits(), 3.0_f64.to_bits(), "{busy:?}");
    assert_eq!(gateway.post("/queue/pause", &Value::Null).await.status, 200);
    let paused = crate::metrics::told(&gateway).await;
    assert_eq!(paused.value("comfygate_queue_waiting_jobs", &[("why", "paused")]), Some(3.0));
    assert_eq!(paused.value("comfygate_queue_waiting_jobs", &[("why", "no_backend_free")]), Some(0.0));
    assert_eq!(gateway.post("/queue/resume", &Value::Null).await.status, 200);
    let oldest = told.value("comfygate_queue_oldest_seconds", &[]).unwrap();
    assert!((0.0..60.0).contains(&oldest), "{oldest}");
    eventually("the oldest job grows older", async || {
        told_oldest(&gateway).await.filter(|later| *later > oldest).map(|_| ())
    })
    .await;
    gateway.sim.release();
    let told = until(&gateway, "comfygate_queue_jobs", &[("state", "queued")], 0.0).await;
    assert_eq!(told.value("comfygate_queue_oldest_seconds", &[]), Some(0.0));
    gateway.until_idle().await;
    gateway.close().await;
}

async fn told_oldest(gateway: &TestGateway) -> Option<f64> {
    told(gateway).await.value("comfygate_queue_oldest_seconds", &[])
}

#[actix_web::test]
async fn the_answer_has_every_metric_of_the_list_and_no_other_in_both_formats() {
    let gateway = TestGateway::start().await;
    let id = gateway.generate(&canvas("")).await;
    gateway.until(&id, "success").await;
    let open = told(&gateway).await;
    let wish = [("accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1")];
    let answer = gateway.get_with("/metrics", &wish).await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let classic = Exposition::classic(&String::from_utf8(answer.bytes).unwrap());
    let listed: BTreeSet<_> =
        METRICS.iter().map(|listed| (listed.name.to_owned(), listed.kind.as_str().to_owned())).collect();
    for told in [&open, &classic] {
        let kinds: BTreeSet<_> = told.kinds.iter().map(|(name, kind)| (name.clone(), kind.clone())).collect();
        assert_eq!(kinds, listed);
        for (name, labels) in told.values.keys() {
            let of = METRICS.iter().find(|listed| {
                name.strip_prefix(listed.name).is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            });
            let expected: BTreeSet<&str> = of.unwrap().labels.iter().copied().collect();
            let labels: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(labels, expected, "{name}");
        }
    }
    assert!(listed.len() >= 30, "{}", listed.len());
    gateway.close().await;
}

#[actix_web::test]
async fn ten_thousand_paths_names_and_methods_make_no_more_rows() {
    let gateway = TestGateway::start().await;
    let client = client().build().unwrap();
    let ask = async |method: String, path: String| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        client.request(method, gateway.url(&path)).send().await.unwrap().status().as_u16()
    };
    let flood = async |from: u32, count: u32| {
        for number in from..from + count {
            let method = if number % 7 == 0 { format!("VERB{number}") } else { "GET".to_owned() };
            let path = match number % 5 {
                0 => format!("/nowhere/{number}"),
                1 => format!("/jobs/01900000-0000-7000-8000-{number:012}"),
                2 => format!("/workflows/name{number}"),
                3 => format!("/jobs/name{number}/outputs/{number}"),
                _ => format!("/{number}?query={number}"),
            };
            let status = ask(method, path).await;
            assert!((400..500).contains(&status), "{status}");
            if number % 10 == 0 {
                let body = json!({ "workflow": format!("name{number}"), "prompt": "x" });
                assert_eq!(gateway.post("/generate", &body).await.status, 400);
            }
        }
    };
    flood(0, 100).await;
    // The first answer does not count itself.
    told(&gateway).await;
    let few = told(&gateway).await.values.len();
    flood(100, 9_900).await;
    let told = told(&gateway).await;
    assert_eq!(told.values.len(), few, "{told:?}");
    let others: f64 = told
        .rows("comfygate_http_requests_total")
        .filter(|(of, _)| of["route"] == "other")
        .map(|(_, count)| count)
        .sum();
    assert!(others >= 2_000.0, "{others}");
    assert_eq!(told.value("comfygate_jobs_refused_total", &[("reason", "unknown_workflow")]), Some(1_000.0));
    gateway.close().await;
}

#[actix_web::test]
async fn where_keys_are_asked_for_it_needs_one_for_it_which_opens_nothing_else() {
    let gateway = with_keys().start().await;
    let refused = async |key: &str| ask(&gateway, key, "GET", "/metrics", &Value::Null).await.status;
    assert_eq!(refused("").await, 401);
    let (_, tenants) = make(&gateway, "shop", &["submit", "read"]).await;
    assert_eq!(refused(&tenants).await, 403);
    let (_, key) = make(&gateway, "ops", &["metrics"]).await;
    let answer = ask(&gateway, &key, "GET", "/metrics", &Value::Null).await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.bytes).unwrap();
    for secret in ["shop", "ops", key.as_str(), tenants.as_str()] {
        assert!(!text.contains(secret), "{secret}");
    }
    Exposition::open(&text);
    for (method, path) in [("GET", "/jobs"), ("POST", "/generate"), ("GET", "/workflows"), ("GET", "/keys")] {
        assert_eq!(ask(&gateway, &key, method, path, &Value::Null).await.status, 403, "{method} {path}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn each_backend_has_rows_of_its_own_also_one_that_is_away() {
    let mut setup = Setup::new();
    setup.settings.backends.queue = 1;
    let (other, gone) = (Sim::start(setup.sim.clone()).await.unwrap(), Sim::start(setup.sim.clone()).await.unwrap());
    let urls = [other.url(), gone.url()];
    gone.stop().await;
    let gateway = setup.start_beside(&urls, 2).await;
    let told = told(&gateway).await;
    let up = |url: &str| told.value("comfygate_backend_up", &[("backend", url.trim_end_matches('/'))]);
    assert_eq!((up(&gateway.sim.url()), up(&urls[0]), up(&urls[1])), (Some(1.0), Some(1.0), Some(0.0)));
    let state = |name: &str, url: &str| {
        let of = told.rows(name).filter(|(of, value)| of["backend"] == url.trim_end_matches('/') && *value > 0.5);
        of.map(|(of, _)| of["state"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(state("comfygate_backend_socket", &urls[0]), ["connected"]);
    assert_eq!(state("comfygate_backend_socket", &urls[1]), ["disconnected"]);
    assert_eq!(state("comfygate_backend_standing", &urls[1]).len(), 1);
    let device = [("backend", urls[0].trim_end_matches('/')), ("device", "0")];
    eventually("the memory of a device is told", async || {
        let told = crate::metrics::told(&gateway).await;
        let memory = ["comfygate_backend_vram_bytes", "comfygate_backend_vram_free_bytes"];
        memory.map(|name| told.value(name, &device)).into_iter().collect::<Option<Vec<_>>>()
    })
    .await;
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_backend_that_is_added_drained_and_removed_comes_and_goes_with_its_rows() {
    let gateway = with_keys().start().await;
    let other = Sim::start(Setup::new().sim).await.unwrap();
    let second = [("backend", "second")];
    let added = gateway.post("/backends", &json!({ "name": "second", "url": other.url() })).await;
    assert_eq!(added.status, 201, "{}", added.json());
    until(&gateway, "comfygate_backend_up", &second, 1.0).await;
    assert_eq!(gateway.post("/backends/second/drain", &Value::Null).await.status, 200);
    let told = until(&gateway, "comfygate_backend_draining", &second, 1.0).await;
    let events = |event| told.value("comfygate_backend_events_total", &[second[0], ("event", event)]);
    assert_eq!((events("backend_added"), events("backend_draining")), (Some(1.0), Some(1.0)));
    gateway.delete("/backends/second").await;
    eventually("no row tells of it", async || {
        let told = crate::metrics::told(&gateway).await;
        let is_gone = told.values.keys().all(|(_, labels)| labels.get("backend").is_none_or(|name| name != "second"));
        is_gone.then_some(())
    })
    .await;
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn frames_that_say_nothing_are_passed_over_and_counted() {
    let gateway = TestGateway::start().await;
    let before = told(&gateway).await.value("comfygate_backend_noise_total", &[]).unwrap_or(0.0);
    gateway.sim.inject_when(Fault::ForeignEvents, When::Every);
    let id = gateway.generate(&canvas("")).await;
    gateway.until(&id, "success").await;
    let counted = told(&gateway).await.value("comfygate_backend_noise_total", &[]).unwrap();
    assert!(counted >= before + 2.0, "{before} {counted}");
    gateway.sim.clear_faults();
    gateway.close().await;
}

#[actix_web::test]
async fn what_the_agent_of_a_backend_tells_of_its_gpus_is_told_in_bytes_and_ratios() {
    let mut setup = Setup::new();
    let gpus: Vec<Value> = (0..40).map(|index| json!({ "index": index, "memory_total_mb": 2, "memory_used_mb": 1, "utilization_percent": 50, "temperature_c": 61 })).collect();
    let answer = json!({ "agent_version": "1", "cpu_percent": 25, "ram_total_mb": 4, "ram_used_mb": 3, "gpus": gpus });
    setup.sim.agent = Some(answer.to_string());
    setup.settings.backends.agent_every = Some(Duration::from_secs(1));
    let gateway = setup.start().await;
    let told = until(&gateway, "comfygate_backend_cpu_ratio", &[], 0.25).await;
    let mebibyte = 1_048_576.0;
    for (name, value) in [
        ("comfygate_backend_memory_bytes", 4.0 * mebibyte),
        ("comfygate_backend_memory_used_bytes", 3.0 * mebibyte),
        ("comfygate_backend_gpu_utilization_ratio", 0.5),
        ("comfygate_backend_gpu_memory_bytes", 2.0 * mebibyte),
        ("comfygate_backend_gpu_memory_used_bytes", mebibyte),
        ("comfygate_backend_gpu_temperature_celsius", 61.0),
    ] {
        let values: Vec<f64> = told.rows(name).map(|(_, value)| value).collect();
        let count = if name.contains("_gpu_") { 16 } else { 1 };
        assert_eq!(values, vec![value; count], "{name}");
    }
    gateway.close().await;
}
