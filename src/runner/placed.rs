//! The orders that were taken and may still be on a server. When the command ends they are stopped there, each by its own id,
//! as far as that can be done in a few seconds.

use super::error::{ExecutionError, RunError};
use super::executor::End;
use crate::app::Server;
use crate::clock::Clock;
use crate::job::{FailureCode, JobId, PromptId};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long it may take to stop them.
const LIMIT: Duration = Duration::from_secs(5);

/// What lies between two looks at a server.
const PAUSE: Duration = Duration::from_millis(200);

/// The orders, and the names that servers know them by.
#[derive(Debug, Default)]
pub(super) struct Placed {
    prompts: Mutex<BTreeMap<JobId, BTreeSet<String>>>,
}

impl Placed {
    /// Notes an order before it is taken.
    pub(super) fn add(&self, job: JobId) {
        self.lock().entry(job).or_default().insert(PromptId::first(job).0);
    }

    /// Notes another name of an order that was added.
    pub(super) fn also(&self, job: JobId, prompt: PromptId) {
        if let Some(prompts) = self.lock().get_mut(&job) {
            prompts.insert(prompt.0);
        }
    }

    /// Forgets an order that is surely not on a server any more, by how it ended.
    pub(super) fn ended(&self, job: JobId, end: &End) {
        let is_gone = match end {
            End::Succeeded => true,
            End::Failed(RunError::Execution(ExecutionError { failure, .. })) => *failure == FailureCode::NodeError,
            End::Failed(error) => matches!(error, RunError::Submission(_)),
            End::Cancelled => false,
        };
        if is_gone {
            self.forget(job);
        }
    }

    /// Forgets an order that was not taken.
    pub(super) fn forget(&self, job: JobId) {
        self.lock().remove(&job);
    }

    /// Returns the orders that may still be somewhere.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        self.lock().keys().copied().collect()
    }

    /// Looks for them on the servers, and stops those that are there.
    pub(super) async fn take_back(&self, servers: &[Server], clock: &dyn Clock) {
        let ours: BTreeSet<String> = self.lock().values().flatten().cloned().collect();
        if ours.is_empty() {
            return;
        }
        let until = clock.now() + LIMIT;
        tokio::select! {
            _ = join_all(servers.iter().map(|server| clear(server, &ours, clock))) => {}
            () = clock.sleep_until(until) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, BTreeSet<String>>> {
        self.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when none of the prompts is there.
async fn clear(server: &Server, ours: &BTreeSet<String>, clock: &dyn Clock) {
    loop {
        if let Ok(queue) = server.client.queue().await {
            // What waits first: it would begin as soon as what runs has been stopped.
            let there: Vec<&String> =
                queue.pending.iter().chain(&queue.running).filter(|prompt| ours.contains(*prompt)).collect();
            if there.is_empty() {
                return;
            }
            for prompt in there {
                // Success says nothing: it is looked for again.
                let _ = server.client.delete_pending(prompt).await;
                let _ = server.client.interrupt(prompt).await;
            }
        }
        clock.sleep_until(clock.now() + PAUSE).await;
    }
}
