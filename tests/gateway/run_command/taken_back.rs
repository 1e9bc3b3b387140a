//! What becomes of orders that have not ended when whoever gave them goes: the executor for ComfyUI as a library has it.

use super::desk::Desk;
use crate::support::PATIENCE;
use comfygate::graph::Graph;
use comfygate::runner::{ComfyExecutor, Context, Executor, Found, News, Plan, Subject, Ticket, Wishes};
use comfygate::settings::Settings;
use comfygate::sim::{Fault, SimOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// An executor for the simulator, to which three long orders were given: one runs, the others wait.
async fn busy(desk: &Desk) -> (ComfyExecutor, Vec<Ticket>) {
    let mut settings = Settings::default();
    settings.backends.addresses = vec![desk.sim.url().parse().unwrap()];
    let (patience, stop, tell) = (Duration::from_secs(10), CancellationToken::new(), Arc::new(|_: &str| {}));
    let executor = ComfyExecutor::start(Context { settings, patience, stop, tell }).await.unwrap();
    executor.prepare().await.unwrap();
    let text = std::fs::read_to_string(desk.path("templates/starter.json")).unwrap();
    let mut graph = Graph::parse(&text).unwrap();
    graph.set("3", "steps", json!(1000)).unwrap();
    let subject = Subject::Graph { name: "long".into(), graph };
    let wishes = Wishes { repeats: Some(3), ..Wishes::default() };
    let plan = Plan::new(subject, wishes, comfygate::definitions::Definitions::default(), || 7).unwrap();
    let mut tickets = Vec::new();
    for place in 0..3 {
        tickets.push(executor.submit(&plan.order(place, &|_| Found::NoPath).unwrap()).await.unwrap());
    }
    desk.sim.wait_for(|sim| sim.executions().len() == 1 && sim.queued() == 2).await.unwrap();
    (executor, tickets)
}

async fn slow_desk() -> Desk {
    Desk::with(SimOptions { step: Duration::from_millis(100), ..SimOptions::default() }).await
}

#[actix_web::test]
async fn orders_that_have_not_ended_are_stopped_on_their_server_and_nobody_elses() {
    let desk = slow_desk().await;
    let (executor, _) = busy(&desk).await;
    let graph: Value = serde_json::from_slice(&std::fs::read(desk.path("templates/canvas.json")).unwrap()).unwrap();
    desk.post_as_another(&graph).await;
    executor.close().await;
    desk.sim.wait_for(|sim| sim.remembers("of-another") && sim.queued() == 0).await.unwrap();
    let begun = desk.sim.executions();
    assert_eq!((begun["of-another"], begun.len()), (1, 2), "what waited was never begun: {begun:?}");
    desk.close().await;
}

#[actix_web::test]
async fn a_server_that_comes_back_while_the_command_ends_is_not_left_with_its_orders() {
    let desk = slow_desk().await;
    let (executor, _) = busy(&desk).await;
    desk.sim.inject(Fault::Restart { at: None, forget: false, down_for: Duration::from_secs(1) });
    executor.close().await;
    desk.sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    let ended: Vec<String> = desk.sim.executions().into_keys().collect();
    assert!(ended.len() <= 1, "what waited was never begun: {ended:?}");
    desk.close().await;
}

#[actix_web::test]
async fn a_run_that_is_cancelled_does_not_shorten_the_patience_of_the_others() {
    let desk = slow_desk().await;
    let (executor, tickets) = busy(&desk).await;
    executor.cancel(&tickets[2]).await.unwrap();
    // A cancelled run waits three seconds for its server.
    desk.sim.inject(Fault::Restart { at: None, forget: true, down_for: Duration::from_secs(5) });
    let again = async {
        loop {
            let news = executor.poll(&tickets[0]).await.expect("it waits for its server");
            if news.iter().any(|news| matches!(news, News::Again { .. })) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it is tried again");
    executor.close().await;
    desk.close().await;
}
