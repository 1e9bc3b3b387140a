//! How a backend is, in whichever way it goes wrong: its socket alone, its HTTP alone, both, for a moment or from the start. Jobs
//! go on once it is back, and each change is told once.

use crate::proxy::{At, Effect, On};
use crate::support::{Inbox, Setup, TestGateway, as_time_goes_by, canvas, canvas_files, eventually};
use comfygate::clock::{Clock, ManualClock};
use comfygate::pool::{BackendEvent, BackendTap};
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[actix_web::test]
async fn a_backend_whose_socket_stands_and_whose_http_is_dead_gets_no_prompt_until_it_answers() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let (inbox, url) = (Inbox::open(), proxy.url());
    let told = until_up(&gateway, &clock, &url).await;
    proxy.arm_every(On::Http, At::Request(0), Effect::Close);
    let is_down = async || Some(health(&gateway, &url).await).filter(|health| health["state"] == "down");
    let down = as_time_goes_by(&clock, "it is down", is_down).await;
    assert_eq!((&down["socket"]["state"], &down["queue"]["remaining"]), (&json!("connected"), &Value::Null), "{down}");
    let reason = down["reason"].as_str().unwrap();
    assert!(reason.starts_with("its socket stands, but 3 questions had no answer"), "{reason}");
    let ready = gateway.get("/ready").await;
    assert_eq!((ready.status, &ready.json()["backends"][0]["connected"]), (503, &json!(true)));
    assert_eq!(ready.json()["backends"][0]["error"], down["reason"]);
    let metrics = String::from_utf8(gateway.get("/metrics").await.bytes).unwrap();
    let up: Vec<&str> = metrics.lines().filter(|line| line.starts_with("comfygate_backend_up{")).collect();
    assert!(matches!(up[..], [up] if up.ends_with(" 0.0")), "{up:?}");

    gateway.generate(&canvas(&inbox.url())).await;
    let then = clock.now() + Duration::from_mins(1);
    as_time_goes_by(&clock, "a minute is over", async || (clock.now() >= then).then_some(())).await;
    assert_eq!(proxy.count("POST /prompt"), 0, "a prompt was sent to a backend that does not answer");
    proxy.heal();
    let webhook = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    assert_eq!(proxy.client_ids().len(), 1, "its socket stood all the time");
    assert_eq!(gateway.get("/ready").await.status, 200);
    assert_eq!(words(&told), ["backend_lost", "backend_connected"]);
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_answers_over_http_and_has_no_socket_is_told_apart() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let url = proxy.url();
    let told = until_up(&gateway, &clock, &url).await;
    proxy.arm_every(On::WebSocket, At::Request(0), Effect::Close);
    assert_eq!(proxy.strike(&On::WebSocket, Effect::Reset), 1);
    let is_told_apart = async || {
        let health = health(&gateway, &url).await;
        let is_silent = health["state"] == "silent" && health["socket"]["failed_tries"].as_u64().unwrap() > 3;
        (is_silent && health["reason"].as_str().unwrap().starts_with("it answers, but it has no socket"))
            .then_some(health)
    };
    let silent = as_time_goes_by(&clock, "it is silent", is_told_apart).await;
    assert_eq!(
        (&silent["http"]["misses"], &silent["socket"]["state"]),
        (&json!(0), &json!("disconnected")),
        "{silent}"
    );
    proxy.heal();
    let is_up = async || Some(health(&gateway, &url).await).filter(|health| health["state"] == "up");
    let up = as_time_goes_by(&clock, "it is up", is_up).await;
    assert_eq!((&up["socket"]["connections"], &up["reason"]), (&json!(2), &Value::Null), "{up}");
    assert_eq!(words(&told), ["backend_lost", "backend_connected"]);
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_ends_by_asking_while_its_backend_has_no_socket() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let (inbox, url) = (Inbox::open(), proxy.url());
    until_up(&gateway, &clock, &url).await;
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas_files(&inbox.url())).await;
    gateway.until(&id, "running").await;
    proxy.arm_every(On::WebSocket, At::Request(0), Effect::Close);
    proxy.strike(&On::WebSocket, Effect::Reset);
    gateway.sim.release();
    let webhook = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!((&webhook.body["status"], webhook.images().len()), (&json!("success"), 1), "{}", webhook.body);
    let health = health(&gateway, &url).await;
    assert_eq!((&health["socket"]["connections"], &health["state"]), (&json!(1), &json!("silent")), "{health}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_restarts_three_times_is_back_three_times_and_loses_no_job() {
    let mut sim = Sim::start(SimOptions::default()).await.unwrap();
    let (address, url) = (sim.addr(), sim.url());
    let mut setup = Setup::new();
    setup.settings.backends.addresses = vec![url.parse().unwrap()];
    let gateway = setup.start_alone().await;
    let inbox = Inbox::open();
    gateway.until_ready().await;
    let told = listen(&gateway);
    for round in 0..3 {
        assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success", "{round}");
        sim.stop().await;
        let is_gone = async || Some(health(&gateway, &url).await).filter(|it| it["socket"]["state"] == "disconnected");
        let gone = eventually("it is gone", is_gone).await;
        assert_eq!(gone["socket"]["connections"], round + 1, "{gone}");
        let waits = gateway.generate(&canvas(&inbox.url())).await;
        sim = start_at(address).await;
        let webhook = inbox.next().await;
        assert_eq!((webhook.prompt_id(), &webhook.body["status"]), (waits.as_str(), &json!("success")));
    }
    let is_back = async || (health(&gateway, &url).await["socket"]["connections"] == 4).then_some(());
    eventually("it is back", is_back).await;
    eventually("each change is told once", async || {
        (words(&told) == ["backend_lost", "backend_connected"].repeat(3)).then_some(())
    })
    .await;
    gateway.close().await;
    sim.stop().await;
}

#[actix_web::test]
async fn a_backend_that_is_away_at_the_start_joins_after_more_than_ten_tries() {
    let nobody = Sim::start(SimOptions::default()).await.unwrap();
    let (address, url) = (nobody.addr(), nobody.url());
    nobody.stop().await;
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.backends.addresses = vec![url.parse().unwrap()];
    let gateway = setup.start_alone().await;
    let (inbox, told) = (Inbox::open(), listen(&gateway));
    gateway.generate(&canvas(&inbox.url())).await;
    let mut states = Vec::new();
    let has_tried = async || {
        let health = health(&gateway, &url).await;
        states.push(health["state"].as_str().unwrap().to_owned());
        (health["socket"]["failed_tries"].as_u64().unwrap() > 10 && health["state"] == "down").then_some(health)
    };
    let down = as_time_goes_by(&clock, "it has tried often", has_tried).await;
    states.dedup();
    assert!(
        states.ends_with(&["down".to_owned()]) && states.iter().all(|it| it == "connecting" || it == "down"),
        "{states:?}"
    );
    assert_eq!(
        (&down["socket"]["state"], &down["socket"]["connections"]),
        (&json!("disconnected"), &json!(0)),
        "{down}"
    );
    let sim = start_at(address).await;
    let webhook = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    let up = health(&gateway, &url).await;
    assert_eq!((&up["state"], &up["socket"]["state"]), (&json!("up"), &json!("connected")), "{up}");
    let told = words(&told);
    assert!(told == ["backend_lost", "backend_connected"] || told == ["backend_connected"], "{told:?}");
    gateway.close().await;
    sim.stop().await;
}

#[actix_web::test]
async fn a_backend_is_asked_twice_a_minute_and_what_it_is_every_two() {
    let (setup, clock) = Setup::with_manual_clock();
    let gateway = setup.start().await;
    let url = gateway.sim.url();
    until_up(&gateway, &clock, &url).await;
    let count = |path: &str| gateway.sim.requests().iter().filter(|it| it.method == "GET" && it.path == path).count();
    let (pulses, stats) = (count("/prompt"), count("/system_stats"));
    let then = clock.now() + Duration::from_mins(6);
    as_time_goes_by(&clock, "six minutes are over", async || (clock.now() >= then).then_some(())).await;
    let (pulses, stats) = (count("/prompt") - pulses, count("/system_stats") - stats);
    assert!(
        (9..=12).contains(&pulses) && (2..=3).contains(&stats),
        "asked {pulses} times, and {stats} times what it is"
    );
    let view = health(&gateway, &url).await;
    assert_eq!(view["system"]["comfyui"], "0.3.64");
    assert_eq!(
        view["gpu"],
        json!({"name": "cpu", "type": "cpu", "vram_total_mb": 24105, "vram_free_mb": 23015}),
        "{view}"
    );
    gateway.close().await;
}

#[actix_web::test]
async fn what_others_have_in_the_queue_of_a_backend_is_known() {
    let mut setup = Setup::new();
    setup.settings.backends.health_every = Duration::from_millis(50);
    let gateway = setup.start().await;
    let (inbox, url) = (Inbox::open(), gateway.sim.url());
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let id = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&id, "running").await;
    for stranger in ["one", "two"] {
        submit_as(&gateway.sim, stranger).await;
    }
    let is_known =
        async || Some(health(&gateway, &url).await).filter(|it| it["queue"] == json!({"remaining": 3, "foreign": 2}));
    eventually("they are counted", is_known).await;
    assert_eq!(gateway.pool.get(&url).unwrap().health.foreign(), 2);
    gateway.sim.release();
    let is_over =
        async || Some(health(&gateway, &url).await).filter(|it| it["queue"] == json!({"remaining": 0, "foreign": 0}));
    eventually("they are gone", is_over).await;
    gateway.close().await;
}

/// What is told of backends from now on.
fn listen(gateway: &TestGateway) -> Arc<Mutex<Vec<BackendEvent>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    gateway.pool.listen(BackendTap::new(move |news| heard.lock().unwrap().push(news.event.clone())));
    told
}

fn words(told: &Mutex<Vec<BackendEvent>>) -> Vec<&'static str> {
    // The first connection may be told a moment after it is seen.
    let told = told.lock().unwrap();
    let before = told.iter().take_while(|event| **event == BackendEvent::Connected).count();
    let skipped = if before == told.len() { 0 } else { before };
    told.iter().skip(skipped).map(BackendEvent::as_str).collect()
}

/// Waits until a backend has answered and its socket stands; returns what is told from then on.
async fn until_up(gateway: &TestGateway, clock: &ManualClock, url: &str) -> Arc<Mutex<Vec<BackendEvent>>> {
    let is_up = async || {
        let health = health(gateway, url).await;
        (health["state"] == "up" && health["system"] != Value::Null).then_some(())
    };
    as_time_goes_by(clock, "the backend is up", is_up).await;
    listen(gateway)
}

async fn health(gateway: &TestGateway, url: &str) -> Value {
    let answer = gateway.get(&format!("/backends/{}/health", crate::backends_passed::encoded(url))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

#[actix_web::test]
async fn how_a_backend_is_stands_in_its_entry() {
    let gateway = Setup::new().start().await;
    let url = gateway.sim.url();
    let is_up = async || {
        let entry = gateway.get(&format!("/backends/{}", crate::backends_passed::encoded(&url))).await.json();
        (entry["health"]["system"]["comfyui"] == "0.3.64").then_some(entry)
    };
    let entry = eventually("it has told what it is", is_up).await;
    assert_eq!((&entry["health"]["state"], &entry["health"]["socket"]["state"]), (&json!("up"), &json!("connected")));
    gateway.close().await;
}

/// Starts a server where there was one a moment ago.
async fn start_at(addr: SocketAddr) -> Sim {
    let options = SimOptions { addr, ..SimOptions::default() };
    eventually("its place is free", async || Sim::start(options.clone()).await.ok()).await
}

async fn submit_as(sim: &Sim, prompt: &str) {
    let graph = json!({"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 5}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}});
    let body = json!({"prompt": graph, "prompt_id": prompt, "client_id": "a stranger"});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{}/prompt", sim.url())).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}
