//! Whether a backend may be given a graph: what it has and what is wished of it, what it refused, and whether it failed such
//! graphs lately. Answered from memory at any moment; `watch` keeps that fresh, and finds the jobs that nobody can run.

mod accounts;
mod known;
mod needs;
mod refusing;
mod unrunnable;
mod watch;

pub(super) use watch::watch;

use super::breaker::{Breaker, RunId};
use crate::clock::Timestamp;
use crate::comfy::Refusal;
use crate::definitions::Definitions;
use crate::graph::Graph;
use crate::inventory::Inventory;
use crate::job::{FailedNode, Placement, StructureHash};
use crate::pool::{Backend, BackendEvent, Pool};
use crate::store::Incapable;
use known::{Known, Said};
use needs::Needs;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::warn;

/// How many graphs may wait to be looked at.
const WANTED: usize = 1000;

/// How many sayings and forgettings may wait to be stored.
const UNSTORED: usize = 10_000;

/// What lies at least between two looks for jobs that nobody can run.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a backend may be given a graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It may.
    Fits,
    /// Not until then: it failed graphs like that.
    Blocked(Timestamp),
    /// Never, as it is now; this is what it lacks.
    Unfit(String),
}

/// What is known of graphs on backends.
#[derive(Debug, Default)]
pub struct Fitness {
    /// After how many failures in a row a backend is given no more such graphs for a while; 0 for never.
    block_after: u32,
    known: RwLock<Known>,
    errands: Mutex<Errands>,
    /// Rung when there are errands, or something may be known that ends a job.
    bell: Notify,
    /// When it was last rung for a graph that does not fit somewhere, in milliseconds.
    rung_at: AtomicI64,
    ties: OnceLock<Ties>,
}

/// What `watch` is to do.
#[derive(Debug, Default)]
struct Errands {
    /// Graphs of which it is not known what they need.
    wanted: BTreeSet<StructureHash>,
    /// Some were learnt, and not held against the inventories yet.
    to_judge: bool,
    /// What backends said and is not stored yet.
    said: Vec<Incapable>,
    /// What holds no more and is still stored.
    unsaid: Vec<(StructureHash, String)>,
}

/// Whom it asks and tells.
struct Ties {
    pool: Weak<Pool>,
    inventory: Arc<Inventory>,
}

impl Fitness {
    /// Knows nothing yet. After `block_after` failures in a row a backend is given no more such graphs for a while; 0 for
    /// never.
    pub fn new(block_after: u32) -> Self {
        Self { block_after, ..Self::default() }
    }

    /// Asks and tells these from now on. Only the first time counts.
    pub fn tie(&self, pool: &Arc<Pool>, inventory: &Arc<Inventory>) {
        // A second time is nobody's doing.
        let _ = self.ties.set(Ties { pool: Arc::downgrade(pool), inventory: Arc::clone(inventory) });
    }

    /// Says whether `backend` may be given a graph of this structure with these wishes.
    pub fn fit(&self, graph: &StructureHash, placement: &Placement, backend: &Backend, now: Timestamp) -> Fit {
        let fit = self.weigh(graph, placement, backend, now);
        if matches!(fit, Fit::Unfit(_)) {
            self.doubt(now);
        }
        fit
    }

    /// The same as `fit`, and has nothing looked at for it.
    fn weigh(&self, graph: &StructureHash, placement: &Placement, backend: &Backend, now: Timestamp) -> Fit {
        if let Some(reason) = unwished(placement, backend) {
            return Fit::Unfit(reason);
        }
        let (fit, is_known) = self.known().weigh(graph, &backend.name, now);
        if !is_known && !graph.as_str().is_empty() {
            self.want(graph, now);
        }
        fit
    }

    /// Counts by backend the structures of graphs that it failed, and gets none or one of for a while.
    pub(super) fn blocked(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for (_, backend) in self.known().blocked() {
            *counts.entry(backend).or_default() += 1;
        }
        counts
    }

    /// Has it looked soon whether a job that came to wait can run nowhere.
    pub(super) fn came(&self, now: Timestamp) {
        self.doubt(now);
    }

    /// Takes a graph in that is about to be sent to `backend`, and says whether it may be: what it needs may only be known
    /// now, and where such graphs failed lately one alone finds out. A run that begins so is accounted for at its end.
    pub fn admit(
        &self,
        hash: &StructureHash,
        graph: &Graph,
        taught_by: &str,
        backend: &str,
        run: RunId,
        now: Timestamp,
    ) -> bool {
        if hash.as_str().is_empty() {
            return true;
        }
        if self.learn_needs(hash, graph, taught_by) {
            self.doubt(now);
        }
        let is_judged = self.known().is_judged(hash, backend);
        if let Some((version, definitions)) =
            self.ties.get().filter(|_| !is_judged).and_then(|it| it.inventory.stock(backend))
        {
            self.judge(hash, backend, version, &definitions);
        }
        if self.is_unfit(hash, backend) {
            return false;
        }
        let is_open = self.known().breaker(hash, backend).is_some_and(Breaker::is_open);
        !is_open || self.known_mut().breaker_mut(hash, backend).begin(run, now)
    }

    /// Learns what graphs of a structure need, from one of them; `taught_by` is the revision that it was built from. Costs
    /// little where it is known, and returns false then.
    pub fn learn_needs(&self, hash: &StructureHash, graph: &Graph, taught_by: &str) -> bool {
        if self.known().knows(hash) {
            return false;
        }
        let needs = Arc::new(Needs::of(graph));
        self.known_mut().learn(hash, needs, taught_by);
        let mut errands = self.errands();
        errands.wanted.remove(hash);
        errands.to_judge = true;
        true
    }

    /// Notes that a backend refused a graph. Where it lacks what all such graphs need, it gets none of them any more.
    pub fn refused(&self, hash: &StructureHash, graph: &Graph, backend: &str, refusal: &Refusal, now: Timestamp) {
        if hash.as_str().is_empty() || !refusing::is_of_structure(refusal, graph) {
            return;
        }
        let reason = refusal.to_failure().message;
        warn!(backend, graph = %hash, "the backend lacks what such graphs need; it gets none of them until it has something else");
        let share = self.known_mut().say(hash, backend, Said::new(&reason));
        let mut errands = self.errands();
        if errands.said.len() < UNSTORED {
            let (graph, backend) = (hash.clone(), backend.to_owned());
            errands.said.push(Incapable { graph, backend, reason, share, at: now });
        }
        drop(errands);
        self.bell.notify_one();
    }

    /// Holds what such graphs need against what a backend has.
    fn judge(&self, graph: &StructureHash, backend: &str, version: u64, definitions: &Definitions) {
        let Some(needs) = self.known().needs(graph) else { return };
        let (lacks, share) = (needs.lacks(definitions), needs.share_of(definitions));
        let unsaid = self.known_mut().judged(graph, backend, version, lacks, share);
        let mut errands = self.errands();
        if errands.unsaid.len() < UNSTORED {
            errands.unsaid.extend(unsaid);
        }
    }

    fn is_unfit(&self, graph: &StructureHash, backend: &str) -> bool {
        self.known().unfit(graph, backend).is_some()
    }

    /// Has it found out what such graphs need.
    fn want(&self, graph: &StructureHash, now: Timestamp) {
        let mut errands = self.errands();
        let is_new = errands.wanted.len() < WANTED && errands.wanted.insert(graph.clone());
        drop(errands);
        if is_new {
            self.doubt(now);
        }
    }

    /// Has it looked whether some job can run nowhere.
    fn doubt(&self, now: Timestamp) {
        let last = self.rung_at.load(Ordering::Relaxed);
        let pause = i64::try_from(PAUSE.as_millis()).unwrap_or(i64::MAX);
        if !(last..last.saturating_add(pause)).contains(&now.millis()) {
            self.rung_at.store(now.millis(), Ordering::Relaxed);
            self.bell.notify_one();
        }
    }

    /// Returns the node at fault of a graph that `revision` made, where it was this revision that taught what it needs.
    fn failed_node(&self, graph: &StructureHash, backend: &str, revision: &str) -> Option<FailedNode> {
        self.known().failed_node(graph, backend, revision)
    }

    fn tell(&self, backend: &str, at: Timestamp, event: BackendEvent) {
        if let Some(pool) = self.ties.get().and_then(|ties| ties.pool.upgrade()) {
            pool.tell(backend, at, event);
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn errands(&self) -> MutexGuard<'_, Errands> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ties").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Says whether it is certain that a backend still cannot run what it could not when it was there: one that is away may
/// come back with what it lacks, but not as another one.
pub(super) fn is_certain(placement: &Placement, backend: &Backend) -> bool {
    backend.desk.is_connected() || unwished(placement, backend).is_some()
}

/// Returns why a backend is not what a job wishes for; none where it is.
fn unwished(placement: &Placement, backend: &Backend) -> Option<String> {
    if placement.exclude.contains(&backend.name) {
        return Some("the request excludes it".to_owned());
    }
    let missing = placement.tags.iter().find(|tag| !backend.tags.contains(*tag))?;
    Some(format!("{}`{}`", unrunnable::NO_TAG, crate::names::shown(missing)))
}

#[cfg(test)]
mod tests;
