//! How far a graph is, by the bars of its nodes. Pure.

use super::Bar;
use crate::tracker::machine::Plan;
use std::collections::{BTreeMap, BTreeSet};

/// How far a node may seem to be by what it was expanded into, as long as it is not over itself.
const ALMOST: f64 = 0.95;

/// Returns how far the graph is, from 0 to 1. Where it is known how long its nodes take, each counts as much, and what does not
/// run is not counted; else all count the same, and what does not run is done.
pub(super) fn progress(plan: &Plan, cached: &BTreeSet<String>, bars: &BTreeMap<String, Bar>) -> f64 {
    let done = done(plan, bars);
    let part =
        |node: &String| if cached.contains(node) { 1.0 } else { done.get(node.as_str()).copied().unwrap_or(0.0) };
    let run = || plan.nodes.iter().filter(|node| !cached.contains(*node));
    if is_weighed(plan, cached) {
        // What is not known took no time that was noticed.
        let weight = |node: &String| plan.weights.get(node).copied().unwrap_or(0.0).max(1.0);
        let whole: f64 = run().map(weight).sum();
        let so_far: f64 = run().map(|node| weight(node) * part(node)).sum();
        return (so_far / whole).clamp(0.0, 1.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "a graph has far fewer nodes than an f64 has digits")]
    let whole = plan.nodes.len().max(1) as f64;
    (plan.nodes.iter().map(part).sum::<f64>() / whole).clamp(0.0, 1.0)
}

/// Says whether it is known how long the nodes take, at least most of those that run.
pub(super) fn is_weighed(plan: &Plan, cached: &BTreeSet<String>) -> bool {
    let run = || plan.nodes.iter().filter(|node| !cached.contains(*node));
    let known = run().filter(|node| plan.weights.contains_key(*node)).count();
    known > 0 && known * 2 >= run().count()
}

/// Returns how far each node of the graph is of which anything was heard.
fn done<'a>(plan: &'a Plan, bars: &BTreeMap<String, Bar>) -> BTreeMap<&'a str, f64> {
    let mut done: BTreeMap<&str, f64> = BTreeMap::new();
    let mut inner: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (node, bar) in bars {
        let Some(of_graph) = plan.node_of_graph(node) else { continue };
        if of_graph == node {
            done.insert(of_graph, bar.part());
        } else {
            let (sum, count) = inner.entry(of_graph).or_default();
            (*sum, *count) = (*sum + bar.part(), *count + 1.0);
        }
    }
    for (node, (sum, count)) in inner {
        let by_inner = sum / count * ALMOST;
        let part = done.entry(node).or_default();
        *part = part.max(by_inner);
    }
    done
}

impl Bar {
    fn part(&self) -> f64 {
        match self {
            Self { finished: true, .. } => 1.0,
            Self { value, max, .. } if *max > 0.0 => (value / max).clamp(0.0, 1.0),
            Self { .. } => 0.0,
        }
    }
}
