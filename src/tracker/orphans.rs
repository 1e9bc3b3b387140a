//! Prompts that were given up and may still be on their backend: stopped there by their own ids, as soon and as often as
//! it takes. Which runs are given up is decided by the machine.

use super::desk::Desk;
use super::limits::{LET_GO_LIMIT, ORPHAN_LINGER, ORPHAN_PATIENCE, ORPHAN_POLL};
use super::upstream::stop_upstream;
use crate::clock::{Clock, Timestamp};
use crate::comfy::{Client, ClientError};
use crate::job::{JobId, JobState, PromptId};
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How many are remembered; a backend holds few of our prompts at once.
const REMEMBERED: usize = 1024;

/// How many prompts of a queue are asked about: it may be full of other people's.
const ASKED: usize = 1024;

/// What is to be stopped on one backend.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    list: Mutex<List>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct List {
    prompts: BTreeMap<PromptId, Orphan>,
    /// A connection was made: what an earlier life of the gateway left behind may be there.
    is_new_connection: bool,
}

#[derive(Clone, Copy, Debug)]
struct Orphan {
    since: Timestamp,
    /// Until then it is looked for although it is not there.
    until: Timestamp,
}

/// What the orphans of a backend are found and stopped with.
pub(super) struct Tools {
    pub(super) client: Client,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    /// Where it is noted that the backend does not let go of a prompt.
    pub(super) desk: Arc<Desk>,
    /// Rung when it has let go of one after all.
    pub(super) queue_bell: Arc<Notify>,
}

impl Orphans {
    /// Has a prompt stopped that nobody waits for any more.
    pub(super) fn add(&self, prompt: PromptId, now: Timestamp) {
        let mut list = self.lock();
        if list.prompts.len() < REMEMBERED {
            let until = now + ORPHAN_LINGER;
            list.prompts.entry(prompt).or_insert(Orphan { since: now, until }).until = until;
        }
        drop(list);
        self.bell.notify_one();
    }

    /// Has the backend's queue looked at, since it can be reached.
    pub(super) fn connected(&self) {
        self.lock().is_new_connection = true;
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops orphans until told to stop.
pub(super) async fn run(orphans: Arc<Orphans>, tools: Tools, stop: CancellationToken) {
    loop {
        let is_idle = {
            let list = orphans.lock();
            list.prompts.is_empty() && !list.is_new_connection
        };
        if is_idle {
            tokio::select! {
                () = stop.cancelled() => return,
                () = orphans.bell.notified() => {}
            }
        }
        let pause = match tools.sweep(&orphans).await {
            Ok(()) => ORPHAN_POLL,
            Err(error) => {
                debug!(%error, "what was given up cannot be looked for");
                ORPHAN_PATIENCE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = orphans.bell.notified() => {}
            () = tools.clock.sleep_until(tools.clock.now() + pause) => {}
        }
    }
}

impl Tools {
    /// Looks once into the queue and stops what is there and should not be.
    async fn sweep(&self, orphans: &Orphans) -> Result<(), ClientError> {
        let queue = self.client.queue().await?;
        let present = || queue.running.iter().chain(&queue.pending);
        if std::mem::take(&mut orphans.lock().is_new_connection) {
            for prompt in present().take(ASKED) {
                if self.was_given_up(prompt).await {
                    orphans.add(PromptId(prompt.clone()), self.clock.now());
                }
            }
        }
        let listed: Vec<(PromptId, Orphan)> =
            orphans.lock().prompts.iter().map(|(prompt, orphan)| (prompt.clone(), *orphan)).collect();
        let is_in = |prompts: &[String], prompt: &PromptId| prompts.iter().any(|there| there == prompt.as_str());
        // What waits first: it would begin as soon as what runs has been stopped.
        let (waiting, others): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|(prompt, _)| is_in(&queue.pending, prompt));
        for (prompt, orphan) in waiting.into_iter().chain(others) {
            let now = self.clock.now();
            let runs = is_in(&queue.running, &prompt);
            if runs || is_in(&queue.pending, &prompt) {
                info!(backend.url = %self.client.url(), %prompt, "stopping a prompt that was given up");
                stop_upstream(&self.client, &prompt).await;
            } else {
                self.has_let_go(&prompt);
                if now >= orphan.until {
                    orphans.lock().prompts.remove(&prompt);
                }
            }
            if runs && now >= orphan.since + LET_GO_LIMIT {
                self.desk.does_not_let_go(&prompt);
            }
        }
        Ok(())
    }

    fn has_let_go(&self, prompt: &PromptId) {
        if self.desk.has_let_go(prompt) {
            self.queue_bell.notify_one();
        }
    }

    /// Says whether a prompt is a job's first run and no longer the job's current one. Prompts of other people are none,
    /// and later runs have ids by which they cannot be told.
    async fn was_given_up(&self, prompt: &str) -> bool {
        let Ok(id) = prompt.parse::<JobId>() else { return false };
        match self.store.job(id).await {
            Ok(Some(job)) => {
                let is_first = PromptId::first(id).as_str() == prompt;
                let is_on_backend = matches!(job.state, JobState::Submitted | JobState::Running);
                let is_current = is_on_backend && job.run.is_some_and(|run| run.prompt.as_str() == prompt);
                is_first && !is_current
            }
            Ok(None) | Err(_) => false,
        }
    }
}
