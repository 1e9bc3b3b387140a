//! The socket dies at every event of a run, one after the other: each job still ends with its images, told once.

use crate::support::{Inbox, TestGateway, canvas, canvas_files};
use comfygate::sim::Fault;
use serde_json::Value;

/// More frames than a run of these workflows has.
const FRAMES: usize = 24;

#[actix_web::test]
async fn a_socket_lost_at_any_event_costs_no_image_that_came_over_it() {
    lose_at_every_event(canvas).await;
}

#[actix_web::test]
async fn a_socket_lost_at_any_event_costs_no_image_in_a_file() {
    lose_at_every_event(canvas_files).await;
}

async fn lose_at_every_event(request: fn(&str) -> Value) {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut lost = 0;
    for event_index in 0..FRAMES {
        gateway.sim.inject(Fault::CloseSocketAt { event_index });
        let mut body = request(&inbox.url());
        // Another colour each time, so that nothing is cached and each run has all its events.
        body["color"] = event_index.into();
        let webhook = gateway.run_one(&inbox, &body).await;
        assert_eq!(webhook.body["status"], "success", "event {event_index}: {}", webhook.body);
        let made = gateway.sim.images();
        let images = webhook.images();
        assert_eq!(images.len(), 1, "event {event_index}");
        assert!(made.iter().any(|image| image.bytes == images[0]), "event {event_index}");
        gateway.sim.clear_faults();
        gateway.until_ready().await;
        lost = gateway.sim.requests().iter().filter(|request| request.path == "/ws").count() - 1;
    }
    assert!(lost > 8 && lost < FRAMES, "the socket was lost at {lost} events");
    gateway.close().await;
    assert!(inbox.rest().is_empty());
}
