//! Somebody else uses the same ComfyUI and deletes, interrupts or clears what is ours: no job is lost over it, and what
//! cannot be mended is told.

use crate::proxy::{Effect, On, Way};
use crate::support::{Inbox, Setup, TestGateway, as_time_goes_by, canvas, canvas_files};
use comfygate::clock::ManualClock;
use comfygate::sim::{Fault, Sim, When};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

#[actix_web::test]
async fn a_prompt_that_is_deleted_from_the_queue_is_run_again() {
    for clears in [false, true] {
        let (gateway, clock) = start().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Hang { at: "executing".into() });
        let first = gateway.generate(&coloured(canvas(&inbox.url()), 1)).await;
        gateway.until(&first, "running").await;
        let second = gateway.generate(&coloured(canvas_files(&inbox.url()), 2)).await;
        gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
        gateway.until(&second, "submitted").await;
        let order = if clears { json!({ "clear": true }) } else { json!({ "delete": [second] }) };
        as_somebody_else(&gateway.sim, "queue", &order).await;
        assert_eq!(gateway.sim.queued(), 1);
        let again = async || (gateway.sim.queued() == 2).then_some(());
        as_time_goes_by(&clock, "it is submitted again", again).await;
        gateway.sim.release();
        let mut ended = BTreeSet::new();
        while ended.len() < 2 {
            let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
            assert_eq!(told.body["status"], "success", "{}", told.body);
            ended.insert(told.prompt_id().to_owned());
        }
        assert_eq!(ended, BTreeSet::from([first, second]));
        let executions = gateway.sim.executions();
        assert_eq!((executions.len(), executions.values().sum::<usize>()), (2, 2), "{executions:?}");
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_prompt_that_is_deleted_each_time_is_given_up_after_the_last_run() {
    let (gateway, clock) = start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(Fault::DeleteFromQueue, When::Every);
    gateway.generate(&canvas(&inbox.url())).await;
    let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
    assert_eq!(told.body["code"], "backend_lost", "{}", told.body);
    assert!(told.body["error"].as_str().unwrap().contains("somebody deleted it"), "{}", told.body);
    assert_eq!(gateway.sim.executions().len(), 0);
    gateway.close().await;
}

#[actix_web::test]
async fn a_history_entry_that_is_deleted_costs_nothing_while_the_socket_hears_and_a_run_where_it_does_not() {
    for (request, is_deaf, runs) in
        [(canvas as fn(&str) -> Value, false, 1), (canvas_files, false, 1), (canvas, true, 2), (canvas_files, true, 2)]
    {
        let (setup, clock) = Setup::with_manual_clock();
        let (gateway, proxy) = setup.start_behind_proxy().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Hang { at: "executing".into() });
        let id = gateway.generate(&request(&inbox.url())).await;
        gateway.until(&id, "running").await;
        if is_deaf {
            proxy.strike(&On::WebSocket, Effect::Swallow(Way::Both));
        } else {
            // Its files come only when the entry is gone.
            proxy.strike(&On::Http, Effect::Reset);
            proxy.refuse().await;
        }
        gateway.sim.release();
        gateway.sim.wait_for(|sim| sim.remembers(&id)).await.unwrap();
        as_somebody_else(&gateway.sim, "history", &json!({ "clear": true })).await;
        assert!(!gateway.sim.remembers(&id));
        proxy.accept().await;
        let told = as_time_goes_by(&clock, "the job is told", async || inbox.try_next()).await;
        assert_eq!((told.prompt_id(), &told.body["status"]), (id.as_str(), &json!("success")), "{}", told.body);
        let executions = gateway.sim.executions();
        assert_eq!(executions.values().sum::<usize>(), runs, "deaf: {is_deaf}, {executions:?}");
        gateway.close().await;
        assert!(inbox.rest().is_empty());
    }
}

#[actix_web::test]
async fn an_interrupt_of_somebody_else_is_told_as_one_and_the_next_job_runs() {
    for is_global in [true, false] {
        let (gateway, clock) = start().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::Hang { at: "executing".into() });
        let first = gateway.generate(&coloured(canvas_files(&inbox.url()), 1)).await;
        let second = gateway.generate(&coloured(canvas_files(&inbox.url()), 2)).await;
        gateway.until(&first, "running").await;
        gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
        let order = if is_global { json!({}) } else { json!({ "prompt_id": first }) };
        as_somebody_else(&gateway.sim, "interrupt", &order).await;
        gateway.sim.release();
        let told = as_time_goes_by(&clock, "the first is told", async || inbox.try_next()).await;
        assert_eq!((told.prompt_id(), &told.body["code"]), (first.as_str(), &json!("interrupted")), "{}", told.body);
        let told = as_time_goes_by(&clock, "the second is told", async || inbox.try_next()).await;
        assert_eq!((told.prompt_id(), &told.body["status"]), (second.as_str(), &json!("success")), "{}", told.body);
        gateway.close().await;
    }
}

async fn start() -> (TestGateway, Arc<ManualClock>) {
    let (setup, clock) = Setup::with_manual_clock();
    (setup.start().await, clock)
}

/// Tells ComfyUI something past the gateway, as its web page does.
async fn as_somebody_else(sim: &Sim, path: &str, order: &Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(format!("{}/{path}", sim.url())).body(order.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

fn coloured(mut body: Value, colour: u32) -> Value {
    body["color"] = json!(colour);
    body
}
