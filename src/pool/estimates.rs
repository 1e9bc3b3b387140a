//! How long a graph runs on a backend, learnt from the runs that there were.

use crate::job::StructureHash;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// How much the newest run counts against all before it.
const WEIGHT: f64 = 0.3;

/// Rolling means of run times, by graph and backend.
#[derive(Debug, Default)]
pub struct Estimates {
    runs: RwLock<HashMap<StructureHash, HashMap<String, f64>>>,
}

impl Estimates {
    /// Notes how long a run took, from its first node to its last.
    pub fn ran(&self, graph: &StructureHash, backend: &str, took: Duration) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        let of_graph = runs.entry(graph.clone()).or_default();
        let seconds = took.as_secs_f64();
        let mean = of_graph.get(backend).map_or(seconds, |mean| mean + WEIGHT * (seconds - mean));
        of_graph.insert(backend.to_owned(), mean);
    }

    /// Returns how long a run should take there; none where there was none.
    pub fn run_time(&self, graph: &StructureHash, backend: &str) -> Option<Duration> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.get(graph)?.get(backend).map(|seconds| Duration::from_secs_f64(*seconds))
    }
}
