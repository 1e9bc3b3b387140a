//! The data folder over time: what ended long ago is gone, with its outputs, and nothing else is.

use crate::support::{Inbox, Setup, canvas, canvas_files, eventually};
use comfygate::clock::{ManualClock, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const A_DAY: Duration = Duration::from_hours(24);

#[actix_web::test]
async fn a_job_is_there_until_its_time_is_over_and_then_neither_it_nor_its_outputs_are() {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let mut setup = Setup::new();
    setup.clock = Arc::clone(&clock) as _;
    setup.settings.storage.retention = Some(7 * A_DAY);
    let blobs = setup.settings.storage.folder.join("blobs");
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let old = gateway.run_one(&inbox, &canvas(&inbox.url())).await.prompt_id().to_owned();
    clock.advance(6 * A_DAY);
    gateway.until_ready().await;
    let young = gateway.run_one(&inbox, &canvas_files(&inbox.url())).await.prompt_id().to_owned();
    assert_eq!(gateway.get(&format!("/jobs/{old}")).await.status, 200);
    assert_eq!(files(&blobs), 2);

    clock.advance(A_DAY);
    let is_cleared = async || {
        clock.advance(Duration::from_secs(1));
        (gateway.get(&format!("/jobs/{old}")).await.status == 404).then_some(())
    };
    eventually("the old job is cleared", is_cleared).await;
    assert_eq!(gateway.get(&format!("/jobs/{old}/outputs/0")).await.status, 404);
    let listed = gateway.get("/jobs").await.json();
    let listed: Vec<_> = listed["jobs"].as_array().unwrap().iter().map(|job| job["prompt_id"].clone()).collect();
    assert_eq!(listed, [young.as_str()]);
    let output_is_gone = async || {
        clock.advance(Duration::from_secs(1));
        (files(&blobs) == 1).then_some(())
    };
    eventually("its output is removed", output_is_gone).await;
    assert_eq!(gateway.get(&format!("/jobs/{young}")).await.json()["status"], "success");
    assert_eq!(gateway.get(&format!("/jobs/{young}/outputs/0")).await.status, 200);
    gateway.close().await;
}

fn files(blobs: &Path) -> usize {
    let folders = std::fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    folders.map(|folder| std::fs::read_dir(folder).unwrap().count()).sum()
}
