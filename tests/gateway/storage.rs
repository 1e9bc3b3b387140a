//! A disk that takes nothing for a while: what runs goes on, nothing is lost, and no restart is needed.

use crate::support::{Inbox, TestGateway, canvas, canvas_files};
use comfygate::sim::Fault;
use serde_json::json;
use std::path::PathBuf;

#[actix_web::test]
async fn a_disk_that_takes_no_outputs_holds_jobs_up_and_costs_none() {
    for request in [canvas, canvas_files] {
        let gateway = TestGateway::start().await;
        let inbox = Inbox::open();
        let disk = FullDisk::fill(&gateway);
        let id = gateway.generate(&request(&inbox.url())).await;
        gateway.sim.wait_for(|sim| sim.queued() == 0 && !sim.images().is_empty()).await.unwrap();
        // A second job is taken in, and its run begins, although the first one cannot be ended.
        let other = gateway.generate(&request(&inbox.url())).await;
        gateway.sim.wait_for(|sim| sim.executions().len() == 2).await.unwrap();
        assert_eq!(gateway.job(&id).await["status"], "running");
        disk.free();
        let mut told = Vec::new();
        for _ in 0..2 {
            let webhook = inbox.next().await;
            assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
            told.push(webhook.prompt_id().to_owned());
        }
        told.sort();
        assert_eq!(told, [id, other]);
        assert!(gateway.sim.executions().values().all(|runs| *runs == 1), "{:?}", gateway.sim.executions());
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_backend_that_is_away_while_its_files_are_fetched_is_asked_again() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let disk = FullDisk::fill(&gateway);
    let id = gateway.generate(&canvas_files(&inbox.url())).await;
    gateway.sim.wait_for(|sim| sim.queued() == 0 && !sim.images().is_empty()).await.unwrap();
    let away = std::time::Duration::from_millis(1500);
    gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: away });
    disk.free();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (id.as_str(), &json!("success")));
    assert!(gateway.sim.executions().values().all(|runs| *runs == 1), "{:?}", gateway.sim.executions());
    gateway.close().await;
}

/// Where outputs are written is no folder.
struct FullDisk {
    path: PathBuf,
}

impl FullDisk {
    fn fill(gateway: &TestGateway) -> Self {
        let path = gateway.settings.storage.folder.join("blobs").join("tmp");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        Self { path }
    }

    fn free(self) {
        std::fs::remove_file(&self.path).unwrap();
        std::fs::create_dir(&self.path).unwrap();
    }
}
