//! Backends that come and go while the gateway runs: added, drained and removed over HTTP, with every job ended once.

use crate::keys::{OPERATOR, ask, make};
use crate::support::{Inbox, Setup, TestGateway, canvas, canvas_files, eventually};
use comfygate::secret::Secret;
use comfygate::sim::{Fault, Sim, SimOptions, When};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

#[actix_web::test]
async fn a_backend_that_is_added_runs_jobs_and_is_known_by_its_encoded_name() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    let added =
        gateway.post("/backends", &json!({ "url": other.url(), "tags": ["flux"], "slots": 2, "ahead": 0 })).await;
    assert_eq!(added.status, 201, "{}", added.json());
    let place = added.header("location").to_owned();
    assert!(place.starts_with("/backends/http%3A%2F%2F127.0.0.1%3A"), "{place}");
    let view = until_connected(&gateway, &other.url()).await;
    // How it is may be known a moment later.
    let at_its_place = gateway.get(&place).await.json();
    assert_eq!(fields(&view, "name url tags"), fields(&at_its_place, "name url tags"));
    let said = json!([other.url(), "added", ["flux"], 2, 0, "serving", false, 0, null]);
    assert_eq!(fields(&view, "url source tags slots ahead duty leaving prompts error"), said);
    drain(&gateway, &gateway.sim.url()).await;
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    assert_eq!((executions(&gateway.sim), executions(&other)), (0, 1));
    let all = gateway.get("/backends").await.json();
    let sources: Vec<_> = all["backends"].as_array().unwrap().iter().map(|one| fields(one, "source duty")).collect();
    assert_eq!(sources, [json!(["settings", "draining"]), json!(["added", "serving"])]);
    let ready = gateway.get("/ready").await.json();
    assert_eq!((&ready["backends"][0]["duty"], &ready["queue_paused"]), (&json!("draining"), &json!(false)));
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_backend_that_is_removed_at_once_gives_its_runs_up_and_their_jobs_end_elsewhere_once() {
    let mut setup = operated();
    setup.settings.limits.max_runs = 1;
    let gateway = setup.start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    add(&gateway, "gpu-2", &other).await;
    drain(&gateway, &gateway.sim.url()).await;
    other.inject_when(Fault::Slow(Duration::from_millis(400)), When::Every);
    let ids = [gateway.generate(&canvas(&inbox.url())).await, gateway.generate(&canvas(&inbox.url())).await];
    gateway.until(&ids[0], "running").await;
    eventually("both are there", async || (view(&gateway, "gpu-2").await["prompts"] == json!(2)).then_some(())).await;
    let removed = gateway.delete("/backends/gpu-2?now=true").await;
    assert_eq!((removed.status, removed.json()), (202, json!({ "name": "gpu-2", "leaving": "now" })));
    until_gone(&gateway, "gpu-2").await;
    assert_eq!((other.queued(), other.connections()), (0, 0), "what was given up does not run on");
    let queue = gateway.get("/queue").await.json();
    assert_eq!(fields(&queue, "queued submitted running"), json!([2, 0, 0]));
    assert_eq!(tries(&gateway), [0, 0], "what an operator did is no try");
    resume(&gateway, &gateway.sim.url()).await;
    let mut ended = Vec::new();
    for _ in &ids {
        let webhook = inbox.next().await;
        assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
        ended.push(webhook.prompt_id().to_owned());
    }
    ended.sort();
    assert_eq!(ended, ids, "each of them once");
    assert_eq!(executions(&gateway.sim), 2);
    gateway.close().await;
    assert!(inbox.rest().is_empty());
    other.stop().await;
}

#[actix_web::test]
async fn what_runs_on_a_backend_that_does_not_answer_at_once_is_stopped_before_it_is_gone() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    add(&gateway, "gpu-2", &other).await;
    drain(&gateway, &gateway.sim.url()).await;
    other.inject_when(Fault::Slow(Duration::from_secs(1)), When::Every);
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    // It goes on with what it runs, and cannot be asked for a while.
    other.inject(Fault::Restart { at: None, forget: false, down_for: Duration::from_millis(1500) });
    assert_eq!(gateway.delete("/backends/gpu-2?now=true").await.status, 202);
    until_gone(&gateway, "gpu-2").await;
    assert_eq!(other.queued(), 0, "what was given up does not run on");
    resume(&gateway, &gateway.sim.url()).await;
    assert_eq!(inbox.next().await.prompt_id(), id);
    assert_eq!(executions(&gateway.sim), 1);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_backend_that_drains_ends_what_it_has_and_gets_no_more_and_then_goes() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    add(&gateway, "gpu-2", &other).await;
    drain(&gateway, &gateway.sim.url()).await;
    other.inject(Fault::Hang { at: "executing".into() });
    let first = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&first, "running").await;
    assert_eq!(gateway.delete("/backends/gpu-2").await.json(), json!({ "name": "gpu-2", "leaving": "drained" }));
    let second = gateway.generate(&canvas(&inbox.url())).await;
    assert_eq!(fields(&view(&gateway, "gpu-2").await, "duty leaving prompts"), json!(["draining", true, 1]));
    resume(&gateway, &gateway.sim.url()).await;
    assert_eq!(inbox.next().await.prompt_id(), second);
    assert_eq!(view(&gateway, "gpu-2").await["prompts"], 1, "it ends what it has");
    other.release();
    let webhook = inbox.next().await;
    assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (first.as_str(), &json!("success")));
    until_gone(&gateway, "gpu-2").await;
    assert_eq!((executions(&other), executions(&gateway.sim)), (1, 1));
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn backends_drains_and_the_pause_survive_a_restart() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    add(&gateway, "gpu-2", &other).await;
    drain(&gateway, &gateway.sim.url()).await;
    assert_eq!(gateway.post("/queue/pause", &json!({})).await.json()["paused"], true);
    let id = gateway.generate(&canvas(&inbox.url())).await;
    let gateway = gateway.restart().await;
    until_connected(&gateway, "gpu-2").await;
    assert_eq!(fields(&view(&gateway, "gpu-2").await, "source duty"), json!(["added", "serving"]));
    assert_eq!(view(&gateway, &gateway.sim.url()).await["duty"], "draining");
    let queue = gateway.get("/queue").await.json();
    assert_eq!(fields(&queue, "paused queued lanes"), json!([true, 1, [{ "priority": 0, "jobs": 1 }]]));
    assert_eq!(gateway.get("/ready").await.json()["queue_paused"], true);
    // Longer than dispatch takes to look again.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((gateway.job(&id).await["status"].clone(), executions(&other)), (json!("queued"), 0));
    assert_eq!(gateway.post("/queue/resume", &json!({})).await.json()["paused"], false);
    assert_eq!(inbox.next().await.prompt_id(), id);
    assert_eq!((executions(&gateway.sim), executions(&other)), (0, 1));
    let gateway = gateway.restart().await;
    assert_eq!(gateway.get("/queue").await.json()["paused"], false);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_removal_that_a_restart_cuts_short_goes_on_after_it() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    add(&gateway, "gpu-2", &other).await;
    drain(&gateway, &gateway.sim.url()).await;
    other.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas_files(&inbox.url())).await;
    gateway.until(&id, "running").await;
    assert_eq!(gateway.delete("/backends/gpu-2").await.status, 202);
    resume(&gateway, &gateway.sim.url()).await;
    let gateway = gateway.restart().await;
    assert_eq!(fields(&view(&gateway, "gpu-2").await, "duty leaving"), json!(["draining", true]));
    other.release();
    assert_eq!(inbox.next().await.prompt_id(), id);
    until_gone(&gateway, "gpu-2").await;
    let gateway = gateway.restart().await;
    assert_eq!(gateway.get("/backends/gpu-2").await.status, 404);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn a_backend_that_is_down_when_it_is_added_joins_when_it_comes() {
    let gateway = operated().start().await;
    let inbox = Inbox::open();
    let away = free_address();
    let answer = gateway.post("/backends", &json!({ "name": "late", "url": format!("http://{away}") })).await;
    assert_eq!((answer.status, &answer.json()["connected"]), (201, &json!(false)));
    eventually("its absence is told", async || view(&gateway, "late").await["error"].as_str().map(drop)).await;
    let other = Sim::start(SimOptions { addr: away, step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    until_connected(&gateway, "late").await;
    drain(&gateway, &gateway.sim.url()).await;
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    assert_eq!(executions(&other), 1);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn what_cannot_be_added_is_told_with_everything_that_is_wrong() {
    let gateway = operated().start().await;
    let bad = json!({ "url": "http://user:hunter2@gpu", "slots": 0, "tags": ["Big"], "color": 1 });
    let answer = gateway.post("/backends", &bad).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_backend"));
    let fields: Vec<String> = answer.json()["details"]["fields"].as_array().unwrap().iter().map(field).collect();
    assert_eq!(fields, ["url", "tags", "slots", "color"]);
    assert!(!answer.json().to_string().contains("hunter2"), "{}", answer.json());
    for url in ["http://169.254.169.254", "http://metadata.google.internal", "http://a/#b", "ws://a", ""] {
        let answer = gateway.post("/backends", &json!({ "url": url })).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_backend"), "{url}");
    }
    assert_eq!(gateway.post("/backends", &json!([])).await.code(), "invalid_json");
    assert_eq!(gateway.delete("/backends/x?now=maybe").await.code(), "not_allowed");
    assert_eq!(gateway.delete("/backends/x?soon=true").await.code(), "unknown_field");
    assert_eq!(gateway.get("/backends").await.json()["backends"].as_array().unwrap().len(), 1);
    gateway.close().await;
}

#[actix_web::test]
async fn the_credentials_of_a_backend_are_shown_as_three_stars_over_restarts_too() {
    const CANARY: &str = "canary-7f3e9a-of-a-backend";
    let gateway = operated().start().await;
    let other = sim().await;
    let body = json!({ "name": "gpu-2", "url": other.url(), "auth": { "bearer": CANARY } });
    let answer = gateway.post("/backends", &body).await;
    assert_eq!((answer.status, &answer.json()["auth"]), (201, &json!({ "bearer": "***" })));
    let gateway = gateway.restart().await;
    assert_eq!(until_connected(&gateway, "gpu-2").await["auth"], json!({ "bearer": "***" }));
    for path in ["/backends", "/backends/gpu-2", "/ready", "/queue"] {
        let text = String::from_utf8(gateway.get(path).await.bytes).unwrap();
        assert!(!text.contains(CANARY), "{path}: {text}");
    }
    for here in ["env:COMFYGATE_ADMIN_KEY", "file:/etc/passwd"] {
        let body = json!({ "name": "gpu-3", "url": "http://gpu", "auth": { "bearer": here } });
        let refused = gateway.post("/backends", &body).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_backend"), "{here}");
    }
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn what_contradicts_the_backends_there_are_is_a_conflict() {
    let gateway = operated().start().await;
    let (inbox, other) = (Inbox::open(), sim().await);
    add(&gateway, "gpu-2", &other).await;
    let code = async |body: Value| {
        let answer = gateway.post("/backends", &body).await;
        (answer.status, answer.code())
    };
    assert_eq!(code(json!({ "name": "gpu-2", "url": "http://gpu" })).await, (409, "backend_exists".into()));
    assert_eq!(code(json!({ "name": "gpu-3", "url": other.url() })).await, (409, "backend_url_taken".into()));
    assert_eq!(code(json!({ "url": format!("{}/", gateway.sim.url()) })).await, (409, "backend_exists".into()));
    let own = format!("/backends/{}", encoded(&gateway.sim.url()));
    let refused = gateway.delete(&own).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "backend_is_configured"));
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/drain"), ("POST", "/resume")] {
        let answer = ask(&gateway, OPERATOR, method, &format!("/backends/nobody{path}"), &Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{method} {path}");
    }
    // One that goes and has not gone is held by a word.
    other.inject(Fault::Hang { at: "executing".into() });
    drain(&gateway, &gateway.sim.url()).await;
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    assert_eq!(gateway.delete("/backends/gpu-2").await.status, 202);
    resume(&gateway, "gpu-2").await;
    assert_eq!(fields(&view(&gateway, "gpu-2").await, "duty leaving"), json!(["serving", false]), "it stays after all");
    other.release();
    assert_eq!(inbox.next().await.prompt_id(), id);
    gateway.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn only_operators_see_and_change_backends() {
    let gateway = operated().start().await;
    let (_, key) = make(&gateway, "shop", &["submit", "read"]).await;
    let own = format!("/backends/{}", encoded(&gateway.sim.url()));
    let calls = [
        ("GET", "/backends".to_owned()),
        ("POST", "/backends".to_owned()),
        ("GET", own.clone()),
        ("DELETE", own.clone()),
        ("POST", format!("{own}/drain")),
        ("POST", format!("{own}/resume")),
        ("GET", "/queue".to_owned()),
        ("POST", "/queue/pause".to_owned()),
        ("POST", "/queue/resume".to_owned()),
    ];
    for (method, path) in &calls {
        let answer = ask(&gateway, &key, method, path, &Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "scope_missing"), "{method} {path}");
        let answer = ask(&gateway, "", method, path, &Value::Null).await;
        assert_eq!(answer.status, if *method == "GET" { 200 } else { 401 }, "{method} {path}");
    }
    let view = view(&gateway, &gateway.sim.url()).await;
    assert_eq!((&view["duty"], &gateway.get("/queue").await.json()["paused"]), (&json!("serving"), &json!(false)));
    gateway.close().await;
}

#[actix_web::test]
async fn nothing_is_left_of_backends_that_came_and_went() {
    let gateway = operated().start().await;
    let other = sim().await;
    let before = gateway.lifecycle.tasks();
    let inventory = gateway.settings.storage.folder.join("object_info");
    let shelves = || std::fs::read_dir(&inventory).unwrap().count();
    for time in 0..50 {
        add(&gateway, "gpu-2", &other).await;
        eventually("it is known what the backend has", async || (shelves() == 2).then_some(())).await;
        let now = if time % 2 == 0 { "?now=true" } else { "" };
        assert_eq!(gateway.delete(&format!("/backends/gpu-2{now}")).await.status, 202);
        until_gone(&gateway, "gpu-2").await;
    }
    let left = async || (gateway.lifecycle.tasks() == before && other.connections() == 0).then_some(());
    eventually("all of their tasks and sockets have ended", left).await;
    assert_eq!(shelves(), 1, "only its own simulator's");
    assert!(!gateway.lifecycle.has_failed());
    gateway.close().await;
    other.stop().await;
}

/// A gateway whose client shows the operator's key.
pub(crate) fn operated() -> Setup {
    let mut setup = Setup::new();
    setup.settings.access.admin_key = Some(Secret::new(OPERATOR));
    setup
}

pub(crate) async fn sim() -> Sim {
    Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap()
}

async fn add(gateway: &TestGateway, name: &str, sim: &Sim) {
    let answer = gateway.post("/backends", &json!({ "name": name, "url": sim.url() })).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    until_connected(gateway, name).await;
}

async fn drain(gateway: &TestGateway, name: &str) {
    let answer = gateway.post(&format!("/backends/{}/drain", encoded(name)), &json!({})).await;
    assert_eq!((answer.status, &answer.json()["duty"]), (200, &json!("draining")));
}

async fn resume(gateway: &TestGateway, name: &str) {
    let answer = gateway.post(&format!("/backends/{}/resume", encoded(name)), &json!({})).await;
    assert_eq!((answer.status, &answer.json()["duty"]), (200, &json!("serving")));
}

pub(crate) async fn view(gateway: &TestGateway, name: &str) -> Value {
    let answer = gateway.get(&format!("/backends/{}", encoded(name))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

pub(crate) async fn until_connected(gateway: &TestGateway, name: &str) -> Value {
    // What the command line says takes a moment to be taken in.
    let connected = async || {
        let answer = gateway.get(&format!("/backends/{}", encoded(name))).await;
        Some(answer.json()).filter(|view| answer.status == 200 && view["connected"] == json!(true))
    };
    eventually(&format!("{name} is connected"), connected).await
}

pub(crate) async fn until_gone(gateway: &TestGateway, name: &str) {
    let gone = async || (gateway.get(&format!("/backends/{name}")).await.status == 404).then_some(());
    eventually(&format!("{name} is gone"), gone).await;
}

/// How many tries the store counts for each job.
pub(crate) fn tries(gateway: &TestGateway) -> Vec<u32> {
    let database = rusqlite::Connection::open(gateway.settings.storage.folder.join("comfygate.db")).unwrap();
    let mut tries = database.prepare("SELECT tries FROM job ORDER BY row").unwrap();
    tries.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

pub(crate) fn fields(view: &Value, names: &str) -> Value {
    names.split(' ').map(|name| view[name].clone()).collect()
}

fn field(mistake: &Value) -> String {
    mistake["field"].as_str().unwrap().to_owned()
}

pub(crate) fn executions(sim: &Sim) -> usize {
    sim.executions().values().sum()
}

pub(crate) fn encoded(name: &str) -> String {
    name.replace(':', "%3A").replace('/', "%2F")
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
