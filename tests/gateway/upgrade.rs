//! A data folder that an older gateway left when it was killed: the present one goes on with it.

use crate::input_images::{photo, png, with_photos};
use crate::keys::{ask, make, with_keys};
use crate::support::{Inbox, Setup};
use crate::uploads::upload_as;
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

/// A stored folder.
struct Stored {
    folder: &'static str,
    /// Where its receiver and its simulator were.
    receiver: &'static str,
    backend: &'static str,
    /// When it was made, in milliseconds since 1970.
    made_at: i64,
    /// How many rows have those addresses: requests, deliveries, jobs on the backend.
    rows: [usize; 3],
}

const SCHEMA_1: Stored = Stored {
    folder: "data-schema1",
    receiver: "http://127.0.0.1:29417",
    backend: "http://127.0.0.1:29418",
    made_at: 1_795_257_924_000,
    rows: [13, 6, 2],
};
const SCHEMA_2: Stored = Stored {
    folder: "data-schema2",
    receiver: "http://127.0.0.1:29427",
    backend: "http://127.0.0.1:29428",
    made_at: 1_795_272_742_000,
    rows: [5, 2, 2],
};

const SCHEMA_3: Stored = Stored {
    folder: "data-schema3",
    receiver: "http://127.0.0.1:29437",
    backend: "http://127.0.0.1:29438",
    made_at: 1_795_283_710_150,
    rows: [5, 2, 2],
};

const SCHEMA_4: Stored = Stored {
    folder: "data-schema4",
    receiver: "http://127.0.0.1:29447",
    backend: "http://127.0.0.1:29448",
    made_at: 1_795_306_972_469,
    rows: [10, 5, 2],
};

/// The key of the tenant `shop` in the folder of schema 4, and the uploads that it has there: those of the parameters `extra_photo`
/// and `photo`.
const SHOP_KEY_4: &str = "cg_ersho6pixmj6_ofjGhZT1ql5VDDeTW1Z2dFLW6NtaJsMKAU8h8wHIr35";
const UPLOADS: [&str; 2] = ["up_b32e68e8f060659e7a4f7fc731145dd0", "up_c73211db60220f43e58ff100caf984fd"];

/// The key of the tenant `shop` in the folder of schema 3.
const SHOP_KEY: &str = "cg_727gznljqmvm_ARVkeCG81v6CusL3zBjVxP4I4IVBBzfkL6MGEmdungr";

/// The schema of the present gateway.
const NEWEST: u32 = 6;

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
    let mut setup = Setup::new();
    let data = setup.settings.storage.folder.clone();
    let old = SCHEMA_1.copy(&data);
    let log = log_bytes(&data);
    // Two hours after it was made: a limit of one hour has passed, and the keys of that day are known.
    setup.clock = Arc::new(LaterThen::new(Timestamp::from_millis(SCHEMA_1.made_at) + Duration::from_hours(2)));
    let inbox = Inbox::open();
    let keep_folder = Arc::clone(&setup.folder);
    let move_in = async |sim: &Sim| {
        let url = sim.url().trim_end_matches('/').to_owned();
        let backend = if is_same_backend { &url } else { SCHEMA_1.backend };
        SCHEMA_1.move_to(&data, inbox.url().trim_end_matches("/hook"), backend);
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
    assert_eq!(version(&data), NEWEST);
    assert!(inbox.rest().is_empty(), "something was told twice");
    inbox.close().await;
    drop(keep_folder);
}

#[actix_web::test]
async fn a_folder_from_before_there_were_tenants_belongs_to_the_tenant_default() {
    let mut setup = with_keys();
    let data = setup.settings.storage.folder.clone();
    let old = SCHEMA_2.copy(&data);
    assert_eq!(version(&data), 2);
    setup.clock = Arc::new(LaterThen::new(Timestamp::from_millis(SCHEMA_2.made_at) + Duration::from_hours(2)));
    let inbox = Inbox::open();
    let keep_folder = Arc::clone(&setup.folder);
    let move_in = async |sim: &Sim| {
        let url = sim.url().trim_end_matches('/').to_owned();
        SCHEMA_2.move_to(&data, inbox.url().trim_end_matches("/hook"), &url);
        url
    };
    let gateway = setup.start_behind(move_in).await;
    let mut told = BTreeMap::new();
    for _ in ["pending", "running", "submitted", "queued"] {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        told.insert(webhook.prompt_id().to_owned(), webhook);
    }
    let pending = &told[&old["pending"].id];
    assert_eq!((Some(&pending.id), pending.attempt.as_str()), (old["pending"].webhook_id.as_ref(), "2"));
    assert_eq!(pending.raw, old["pending"].body.as_ref().unwrap().as_bytes());

    let none = serde_json::Value::Null;
    let (_, ours) = make(&gateway, "default", &["submit", "read"]).await;
    let (_, others) = make(&gateway, "shop", &["submit", "read"]).await;
    for (name, Old { id, body, .. }) in &old {
        let answer = ask(&gateway, &ours, "GET", &format!("/jobs/{id}"), &none).await;
        assert_eq!(answer.status, 200, "{name}");
        if let Some(body) = body {
            assert_eq!(String::from_utf8_lossy(&answer.bytes), *body, "{name}");
        }
        assert_eq!(ask(&gateway, &others, "GET", &format!("/jobs/{id}"), &none).await.status, 404, "{name}");
    }
    let count = async |path: &str| gateway.get(path).await.json()["jobs"].as_array().unwrap().len();
    assert_eq!((count("/jobs?tenant=default").await, count("/jobs?tenant=shop").await), (5, 0));
    let as_sent = r#"{"workflow": "canvas", "prompt": "x", "width": 64, "height": 64, "color": 9, "timeouts": {"queue": "1day"}, "metadata": {"name": "queued"}, "webhook_url": "http://127.0.0.1:29427/hook"}"#;
    let bearer = format!("Bearer {ours}");
    let headers =
        [("content-type", "application/json"), ("idempotency-key", "order-8"), ("authorization", bearer.as_str())];
    let repeated = gateway.post_raw(&headers, as_sent).await;
    assert_eq!((repeated.status, &repeated.json()["prompt_id"]), (202, &json!(old["queued"].id)));
    gateway.close().await;
    assert_eq!(version(&data), NEWEST);
    assert!(inbox.rest().is_empty(), "something was told twice");
    inbox.close().await;
    drop(keep_folder);
}

#[actix_web::test]
async fn a_folder_from_before_there_were_input_images_goes_on_and_takes_some_in() {
    let mut setup = with_photos(with_keys());
    let data = setup.settings.storage.folder.clone();
    let old = SCHEMA_3.copy(&data);
    assert_eq!(version(&data), 3);
    setup.clock = Arc::new(LaterThen::new(Timestamp::from_millis(SCHEMA_3.made_at) + Duration::from_hours(2)));
    let inbox = Inbox::open();
    let keep_folder = Arc::clone(&setup.folder);
    let move_in = async |sim: &Sim| {
        let url = sim.url().trim_end_matches('/').to_owned();
        SCHEMA_3.move_to(&data, inbox.url().trim_end_matches("/hook"), &url);
        url
    };
    let gateway = setup.start_behind(move_in).await;
    let mut told = BTreeMap::new();
    for _ in ["pending", "running", "submitted", "queued"] {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        assert_eq!(webhook.body.get("inputs"), None, "{}", webhook.body);
        told.insert(webhook.prompt_id().to_owned(), webhook);
    }
    let pending = &told[&old["pending"].id];
    assert_eq!((Some(&pending.id), pending.attempt.as_str()), (old["pending"].webhook_id.as_ref(), "2"));
    assert_eq!(pending.raw, old["pending"].body.as_ref().unwrap().as_bytes());
    let none = serde_json::Value::Null;
    for (name, Old { id, body, .. }) in &old {
        let answer = ask(&gateway, SHOP_KEY, "GET", &format!("/jobs/{id}"), &none).await;
        assert_eq!(answer.status, 200, "{name}");
        if let Some(body) = body {
            assert_eq!(String::from_utf8_lossy(&answer.bytes), *body, "{name}");
        }
        let output = gateway.get(&format!("/jobs/{id}/outputs/0")).await;
        assert_eq!(output.status, 200, "the start has swept away an output of `{name}`");
    }
    let image = upload_as(&gateway, SHOP_KEY, &png(8, 8, 1)).await;
    let body = photo(json!({ "upload": image["id"] }));
    let job = ask(&gateway, SHOP_KEY, "POST", "/generate", &body).await.json()["prompt_id"].clone();
    let done = gateway.until(job.as_str().unwrap(), "success").await;
    assert_eq!(done["inputs"][0]["sha256"], image["sha256"]);
    gateway.close().await;
    assert_eq!(version(&data), NEWEST);
    assert!(inbox.rest().is_empty(), "something was told twice");
    inbox.close().await;
    drop(keep_folder);
}

#[actix_web::test]
async fn a_folder_from_before_jobs_knew_the_structure_of_their_graph_goes_on_with_all_that_waits() {
    let mut setup = with_photos(with_keys());
    let data = setup.settings.storage.folder.clone();
    let old = SCHEMA_4.copy(&data);
    assert_eq!(version(&data), 4);
    assert_eq!(requests_with_a_structure(&data), 0);
    setup.clock = Arc::new(LaterThen::new(Timestamp::from_millis(SCHEMA_4.made_at) + Duration::from_hours(2)));
    let inbox = Inbox::open();
    let keep_folder = Arc::clone(&setup.folder);
    let move_in = async |sim: &Sim| {
        let url = sim.url().trim_end_matches('/').to_owned();
        SCHEMA_4.move_to(&data, inbox.url().trim_end_matches("/hook"), &url);
        url
    };
    let gateway = setup.start_behind(move_in).await;
    let mut told = BTreeMap::new();
    for _ in ["pending", "running", "submitted", "queued", "queued_photo", "queued_graph"] {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        told.insert(webhook.prompt_id().to_owned(), webhook);
    }
    let pending = &told[&old["pending"].id];
    assert_eq!((Some(&pending.id), pending.attempt.as_str()), (old["pending"].webhook_id.as_ref(), "2"));
    assert_eq!(pending.raw, old["pending"].body.as_ref().unwrap().as_bytes());
    for name in ["running", "submitted", "queued", "queued_photo", "queued_graph"] {
        assert_eq!(told[&old[name].id].images().len(), 1, "{name}");
    }
    let none = serde_json::Value::Null;
    let as_shop = async |path: &str| ask(&gateway, SHOP_KEY_4, "GET", path, &none).await;
    for (name, Old { id, body, .. }) in &old {
        let answer = as_shop(&format!("/jobs/{id}")).await;
        assert_eq!(answer.status, 200, "{name}");
        if let Some(body) = body {
            assert_eq!(String::from_utf8_lossy(&answer.bytes), *body, "{name}");
        }
        let has_output = !["failed", "cancelled"].contains(&name.as_str());
        let output = gateway.get(&format!("/jobs/{id}/outputs/0")).await;
        assert_eq!(output.status == 200, has_output, "{name}");
    }
    let worked_on = as_shop(&format!("/jobs/{}", old["queued_photo"].id)).await.json()["inputs"].clone();
    assert_eq!(worked_on.as_array().map(Vec::len), Some(2), "{worked_on}");
    for (id, image) in UPLOADS.iter().zip(worked_on.as_array().unwrap()) {
        let upload = as_shop(&format!("/uploads/{id}")).await;
        assert_eq!((upload.status, &upload.json()["sha256"]), (200, &image["sha256"]), "{worked_on}");
    }
    let as_sent = r#"{"workflow": "canvas", "prompt": "x", "width": 64, "height": 64, "color": 5, "metadata": {"name": "queued"}, "timeouts": {"queue": "1day"}, "webhook_url": "http://127.0.0.1:29447/hook"}"#;
    let bearer = format!("Bearer {SHOP_KEY_4}");
    let headers =
        [("content-type", "application/json"), ("idempotency-key", "order-9"), ("authorization", bearer.as_str())];
    let repeated = gateway.post_raw(&headers, as_sent).await;
    assert_eq!((repeated.status, &repeated.json()["prompt_id"]), (202, &json!(old["queued"].id)));
    gateway.close().await;
    assert_eq!(version(&data), NEWEST);
    assert!(inbox.rest().is_empty(), "something was told twice");
    inbox.close().await;
    drop(keep_folder);
}

/// How many stored requests know the structure of their graph.
fn requests_with_a_structure(data: &Path) -> u32 {
    let connection = Connection::open(data.join("comfygate.db")).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let sql = "SELECT count(*) FROM job_request WHERE json_extract(request, '$.structure') IS NOT NULL";
    connection.query_row(sql, (), |row| row.get(0)).unwrap()
}

fn log_bytes(data: &Path) -> u64 {
    std::fs::metadata(data.join("comfygate.db-wal")).unwrap().len()
}

fn version(data: &Path) -> u32 {
    let connection = Connection::open(data.join("comfygate.db")).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

impl Stored {
    /// Copies the folder, and returns the jobs in it by their names.
    fn copy(&self, data: &Path) -> BTreeMap<String, Old> {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(self.folder);
        copy_folder(&fixture.join("data"), data);
        assert!(log_bytes(data) > 0, "the folder is not that of a killed gateway");
        serde_json::from_str(&std::fs::read_to_string(fixture.join("jobs.json")).unwrap()).unwrap()
    }

    /// Has the copy speak of the addresses of this test, and leaves its log where it is.
    fn move_to(&self, data: &Path, receiver: &str, backend: &str) {
        let connection = Connection::open(data.join("comfygate.db")).unwrap();
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        let from = (self.receiver, self.backend);
        let on_backend = "UPDATE job SET backend = ?2 WHERE backend = ?1 AND ended_at IS NULL";
        let moved = [
            connection.execute("UPDATE job_request SET request = replace(request, ?1, ?2)", [from.0, receiver]),
            connection.execute("UPDATE delivery SET url = replace(url, ?1, ?2)", [from.0, receiver]),
            connection.execute(on_backend, [from.1, backend]),
        ];
        assert_eq!(moved.map(Result::unwrap), self.rows);
    }
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
