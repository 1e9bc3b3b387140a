//! The tap: everything that happens to jobs is heard there, although no receiver wants to be told.

use crate::support::{Setup, eventually};
use comfygate::app::Works;
use comfygate::clock::SystemClock;
use comfygate::intake::Submission;
use comfygate::job::{Happening, JobId, JobState, Outcome, Tap, Tapped};
use comfygate::sim::{Fault, Sim};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// The stations alone, and what was heard of them.
async fn begin(sim: &Sim, setup: &Setup) -> (Works, Arc<Mutex<Vec<Tapped>>>) {
    let heard: Arc<Mutex<Vec<Tapped>>> = Arc::default();
    let ear = Arc::clone(&heard);
    let mut settings = setup.settings.clone();
    settings.backends.addresses = vec![sim.url().parse().unwrap()];
    settings.backends.queue = 1;
    let tap = Tap::new(move |tapped| ear.lock().unwrap().push(tapped));
    (Works::begin(&settings, SystemClock::start(), tap, None).await.unwrap(), heard)
}

async fn submit(works: &Works) -> JobId {
    let params = json!({ "prompt": "x", "width": 64, "height": 64 }).as_object().unwrap().clone();
    let pair = works.intake.workflow(Some("canvas")).unwrap();
    works.intake.accept(&pair, Submission { params, ..Submission::default() }).await.unwrap().id
}

fn of(heard: &Mutex<Vec<Tapped>>, job: JobId) -> Vec<Tapped> {
    heard.lock().unwrap().iter().filter(|tapped| tapped.job == job).cloned().collect()
}

async fn until_ended(heard: &Mutex<Vec<Tapped>>, job: JobId) -> Vec<Tapped> {
    let ended = || of(heard, job).last().is_some_and(|tapped| matches!(tapped.what, Happening::Ended { .. }));
    eventually("the end is heard", || std::future::ready(ended().then_some(()))).await;
    of(heard, job)
}

#[actix_web::test]
async fn every_step_of_a_job_is_heard_without_any_webhook() {
    let setup = Setup::new();
    let sim = Sim::start(setup.sim.clone()).await.unwrap();
    let (works, heard) = begin(&sim, &setup).await;
    let job = submit(&works).await;
    let told = until_ended(&heard, job).await;
    let has = |is_it: fn(&Happening) -> bool| told.iter().position(|tapped| is_it(&tapped.what));
    assert!(
        has(|it| matches!(it, Happening::Submitted { prompt, backend } if !prompt.0.is_empty() && !backend.is_empty()))
            .is_some()
    );
    let started = has(|it| *it == Happening::Started).unwrap();
    let cached = has(|it| matches!(it, Happening::Cached(_))).unwrap();
    let at_node = has(|it| matches!(it, Happening::Progress { advance, .. } if advance.node.is_some())).unwrap();
    let output = has(|it| matches!(it, Happening::Output { output, .. } if output.node_id == "3")).unwrap();
    assert!(started < cached && cached < at_node && at_node < output, "{told:?}");
    assert_eq!(told.last().unwrap().what, Happening::ended(&Outcome::Succeeded(Vec::new())));
    let (taken_in, ran): (Vec<_>, Vec<_>) = told.iter().partition(|tapped| tapped.what == Happening::Queued);
    assert!(taken_in.len() == 1 && taken_in[0].run.is_none() && ran.iter().all(|tapped| tapped.run == Some(1)));
    assert_eq!(
        works.store.job(job).await.unwrap().unwrap().state,
        JobState::Succeeded,
        "the end is told once it is stored"
    );
    works.end().await;
    sim.stop().await;
}

#[actix_web::test]
async fn ends_without_a_run_and_further_runs_are_heard_too() {
    let setup = Setup::new();
    let sim = Sim::start(setup.sim.clone()).await.unwrap();
    let (works, heard) = begin(&sim, &setup).await;
    sim.inject(Fault::Hang { at: "execution_start".into() });
    let first = submit(&works).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let waiting = submit(&works).await;
    works.intake.cancel(waiting).await.unwrap();
    let told = until_ended(&heard, waiting).await;
    assert_eq!(
        told.iter().map(|tapped| (tapped.run, tapped.what.clone())).collect::<Vec<_>>(),
        [(None, Happening::Queued), (None, Happening::ended(&Outcome::Cancelled))]
    );
    sim.release();
    until_ended(&heard, first).await;

    sim.inject(Fault::LoseFrames);
    let again = submit(&works).await;
    let told = until_ended(&heard, again).await;
    let again = told.iter().find(|tapped| matches!(tapped.what, Happening::Again { .. })).unwrap();
    assert_eq!((again.run, told.last().unwrap().run), (Some(1), Some(2)), "{told:?}");
    works.end().await;
    sim.stop().await;
}
