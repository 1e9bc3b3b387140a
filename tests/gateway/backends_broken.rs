//! Backends that were added and cannot be begun, or stand in the settings by now: told with the reason, mended, and removed.

use crate::backends::{encoded, fields, operated, sim, tries, until_connected, until_gone, view};
use crate::backends_command::{command, written_into};
use crate::support::{Inbox, TestGateway, canvas, eventually, stderr, stdout};
use comfygate::sim::{Fault, Sim};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// A variable that nobody has set.
const UNSET: &str = "COMFYGATE_TEST_THAT_NOBODY_SETS";

/// Gives the waiting job to a backend of which nobody knows.
const CLAIMED: &str = "UPDATE job SET state = 'submitted', run_number = 1, backend = 'gpu-2', prompt_id = 'x'";

#[actix_web::test]
async fn a_backend_that_cannot_be_begun_is_told_with_the_reason_and_can_be_removed() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    let data = gateway.settings.storage.folder.clone();
    add_without_its_secret(&data, &other).await;
    let told = until_told(&gateway, UNSET).await;
    let said = json!(["added", other.url(), ["flux"], 1, "serving", false, false, 0, null]);
    assert_eq!(fields(&told, "source url tags slots duty leaving connected prompts health"), said, "{told}");
    let all = gateway.get("/backends").await.json();
    let troubles: Vec<&Value> = all["backends"].as_array().unwrap().iter().map(|one| &one["trouble"]).collect();
    assert_eq!(troubles, [&Value::Null, &told["trouble"]]);
    let listed = stdout(&command(&data, &["backends", "list"]).await);
    assert!(listed.lines().any(|line| line.contains("gpu-2") && line.contains(UNSET)), "{listed}");
    let asked = gateway.get("/backends/gpu-2/stats").await;
    assert_eq!((asked.status, asked.code().as_str()), (502, "backend_unreachable"), "{}", asked.json());
    let twice = gateway.post("/backends", &json!({ "name": "gpu-2", "url": other.url() })).await;
    assert_eq!((twice.status, twice.code().as_str()), (409, "backend_exists"));
    for (word, duty) in [("drain", "draining"), ("resume", "serving")] {
        let answer = gateway.post(&format!("/backends/gpu-2/{word}"), &json!({})).await;
        assert_eq!((answer.status, &answer.json()["duty"]), (200, &json!(duty)), "{}", answer.json());
    }
    assert_eq!(gateway.post("/queue/pause", &json!({})).await.status, 200);
    let id = gateway.generate(&canvas(&inbox.url())).await;
    // As when it could be begun before the last restart.
    assert_eq!(database(&data).execute(CLAIMED, ()).unwrap(), 1);
    assert_eq!(gateway.delete("/backends/gpu-2").await.status, 202);
    assert_eq!(gateway.get("/backends/gpu-2").await.status, 404, "there is nothing to wait for");
    assert_eq!((kept(&data), tries(&gateway)), (Vec::new(), vec![0]), "its credentials are gone, and no try counts");
    gateway.until(&id, "queued").await;
    let again = gateway.post("/backends", &json!({ "name": "gpu-2", "url": other.url() })).await;
    assert_eq!(again.status, 201, "{}", again.json());
    until_connected(&gateway, "gpu-2").await;
    assert_eq!(gateway.post("/queue/resume", &json!({})).await.status, 200);
    assert_eq!(inbox.next().await.prompt_id(), id);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_backend_that_cannot_be_begun_is_removed_by_the_command_too() {
    let gateway = operated().start().await;
    let other = sim().await;
    let data = gateway.settings.storage.folder.clone();
    for how in [&["backends", "remove", "gpu-2"][..], &["backends", "remove", "gpu-2", "--now"]] {
        add_without_its_secret(&data, &other).await;
        until_told(&gateway, UNSET).await;
        assert!(command(&data, how).await.status.success());
        until_gone(&gateway, "gpu-2").await;
        assert_eq!(kept(&data), Vec::<String>::new());
    }
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_backend_whose_secret_is_gone_at_a_restart_joins_once_it_is_back() {
    let gateway = operated().start().await;
    let other = sim().await;
    let data = gateway.settings.storage.folder.clone();
    let secret = data.parent().unwrap().join("token");
    std::fs::write(&secret, "hunter2").unwrap();
    let auth = format!("auth: {{bearer: 'file:{}'}}", secret.display());
    add_with(&data, &other, &auth).await;
    assert_eq!(until_connected(&gateway, "gpu-2").await["trouble"], Value::Null);
    let gateway = gateway.restart_after(async |_| std::fs::remove_file(&secret).unwrap()).await;
    let told = until_told(&gateway, "auth.bearer").await;
    assert!(!told.to_string().contains("hunter2"), "{told}");
    std::fs::write(&secret, "hunter2").unwrap();
    assert_eq!(until_connected(&gateway, "gpu-2").await["trouble"], Value::Null);
    let all: Value = serde_json::from_str(&stdout(&command(&data, &["backends", "list", "--json"]).await)).unwrap();
    let listed = all["backends"].as_array().unwrap().iter().find(|one| one["name"] == "gpu-2").unwrap();
    assert_eq!(listed["trouble"], Value::Null, "the trouble is over");
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn the_command_adds_no_second_backend_at_an_address_of_the_settings() {
    let setup = operated();
    let data = setup.settings.storage.folder.clone();
    let default = command(&data, &["backends", "add", "http://127.0.0.1:8188/", "--name", "gpu-2"]).await;
    assert!(stderr(&default).contains("is at http://127.0.0.1:8188 already"), "{default:?}");
    let file = written_into(&data, "- {name: gpu-1, url: 'http://10.0.0.7:8188', auth: {bearer: hunter2}}\n");
    std::fs::write(data.parent().unwrap().join(".env"), format!("COMFYGATE_BACKENDS_FILE={}\n", file.display()))
        .unwrap();
    let second = command(&data, &["backends", "add", "http://10.0.0.7:8188", "--name", "gpu-2"]).await;
    let said = stderr(&second);
    assert!(said.contains("`gpu-1`") && said.contains("is at http://10.0.0.7:8188 already"), "{said}");
    assert_eq!((default.status.code(), second.status.code()), (Some(1), Some(1)));
    let other = command(&data, &["backends", "add", "http://127.0.0.1:8188", "--name", "gpu-2"]).await;
    assert!(other.status.success(), "the file takes the place of the default: {other:?}");
    assert_eq!(kept(&data), ["gpu-2"]);
}

#[actix_web::test]
async fn a_backend_that_moves_into_the_file_leaves_nothing_of_what_was_added_behind() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    let data = gateway.settings.storage.folder.clone();
    assert_eq!(gateway.post("/backends", &json!({ "name": "gpu-2", "url": other.url() })).await.status, 201);
    until_connected(&gateway, "gpu-2").await;
    let own = format!("/backends/{}", encoded(&gateway.sim.url()));
    assert_eq!(gateway.post(&format!("{own}/drain"), &json!({})).await.status, 200);
    other.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    assert_eq!(gateway.post(&format!("{own}/resume"), &json!({})).await.status, 200);
    assert_eq!(gateway.delete("/backends/gpu-2").await.status, 202);
    let file = written_into(&data, &format!("- {{name: gpu-2, url: '{}', tags: [flux]}}\n", other.url()));
    let gateway = gateway.restart_with(|settings| settings.backends.file = Some(file)).await;
    let moved = until_connected(&gateway, "gpu-2").await;
    assert_eq!(fields(&moved, "source tags duty leaving"), json!(["file", ["flux"], "serving", false]));
    other.release();
    assert_eq!(inbox.next().await.prompt_id(), id);
    assert_eq!(command(&data, &["backends", "remove", "gpu-2"]).await.status.code(), Some(1));
    // Longer than the roster takes to look again.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(fields(&view(&gateway, "gpu-2").await, "duty leaving"), json!(["serving", false]));
    let gateway = gateway.restart_with(|settings| settings.backends.file = None).await;
    assert_eq!(gateway.get("/backends/gpu-2").await.status, 404, "the old one does not come back");
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_name_is_not_given_away_while_runs_of_an_earlier_backend_have_it() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    assert_eq!(gateway.post("/queue/pause", &json!({})).await.status, 200);
    let id = gateway.generate(&canvas(&inbox.url())).await;
    // As when a claim came later than the end of the backend that it was for.
    assert_eq!(database(&gateway.settings.storage.folder).execute(CLAIMED, ()).unwrap(), 1);
    let body = json!({ "name": "gpu-2", "url": other.url() });
    let refused = gateway.post("/backends", &body).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "backend_has_runs"));
    let runs = async || {
        let sql = "SELECT count(*) FROM job WHERE state = 'submitted'";
        let runs = database(&gateway.settings.storage.folder).query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
        (runs == 0).then_some(())
    };
    eventually("nobody follows the run, so its job waits again", runs).await;
    assert_eq!(gateway.post("/backends", &body).await.status, 201);
    assert_eq!(gateway.post("/queue/resume", &json!({})).await.status, 200);
    assert_eq!(inbox.next().await.prompt_id(), id);
    gateway.close().await;
    other.stop().await;
}

/// Adds a backend that asks for a variable which the gateway does not have.
async fn add_without_its_secret(data: &Path, sim: &Sim) {
    add_with(data, sim, &format!("tags: [flux], auth: {{bearer: 'env:{UNSET}'}}")).await;
}

async fn add_with(data: &Path, sim: &Sim, more: &str) {
    let file = written_into(data, &format!("- {{name: gpu-2, url: '{}', {more}}}\n", sim.url()));
    let said = command(data, &["backends", "add", "--from", file.to_str().unwrap()]).await;
    assert!(said.status.success(), "{said:?}");
}

/// Waits until the gateway says what is wrong with the backend.
async fn until_told(gateway: &TestGateway, what: &str) -> Value {
    let told = async || {
        let answer = gateway.get("/backends/gpu-2").await;
        let view = answer.json();
        (answer.status == 200 && view["trouble"].as_str()?.contains(what)).then_some(view)
    };
    eventually("the trouble of the backend is told", told).await
}

/// The names of which a definition is kept.
fn kept(data: &Path) -> Vec<String> {
    let database = database(data);
    let mut names = database.prepare("SELECT name FROM backend WHERE definition IS NOT NULL").unwrap();
    names.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn database(data: &Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(data.join("comfygate.db")).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    database
}
