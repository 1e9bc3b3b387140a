//! What must survive of the question which backend may run what: what backends said of graphs; and which kinds of jobs wait.

use super::{Refused, StoreError, Way};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, Placement, StructureHash};
use async_trait::async_trait;
use std::fmt;

/// A backend that lacks something of all graphs of a structure, as it said itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incapable {
    /// The structure.
    pub graph: StructureHash,
    /// The backend's name.
    pub backend: String,
    /// What it said.
    pub reason: String,
    /// A hash over what it had of all that such graphs need; empty where that was not known. It may be able to run them
    /// when it has something else.
    pub share: String,
    /// When it said so.
    pub at: Timestamp,
}

/// Waiting jobs that need and wish the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Kind {
    /// The structures of their graphs, one for each variant; a single empty one where it is not known.
    pub graphs: Vec<StructureHash>,
    /// What they wish of a backend.
    pub placement: Placement,
    /// The one of them that was accepted first.
    pub example: JobId,
    /// When that was accepted.
    pub since: Timestamp,
}

/// Some of the kinds of jobs that wait.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kinds {
    /// The kinds, in no order that means anything.
    pub kinds: Vec<Kind>,
    /// Where to go on; none at the end.
    pub next: Option<KindMark>,
}

/// A place in the order of kinds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindMark {
    /// The structures of the last kind that was read, as the store writes them.
    pub structures: String,
    /// The same of its wishes.
    pub placement: String,
}

/// Keeps what backends said of graphs, and knows which kinds of jobs wait.
#[async_trait]
pub trait FitnessStore: Send + Sync + fmt::Debug {
    /// Returns all that backends said.
    async fn incapable(&self) -> Result<Vec<Incapable>, StoreError>;

    /// Keeps what a backend said. Of more than ten thousand the oldest are forgotten.
    async fn keep_incapable(&self, said: Incapable) -> Result<(), StoreError>;

    /// Forgets what was said of these graphs and backends.
    async fn forget_incapable(&self, of: Vec<(StructureHash, String)>) -> Result<(), StoreError>;

    /// Returns at most `limit` kinds of jobs that wait, those after a mark or from the beginning. What cannot be read is
    /// passed over.
    async fn waiting_kinds(&self, after: Option<KindMark>, limit: u32) -> Result<Kinds, StoreError>;

    /// Returns at most `limit` waiting jobs of a kind, accepted no later than `by`, that were refused in each of the ways
    /// `able`; with `able` empty all of them. With each job stands who has refused it.
    async fn without_hope(
        &self,
        kind: Kind,
        able: Vec<Way>,
        by: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Job, Vec<Refused>)>, StoreError>;
}
