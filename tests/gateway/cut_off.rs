//! The network takes the socket away at every event of a run: reset, half-open, or away for longer. Each job still ends
//! well, is told once, and is not executed a second time where its images are files.

use crate::proxy::{At, Effect, On, Proxy, Way};
use crate::support::{Inbox, Setup, TestGateway, as_time_goes_by, canvas, canvas_files};
use comfygate::clock::ManualClock;
use serde_json::Value;

/// No run of these workflows has so many events.
const FRAMES: usize = 30;

#[actix_web::test]
async fn a_socket_that_is_reset_at_any_event_costs_no_image_that_came_over_it() {
    cut_at_every_event(canvas, Effect::Reset, 0).await;
}

#[actix_web::test]
async fn a_socket_that_is_reset_at_any_event_costs_no_image_in_a_file() {
    cut_at_every_event(canvas_files, Effect::Reset, 0).await;
}

#[actix_web::test]
async fn a_socket_that_goes_half_open_at_any_event_costs_no_image_that_came_over_it() {
    cut_at_every_event(canvas, Effect::Swallow(Way::Both), 0).await;
}

#[actix_web::test]
async fn a_socket_that_goes_half_open_at_any_event_costs_no_image_in_a_file() {
    cut_at_every_event(canvas_files, Effect::Swallow(Way::Both), 0).await;
}

#[actix_web::test]
async fn a_socket_that_does_not_come_back_at_once_costs_no_image() {
    cut_at_every_event(canvas_files, Effect::Reset, 4).await;
}

/// Takes the socket away at event 0 of a run, at event 1 of another, and so on until a run has no more; `away` further
/// attempts to connect fail.
async fn cut_at_every_event(request: fn(&str) -> Value, effect: Effect, away: usize) {
    let mut struck = 0;
    for event in 0..FRAMES {
        let (setup, clock) = Setup::with_manual_clock();
        let (gateway, proxy) = setup.start_behind_proxy().await;
        let inbox = Inbox::open();
        // A socket begins with the answer to the handshake; what comes after it belongs to the run.
        proxy.until("the handshake is done", |proxy| proxy.events() == 1).await;
        proxy.arm(On::WebSocket, At::Event(event), effect);
        proxy.arm_times(away, On::WebSocket, At::Request(0), Effect::Reset);
        let told = run_one(&gateway, &clock, &inbox, &request(&inbox.url())).await;
        assert_eq!(told.body["status"], "success", "event {event}: {}", told.body);
        let images = told.images();
        assert_eq!(images.len(), 1, "event {event}");
        assert!(gateway.sim.images().iter().any(|image| image.bytes == images[0]), "event {event}");
        let has_struck = proxy.struck() > 0;
        struck += usize::from(has_struck);
        let runs: usize = gateway.sim.executions().values().sum();
        let most = if request(&inbox.url()) == canvas(&inbox.url()) { 2 } else { 1 };
        assert!(runs <= most, "event {event}: {runs} executions");
        // Another job finds a socket that hears, whatever was lost.
        let other = run_one(&gateway, &clock, &inbox, &with_another_colour(request(&inbox.url()))).await;
        assert_eq!(other.body["status"], "success", "event {event}: {}", other.body);
        no_name_twice(&proxy);
        gateway.close().await;
        assert!(inbox.rest().is_empty(), "event {event}");
        if !has_struck {
            break;
        }
    }
    assert!(struck > 8 && struck < FRAMES, "the socket was taken away at {struck} events");
}

async fn run_one(gateway: &TestGateway, clock: &ManualClock, inbox: &Inbox, body: &Value) -> crate::support::Webhook {
    let id = gateway.generate(body).await;
    let webhook = as_time_goes_by(clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!(webhook.prompt_id(), id);
    webhook
}

fn with_another_colour(mut body: Value) -> Value {
    body["color"] = Value::from(7);
    body
}

/// No two sockets had one client id, whichever of them were open together.
fn no_name_twice(proxy: &Proxy) {
    let mut names = proxy.client_ids();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}
