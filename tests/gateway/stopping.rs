//! The program asked to stop: what it refuses, what it ends, what it leaves for the next start, and how to make it hurry.

use crate::support::{Inbox, PATIENCE, Program, Setup, Webhook, canvas, canvas_files, eventually};
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

#[actix_web::test]
async fn what_runs_on_a_backend_goes_on_while_nobody_is_there_and_is_taken_up_without_a_second_run() {
    let (setup, sim, inbox) = (Setup::new(), quick_sim().await, Inbox::open());
    let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    sim.inject(Fault::Hang { at: "executing".into() });
    let mut ids =
        [taken_in(&program, &canvas_files(&inbox.url())).await, taken_in(&program, &canvas_files(&inbox.url())).await];
    ids.sort();
    // Both are on the backend; which of them it takes first is its business.
    for status in ["running", "submitted"] {
        eventually(&format!("one is {status}"), async || {
            let (_, listed) = program.get(&format!("/jobs?status={status}")).await?;
            (listed["jobs"].as_array()?.len() == 1 && sim.queued() == 2).then_some(())
        })
        .await;
    }
    program.terminate();
    assert_eq!(program.ended().await.code(), Some(0));
    sim.release();
    sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    assert!(inbox.rest().is_empty());

    let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    let mut told = [inbox.next().await, inbox.next().await];
    told.sort_by_key(|webhook| webhook.prompt_id().to_owned());
    assert_eq!(told.each_ref().map(Webhook::prompt_id), ids.each_ref());
    assert!(told.iter().all(|webhook| webhook.body["status"] == "success"), "{told:?}");
    program.until_idle().await;
    assert_eq!(sim.executions().values().sum::<usize>(), 2, "{:?}", sim.executions());
    assert!(inbox.rest().is_empty());
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn a_stop_gives_leases_back_and_counts_no_attempt_that_it_broke_off() {
    let (setup, sim) = (Setup::new(), quick_sim().await);
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let settings = [("COMFYGATE_SHUTDOWN_GRACE", "3s"), ("COMFYGATE_WEBHOOK_PER_HOST", "1")];
    let program = Program::serve(setup.folder.path(), &sim.url(), &settings).await;
    for _ in 0..3 {
        taken_in(&program, &canvas(&url)).await;
    }
    // One is under way, and the others wait for its place, all of them leased.
    let held = under_way(&receiver).await;
    let database = setup.folder.path().join("data/comfygate.db");
    eventually("all are leased", async || {
        (rows(&database).iter().filter(|(leased, ..)| *leased).count() == 3).then_some(())
    })
    .await;
    program.terminate();
    eventually("it is not ready", async || program.get("/ready").await.filter(|(status, _)| *status == 503)).await;
    let (_, ready) = program.get("/ready").await.unwrap();
    assert_eq!(ready["draining"], true);
    let refused = program.post(&canvas(&url)).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (503, true));
    assert_eq!(program.ended().await.code(), Some(0));
    assert_eq!(rows(&database), vec![(false, "pending".to_owned(), 0, 0); 3]);
    drop(held);
    sim.stop().await;
}

#[actix_web::test]
async fn a_replay_is_taken_in_while_the_gateway_stops_and_done_at_the_next_start() {
    let (setup, sim, inbox) = (Setup::new(), quick_sim().await, Inbox::open());
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let program = Program::serve(setup.folder.path(), &sim.url(), &[("COMFYGATE_SHUTDOWN_GRACE", "4s")]).await;
    let id = taken_in(&program, &canvas(&inbox.url())).await;
    let first = inbox.next().await;
    taken_in(&program, &canvas(&url)).await;
    let held = under_way(&receiver).await;
    eventually("the first has arrived", async || {
        let (_, log) = program.get(&format!("/jobs/{id}/deliveries")).await?;
        (log["deliveries"][0]["state"] == "delivered").then_some(())
    })
    .await;
    program.terminate();
    eventually("it is not ready", async || program.get("/ready").await.filter(|(status, _)| *status == 503)).await;
    let path = format!("/jobs/{id}/deliveries/{}/replay", first.id);
    assert_eq!(program.post_to(&path, &Value::Null).await.unwrap().status(), 202);
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(inbox.rest().is_empty(), "nothing is begun while it stops");
    drop(held);
    let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    let again = inbox.next().await;
    assert_eq!((&again.id, &again.raw, again.attempt.as_str()), (&first.id, &first.raw, "2"));
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn a_second_signal_ends_it_at_once_and_nothing_is_lost() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (setup, sim) = (Setup::new(), quick_sim().await);
        let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = receiver.local_addr().unwrap();
        let endless = [("COMFYGATE_SHUTDOWN_GRACE", "10m"), ("COMFYGATE_WEBHOOK_TIMEOUT", "10m")];
        let program = Program::serve(setup.folder.path(), &sim.url(), &endless).await;
        let id = taken_in(&program, &canvas(&format!("http://{address}/hook"))).await;
        let held = under_way(&receiver).await;
        program.signal("TERM");
        eventually("it stops", async || program.get("/ready").await.filter(|(status, _)| *status == 503)).await;
        program.signal(signal);
        assert_eq!(program.ended().await.code(), Some(code), "{signal}");
        drop((held, receiver));

        let inbox = Inbox::open_at(address);
        let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
        let webhook = inbox.next().await;
        assert_eq!((webhook.prompt_id(), webhook.attempt.as_str()), (id.as_str(), "1"));
        program.kill();
        sim.stop().await;
    }
}

async fn quick_sim() -> Sim {
    Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap()
}

/// Posts a request that must be taken in; returns its id.
async fn taken_in(program: &Program, body: &Value) -> String {
    let answer = program.post(body).await.unwrap();
    assert_eq!(answer.status(), 202);
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    answer["prompt_id"].as_str().unwrap().to_owned()
}

/// Waits for a webhook and lets it wait.
async fn under_way(receiver: &TcpListener) -> TcpStream {
    let (stream, _) = tokio::time::timeout(PATIENCE, receiver.accept()).await.unwrap().unwrap();
    stream.readable().await.unwrap();
    stream
}

/// What the database says of every delivery: leased or not, its state, its attempts, and how many of them are logged.
fn rows(database: &Path) -> Vec<(bool, String, u32, u32)> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(database, flags).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT lease_until > 0, state, attempts, (SELECT count(*) FROM attempt WHERE attempt.job = delivery.job)
             FROM delivery ORDER BY job",
        )
        .unwrap();
    let found = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    found.map(Result::unwrap).collect()
}
