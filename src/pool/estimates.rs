//! How long graphs run on backends, learnt from the runs that there were, and which graph ran last where. Who measures runs,
//! and who keeps what is learnt, is left to others.

use super::weights::Weights;
use crate::clock::Timestamp;
use crate::job::{Estimate, Ran, StructureHash};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// How much the newest run counts against all before it.
const WEIGHT: f64 = 0.3;

/// The same for the mean over all graphs, which changes with what is asked for.
const WEIGHT_OF_ALL: f64 = 0.05;

/// How many pairs of a graph and a backend are known at most. Where there are more, a tenth is forgotten: those that ran the
/// longest time ago.
const PAIRS: usize = 10_000;

/// The longest time that is believed; it bounds what is computed with.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// Rolling means of run times, by graph and backend; and apart from each other those of runs after another graph, which load
/// their models, and of runs after the same one.
#[derive(Debug, Default)]
pub struct Estimates {
    known: RwLock<Known>,
    weights: Weights,
}

/// The estimates as they are now. Reading is cheap; nothing is learnt as long as this lives, so it must not live long.
#[derive(Debug)]
pub struct Reading<'a>(RwLockReadGuard<'a, Known>);

/// What has changed since it was asked for the last time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EstimateChanges {
    /// What is known of these pairs now.
    pub learnt: Vec<Estimate>,
    /// These pairs are forgotten.
    pub forgotten: Vec<(StructureHash, String)>,
}

impl EstimateChanges {
    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.learnt.is_empty() && self.forgotten.is_empty()
    }
}

#[derive(Debug, Default)]
struct Known {
    runs: HashMap<StructureHash, HashMap<String, Means>>,
    pairs: usize,
    /// Which graph each backend ran last.
    last: HashMap<String, StructureHash>,
    of_all: Option<f64>,
    /// The pairs that have changed since somebody asked for changes.
    changed: HashSet<(StructureHash, String)>,
}

/// Of one graph on one backend, in seconds.
#[derive(Clone, Copy, Debug)]
struct Means {
    cold: Option<f64>,
    warm: Option<f64>,
    runs: u64,
    at: Timestamp,
}

impl Means {
    fn best(&self, is_warm: bool) -> Option<f64> {
        if is_warm { self.warm.or(self.cold) } else { self.cold.or(self.warm) }
    }
}

impl Estimates {
    /// Begins with what was known before: of each backend, the graph that ran there most lately is taken for its last one.
    pub fn of(stored: impl IntoIterator<Item = Estimate>) -> Self {
        let mut stored: Vec<Estimate> =
            stored.into_iter().filter(|estimate| !estimate.structure.as_str().is_empty()).collect();
        stored.sort_by_key(|estimate| estimate.at);
        let mut known = Known::default();
        for estimate in stored {
            let seconds = |millis: Option<f64>| millis.map(|millis| believable(millis / 1000.0));
            let (cold, warm) = (seconds(estimate.cold_ms), seconds(estimate.warm_ms));
            for mean in cold.iter().chain(&warm) {
                known.of_all = Some(rolled(known.of_all, *mean, WEIGHT_OF_ALL));
            }
            let means = Means { cold, warm, runs: estimate.runs, at: estimate.at };
            known.last.insert(estimate.backend.clone(), estimate.structure.clone());
            known.put(estimate.structure, estimate.backend, means);
        }
        known.forget_some();
        Self { known: RwLock::new(known), weights: Weights::default() }
    }

    /// Learns from a run that has ended its job. How long it took counts only where it succeeded and something ran.
    pub fn learn(&self, ran: &Ran) {
        let (graph, profile) = (&ran.structure, &ran.profile);
        if ran.is_success && profile.is_telling() {
            self.ran(graph, &profile.backend, Duration::from_millis(profile.run_ms), ran.at);
            if !profile.partial {
                self.weights.learn(graph, &profile.nodes);
            }
        } else if profile.nodes_executed > 0 {
            self.touched(graph, &profile.backend);
        }
    }

    /// Returns how long the nodes of a graph usually take, in milliseconds; empty where that is not known.
    pub fn weights(&self, graph: &StructureHash) -> Arc<BTreeMap<String, f64>> {
        self.weights.of(graph)
    }

    /// Notes how long a run that succeeded took, from its first node to its last. Runs in which every result was kept from
    /// before are none of those.
    pub fn ran(&self, graph: &StructureHash, backend: &str, took: Duration, at: Timestamp) {
        let mut known = self.write();
        let is_warm = known.is_warm(graph, backend);
        known.last.insert(backend.to_owned(), graph.clone());
        if graph.as_str().is_empty() {
            return;
        }
        let seconds = believable(took.as_secs_f64());
        known.of_all = Some(rolled(known.of_all, seconds, WEIGHT_OF_ALL));
        let before = known.runs.get(graph).and_then(|of_graph| of_graph.get(backend));
        let mut means = before.copied().unwrap_or(Means { cold: None, warm: None, runs: 0, at });
        let mean = if is_warm { &mut means.warm } else { &mut means.cold };
        *mean = Some(rolled(*mean, seconds, WEIGHT));
        means.runs = means.runs.saturating_add(1);
        means.at = means.at.max(at);
        known.put(graph.clone(), backend.to_owned(), means);
        known.changed.insert((graph.clone(), backend.to_owned()));
        known.forget_some();
    }

    /// Notes that a run of the graph has loaded its models there, though nothing is learnt from how long it took.
    pub fn touched(&self, graph: &StructureHash, backend: &str) {
        self.write().last.insert(backend.to_owned(), graph.clone());
    }

    /// Notes that a backend has no models loaded any more, as after a restart.
    pub fn cooled(&self, backend: &str) {
        self.write().last.remove(backend);
    }

    /// Forgets a backend.
    pub fn forget(&self, backend: &str) {
        let mut known = self.write();
        known.last.remove(backend);
        known.forget_where(|name, _| name == backend);
    }

    /// Returns the estimates to be read, many of them at once.
    pub fn read(&self) -> Reading<'_> {
        Reading(self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what has changed since this was called the last time.
    pub fn take_changes(&self) -> EstimateChanges {
        let mut known = self.write();
        let mut changes = EstimateChanges::default();
        for (structure, backend) in std::mem::take(&mut known.changed) {
            match known.runs.get(&structure).and_then(|of_graph| of_graph.get(&backend)) {
                Some(means) => changes.learnt.push(means.stored(structure, backend)),
                None => changes.forgotten.push((structure, backend)),
            }
        }
        changes
    }

    /// Takes back changes that could not be kept: they are among the next ones.
    pub fn not_kept(&self, changes: EstimateChanges) {
        let learnt = changes.learnt.into_iter().map(|estimate| (estimate.structure, estimate.backend));
        self.write().changed.extend(learnt.chain(changes.forgotten));
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading<'_> {
    /// Returns how long a run should take there, after a run of the same graph (`is_warm`) or of another one. Where only the
    /// other of both is known, it is that; none where the graph has never run there.
    pub fn run_time(&self, graph: &StructureHash, backend: &str, is_warm: bool) -> Option<Duration> {
        self.0.runs.get(graph)?.get(backend)?.best(is_warm).map(Duration::from_secs_f64)
    }

    /// Returns how long the next run of the graph should take there, or where it never ran there, how long it takes
    /// elsewhere; none where it never ran.
    pub fn expected(&self, graph: &StructureHash, backend: &str) -> Option<Duration> {
        let is_warm = self.is_warm(graph, backend);
        self.run_time(graph, backend, is_warm).or_else(|| self.anywhere(graph))
    }

    /// Returns how long a run of the graph takes, over all backends that have run it.
    pub fn anywhere(&self, graph: &StructureHash) -> Option<Duration> {
        let of_graph = self.0.runs.get(graph)?;
        let (sum, count) = of_graph
            .values()
            .filter_map(|means| means.best(true))
            .fold((0.0, 0.0), |(sum, count), seconds| (sum + seconds, count + 1.0));
        (count > 0.0).then(|| Duration::from_secs_f64(sum / count))
    }

    /// Returns which graph ran last on a backend: its models are loaded there.
    pub fn last_ran(&self, backend: &str) -> Option<&StructureHash> {
        self.0.last.get(backend)
    }

    /// Says whether the graph ran last on the backend.
    pub fn is_warm(&self, graph: &StructureHash, backend: &str) -> bool {
        self.0.is_warm(graph, backend)
    }

    /// Returns how long a run takes, whatever its graph: the mean over the latest runs everywhere.
    pub fn mean_of_all(&self) -> Option<Duration> {
        self.0.of_all.map(Duration::from_secs_f64)
    }
}

impl Known {
    fn is_warm(&self, graph: &StructureHash, backend: &str) -> bool {
        self.last.get(backend) == Some(graph)
    }

    fn put(&mut self, graph: StructureHash, backend: String, means: Means) {
        let is_new = self.runs.entry(graph).or_default().insert(backend, means).is_none();
        self.pairs += usize::from(is_new);
    }

    fn forget_some(&mut self) {
        if self.pairs <= PAIRS {
            return;
        }
        let mut times: Vec<Timestamp> = self.runs.values().flat_map(HashMap::values).map(|means| means.at).collect();
        let (_, newest_forgotten, _) = times.select_nth_unstable(PAIRS / 10);
        let newest_forgotten = *newest_forgotten;
        // Of those that ran in the same moment as many go as must.
        let mut left = PAIRS / 10;
        self.forget_where(|_, means| {
            let goes = means.at <= newest_forgotten && left > 0;
            left -= usize::from(goes);
            goes
        });
    }

    fn forget_where(&mut self, mut goes: impl FnMut(&str, &Means) -> bool) {
        let (changed, pairs) = (&mut self.changed, &mut self.pairs);
        self.runs.retain(|graph, of_graph| {
            of_graph.retain(|backend, means| {
                let goes = goes(backend, means);
                if goes {
                    *pairs -= 1;
                    changed.insert((graph.clone(), backend.clone()));
                }
                !goes
            });
            !of_graph.is_empty()
        });
    }
}

impl Means {
    fn stored(&self, structure: StructureHash, backend: String) -> Estimate {
        let millis = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1000.0);
        let (cold_ms, warm_ms) = (millis(self.cold), millis(self.warm));
        Estimate { structure, backend, cold_ms, warm_ms, runs: self.runs, at: self.at }
    }
}

fn rolled(mean: Option<f64>, newest: f64, weight: f64) -> f64 {
    mean.map_or(newest, |mean| mean + weight * (newest - mean))
}

/// What comes from a disk may be any number; a time is none of them below 0 or without end.
fn believable(seconds: f64) -> f64 {
    if seconds.is_finite() { seconds.clamp(0.0, LONGEST.as_secs_f64()) } else { 0.0 }
}

#[cfg(test)]
mod tests;
