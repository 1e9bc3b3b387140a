//! What an operator counts in the queue before the backends.

use crate::backends::{fields, operated};
use crate::support::{Inbox, canvas, canvas_files};
use comfygate::sim::Fault;
use serde_json::json;

#[actix_web::test]
async fn an_operator_counts_the_jobs_of_one_workflow() {
    let gateway = operated().start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let first = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&first, "running").await;
    assert_eq!(gateway.post("/queue/pause", &json!({})).await.status, 200);
    let mut urgent = canvas(&inbox.url());
    urgent["priority"] = json!(5);
    for body in [canvas(&inbox.url()), urgent, canvas_files(&inbox.url())] {
        gateway.generate(&body).await;
    }
    let lane = |priority: i32, jobs: u64| json!({ "priority": priority, "jobs": jobs });
    for (query, queued, running, lanes) in [
        ("", 3, 1, vec![lane(5, 1), lane(0, 2)]),
        ("?workflow=canvas", 2, 1, vec![lane(5, 1), lane(0, 1)]),
        ("?workflow=canvas-files", 1, 0, vec![lane(0, 1)]),
        ("?workflow=nobodys", 0, 0, vec![]),
    ] {
        let counts = gateway.get(&format!("/queue{query}")).await.json();
        let expected = json!([true, queued, 0, running, lanes]);
        assert_eq!(fields(&counts, "paused queued submitted running lanes"), expected, "{query}");
    }
    let wrong = gateway.get("/queue?workflows=canvas").await;
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "unknown_field"));
    gateway.sim.release();
    assert_eq!(gateway.post("/queue/resume", &json!({})).await.status, 200);
    for _ in 0..4 {
        assert_eq!(inbox.next().await.body["status"], "success");
    }
    gateway.close().await;
}
