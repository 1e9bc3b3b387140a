//! A data folder that an older gateway left when it was killed: the present one goes on with it.

use crate::support::{Inbox, Setup};
use comfygate::clock::{Clock, SystemClock, Timestamp};
use comfygate::sim::Sim;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the receiver and the simulator of the stored folder were.
const RECEIVER: &str = "http://127.0.0.1:29417";
const BACKEND: &str = "http://127.0.0.1:29418";

/// A job of the stored folder, and its webhook as it was sent there.
#[derive(Deserialize, Debug)]
struct Old {
    id: String,
    webhook_id: Option<String>,
    body: Option<String>,
}

#[actix_web::test]
async fn a_folder_of_schema_1_is_taken_over_with_every_job_result_and_webhook() {
    // Its backend may be there no more, or be there and know nothing of the runs.
    for is_same_backend in [false, true] {
        goes_on_with_the_folder_of_schema_1(is_same_backend).await;
    }
}

async fn goes_on_with_the_folder_of_schema_1(is_same_backend: bool) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-schema1");
    let old: BTreeMap<String, Old> =
        serde_json::from_str(&std::fs::read_to_string(fixture.join("jobs.json")).unwrap()).unwrap();
    let mut setup = Setup::new();
    let data = setup.settings.storage.folder.clone();
    copy_folder(&fixture.join("data"), &data);
    let log = log_bytes(&data);
    assert!(log > 0, "the folder is not that of a killed gateway");
    // Two hours after it was made: a limit of one hour has passed, and the keys of that day are known.
    setup.clock = Arc::new(LaterThen::new(Timestamp::from_millis(1_795_257_924_000) + Duration::from_hours(2)));
    let inbox = Inbox::open();
    let keep_folder = Arc::clone(&setup.folder);
    let move_in = async |sim: &Sim| {
        let url = sim.url().trim_end_matches('/').to_owned();
        move_folder(&data, inbox.url().trim_end_matches("/hook"), if is_same_backend { &url } else { BACKEND });
        assert!(log_bytes(&data) > log, "the log was folded in");
        url
    };
    let gateway = setup.start_behind(move_in).await;

    let mut told = BTreeMap::new();
    for _ in ["pending", "running", "submitted", "queued", "queued_old", "overdue"] {
        let webhook = inbox.next().await;
        told.insert(webhook.prompt_id().to_owned(), webhook);
    }
    let told = |name: &str| told.get(&old[name].id).unwrap_or_else(|| panic!("nobody was told of `{name}`"));
    for name in ["running", "submitted", "queued", "queued_old"] {
        assert_eq!(told(name).body["status"], "success", "{name}: {}", told(name).body);
        assert_eq!(told(name).images().len(), 1, "{name}");
    }
    assert_eq!(told("overdue").body["code"], "timeout_queue");
    let pending = told("pending");
    assert_eq!(Some(&pending.id), old["pending"].webhook_id.as_ref());
    assert_eq!(pending.attempt, "3");

    for (name, Old { id, body, .. }) in &old {
        let answer = gateway.get(&format!("/jobs/{id}")).await;
        assert_eq!(answer.status, 200, "{name}");
        if let Some(body) = body {
            assert_eq!(String::from_utf8_lossy(&answer.bytes), *body, "{name}");
        }
    }
    assert_eq!(pending.raw, old["pending"].body.as_ref().unwrap().as_bytes());
    let with_files = gateway.job(&old["delivered_files"].id).await;
    for (place, output) in with_files["outputs"].as_array().unwrap().iter().enumerate() {
        let file = gateway.get(&format!("/jobs/{}/outputs/{place}", old["delivered_files"].id)).await;
        assert_eq!((file.status, json!(file.bytes.len())), (200, output["bytes"].clone()));
    }
    assert_eq!(gateway.job(&old["failed"].id).await["code"], "validation");
    assert_eq!(gateway.job(&old["cancelled"].id).await["code"], "cancelled");
    let again = r#"{"workflow": "canvas", "prompt": "x", "width": 64, "height": 64, "color": 9, "timeouts": {"queue": "1day"}, "webhook_url": "http://127.0.0.1:29417/queued"}"#;
    let headers = [("content-type", "application/json"), ("idempotency-key", "order-8")];
    let answer = gateway.post_raw(&headers, again).await;
    assert_eq!((answer.status, &answer.json()["prompt_id"]), (202, &json!(old["queued"].id)));
    gateway.close().await;
    let connection = Connection::open(data.join("comfygate.db")).unwrap();
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
    assert!(inbox.rest().is_empty(), "something was told twice");
    inbox.close().await;
    drop(keep_folder);
}

fn log_bytes(data: &Path) -> u64 {
    std::fs::metadata(data.join("comfygate.db-wal")).unwrap().len()
}

/// Has the folder speak of the addresses of this test, and leaves its log where it is.
fn move_folder(data: &Path, receiver: &str, backend: &str) {
    let connection = Connection::open(data.join("comfygate.db")).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let moved = [
        connection.execute("UPDATE job_request SET request = replace(request, ?1, ?2)", [RECEIVER, receiver]),
        connection.execute("UPDATE delivery SET url = replace(url, ?1, ?2)", [RECEIVER, receiver]),
        connection.execute("UPDATE job SET backend = ?2 WHERE backend = ?1 AND ended_at IS NULL", [BACKEND, backend]),
    ];
    assert_eq!(moved.map(Result::unwrap), [13, 6, 2]);
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy_folder(&path, &target) } else { std::fs::copy(&path, &target).map(|_| ()).unwrap() }
    }
}

/// A clock that goes as the machine's does, but from another day on.
#[derive(Debug)]
struct LaterThen {
    day: Timestamp,
    began: Timestamp,
    machine: Arc<SystemClock>,
}

impl LaterThen {
    fn new(day: Timestamp) -> Self {
        let machine = SystemClock::start();
        Self { day, began: machine.now(), machine }
    }
}

impl Clock for LaterThen {
    fn now(&self) -> Timestamp {
        self.day + self.machine.now().since(self.began)
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        self.machine.sleep_until(self.began + until.since(self.day))
    }
}
