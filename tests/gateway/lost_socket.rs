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
    let mut lost = 0;
    for event_index in 0..FRAMES {
        // A gateway of its own for each event: one that loses its socket again and again waits longer and longer.
        let gateway = TestGateway::start().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::CloseSocketAt { event_index });
        let webhook = gateway.run_one(&inbox, &request(&inbox.url())).await;
        assert_eq!(webhook.body["status"], "success", "event {event_index}: {}", webhook.body);
        let images = webhook.images();
        assert_eq!(images.len(), 1, "event {event_index}");
        assert!(gateway.sim.images().iter().any(|image| image.bytes == images[0]), "event {event_index}");
        gateway.until_ready().await;
        lost += gateway.sim.requests().iter().filter(|request| request.path == "/ws").count() - 1;
        gateway.close().await;
        assert!(inbox.rest().is_empty(), "event {event_index}");
    }
    assert!(lost > 8 && lost < FRAMES, "the socket was lost at {lost} events");
}
