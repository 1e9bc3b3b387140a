//! ComfyUI is killed in every state that a job can be in, and knows nothing when it is back. The job is run again, and
//! given up only when that happened as often as it may.

use crate::proxy::{At, Effect, On, Way};
use crate::support::{EVENTS, Inbox, Setup, TestGateway, as_time_goes_by, canvas, canvas_files, eventually, starter};
use comfygate::sim::{Fault, Sim, When};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const DOWN: Duration = Duration::from_millis(30);

#[actix_web::test]
async fn a_backend_that_is_killed_at_any_event_gets_the_job_again() {
    for at in EVENTS.into_iter().chain(["idle"]) {
        for request in [canvas, canvas_files, starter] {
            let gateway = TestGateway::start().await;
            let inbox = Inbox::open();
            gateway.sim.inject(Fault::Restart { at: Some(at.into()), forget: true, down_for: DOWN });
            let told = gateway.run_one(&inbox, &request(&inbox.url())).await;
            assert_eq!((&told.body["status"], told.images().len()), (&json!("success"), 1), "{at}: {}", told.body);
            gateway.close().await;
            assert!(inbox.rest().is_empty(), "{at}");
        }
    }
}

#[actix_web::test]
async fn a_backend_that_is_killed_at_the_same_event_of_every_run_is_given_up_after_the_last() {
    for (request, never) in [(canvas as fn(&str) -> Value, "executed"), (canvas_files, "image")] {
        for at in EVENTS.into_iter().filter(|at| *at != never) {
            let gateway = TestGateway::start().await;
            let inbox = Inbox::open();
            gateway.sim.inject_when(Fault::Restart { at: Some(at.into()), forget: true, down_for: DOWN }, When::Every);
            let told = gateway.run_one(&inbox, &request(&inbox.url())).await;
            assert_eq!((&told.body["status"], &told.body["code"]), (&json!("failure"), &json!("backend_lost")), "{at}");
            let executions = gateway.sim.executions();
            let runs: usize = executions.values().sum();
            assert_eq!(runs, gateway.settings.limits.max_runs as usize, "{at}: {executions:?}");
            assert_eq!(executions.len(), runs, "{at}: each run has a name of its own");
            gateway.sim.clear_faults();
            gateway.close().await;
            assert!(inbox.rest().is_empty(), "{at}");
        }
    }
}

#[actix_web::test]
async fn what_waited_behind_another_when_the_backend_died_is_not_to_blame() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::Hang { at: "executing".into() }, When::Every);
    let mut ids = Vec::new();
    for colour in 0..2 {
        ids.push(gateway.generate(&coloured(canvas_files(&inbox.url()), colour)).await);
    }
    // Which of them runs first after a restart is nobody's promise.
    let mut deaths: BTreeMap<String, u32> = BTreeMap::new();
    let told = loop {
        let both_are_there = |sim: &Sim| sim.queued() == 2 && sim.hanging() == 1;
        gateway.sim.wait_for(both_are_there).await.unwrap();
        let runs = async || {
            let states = [gateway.job(&ids[0]).await["status"].clone(), gateway.job(&ids[1]).await["status"].clone()];
            let running = states.iter().position(|status| status == "running")?;
            (states[1 - running] == "submitted").then(|| ids[running].clone())
        };
        let running = eventually("one runs and one waits", runs).await;
        *deaths.entry(running).or_default() += 1;
        gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: DOWN });
        if deaths.values().any(|count| *count == gateway.settings.limits.max_runs) {
            break inbox.next().await;
        }
    };
    assert_eq!(told.body["code"], "backend_lost", "{}", told.body);
    assert_eq!(deaths.get(told.prompt_id()), Some(&gateway.settings.limits.max_runs), "{deaths:?}");
    gateway.sim.clear_faults();
    gateway.sim.release();
    let other = inbox.next().await;
    assert_eq!(other.body["status"], "success", "{}", other.body);
    gateway.close().await;
}

#[actix_web::test]
async fn a_backend_that_is_killed_while_its_file_is_fetched_gives_it_afterwards() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let inbox = Inbox::open();
    proxy.arm(On::Call("GET /view"), At::Answer(300), Effect::Freeze(Way::ToClient));
    let id = gateway.generate(&canvas_files(&inbox.url())).await;
    proxy.until("the file is on its way", |proxy| proxy.struck() == 1).await;
    gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: DOWN });
    proxy.strike(&On::Any, Effect::Reset);
    let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!((told.prompt_id(), &told.body["status"]), (id.as_str(), &json!("success")), "{}", told.body);
    assert!(gateway.sim.images().iter().any(|image| image.bytes == told.images()[0]));
    assert_eq!(gateway.sim.executions(), BTreeMap::from([(id, 1)]));
    gateway.close().await;
}

#[actix_web::test]
async fn a_file_that_breaks_off_again_and_again_is_fetched_in_the_end_and_never_taken_in_half() {
    for (at, effect) in [
        (At::Answer(0), Effect::Reset),
        (At::Answer(40), Effect::Close),
        (At::Answer(300), Effect::Close),
        (At::Answer(300), Effect::Reset),
    ] {
        let (setup, clock) = Setup::with_manual_clock();
        let (gateway, proxy) = setup.start_behind_proxy().await;
        let inbox = Inbox::open();
        proxy.arm_times(4, On::Call("GET /view"), at, effect);
        let id = gateway.generate(&canvas_files(&inbox.url())).await;
        let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
        assert_eq!((told.prompt_id(), &told.body["status"]), (id.as_str(), &json!("success")), "{}", told.body);
        assert!(gateway.sim.images().iter().any(|image| image.bytes == told.images()[0]));
        assert_eq!((gateway.sim.executions(), proxy.struck()), (BTreeMap::from([(id, 1)]), 4));
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_backend_that_never_gives_its_files_is_given_up_after_the_last_run() {
    let (setup, clock) = Setup::with_manual_clock();
    let (gateway, proxy) = setup.start_behind_proxy().await;
    let inbox = Inbox::open();
    proxy.arm_every(On::Call("GET /view"), At::Answer(300), Effect::Close);
    gateway.generate(&canvas_files(&inbox.url())).await;
    let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!(told.body["code"], "backend_lost", "{}", told.body);
    assert_eq!(gateway.sim.executions().len(), gateway.settings.limits.max_runs as usize);
    gateway.close().await;
}

#[actix_web::test]
async fn a_restart_that_the_socket_does_not_show_is_found_by_asking() {
    for request in [canvas, canvas_files] {
        let (setup, clock) = Setup::with_manual_clock();
        let (gateway, proxy) = setup.start_behind_proxy().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Hang { at: "executing".into() });
        let id = gateway.generate(&request(&inbox.url())).await;
        gateway.until(&id, "running").await;
        // Nobody tells us that the old process is gone.
        proxy.strike(&On::WebSocket, Effect::Swallow(Way::Both));
        gateway.sim.inject(Fault::Restart { at: None, forget: true, down_for: DOWN });
        let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
        assert_eq!((told.prompt_id(), &told.body["status"]), (id.as_str(), &json!("success")), "{}", told.body);
        gateway.close().await;
        assert!(inbox.rest().is_empty());
    }
}

fn coloured(mut body: Value, colour: u32) -> Value {
    body["color"] = json!(colour);
    body
}
