//! Takes jobs in: checks a submission against its workflow, stores the job, wakes dispatch. Also takes wishes to cancel.
//!
//! It knows nothing of HTTP: the API and the command line both come here.

mod submission;
mod variants;

pub use submission::{IntakeError, Submission};

use crate::clock::{Clock, Timestamp};
use crate::crash::{self, Point};
use crate::inputs::{Inputs, take_images};
use crate::job::{
    BodyRules, Happening, InputImages, Job, JobId, JobState, Limits, Milestone, Outcome, Params, Request,
    StructureHash, Tap, Tapped, freeze,
};
use crate::pool::Pool;
use crate::secret::Secret;
use crate::store::{CancelWish, Ending, IdempotencyKey, NewJob, Revision, Store, StoreError};
use crate::vault::{Full, Vault};
use crate::workflow::{Catalog, Pair, RawGraph, Resolved, Source, check, resolve, structure};
use serde_json::Map;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use variants::{Wish, placement};

/// A graph that came with a request, ready to be stored.
#[derive(Clone, Debug)]
pub struct DrawnGraph {
    pair: Pair,
    seeds: BTreeMap<String, u64>,
    now: Timestamp,
    id: JobId,
}

/// A submission that was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The job.
    pub id: JobId,
    /// It was taken in before, under the same idempotency key.
    pub is_repeat: bool,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancelled {
    /// There is no such job.
    Unknown,
    /// The job had ended already.
    AlreadyFinal(JobState),
    /// It was waiting and is cancelled now.
    Now,
    /// It is on a backend, which has been asked to stop it.
    Asked,
}

/// Takes jobs in.
pub struct Intake {
    /// Where jobs are kept.
    pub store: Arc<dyn Store>,
    /// The workflows.
    pub catalog: Arc<Catalog>,
    /// Takes in the images that jobs work on.
    pub inputs: Arc<Inputs>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Rung when a job was accepted.
    pub queue_bell: Arc<Notify>,
    /// Rung when a job ended here, and its delivery was created.
    pub delivery_bell: Arc<Notify>,
    /// The backends, whose trackers follow the runs.
    pub pool: Arc<Pool>,
    /// The workflow of requests that name none.
    pub default_workflow: String,
    /// The limits of requests and workflows that set none.
    pub limits: Limits,
    /// The longest limits that a request may set.
    pub most: Limits,
    /// The most runs that a request may wish for.
    pub max_runs: u32,
    /// What final objects are written by.
    pub bodies: Arc<BodyRules>,
    /// Where callers' keys for partner nodes are kept.
    pub vault: Arc<Vault>,
    /// The revisions that are known to be stored.
    pub kept_revisions: Mutex<HashSet<String>>,
    /// Where ids and seeds come from.
    pub random: fn(&mut [u8]),
    /// Hears of the ends of jobs that end here.
    pub tap: Tap,
}

impl Intake {
    /// Returns the job that was taken in under a key before. Asked before anything is checked: what was right then may
    /// be refused now, and the caller is owed the answer of then.
    pub async fn repeated(&self, key: &IdempotencyKey) -> Result<Option<JobId>, StoreError> {
        self.store.holder(key.clone(), self.clock.now()).await
    }

    /// Finds a workflow, the default one where none is named. A request asks once and is checked against what it got, so
    /// that files which change meanwhile do not meet it in two versions.
    pub fn workflow(&self, name: Option<&str>) -> Result<Arc<Pair>, IntakeError> {
        let name = name.unwrap_or(&self.default_workflow);
        let unknown = || IntakeError::UnknownWorkflow { name: name.to_owned(), known: self.known_names() };
        self.catalog.workflow(name).ok_or_else(unknown)
    }

    /// Checks a submission, stores it as a job, and wakes dispatch. The job is on disk when this answers.
    pub async fn accept(&self, workflow: &Pair, mut submission: Submission) -> Result<Accepted, IntakeError> {
        let others = std::mem::take(&mut submission.variants);
        let asked = if others.is_empty() { Map::new() } else { submission.params.clone() };
        let given = take_images(workflow, &mut submission.params, &submission.images).map_err(IntakeError::Params)?;
        let mut resolved = resolve(workflow, &submission.params, || self.draw_number()).map_err(IntakeError::Params)?;
        check(workflow, &resolved.params)?;
        resolved.params.retain(|name, _| !given.contains_key(name));
        let of_others = Wish { asked: &asked, images: &submission.images, given: &given, seed: resolved.seed };
        let variants = others.iter().map(|other| self.variant(other, &of_others));
        let variants = variants.collect::<Result<Vec<_>, _>>()?;
        // Held until the job is stored.
        let taken = self.inputs.take(&submission.tenant, given).await?;
        crash::pass(Point::Received);
        self.keep_revision(workflow).await?;
        for other in &others {
            self.keep_revision(other).await?;
        }
        let (now, id) = self.own_id(&submission);
        let (tenant, idempotency) = (submission.tenant.clone(), submission.idempotency.clone());
        let key = submission.partner_key.take();
        let structure = structure(workflow, &resolved.params)?;
        submission.placement = placement(workflow, &others, submission.placement);
        let request = self.request(workflow, structure, submission, resolved, taken.images.clone());
        let request = Request { variants, ..request };
        self.store(NewJob { id, tenant, request, created_at: now, idempotency, own_revision: None }, key).await
    }

    /// Makes a graph that came with a request what can be stored: its seeds drawn, its id settled. It may take a moment, and must
    /// not be called where others wait.
    pub fn draw(&self, mut graph: RawGraph, submission: &Submission) -> Result<DrawnGraph, IntakeError> {
        let seeds = graph.draw_seeds(|| self.draw_number());
        let (now, id) = self.own_id(submission);
        Ok(DrawnGraph { pair: graph.into_pair(&id.to_string())?, seeds, now, id })
    }

    /// Stores a graph that came with the request as a job; the graph is on disk with it.
    pub async fn accept_graph(&self, graph: DrawnGraph, mut submission: Submission) -> Result<Accepted, IntakeError> {
        let DrawnGraph { pair, seeds, now, id } = graph;
        crash::pass(Point::Received);
        let (tenant, idempotency) = (submission.tenant.clone(), submission.idempotency.clone());
        let key = submission.partner_key.take();
        let seed = seeds.values().next().copied().filter(|_| seeds.len() == 1);
        let resolved = Resolved { params: Params::new(), seed, expected_images: None };
        submission.placement = placement(&pair, &[], submission.placement);
        let structure = pair.structure().clone();
        let request = Request { seeds, ..self.request(&pair, structure, submission, resolved, InputImages::new()) };
        let own_revision = Some(revision(&pair));
        self.store(NewJob { id, tenant, request, created_at: now, idempotency, own_revision }, key).await
    }

    /// Returns the id that a job shall have, and when it is.
    fn own_id(&self, submission: &Submission) -> (Timestamp, JobId) {
        let now = self.clock.now();
        let mut random = [0; 10];
        (self.random)(&mut random);
        (now, submission.id.unwrap_or_else(|| JobId::new(now, random)))
    }

    /// Stores a job and wakes dispatch; its key for partner nodes is kept first, since dispatch may claim it at once.
    async fn store(&self, mut new: NewJob, key: Option<Secret>) -> Result<Accepted, IntakeError> {
        let (own, tenant, created_at) = (new.id, new.tenant.clone(), new.created_at);
        let ticket = self.put_aside(own, key)?;
        new.request.key_ticket = ticket;
        let workflow = new.request.workflow.clone();
        let accepted = self.store.accept(new).await;
        if let Some(ticket) = ticket.filter(|_| accepted.as_ref().ok() != Some(&own)) {
            self.vault.take_back(own, ticket);
        }
        let id = accepted?;
        crash::pass(Point::Accepted);
        if id == own {
            self.tap.count(Milestone::Accepted { workflow: workflow.as_str() });
            let what = Happening::Queued;
            self.tap.tell(|| Tapped { job: id, tenant, workflow, run: None, at: created_at, what });
        }
        self.queue_bell.notify_one();
        Ok(Accepted { id, is_repeat: id != own })
    }

    /// Cancels a job: at once where it waits, by asking its backend where it runs.
    pub async fn cancel(&self, id: JobId) -> Result<Cancelled, StoreError> {
        match self.store.wish_cancel(id).await? {
            CancelWish::Unknown => Ok(Cancelled::Unknown),
            CancelWish::AlreadyFinal(state) => Ok(Cancelled::AlreadyFinal(state)),
            CancelWish::Waiting(job) => self.end_waiting(&job).await,
            CancelWish::Running(job) => {
                let backend = job.run.as_ref().and_then(|run| self.pool.get(&run.backend));
                if let Some(backend) = backend {
                    backend.tracker.cancel(id).await;
                }
                Ok(Cancelled::Asked)
            }
        }
    }

    async fn end_waiting(&self, job: &Job) -> Result<Cancelled, StoreError> {
        let now = self.clock.now();
        let outcome = Outcome::Cancelled;
        let body = freeze(job, &outcome, now, &self.bodies);
        crash::pass(Point::Ending);
        let is_first =
            self.store.finish(Ending { job: job.id, run: None, outcome, body, profile: None, ended_at: now }).await?;
        crash::pass(Point::Ended);
        self.delivery_bell.notify_one();
        if is_first {
            self.vault.forget(job.id);
            self.tap.tell(|| Tapped::of(job, None, now, Happening::ended(&Outcome::Cancelled)));
            self.tap.count(Milestone::Ended { job, outcome: &Outcome::Cancelled });
        }
        Ok(Cancelled::Now)
    }

    fn request(
        &self,
        workflow: &Pair,
        structure: StructureHash,
        submission: Submission,
        resolved: Resolved,
        images: InputImages,
    ) -> Request {
        let limits = self.limits.with(workflow.timeouts()).with(&submission.timeouts).at_most(&self.most);
        Request {
            workflow: workflow.name().to_owned(),
            revision: workflow.revision().to_owned(),
            structure,
            placement: submission.placement,
            params: resolved.params,
            images,
            seed: resolved.seed,
            seeds: BTreeMap::new(),
            output_names: workflow.output_names().clone(),
            expected_images: resolved.expected_images,
            webhook_url: submission.webhook_url,
            webhook_events: submission.webhook_events,
            delivery: submission.delivery,
            strip_metadata: submission.strip_metadata,
            conversion: submission.conversion,
            metadata: submission.metadata,
            priority: submission.priority,
            max_runs: submission.max_runs,
            key_ticket: None,
            variants: Vec::new(),
            limits,
        }
    }

    /// Keeps a key until the job has ended, before the job is stored: dispatch may claim it at once. Returns its ticket.
    fn put_aside(&self, job: JobId, key: Option<Secret>) -> Result<Option<u64>, IntakeError> {
        let Some(key) = key else { return Ok(None) };
        let ticket = self.draw_number();
        self.vault.put(job, ticket, key).map_err(|Full| IntakeError::TooManyKeys)?;
        Ok(Some(ticket))
    }

    async fn keep_revision(&self, workflow: &Pair) -> Result<(), StoreError> {
        let is_kept = |kept: &HashSet<String>| kept.contains(workflow.revision());
        if is_kept(&self.kept_revisions.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        self.store.keep_revision(revision(workflow)).await?;
        let mut kept = self.kept_revisions.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(workflow.revision().to_owned());
        Ok(())
    }

    fn known_names(&self) -> Vec<String> {
        let mut names = self.catalog.names();
        names.extend(self.catalog.other_names().into_keys());
        names.sort_unstable();
        names
    }

    /// Draws a number by chance, such as a seed that a job would get.
    pub fn draw_number(&self) -> u64 {
        let mut bytes = [0; 8];
        (self.random)(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

fn revision(workflow: &Pair) -> Revision {
    let Source { hash, name, config, template } = workflow.source();
    Revision { hash, name, config, template }
}
