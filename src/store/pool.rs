//! What must be remembered of the backends and of the queue before them, and the verbs for it. What a definition says is left
//! to `pool`.

use super::StoreError;
use crate::clock::Timestamp;
use crate::secret::Secret;
use async_trait::async_trait;
use std::fmt;

/// How a backend goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// Once the runs that it has have ended.
    Drained,
    /// At once; its runs are given up.
    Now,
}

impl Leaving {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Now => "now",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Drained, Self::Now].into_iter().find(|leaving| leaving.as_str() == word)
    }
}

/// What is remembered of a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptBackend {
    /// Its name.
    pub name: String,
    /// Its definition as JSON, with its secrets; none for one of the settings.
    pub definition: Option<Secret>,
    /// It gets no more jobs.
    pub is_draining: bool,
    /// It goes.
    pub leaving: Option<Leaving>,
    /// Why it cannot be begun, as the gateway found last.
    pub trouble: Option<String>,
}

/// How many jobs are in each state that has not ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueueCounts {
    /// Waiting, by priority, the highest first.
    pub waiting: Vec<(i32, u64)>,
    /// Meant for a backend, or in its queue.
    pub submitted: u64,
    /// Running.
    pub running: u64,
}

/// Keeps what an operator said of the backends while the gateway ran. Every verb is one transaction.
#[async_trait]
pub trait PoolStore: Send + Sync + fmt::Debug {
    /// Returns what is remembered of each backend, the oldest first.
    async fn kept_backends(&self) -> Result<Vec<KeptBackend>, StoreError>;

    /// Remembers a backend that was added. Returns false, and changes nothing, where one of its name was added before.
    async fn keep_backend(&self, name: &str, definition: Secret, at: Timestamp) -> Result<bool, StoreError>;

    /// Remembers whether a backend gets jobs; one that does does not go either.
    async fn set_draining(&self, name: &str, is_draining: bool, at: Timestamp) -> Result<(), StoreError>;

    /// Remembers that a backend that was added goes, so that it gets no more jobs. Returns false where none was added under
    /// this name.
    async fn set_leaving(&self, name: &str, leaving: Leaving) -> Result<bool, StoreError>;

    /// Remembers why a backend that was added cannot be begun; none where it can.
    async fn set_trouble(&self, name: &str, trouble: Option<String>) -> Result<(), StoreError>;

    /// Forgets that a backend was added, and that it was to go: the settings have one of its name. What was said of its duty
    /// stays, unless that was said as it was to go.
    async fn leave_to_settings(&self, name: &str) -> Result<(), StoreError>;

    /// Forgets a backend that was added, and all that was learnt of it: another server may have its name next.
    async fn forget_backend(&self, name: &str) -> Result<(), StoreError>;

    /// Counts the runs that are on a backend, or meant for it.
    async fn runs_on(&self, backend: &str) -> Result<u64, StoreError>;

    /// Says whether the queue is paused.
    async fn is_paused(&self) -> Result<bool, StoreError>;

    /// Remembers whether the queue is paused.
    async fn set_paused(&self, is_paused: bool) -> Result<(), StoreError>;

    /// Counts the jobs that have not ended, of one workflow or of all.
    async fn queue_counts(&self, workflow: Option<&str>) -> Result<QueueCounts, StoreError>;
}
