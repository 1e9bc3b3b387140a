//! Runs of the workflow in memory: each is a job with a graph of its own, stored, dispatched and tracked like any other. Whoever
//! waits for one may go away, and the run does not.

use super::end::{End, end, lost};
use super::session::Sessions;
use super::waiting::{Waited, await_end};
use super::{How, Remote, RemoteError};
use crate::graph::Graph;
use crate::intake::{Cancelled, DrawnGraph, IntakeError, Submission};
use crate::job::{Job, JobId, Placement, Tenant};
use crate::store::StoreError;
use crate::workflow::{Pair, RawGraph};
use futures_util::future::join_all;
use serde_json::{Map, json};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::warn;

/// A run that is about to be taken in.
#[derive(Debug)]
pub struct Begun {
    tenant: Tenant,
    id: JobId,
    workflow: Arc<Pair>,
    graph: Graph,
}

/// What became of a run that was waited for.
#[derive(Clone, PartialEq, Debug)]
pub enum Awaited {
    /// It has ended.
    Ended(Box<End>),
    /// It goes on, though it should have ended long ago.
    TooLong(Duration),
    /// It goes on, and the gateway stops.
    Stopping,
}

/// What became of the wish to stop everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interrupted {
    /// The runs that were on a backend, which was asked to stop them.
    pub running: Vec<JobId>,
    /// The runs that waited, and will not run.
    pub waiting: Vec<JobId>,
}

/// A run on its way.
pub struct Launched {
    accepted: oneshot::Receiver<Result<(), RemoteError>>,
    end: oneshot::Receiver<Result<Awaited, RemoteError>>,
}

impl Launched {
    /// Waits until the job is on disk.
    pub async fn accepted(&mut self) -> Result<(), RemoteError> {
        (&mut self.accepted).await.unwrap_or(Err(RemoteError::Lost))
    }

    /// Waits until the job has ended. Who drops this stops waiting, and nothing else.
    pub async fn end(self) -> Result<Awaited, RemoteError> {
        self.end.await.unwrap_or(Err(RemoteError::Lost))
    }
}

impl Begun {
    /// Returns the id that the job will have.
    pub fn id(&self) -> JobId {
        self.id
    }
}

impl Remote {
    /// Takes a copy of a tenant's workflow as it is now, to be run.
    pub fn begin(&self, tenant: &Tenant) -> Result<Begun, RemoteError> {
        let mut random = [0; 10];
        (self.parts.intake.random)(&mut random);
        let id = JobId::new(self.parts.clock.now(), random);
        self.with(tenant, |session| {
            let (workflow, graph) = (Arc::clone(&session.workflow), session.graph.clone());
            Begun { tenant: tenant.clone(), id, workflow, graph }
        })
    }

    /// Makes the graph what can be stored. It may take a moment, and must not be called where others wait.
    pub fn draw(&self, begun: &Begun, submission: &Submission) -> Result<DrawnGraph, IntakeError> {
        let definitions = self.parts.intake.catalog.definitions();
        let mut graph = RawGraph::of(begun.graph.clone(), &definitions)?;
        for node in begun.workflow.outputs().into_iter().flatten() {
            let name = begun.workflow.output_names().get(node).map_or(node.as_str(), String::as_str);
            graph.declare(name, node)?;
        }
        self.parts.intake.draw(graph, submission)
    }

    /// Returns what is submitted besides the graph: what the workflow wishes of a backend, and its limits.
    pub fn submission(&self, begun: &Begun) -> Submission {
        let tags = begun.workflow.required_tags().iter().cloned().collect();
        Submission {
            tenant: begun.tenant.clone(),
            id: Some(begun.id),
            metadata: Some(json!({ "runner": begun.workflow.name() })),
            placement: Placement { tags, ..Placement::default() },
            timeouts: *begun.workflow.timeouts(),
            ..Submission::default()
        }
    }

    /// Takes a run in and follows it to its end, whoever waits for that.
    pub fn launch(self: &Arc<Self>, begun: &Begun, graph: DrawnGraph, submission: Submission) -> Launched {
        let (own, tenant, id) = (Arc::clone(self), begun.tenant.clone(), begun.id);
        let (tell_accepted, accepted) = oneshot::channel();
        let (tell_end, end) = oneshot::channel();
        self.parts.lifecycle.spawn("remote run", async move {
            let taken_in = own.accept(&tenant, id, graph, submission).await;
            let is_taken_in = taken_in.is_ok();
            // Who asked may have gone, here and below: the run goes on.
            let _ = tell_accepted.send(taken_in);
            if is_taken_in {
                let parts = &own.parts;
                let (store, clock) = (parts.store.as_ref(), parts.clock.as_ref());
                let (stop, max_runs) = (parts.lifecycle.stop(), parts.intake.max_runs);
                let waited = await_end(store, &parts.relay, clock, &stop, id, max_runs).await;
                let _ = tell_end.send(own.told(id, waited).await);
            }
            own.lock().end_run(&tenant, id);
        });
        Launched { accepted, end }
    }

    /// Stops what runs and what waits of a tenant's workflow, and nothing else. What it was changed to stays.
    pub async fn interrupt(&self, tenant: &Tenant) -> Result<Interrupted, StoreError> {
        let runs = self.lock().take_runs(tenant);
        let wishes = runs.iter().map(async |run| (*run, self.parts.intake.cancel(*run).await));
        let mut interrupted = Interrupted::default();
        let mut trouble = None;
        for (run, wished) in join_all(wishes).await {
            match wished {
                Ok(Cancelled::Asked) => interrupted.running.push(run),
                // One that is not stored yet is cancelled by whoever stores it.
                Ok(Cancelled::Now | Cancelled::Unknown) => interrupted.waiting.push(run),
                Ok(Cancelled::AlreadyFinal(_)) => {}
                Err(error) => {
                    warn!(job.id = %run, %error, "a run of the remote control could not be cancelled");
                    trouble = Some(error);
                }
            }
        }
        trouble.map_or(Ok(interrupted), Err)
    }

    /// Stores the job. Where it was interrupted meanwhile, it is cancelled at once.
    async fn accept(
        &self,
        tenant: &Tenant,
        id: JobId,
        graph: DrawnGraph,
        submission: Submission,
    ) -> Result<(), RemoteError> {
        // Noted first, so that no interrupt misses it.
        self.with(tenant, |session| session.begin_run(id))?.map_err(|_| RemoteError::Busy)?;
        self.parts.intake.accept_graph(graph, submission).await?;
        let is_wanted = self.lock().has_run(tenant, id);
        if !is_wanted {
            self.parts.intake.cancel(id).await.map_err(IntakeError::Store)?;
        }
        Ok(())
    }

    async fn told(&self, id: JobId, waited: Waited) -> Result<Awaited, RemoteError> {
        match waited {
            Waited::Ended(job) => Ok(Awaited::Ended(Box::new(self.end_of(&job).await.map_err(IntakeError::Store)?))),
            Waited::TooLong(limit) => Ok(Awaited::TooLong(limit)),
            Waited::Stopping => Ok(Awaited::Stopping),
            Waited::Gone => Err(IntakeError::Store(StoreError::Damaged(format!("job {id} is gone"))).into()),
        }
    }

    async fn end_of(&self, job: &Job) -> Result<End, StoreError> {
        let Some(finished) = self.parts.store.finished(job.id).await? else {
            let failure = lost(job);
            let told =
                [("STATUS", "failure".to_owned()), ("prompt_id", job.id.to_string()), ("error", failure.message)];
            let mut told: Map<_, _> = told.into_iter().map(|(name, text)| (name.to_owned(), json!(text))).collect();
            told.insert("code".into(), json!(failure.code));
            return Ok(End { how: How::Failed(failure.code.fault(), false), told });
        };
        let backend = job.run.as_ref().and_then(|run| self.parts.pool.get(&run.backend));
        let client = backend.as_ref().map(|backend| &backend.client);
        Ok(end(job, &finished, client, &self.parts.bodies, self.parts.clock.now()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
