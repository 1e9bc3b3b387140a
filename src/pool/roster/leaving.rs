//! How a backend goes: its tasks end, what it still runs is stopped there and waits again, and then nobody knows of it any more.

use super::{Parts, Roster};
use crate::job::PromptId;
use crate::pool::{Backend, BackendEvent};
use crate::store::{Claimed, Leaving, StoreError, persist};
use crate::tracker::stop_all;
use futures_util::future::join_all;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::warn;

/// How long the tasks of a backend may take to end; those that take longer end by their own limits.
const TO_END: Duration = Duration::from_secs(5);

/// How long stopping what it runs may take.
const TO_STOP: Duration = Duration::from_secs(10);

/// How much of its queue limit a job must have left to wait again without a new one.
const SPARE: Duration = Duration::from_mins(5);

/// Says that a backend is just going, until it is gone or could not be let go.
struct Going {
    roster: Arc<Roster>,
    name: String,
}

impl Drop for Going {
    fn drop(&mut self) {
        self.roster.going.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Roster {
    /// Says whether a backend is just going.
    pub(super) fn is_going(&self, name: &str) -> bool {
        self.going.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Begins to let a backend go that gets no more jobs, where it may.
    pub(super) async fn let_go(self: &Arc<Self>, backend: &Arc<Backend>, how: Leaving) -> Result<(), StoreError> {
        if self.is_going(&backend.name) {
            return Ok(());
        }
        let may_go = match how {
            Leaving::Now => true,
            Leaving::Drained => {
                let is_quiet = backend.desk.load() == 0 && backend.desk.held().is_empty();
                is_quiet && self.parts.store.runs_on(&backend.name).await? == 0
            }
        };
        if may_go {
            let name = backend.name.clone();
            self.going.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
            let (going, backend) = (Going { roster: Arc::clone(self), name }, Arc::clone(backend));
            self.parts.lifecycle.spawn("leaving", async move { Arc::clone(&going.roster).end(going, &backend).await });
        }
        Ok(())
    }

    /// Forgets what else is known of a backend.
    pub(super) async fn forget(&self, name: &str) {
        let (forget, name) = (Arc::clone(&self.parts.forget), name.to_owned());
        // A panic in there is told by the runtime, and what stays is replaced when the name is used again.
        let _ = tokio::task::spawn_blocking(move || forget(&name)).await;
    }

    /// Has the job of a run wait again.
    pub(super) async fn requeue(&self, claimed: &Claimed) -> Result<bool, StoreError> {
        let (job, now) = (&claimed.job, self.parts.clock.now());
        // A try that counts gives a job its queue limit anew, which it needs where that is over, or nearly.
        let counts = job.created_at + job.request.limits.queue < now + SPARE;
        self.parts.jobs.requeue(job.id, claimed.run.number, counts, now).await
    }

    async fn end(&self, going: Going, backend: &Backend) {
        let Parts { pool, store, clock, .. } = &self.parts;
        let (stop, name) = (self.parts.lifecycle.stop(), &backend.name);
        // First, so that nobody takes what is stopped now for a run that has failed.
        backend.stop.cancel();
        if tokio::time::timeout(TO_END, backend.life.end()).await.is_err() {
            warn!(backend = name, tasks = backend.life.tasks(), "not all that is done for the backend ended in time");
        }
        let clock = clock.as_ref();
        // It is in the pool until its jobs wait again, so that nobody takes its runs for lost.
        if self.give_up_runs(backend).await.is_none() {
            return;
        }
        // Nobody comes or goes meanwhile: who has its name next must not lose what is forgotten here.
        let forgotten = persist(clock, &stop, "the backend's removal", || async {
            let turn = self.turn.lock().await;
            store.forget_backend(name).await.map(|()| turn)
        });
        let Some(turn) = forgotten.await else { return };
        self.forget(name).await;
        drop(going);
        pool.remove(name);
        self.tell(name, BackendEvent::Removed);
        drop(turn);
    }

    /// Stops what a backend still runs, and has the jobs wait again. Returns none where that is not stored.
    async fn give_up_runs(&self, backend: &Backend) -> Option<()> {
        let Parts { jobs, clock, .. } = &self.parts;
        let (clock, stop, name) = (clock.as_ref(), self.parts.lifecycle.stop(), &backend.name);
        let mut runs = persist(clock, &stop, "the runs on the backends", || jobs.on_backends()).await?;
        runs.retain(|claimed| claimed.run.backend == *name);
        if runs.is_empty() {
            return Some(());
        }
        let prompts: Vec<PromptId> = runs.iter().map(|claimed| claimed.run.prompt.clone()).collect();
        let stopping = stop_all(&backend.client, &prompts, clock, TO_STOP);
        let stopped = tokio::time::timeout(TO_STOP * 2, stopping).await;
        if let Err(reason) = stopped.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
            warn!(backend = name, reason, "it is not sure that what the backend runs was stopped");
        }
        let again = |claimed| persist(clock, &stop, "a job that waits again", move || self.requeue(claimed));
        let wait_again = runs.iter().map(again);
        let stored = join_all(wait_again).await;
        warn!(backend = name, runs = runs.len(), "the backend's runs were given up, and their jobs wait again");
        self.parts.queue_bell.notify_one();
        stored.iter().all(Option::is_some).then_some(())
    }
}
