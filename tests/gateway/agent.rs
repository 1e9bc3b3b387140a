//! The metrics agent of a ComfyUI: asked now and then, shown with its backend, believed in nothing, and missed by nobody.

use crate::exposition::Exposition;
use crate::proxy::{At, Effect, On};
use crate::support::{Inbox, Setup, TestGateway, as_time_goes_by, canvas, eventually};
use comfygate::clock::{Clock, ManualClock};
use comfygate::sim::{Fault, Sim};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const ANSWER: &str = r#"{"agent_version": "1.0.0", "stale": false, "cpu_percent": 12.5, "ram_total_mb": 64, "ram_used_mb": 16,
    "gpus": [{"index": 0, "name": "Card A", "memory_total_mb": 24, "memory_used_mb": 6, "utilization_percent": 97, "temperature_c": 64},
             {"index": 1, "name": "Card B", "memory_total_mb": 8}]}"#;

#[actix_web::test]
async fn a_backend_without_an_agent_is_asked_once_in_five_minutes_and_when_it_comes_back() {
    let (gateway, clock) = start(None, Some(Duration::from_secs(15))).await;
    until_asked(&gateway.sim, 1).await;
    for _ in 0..19 {
        until_probed(&gateway, &clock).await;
        assert_eq!(asked(&gateway.sim), 1);
    }
    clock.advance(PROBES);
    until_asked(&gateway.sim, 2).await;
    for _ in 0..3 {
        until_probed(&gateway, &clock).await;
    }
    assert_eq!(asked(&gateway.sim), 2, "one question was late");

    gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::ZERO });
    let before = gateway.clock().now();
    as_time_goes_by(&clock, "the agent is looked for", async || (asked(&gateway.sim) == 3).then_some(())).await;
    assert!(gateway.clock().now().since(before) < Duration::from_mins(4));
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_with_an_agent_is_asked_every_few_seconds() {
    let (gateway, clock) = start(Some(ANSWER), Some(Duration::from_secs(15))).await;
    until_asked(&gateway.sim, 1).await;
    for times in 2..5 {
        let before = gateway.clock().now();
        as_time_goes_by(&clock, "it is asked again", async || (asked(&gateway.sim) == times).then_some(())).await;
        let waited = gateway.clock().now().since(before);
        assert!(waited <= Duration::from_secs(20), "{waited:?}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn what_an_agent_tells_is_shown_with_its_backend_and_told_to_prometheus() {
    let (gateway, _) = start(Some(ANSWER), Some(Duration::from_secs(15))).await;
    let view = until_shown(&gateway, |agent| agent["cpu_percent"] == 12.5).await;
    let card = json!({ "index": 0, "name": "Card A", "memory_total_mb": 24.0, "memory_used_mb": 6.0, "utilization_percent": 97.0, "temperature_c": 64.0 });
    let second = json!({ "index": 1, "name": "Card B", "memory_total_mb": 8.0 });
    assert_eq!(view["gpus"], json!([card, second]));
    assert_eq!((&view["agent_version"], &view["stale"]), (&json!("1.0.0"), &json!(false)));
    assert_eq!((&view["ram_total_mb"], &view["ram_used_mb"]), (&json!(64.0), &json!(16.0)));

    let told = told(&gateway).await;
    let value = |name: &str, gpu: Option<&str>| {
        let labels: Vec<_> = gpu.map(|gpu| ("gpu", gpu)).into_iter().collect();
        told.value(&format!("comfygate_backend_{name}"), &labels)
    };
    assert_eq!(value("cpu_ratio", None), Some(0.125));
    assert_eq!(value("memory_bytes", None), Some(67_108_864.0));
    assert_eq!(value("memory_used_bytes", None), Some(16_777_216.0));
    assert_eq!(value("gpu_utilization_ratio", Some("0")), Some(0.97));
    assert_eq!(value("gpu_memory_bytes", Some("0")), Some(25_165_824.0));
    assert_eq!(value("gpu_memory_used_bytes", Some("0")), Some(6_291_456.0));
    assert_eq!(value("gpu_temperature_celsius", Some("0")), Some(64.0));
    assert_eq!(value("gpu_memory_bytes", Some("1")), Some(8_388_608.0));
    assert_eq!(value("gpu_temperature_celsius", Some("1")), None);
    gateway.close().await;
}

#[actix_web::test]
async fn how_busy_a_backend_was_is_told_look_by_look() {
    for (answer, expected) in [
        (
            Some(ANSWER),
            json!([
                { "index": 0, "name": "Card A", "vram_total_mb": 24.0, "vram_used_mb": 6.0, "utilization_percent": 97.0, "temperature_c": 64.0 },
                { "index": 1, "name": "Card B", "vram_total_mb": 8.0 }
            ]),
        ),
        // What ComfyUI says of its devices by itself.
        (None, Value::Null),
    ] {
        let (gateway, clock) = start(answer, Some(Duration::from_secs(15))).await;
        let name = gateway.get("/backends").await.json()["backends"][0]["name"].as_str().unwrap().to_owned();
        let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let path = format!("/backends/{name}/vitals");
        assert_eq!(gateway.get(&path).await.json(), json!({ "every_seconds": 15.0, "samples": [] }));
        let told = as_time_goes_by(&clock, "three looks were taken", async || {
            let told = gateway.get(&path).await.json();
            let looks = told["samples"].as_array().unwrap();
            let is_known = looks.last().is_some_and(|look| look["gpus"] != json!([]));
            (looks.len() >= 3 && is_known).then_some(told)
        })
        .await;
        let looks = told["samples"].as_array().unwrap();
        let last = looks.last().unwrap();
        assert_eq!(last["prompts"], json!(0));
        if expected.is_null() {
            let gpu = &last["gpus"][0];
            assert!(gpu["vram_total_mb"].as_f64() >= gpu["vram_used_mb"].as_f64() && gpu["name"].is_string(), "{gpu}");
            assert!(gpu.get("temperature_c").is_none(), "{gpu}");
        } else {
            assert_eq!(last["gpus"], expected);
        }
        let times: Vec<_> = looks.iter().map(|look| look["at"].as_str().unwrap()).collect();
        assert!(times.is_sorted() && times[0] != times[1], "{times:?}");
        gateway.close().await;
    }
}

#[actix_web::test]
async fn an_agent_that_talks_nonsense_or_goes_costs_nothing_but_its_numbers() {
    let (gateway, clock) = start(Some(ANSWER), Some(Duration::from_secs(15))).await;
    until_shown(&gateway, |agent| agent["cpu_percent"] == 12.5).await;
    for answer in ["<html>".to_owned(), "x".repeat(1 << 20), "{\"gpus\": ".repeat(5_000), "[]".to_owned()] {
        let before = asked(&gateway.sim);
        gateway.sim.set_agent(Some(answer));
        as_time_goes_by(&clock, "it is asked again", async || (asked(&gateway.sim) > before + 1).then_some(())).await;
        let view = until_shown(&gateway, |agent| agent["trouble"].is_string()).await;
        assert_eq!(view["cpu_percent"], 12.5);
    }
    // What it told then is shown as old, and to Prometheus not at all.
    clock.advance(Duration::from_mins(2));
    assert_eq!(shown(&gateway).await["stale"], true);
    let row = |told: &Exposition| told.value("comfygate_backend_cpu_ratio", &[]);
    assert_eq!(row(&told(&gateway).await), None);

    let card = r#"{"memory_total_mb": 1, "memory_used_mb": -1, "utilization_percent": 900, "temperature_c": NaN}"#;
    let answer = format!(
        r#"{{"cpu_percent": 1e300, "ram_used_mb": "1", "ram_total_mb": 2, "gpus": [{}]}}"#,
        [card; 500].join(",")
    );
    gateway.sim.set_agent(Some(answer));
    as_time_goes_by(&clock, "it is believed", async || {
        let agent = shown(&gateway).await;
        (agent["ram_total_mb"] == 2.0).then_some(agent)
    })
    .await;
    let agent = shown(&gateway).await;
    assert_eq!((agent.get("cpu_percent"), agent.get("ram_used_mb"), agent.get("trouble")), (None, None, None));
    assert_eq!(agent["gpus"].as_array().map(Vec::len), Some(16));
    assert_eq!(agent["gpus"][15], json!({ "index": 15, "memory_total_mb": 1.0 }));
    let now = told(&gateway).await;
    assert_eq!(row(&now), None);
    let value = |name: &str, gpu: &str| now.value(&format!("comfygate_backend_gpu_{name}"), &[("gpu", gpu)]);
    assert_eq!((value("memory_bytes", "15"), value("memory_bytes", "16")), (Some(1_048_576.0), None));
    assert_eq!((value("memory_used_bytes", "0"), value("utilization_ratio", "0")), (None, None));

    // A driver that hangs: the agent repeats what it knew of its GPUs, and says so.
    gateway.sim.set_agent(Some(ANSWER.replace(r#""stale": false"#, r#""stale": true"#)));
    as_time_goes_by(&clock, "it says so", async || (shown(&gateway).await["stale"] == true).then_some(())).await;
    let now = told(&gateway).await;
    assert_eq!((row(&now), now.rows("comfygate_backend_gpu_temperature_celsius").count()), (Some(0.125), 0));

    gateway.sim.set_agent(None);
    as_time_goes_by(&clock, "it is gone", async || shown(&gateway).await.is_null().then_some(())).await;
    let inbox = Inbox::open();
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn no_agent_is_asked_where_that_is_off() {
    let (gateway, clock) = start(Some(ANSWER), None).await;
    for _ in 0..30 {
        until_probed(&gateway, &clock).await;
    }
    assert_eq!(asked(&gateway.sim), 0);
    // It would have answered.
    let gateway = gateway.restart_with(|settings| settings.backends.agent_every = Some(PROBES)).await;
    until_asked(&gateway.sim, 1).await;
    gateway.close().await;
}

#[actix_web::test]
async fn whoever_answers_where_no_socket_stands_is_not_asked() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.sim.agent = Some(ANSWER.to_owned());
    setup.settings.backends.agent_every = Some(PROBES);
    setup.settings.backends.health_every = PROBES;
    let (gateway, proxy) = setup.start_behind_proxy().await;
    until_asked(&gateway.sim, 1).await;
    proxy.arm_every(On::WebSocket, At::Request(0), Effect::Reset);
    proxy.strike(&On::WebSocket, Effect::Reset);
    as_time_goes_by(&clock, "the socket is lost", async || (gateway.get("/ready").await.status == 503).then_some(()))
        .await;
    let before = asked(&gateway.sim);
    for _ in 0..20 {
        until_probed(&gateway, &clock).await;
    }
    assert_eq!(asked(&gateway.sim), before);
    proxy.heal();
    as_time_goes_by(&clock, "it is asked again", async || (asked(&gateway.sim) > before).then_some(())).await;
    gateway.close().await;
}

/// How often the backend is asked how it is: as often as an agent is.
const PROBES: Duration = Duration::from_secs(15);

/// Lets the time go by until the backend has been asked once more how it is, and has answered. Whoever else had something to ask
/// by then has asked it, or is late and is seen at the next time.
async fn until_probed(gateway: &TestGateway, clock: &ManualClock) {
    clock.advance(PROBES);
    let answered_at = || gateway.pool.backends()[0].health.look().http.answered_at;
    eventually("the backend says how it is", async || (answered_at() == Some(clock.now())).then_some(())).await;
}

async fn start(agent: Option<&str>, every: Option<Duration>) -> (TestGateway, Arc<ManualClock>) {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.sim.agent = agent.map(str::to_owned);
    setup.settings.backends.agent_every = every;
    setup.settings.backends.health_every = PROBES;
    (setup.start().await, clock)
}

/// What `GET /backends` shows of the agent.
async fn shown(gateway: &TestGateway) -> Value {
    gateway.get("/backends").await.json()["backends"][0]["agent"].take()
}

async fn until_shown(gateway: &TestGateway, fact: impl Fn(&Value) -> bool) -> Value {
    eventually("the agent's answer is shown", async || Some(shown(gateway).await).filter(|agent| fact(agent))).await
}

async fn told(gateway: &TestGateway) -> Exposition {
    Exposition::open(&String::from_utf8(gateway.get("/metrics").await.bytes).unwrap())
}

fn asked(sim: &Sim) -> usize {
    sim.requests().iter().filter(|request| request.path == "/orchestrator/metrics").count()
}

async fn until_asked(sim: &Sim, times: usize) {
    eventually(&format!("the agent is asked {times} times"), async || (asked(sim) == times).then_some(())).await;
}
