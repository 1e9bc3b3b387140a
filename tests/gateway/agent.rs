//! The metrics agent of a ComfyUI: asked now and then, shown with its backend, believed in nothing, and missed by nobody.

use crate::proxy::{At, Effect, On};
use crate::support::{Setup, TestGateway, as_time_goes_by, eventually};
use comfygate::clock::ManualClock;
use comfygate::sim::{Fault, Sim};
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
        clock.advance(Duration::from_secs(15));
        gateway.get("/ready").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(asked(&gateway.sim), 1);
    }
    clock.advance(Duration::from_secs(15));
    until_asked(&gateway.sim, 2).await;

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
async fn no_agent_is_asked_where_that_is_off() {
    let (gateway, clock) = start(Some(ANSWER), None).await;
    for _ in 0..30 {
        clock.advance(Duration::from_secs(15));
        gateway.get("/ready").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(asked(&gateway.sim), 0);
    gateway.close().await;
}

#[actix_web::test]
async fn whoever_answers_where_no_socket_stands_is_not_asked() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.sim.agent = Some(ANSWER.to_owned());
    setup.settings.backends.agent_every = Some(Duration::from_secs(15));
    let (gateway, proxy) = setup.start_behind_proxy().await;
    until_asked(&gateway.sim, 1).await;
    proxy.arm_every(On::WebSocket, At::Request(0), Effect::Reset);
    proxy.strike(&On::WebSocket, Effect::Reset);
    as_time_goes_by(&clock, "the socket is lost", async || (gateway.get("/ready").await.status == 503).then_some(()))
        .await;
    let before = asked(&gateway.sim);
    for _ in 0..20 {
        clock.advance(Duration::from_secs(15));
        gateway.get("/ready").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(asked(&gateway.sim), before);
    gateway.close().await;
}

async fn start(agent: Option<&str>, every: Option<Duration>) -> (TestGateway, Arc<ManualClock>) {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.sim.agent = agent.map(str::to_owned);
    setup.settings.backends.agent_every = every;
    (setup.start().await, clock)
}

fn asked(sim: &Sim) -> usize {
    sim.requests().iter().filter(|request| request.path == "/orchestrator/metrics").count()
}

async fn until_asked(sim: &Sim, times: usize) {
    eventually(&format!("the agent is asked {times} times"), async || (asked(sim) == times).then_some(())).await;
}
