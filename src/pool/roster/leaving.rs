//! How a backend goes: its tasks end, what it still runs is stopped there and waits again, and then nobody knows of it any more.

use super::{Parts, Roster};
use crate::job::PromptId;
use crate::pool::{Backend, BackendEvent};
use crate::store::{Leaving, StoreError, persist};
use crate::tracker::stop_all;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::warn;

/// How long the tasks of a backend may take to end; those that take longer end by their own limits.
const TO_END: Duration = Duration::from_secs(5);

/// How long stopping what it runs may take.
const TO_STOP: Duration = Duration::from_secs(10);

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
                is_quiet && self.parts.store.runs_on(&backend.name).await?.is_empty()
            }
        };
        if may_go {
            let name = backend.name.clone();
            self.going.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
            let (going, backend) = (Going { roster: Arc::clone(self), name }, Arc::clone(backend));
            self.parts.lifecycle.spawn("leaving", async move { going.roster.end(&backend).await });
        }
        Ok(())
    }

    async fn end(&self, backend: &Backend) {
        let Parts { pool, store, clock, forget, .. } = &self.parts;
        let (stop, name) = (self.parts.lifecycle.stop(), &backend.name);
        // First, so that nobody takes what is stopped now for a run that has failed.
        backend.stop.cancel();
        if tokio::time::timeout(TO_END, backend.life.end()).await.is_err() {
            warn!(backend = name, tasks = backend.life.tasks(), "not all that is done for the backend ended in time");
        }
        let clock = clock.as_ref();
        let Some(runs) = persist(clock, &stop, "its runs", || store.runs_on(name)).await else { return };
        if !runs.is_empty() {
            let prompts: Vec<PromptId> = runs.into_iter().map(|run| run.prompt).collect();
            let stopping = stop_all(&backend.client, &prompts, clock, TO_STOP);
            let stopped = tokio::time::timeout(TO_STOP * 2, stopping).await;
            if let Err(reason) = stopped.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
                warn!(backend = name, reason, "it is not sure that what the backend runs was stopped");
            }
        }
        // Until now it was in the pool, so that nobody took its runs for lost.
        let taken = persist(clock, &stop, "runs that wait again", || store.take_back(name, clock.now())).await;
        let forgotten = persist(clock, &stop, "the backend's removal", || store.forget_backend(name)).await;
        if let (Some(taken), Some(())) = (taken, forgotten) {
            if taken > 0 {
                warn!(backend = name, taken, "the backend's runs were given up, and their jobs wait again");
            }
            pool.remove(name);
            let (forget, gone) = (Arc::clone(forget), name.clone());
            // A panic in there is told by the runtime, and what stays is replaced when the name is used again.
            let _ = tokio::task::spawn_blocking(move || forget(&gone)).await;
            self.tell(backend, BackendEvent::Removed);
        }
    }
}
