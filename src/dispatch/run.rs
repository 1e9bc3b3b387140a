//! The task of dispatch: waits for work and room, has jobs claimed (`round`), lets the tracker watch, submits.

use super::ending::{end, end_overdue, internal};
use super::fitness::{Fitness, watch};
use super::outlook::Outlooks;
use super::partner::partner_key;
use super::plan::plan;
use super::room::Room;
use super::round::{claim_round, forget_gone};
use super::sending::{Ready, Sending};
use crate::clock::Clock;
use crate::crash::{self, Point};
use crate::inputs::Shelf;
use crate::inventory::Inventory;
use crate::job::{BodyRules, Failure, Job, JobId, Request, Tap};
use crate::lifecycle::{Lifecycle, Panicked};
use crate::pool::{Backend, Estimates, Pool};
use crate::store::{Claimed, FitnessStore, Revision, Store, StoreError, persist};
use crate::telemetry::job_span;
use crate::tracker::{Run, SubmitResult};
use crate::vault::Vault;
use crate::workflow::{Catalog, Pair, Source};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

/// How often the queue is looked at when nobody rings: a lost wake-up costs no more.
const POLL: Duration = Duration::from_secs(1);

/// How often jobs are looked for that are on a backend and that nobody follows.
const STRAY_POLL: Duration = Duration::from_secs(15);

/// How many revisions that are not in the catalogue any more are kept parsed.
const OLD_REVISIONS: usize = 64;

/// What dispatch works with.
pub struct Parts {
    /// Where jobs wait.
    pub store: Arc<dyn Store>,
    /// The workflows.
    pub catalog: Arc<Catalog>,
    /// The backends.
    pub pool: Arc<Pool>,
    /// What is known of graphs on them.
    pub fitness: Arc<Fitness>,
    /// What must survive of that.
    pub fitness_store: Arc<dyn FitnessStore>,
    /// What the backends have.
    pub inventory: Arc<Inventory>,
    /// How long a job that none of the backends can run waits for one that may join.
    pub wait_for_backends: Duration,
    /// How long runs take there.
    pub estimates: Arc<Estimates>,
    /// Who waits and what is on the backends; others may ask.
    pub outlooks: Arc<Outlooks>,
    /// Brings input images to them.
    pub shelf: Arc<Shelf>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Spawns the submissions.
    pub lifecycle: Lifecycle,
    /// Rung when a job was accepted or put back, or a backend has room.
    pub queue_bell: Arc<Notify>,
    /// Rung when a job ended and its delivery was created.
    pub delivery_bell: Arc<Notify>,
    /// Where prompt ids of later runs come from.
    pub random: fn() -> [u8; 16],
    /// How many runs a job may have.
    pub max_runs: u32,
    /// How many jobs of one tenant may be on backends at once; none for any number.
    pub per_tenant: Option<NonZeroUsize>,
    /// What final objects are written by.
    pub bodies: Arc<BodyRules>,
    /// Hears of the ends of jobs that end here.
    pub tap: Tap,
    /// The keys for partner nodes.
    pub vault: Arc<Vault>,
}

/// Runs dispatch until told to stop.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let parts = Arc::new(parts);
    parts.lifecycle.spawn_station("fitness", watch(Arc::clone(&parts), stop.clone()));
    let mut revisions = HashMap::new();
    let lifecycle = parts.lifecycle.clone();
    // At the start that is every run of an earlier life; afterwards it should be none.
    let _ = lifecycle.contain("recover", Box::pin(recover(&parts, &mut revisions))).await;
    let mut changes = parts.pool.changes();
    let mut there = parts.pool.names();
    let mut next_sweep = parts.clock.now();
    let mut next_look = next_sweep + STRAY_POLL;
    loop {
        if parts.clock.now() >= next_look {
            let _ = lifecycle.contain("recover", Box::pin(recover(&parts, &mut revisions))).await;
            if let Ok(Err(error)) = lifecycle.contain("forget", forget_gone(&parts)).await {
                warn!(%error, "it is not known who has gone from the queue");
            }
            next_look = parts.clock.now() + STRAY_POLL;
        }
        let now_there = parts.pool.names();
        if !there.is_subset(&now_there) {
            // What one that has gone had refused is forgotten, should another come under its name.
            parts.outlooks.hall().room.empty();
        }
        there = now_there;
        let claimed_any = tokio::select! {
            () = stop.cancelled() => return,
            any = lifecycle.contain("dispatch", fill(&parts, &mut revisions)) => any.unwrap_or_else(|Panicked| {
                // Who was on the way between memory and the store is found there.
                parts.outlooks.hall().room = Room::default();
                false
            }),
        };
        let now = parts.clock.now();
        let sweeps = now >= next_sweep;
        let is_more_overdue = sweeps && lifecycle.contain("overdue", end_overdue(&parts)).await.unwrap_or(false);
        if sweeps && !is_more_overdue {
            next_sweep = now + POLL;
        }
        if claimed_any || is_more_overdue {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = parts.queue_bell.notified() => {}
            // The pool lives as long as the parts.
            _ = changes.changed() => {}
            () = parts.clock.sleep_until(now + POLL) => {}
        }
    }
}

/// Has every run watched that nobody sees to: it is of an earlier life, or a fault has ended whoever saw to it.
async fn recover(parts: &Parts, revisions: &mut HashMap<String, Arc<Pair>>) {
    // Asked before the store: whoever lets go of a job in between has stored its end.
    let held: HashSet<JobId> = parts.pool.backends().iter().flat_map(|backend| backend.desk.held()).collect();
    let (clock, stop) = (parts.clock.as_ref(), parts.lifecycle.stop());
    let claimed = persist(clock, &stop, "the runs on the backends", || parts.store.on_backends()).await;
    for claimed in claimed.unwrap_or_default().into_iter().filter(|claimed| !held.contains(&claimed.job.id)) {
        let (job, number) = (claimed.job.clone(), claimed.run.number);
        let taken_up = parts.lifecycle.contain("recover", take_up(parts, claimed, revisions)).await;
        if taken_up == Err(Panicked) {
            end(parts, &job, Some(number), internal("the gateway failed while it took the run up again")).await;
        }
    }
}

/// Has a run watched again; where its backend is not known any more, its job is queued again.
async fn take_up(parts: &Parts, claimed: Claimed, revisions: &mut HashMap<String, Arc<Pair>>) {
    let (job, run) = (&claimed.job, &claimed.run);
    let Some(backend) = parts.pool.get(&run.backend) else {
        warn!(job.id = %job.id, backend = run.backend, "the run's backend is not configured any more");
        let write = || parts.store.requeue(job.id, run.number, true, parts.clock.now());
        crash::pass(Point::Requeuing);
        persist(parts.clock.as_ref(), &parts.lifecycle.stop(), "the requeue", write).await;
        crash::pass(Point::Requeued);
        return;
    };
    match rebuild(parts, job, revisions).await {
        Ok(ready) => {
            info!(job.id = %job.id, backend = run.backend, "taking up the run again");
            let now = parts.clock.now();
            // The wall clock may have gone back since.
            let watched =
                Run::recovered(plan(parts, &claimed, &ready.built), job.started_at.map(|at| at.min(now)), now);
            let (id, graph) = (claimed.job.id, claimed.job.request.structure.clone());
            backend.tracker.watch(watched, claimed.job).await;
            let seconds = parts.estimates.read().expected(&graph, &backend.name).unwrap_or_default().as_secs_f64();
            let on = (backend.name.as_str(), backend.desk.connection());
            parts.outlooks.hall().ledger.given(on, id, graph, seconds, now);
        }
        Err(failure) => {
            end(parts, job, Some(run.number), failure).await;
        }
    }
}

/// Gives waiting jobs to the backends that have room. Returns whether there may be more to do at once.
async fn fill(parts: &Parts, revisions: &mut HashMap<String, Arc<Pair>>) -> bool {
    let (given, is_any) = claim_round(parts).await;
    for (backend, claimed) in given {
        let span = job_span(claimed.job.id);
        launch_or_end(parts, &backend, claimed, revisions).instrument(span).await;
    }
    is_any
}

/// A claimed job is launched, or ends: nobody else would see to it.
async fn launch_or_end(parts: &Parts, backend: &Backend, claimed: Claimed, revisions: &mut HashMap<String, Arc<Pair>>) {
    let (job, run) = (claimed.job.clone(), claimed.run.clone());
    let launching = async {
        crash::pass(Point::Claimed);
        launch(parts, backend, claimed, revisions).await;
    };
    if parts.lifecycle.contain("launch", launching).await == Err(Panicked) {
        let failure = internal("the gateway failed before it submitted the job");
        end(parts, &job, Some(run.number), failure.clone()).await;
        // The tracker may watch it by now; nothing was sent.
        backend.tracker.submitted(run.prompt, SubmitResult::Refused(failure)).await;
    }
}

async fn launch(parts: &Parts, backend: &Backend, claimed: Claimed, revisions: &mut HashMap<String, Arc<Pair>>) {
    let ready = rebuild(parts, &claimed.job, revisions).await;
    let (ready, key) = match ready.and_then(|ready| Ok((ready, partner_key(&parts.vault, &claimed.job)?))) {
        Ok(both) => both,
        Err(failure) => {
            end(parts, &claimed.job, Some(claimed.run.number), failure).await;
            return;
        }
    };
    let request = &claimed.job.request;
    let (graph, now) = (&ready.built.graph, parts.clock.now());
    let which = (claimed.job.id, claimed.run.number);
    if !parts.fitness.admit(&request.structure, graph, &request.revision, &backend.name, which, now) {
        // Only now it is known what it needs, or another one finds out first whether such graphs run there again.
        return give_back(parts, which).await;
    }
    let structure = request.structure.clone();
    let watched = Run::about_to_submit(plan(parts, &claimed, &ready.built), parts.clock.now());
    let watched = watched.with_time_to_place(ready.time_to_place(&backend.client));
    let Claimed { job, run, .. } = claimed;
    let watching = backend.tracker.watch(watched, job).await;
    let tracker = backend.tracker.clone();
    let Some(watching) = watching else {
        if backend.stop.is_cancelled() {
            // It was taken away meanwhile, and nobody there sees to it any more.
            return give_back(parts, which).await;
        }
        let result = SubmitResult::Unreachable("the socket to it was lost".into());
        return tracker.submitted(run.prompt, result).await;
    };
    info!(backend = backend.name, prompt = %run.prompt, run = run.number, "submitting");
    let lifecycle = parts.lifecycle.clone();
    let sending = Sending::new(backend, watching, run.prompt.clone(), ready, key, &parts.shelf);
    let (fitness, clock, name) = (Arc::clone(&parts.fitness), Arc::clone(&parts.clock), backend.name.clone());
    let sending = sending.heeding(move |graph, refusal| {
        fitness.refused(&structure, graph, &name, refusal, clock.now());
    });
    let submission = async move {
        let answered = lifecycle.contain("submit", sending.send()).await;
        // It may have been sent or not: the backend is asked.
        let failed = |Panicked| SubmitResult::Failed("the gateway failed while it submitted it".into());
        tracker.submitted(run.prompt, answered.unwrap_or_else(failed)).await;
    };
    parts.lifecycle.spawn("submit", submission.in_current_span());
}

/// Puts a claimed job back that was not sent.
async fn give_back(parts: &Parts, (job, run): (JobId, u32)) {
    let write = || parts.store.requeue(job, run, false, parts.clock.now());
    crash::pass(Point::Requeuing);
    persist(parts.clock.as_ref(), &parts.lifecycle.stop(), "the requeue", write).await;
    crash::pass(Point::Requeued);
    parts.queue_bell.notify_one();
}

/// Builds a job's graph from the revision that it was checked against.
pub(super) async fn rebuild(
    parts: &Parts,
    job: &Job,
    revisions: &mut HashMap<String, Arc<Pair>>,
) -> Result<Ready, Failure> {
    let workflow = match revision(parts, job, revisions).await {
        Ok(Some(workflow)) => workflow,
        Ok(None) => {
            return Err(internal(&format!("the revision of workflow `{}` is not stored", job.request.workflow)));
        }
        Err(error) => return Err(internal(&format!("workflow `{}`: {error}", job.request.workflow))),
    };
    Ready::build(workflow, &job.request).map_err(|error| internal(&error.to_string()))
}

async fn revision(
    parts: &Parts,
    job: &Job,
    revisions: &mut HashMap<String, Arc<Pair>>,
) -> Result<Option<Arc<Pair>>, StoreError> {
    let current = parts.catalog.workflow(&job.request.workflow);
    if let Some(workflow) = current.filter(|workflow| workflow.revision() == job.request.revision) {
        return Ok(Some(workflow));
    }
    if let Some(workflow) = revisions.get(&job.request.revision) {
        return Ok(Some(Arc::clone(workflow)));
    }
    let Some(Revision { hash, name, config, template }) = parts.store.revision(&job.request.revision).await? else {
        return Ok(None);
    };
    let workflow = Pair::from_source(&Source { hash: hash.clone(), name, config, template })
        .map_err(|problems| StoreError::Damaged(format!("revision {hash}: {} problems", problems.len())))?;
    let workflow = Arc::new(workflow);
    if job.request.workflow == Request::GRAPH {
        // It is of this job alone.
        return Ok(Some(workflow));
    }
    if revisions.len() >= OLD_REVISIONS {
        revisions.clear();
    }
    revisions.insert(hash, Arc::clone(&workflow));
    Ok(Some(workflow))
}
