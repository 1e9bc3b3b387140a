//! How long each node of a graph usually takes, learnt from the latest runs and kept in memory only: by it a run says how far it
//! is.

use crate::job::{NodeTime, StructureHash};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many graphs are known at most; of more, those that came first are forgotten.
const GRAPHS: usize = 256;

/// How much the newest run counts against all before it.
const WEIGHT: f64 = 0.3;

/// The usual times of nodes in milliseconds, by graph.
#[derive(Debug, Default)]
pub(super) struct Weights {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    of: HashMap<StructureHash, Arc<BTreeMap<String, f64>>>,
    order: VecDeque<StructureHash>,
}

impl Weights {
    /// Learns from the nodes of one run; those that did not run keep what is known of them.
    pub(super) fn learn(&self, graph: &StructureHash, nodes: &[NodeTime]) {
        let mut known = self.lock();
        if !known.of.contains_key(graph) {
            known.order.push_back(graph.clone());
            if known.order.len() > GRAPHS
                && let Some(first) = known.order.pop_front()
            {
                known.of.remove(&first);
            }
        }
        let times = Arc::make_mut(known.of.entry(graph.clone()).or_default());
        for node in nodes {
            #[expect(clippy::cast_precision_loss, reason = "no run takes that long")]
            let newest = node.ms as f64;
            times.entry(node.id.clone()).and_modify(|mean| *mean += WEIGHT * (newest - *mean)).or_insert(newest);
        }
    }

    /// Returns how long the nodes of a graph take; empty where nothing is known.
    pub(super) fn of(&self, graph: &StructureHash) -> Arc<BTreeMap<String, f64>> {
        self.lock().of.get(graph).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, ms: u64) -> NodeTime {
        NodeTime { id: id.into(), class: None, title: None, at_ms: 0, ms }
    }

    #[test]
    fn a_node_that_did_not_run_keeps_its_time() {
        let weights = Weights::default();
        let graph = StructureHash("a".into());
        assert!(weights.of(&graph).is_empty());
        weights.learn(&graph, &[node("1", 100), node("2", 1000)]);
        weights.learn(&graph, &[node("2", 2000)]);
        assert_eq!(*weights.of(&graph), BTreeMap::from([("1".to_owned(), 100.0), ("2".to_owned(), 1300.0)]));
    }

    #[test]
    fn no_more_graphs_are_known_than_there_is_room_for() {
        let weights = Weights::default();
        let graph = |number: usize| StructureHash(number.to_string());
        for number in 0..GRAPHS + 10 {
            weights.learn(&graph(number), &[node("1", 1)]);
        }
        let sizes = |known: &Known| (known.of.len(), known.order.len());
        assert_eq!(sizes(&weights.lock()), (GRAPHS, GRAPHS));
        assert!(weights.of(&graph(9)).is_empty() && !weights.of(&graph(10)).is_empty());
    }
}
