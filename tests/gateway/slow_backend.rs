//! Stalls that are not death: a backend that answers late, and for seconds not at all, loses no job, no connection and
//! runs nothing twice. In real time, since the limits of the calls are real too.

use crate::proxy::{At, Effect, On, Proxy, Way};
use crate::support::{Inbox, Setup, TestGateway, canvas, canvas_files, starter};
use comfygate::sim::{Fault, SimOptions, When};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

#[actix_web::test]
async fn a_backend_that_answers_everything_late_runs_every_job_once() {
    let (gateway, proxy) = Setup::new().start_behind_proxy().await;
    let inbox = Inbox::open();
    proxy.arm_every(On::Any, At::Request(0), Effect::Delay(Way::ToClient, Duration::from_millis(600)));
    proxy.strike(&On::Any, Effect::Delay(Way::ToClient, Duration::from_millis(600)));
    all_succeed_once(&gateway, &inbox, [canvas, canvas_files, canvas, canvas_files]).await;
    all_is_calm(&proxy);
    gateway.close().await;
}

#[actix_web::test]
async fn http_that_takes_seconds_runs_every_job_once() {
    let (gateway, proxy) = Setup::new().start_behind_proxy().await;
    let inbox = Inbox::open();
    proxy.arm_every(On::Http, At::Request(0), Effect::Delay(Way::ToClient, Duration::from_secs(3)));
    all_succeed_once(&gateway, &inbox, [canvas, canvas_files, canvas, canvas_files]).await;
    all_is_calm(&proxy);
    proxy.heal();
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_says_nothing_for_eight_seconds_while_it_works_is_not_given_up() {
    let (gateway, proxy) = Setup::new().start_behind_proxy().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::Slow(Duration::from_millis(20)), When::Every);
    let jobs = async {
        all_succeed_once(&gateway, &inbox, [canvas, canvas_files, starter, canvas]).await;
    };
    let stalls = async {
        proxy.until("a prompt runs", |proxy| proxy.events() > 3).await;
        proxy.strike(&On::Any, Effect::Freeze(Way::Both));
        proxy.arm_every(On::Any, At::Connect, Effect::Freeze(Way::Both));
        // How long it is mute is what this test is about.
        tokio::time::sleep(Duration::from_secs(8)).await;
        proxy.heal();
    };
    tokio::join!(jobs, stalls);
    all_is_calm(&proxy);
    gateway.close().await;
}

#[actix_web::test]
async fn large_images_over_a_slow_line_arrive_whole() {
    let sim = SimOptions { noise_image_bytes: 3 << 20, ..SimOptions::default() };
    let (gateway, proxy) = Setup { sim, ..Setup::new() }.start_behind_proxy().await;
    let inbox = Inbox::open();
    proxy.arm_every(On::Any, At::Request(0), Effect::Throttle(Way::ToClient, 2 << 20));
    proxy.strike(&On::Any, Effect::Throttle(Way::ToClient, 2 << 20));
    all_succeed_once(&gateway, &inbox, [canvas, canvas_files]).await;
    all_is_calm(&proxy);
    gateway.close().await;
}

/// Runs jobs together. Each succeeds with one image, is executed once and told once.
async fn all_succeed_once<const N: usize>(gateway: &TestGateway, inbox: &Inbox, requests: [fn(&str) -> Value; N]) {
    let mut ids = BTreeSet::new();
    for (number, request) in requests.into_iter().enumerate() {
        let mut body = request(&inbox.url());
        // Two jobs that are alike would share ComfyUI's cache.
        let differs = if body["workflow"] == "starter" { "seed" } else { "color" };
        body[differs] = json!(number);
        ids.insert(gateway.generate(&body).await);
    }
    let mut told = BTreeSet::new();
    for _ in 0..N {
        let webhook = inbox.next().await;
        assert_eq!((&webhook.body["status"], webhook.images().len()), (&json!("success"), 1), "{}", webhook.body);
        told.insert(webhook.prompt_id().to_owned());
    }
    assert_eq!(told, ids);
    let executions = gateway.sim.executions();
    assert!(executions.len() == N && executions.values().all(|count| *count == 1), "{executions:?}");
    assert!(inbox.rest().is_empty());
}

/// The socket is the first one, and nothing was submitted twice.
fn all_is_calm(proxy: &Proxy) {
    assert_eq!(proxy.client_ids().len(), 1, "a socket was replaced without need");
    let calls = proxy.calls();
    assert!(calls.len() < 60, "{} calls: {calls:?}", calls.len());
}
