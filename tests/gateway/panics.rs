//! A panic anywhere on a job's journey ends that step and nothing else: the gateway and all other jobs go on, and the
//! job that was hit succeeds by another try or ends with the code `internal`.

use crate::support::{Inbox, Program, Setup, canvas, canvas_files, eventually};
use comfygate::clock::{ManualClock, Timestamp};
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const QUICK: (&str, &str) = ("COMFYGATE_WEBHOOK_SCHEDULE", "50ms,50ms,50ms,50ms,50ms");
const JOBS: usize = 11;

/// What became of the jobs of a gateway in which something panicked.
struct Seen {
    /// The answers that were not 202.
    refused: Vec<(u16, Value)>,
    /// The final objects, as they were told, by the job's id.
    told: BTreeMap<String, Value>,
    log: String,
}

impl Seen {
    /// The codes of the jobs that did not succeed.
    fn failed(&self) -> Vec<&str> {
        let failed = self.told.values().filter(|body| body["status"] != "success");
        failed.map(|body| body["code"].as_str().unwrap()).collect()
    }
}

#[actix_web::test]
async fn a_panic_in_a_handler_is_answered_500_and_the_next_request_is_served() {
    for (point, stored) in [("received", JOBS - 1), ("accepted", JOBS)] {
        let seen = with_fault(&format!("panic:{point}")).await;
        let [(status, body)] = seen.refused.as_slice() else { panic!("{point}: {:?}", seen.refused) };
        assert_eq!((*status, &body["code"]), (500, &json!("internal")), "{point}: {body}");
        assert_eq!((seen.told.len(), seen.failed()), (stored, vec![]), "{point}");
    }
    let seen = with_fault("panic:received:every").await;
    assert_eq!((seen.refused.len(), seen.told.len()), (JOBS, 0));
}

#[actix_web::test]
async fn a_panic_in_the_writer_undoes_that_write_and_the_writer_lives() {
    // The first two are made at the start, for secrets without which there would be no gateway.
    for nth in [3, 4, 5, 7, 11] {
        let seen = with_fault(&format!("panic:writing:{nth}")).await;
        assert!(seen.refused.iter().all(|(status, _)| *status == 503), "{nth}: {:?}", seen.refused);
        assert!(seen.refused.len() <= 1, "{nth}: {:?}", seen.refused);
        assert_eq!((seen.told.len(), seen.failed()), (JOBS - seen.refused.len(), vec![]), "{nth}");
    }
}

#[actix_web::test]
async fn a_panic_after_a_commit_takes_nothing_back() {
    for nth in [1, 2, 3, 5, 9] {
        let seen = with_fault(&format!("panic:written:{nth}")).await;
        assert_eq!((seen.refused.len(), seen.told.len(), seen.failed()), (0, JOBS, vec![]), "{nth}");
    }
}

#[actix_web::test]
async fn a_panic_in_the_launch_of_a_job_ends_that_job_and_dispatch_goes_on() {
    let seen = with_fault("panic:claimed:3").await;
    assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec!["internal"]));
    let seen = with_fault("panic:claimed:every").await;
    assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec!["internal"; JOBS]));
}

#[actix_web::test]
async fn a_panic_around_a_submission_is_settled_by_asking_the_backend() {
    for fault in ["panic:submitting:2", "panic:submitted:2", "panic:submitted:every"] {
        let seen = with_fault(fault).await;
        assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec![]), "{fault}");
    }
    let seen = with_fault("panic:submitting:every").await;
    assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec!["backend_lost"; JOBS]));
}

#[actix_web::test]
async fn a_panic_in_the_trackers_step_ends_that_job_as_internal_and_no_other() {
    for nth in [1, 4, 30] {
        let seen = with_fault(&format!("panic:stepping:{nth}")).await;
        assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec!["internal"]), "{nth}");
        assert!(seen.told.values().all(|body| body["error"].as_str().is_none_or(|text| text.lines().count() == 1)));
    }
    let seen = with_fault("panic:stepping:every").await;
    assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec!["internal"; JOBS]));
}

#[actix_web::test]
async fn a_panic_while_an_output_is_stored_is_mended_by_another_run_or_told() {
    for fault in ["panic:drafted:2", "panic:kept:2"] {
        let seen = with_fault(fault).await;
        assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec![]), "{fault}");
    }
    let seen = with_fault("panic:drafted:every").await;
    assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec!["internal"; JOBS]));
}

#[actix_web::test]
async fn a_panic_while_an_end_is_stored_costs_nothing_or_only_the_result() {
    for fault in ["panic:ending:2", "panic:halfway:4", "panic:ended:2", "panic:ended:every"] {
        let seen = with_fault(fault).await;
        assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec![]), "{fault}");
    }
    let seen = with_fault("panic:ending:every").await;
    assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec!["internal"; JOBS]));
}

#[actix_web::test]
async fn a_panic_while_a_job_is_put_back_costs_nothing_or_ends_that_job() {
    for fault in ["panic:requeuing", "panic:requeued", "panic:requeued:every"] {
        let seen = after_a_loss(fault).await;
        assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec![]), "{fault}");
    }
    let seen = after_a_loss("panic:requeuing:every").await;
    let failed = seen.failed();
    assert!(!failed.is_empty() && failed.iter().all(|code| *code == "internal"), "{failed:?}");
}

#[actix_web::test]
async fn a_panic_in_a_delivery_is_a_failed_attempt_and_the_next_one_tells() {
    for fault in ["panic:leased:3", "panic:answered:3", "panic:recorded:3", "panic:recorded:every"] {
        let seen = with_fault(fault).await;
        assert_eq!((seen.told.len(), seen.failed()), (JOBS, vec![]), "{fault}");
    }
    let seen = with_fault("panic:leased:every").await;
    assert_eq!(seen.told.len(), 0);
    assert_eq!(seen.log.matches("webhook undeliverable").count(), JOBS, "{}", seen.log);
}

#[actix_web::test]
async fn a_job_on_which_the_gateway_fails_after_each_start_does_not_keep_it_from_serving() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    sim.inject(Fault::Hang { at: "executing".into() });
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    let answer = program.post(&canvas_files(&inbox.url())).await.unwrap();
    assert_eq!(answer.status(), 202);
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    program.kill();
    let program = Program::serve_with_fault("panic:stepping:every", setup.folder.path(), &sim.url(), &[QUICK]).await;
    assert_eq!(inbox.next().await.body["code"], "internal");
    assert_eq!(program.get("/health").await.unwrap().0, 200);
    program.kill();
    sim.release();
    sim.stop().await;
}

#[actix_web::test]
async fn a_job_that_is_on_a_backend_and_that_nobody_follows_any_more_is_found() {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let setup = Setup { clock: Arc::<ManualClock>::clone(&clock), ..Setup::new() };
    let database = setup.settings.storage.folder.join("comfygate.db");
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    for color in 0..3 {
        let mut body = canvas_files(&inbox.url());
        body["color"] = json!(color);
        gateway.generate(&body).await;
    }
    gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
    // As a fault would leave it that strikes between the claim and whoever is to follow the run.
    let backend = gateway.get("/ready").await.json()["backends"][0]["name"].as_str().unwrap().to_owned();
    let changed = rusqlite::Connection::open(database).unwrap().execute(
        "UPDATE job SET state = 'submitted', run_number = 1, backend = ?1, prompt_id = 'lost' WHERE state = 'queued'",
        [backend],
    );
    assert_eq!(changed.unwrap(), 1);
    gateway.sim.release();
    for _ in 0..3 {
        let webhook = eventually("it is found and told", async || {
            clock.advance(Duration::from_secs(1));
            inbox.try_next()
        });
        assert_eq!(webhook.await.body["status"], "success");
    }
    gateway.close().await;
}

/// Runs jobs through a gateway with a fault, until all have ended and were told or given up.
async fn with_fault(fault: &str) -> Seen {
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    run(fault, sim).await
}

/// The same with a backend that forgets a job once.
async fn after_a_loss(fault: &str) -> Seen {
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let at = Some("execution_success".to_owned());
    sim.inject(Fault::Restart { at, forget: true, down_for: Duration::from_millis(50) });
    run(fault, sim).await
}

async fn run(fault: &str, sim: Sim) -> Seen {
    let setup = Setup::new();
    let inbox = Inbox::open();
    let program = Program::serve_with_fault(fault, setup.folder.path(), &sim.url(), &[QUICK]).await;
    eventually("it is ready", async || program.get("/ready").await.filter(|(status, _)| *status == 200)).await;
    let mut refused = Vec::new();
    let mut taken_in = BTreeSet::new();
    for number in 0..JOBS {
        let request = if number.is_multiple_of(2) { canvas } else { canvas_files };
        let mut body = request(&inbox.url());
        body["color"] = json!(number * 1000 + 77);
        let answer = program.post(&body).await.unwrap_or_else(|| panic!("{fault}: no answer to a request"));
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        if status == 202 {
            taken_in.insert(body["prompt_id"].as_str().unwrap().to_owned());
        } else {
            refused.push((status, body));
        }
    }
    program.until_idle().await;
    let log = program.log();
    assert!(log.contains("panicked"), "{fault}: nothing panicked: {log}");
    assert_eq!(program.get("/health").await.unwrap().0, 200, "{fault}");

    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    for webhook in inbox.rest() {
        let id = webhook.prompt_id().to_owned();
        let (_, job) = program.get(&format!("/jobs/{id}")).await.unwrap();
        assert_eq!(job, webhook.body, "{fault}: what is told is what is stored");
        let first = told.entry(id).or_insert_with(|| webhook.body.clone());
        assert_eq!(*first, webhook.body, "{fault}: a job has one end");
    }
    if !log.contains("webhook undeliverable") {
        let untold: Vec<_> = taken_in.iter().filter(|id| !told.contains_key(*id)).collect();
        assert!(untold.is_empty(), "{fault}: taken in and never told: {untold:?}");
    }
    program.terminate();
    assert!(program.ended().await.success(), "{fault}: a contained panic is no failure of the whole");
    sim.stop().await;
    Seen { refused, told, log }
}
