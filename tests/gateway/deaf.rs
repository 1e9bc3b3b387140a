//! A socket that is open and hears nothing, while HTTP answers as ever: it is found out and replaced, by a ping or by
//! asking, and no job is lost to it. And no name of a socket is ever used twice.

use crate::proxy::{At, Effect, On, Proxy, Way};
use crate::support::{Inbox, Setup, TestGateway, Webhook, as_time_goes_by, canvas, canvas_files};
use comfygate::clock::ManualClock;
use comfygate::sim::{Fault, SimRequest, When};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const HALF_OPEN: Effect = Effect::Swallow(Way::Both);

#[actix_web::test]
async fn an_idle_socket_that_is_half_open_is_found_by_a_ping_and_replaced() {
    for effect in [HALF_OPEN, Effect::Swallow(Way::ToServer), Effect::Swallow(Way::ToClient), Effect::Freeze(Way::Both)]
    {
        let (gateway, proxy, clock) = start().await;
        let inbox = Inbox::open();
        assert_eq!(proxy.strike(&On::WebSocket, effect), 1);
        let replaced = async || (proxy.client_ids().len() == 2).then_some(());
        as_time_goes_by(&clock, "the socket is replaced", replaced).await;
        gateway.until_ready().await;
        // The next job hears everything over the new one.
        let told = run_one(&gateway, &clock, &inbox, &canvas(&inbox.url())).await;
        assert_eq!(told.body["status"], "success", "{effect:?}: {}", told.body);
        assert_eq!(executions(&gateway), 1, "{effect:?}");
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_socket_on_which_pings_are_answered_is_kept_however_long_nothing_is_said() {
    let (gateway, proxy, clock) = start().await;
    for _ in 0..60 {
        clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(proxy.client_ids().len(), 1);
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_that_comes_before_the_ping_is_not_lost_to_a_half_open_socket() {
    for (request, most) in [(canvas as fn(&str) -> Value, 2), (canvas_files, 1)] {
        let (gateway, proxy, clock) = start().await;
        let inbox = Inbox::open();
        proxy.strike(&On::WebSocket, HALF_OPEN);
        let told = run_one(&gateway, &clock, &inbox, &request(&inbox.url())).await;
        assert_eq!((&told.body["status"], told.images().len()), (&Value::from("success"), 1), "{}", told.body);
        assert!(executions(&gateway) <= most, "{} executions", executions(&gateway));
        let replaced = async || (proxy.client_ids().len() == 2).then_some(());
        as_time_goes_by(&clock, "the socket is replaced", replaced).await;
        gateway.close().await;
        assert!(inbox.rest().is_empty());
    }
}

#[actix_web::test]
async fn a_deaf_socket_costs_many_jobs_at_once_one_more_run_at_most() {
    let (gateway, proxy, clock) = start().await;
    let inbox = Inbox::open();
    proxy.strike(&On::WebSocket, HALF_OPEN);
    let mut ids = BTreeSet::new();
    for colour in 0..6 {
        let mut body = canvas(&inbox.url());
        body["color"] = Value::from(colour);
        ids.insert(gateway.generate(&body).await);
    }
    let mut told = BTreeSet::new();
    while told.len() < ids.len() {
        let webhook = as_time_goes_by(&clock, "the jobs are told", async || inbox.try_next()).await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        told.insert(webhook.prompt_id().to_owned());
    }
    assert_eq!(told, ids);
    // Only those that were on the backend when it was found out had to run again.
    assert!(executions(&gateway) <= ids.len() + gateway.settings.backends.queue, "{}", executions(&gateway));
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

#[actix_web::test]
async fn no_name_of_a_socket_is_used_twice_and_prompts_go_out_under_the_open_one() {
    let (gateway, proxy, clock) = start().await;
    let inbox = Inbox::open();
    let ends = [Effect::Reset, Effect::Close, HALF_OPEN, Effect::Freeze(Way::ToClient)];
    for round in 0..12 {
        let names = proxy.client_ids().len();
        // Some attempts to connect fail, at one place or another.
        proxy.arm_times(round % 3, On::WebSocket, At::Answer(round * 9), Effect::Reset);
        assert!(proxy.strike(&On::WebSocket, ends[round % ends.len()]) > 0);
        let replaced = async || (proxy.client_ids().len() > names + round % 3).then_some(());
        as_time_goes_by(&clock, "the socket is replaced", replaced).await;
        as_time_goes_by(&clock, "ready", async || (gateway.get("/ready").await.status == 200).then_some(())).await;
        let mut body = canvas(&inbox.url());
        body["color"] = Value::from(round);
        let told = run_one(&gateway, &clock, &inbox, &body).await;
        assert_eq!(told.body["status"], "success", "round {round}: {}", told.body);
        let posted = submitted_under(&gateway);
        assert_eq!(posted.last(), proxy.client_ids().last(), "round {round}");
    }
    let names = proxy.client_ids();
    let different: BTreeSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{names:?}");
    assert!(names.len() >= 13);
    assert_eq!(executions(&gateway), 12);
    proxy.heal();
    gateway.close().await;
}

#[actix_web::test]
async fn frames_that_are_lost_each_time_end_in_a_failure_after_the_last_run() {
    let (gateway, _proxy, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::LoseFrames, When::Every);
    let told = run_one(&gateway, &clock, &inbox, &canvas(&inbox.url())).await;
    assert_eq!((&told.body["status"], &told.body["code"]), (&"failure".into(), &"output_missing".into()));
    assert!(told.body["error"].as_str().unwrap().contains("while nobody could receive them"), "{}", told.body);
    assert_eq!(executions(&gateway), gateway.settings.limits.max_runs as usize);

    // Lost once or twice, they are made again.
    gateway.sim.clear_faults();
    gateway.sim.inject(Fault::LoseFrames);
    gateway.sim.inject_when(Fault::LoseFrames, When::After(1));
    let told = run_one(&gateway, &clock, &inbox, &canvas(&inbox.url())).await;
    assert_eq!((&told.body["status"], told.images().len()), (&"success".into(), 1), "{}", told.body);
    assert_eq!(executions(&gateway), 2 * gateway.settings.limits.max_runs as usize);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}

async fn start() -> (TestGateway, Proxy, Arc<ManualClock>) {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    (gateway, proxy, clock)
}

async fn run_one(gateway: &TestGateway, clock: &ManualClock, inbox: &Inbox, body: &Value) -> Webhook {
    let id = gateway.generate(body).await;
    let webhook = as_time_goes_by(clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!(webhook.prompt_id(), id);
    webhook
}

fn executions(gateway: &TestGateway) -> usize {
    gateway.sim.executions().values().sum()
}

/// The client ids of all submissions, in their order.
fn submitted_under(gateway: &TestGateway) -> Vec<String> {
    let posted = gateway.sim.requests().into_iter().filter(SimRequest::is_prompt);
    let read = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["client_id"].as_str().unwrap().to_owned();
    posted.map(|request| read(&request.body)).collect()
}
