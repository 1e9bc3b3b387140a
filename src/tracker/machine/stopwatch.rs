//! How long a run and its nodes take, by what is heard of them and when. Events may be lost, repeated and late: what was not
//! heard is missing, and nothing is counted twice. Pure.

use super::Plan;
use crate::clock::Timestamp;
use crate::comfy::Timeline;
use crate::comfy::event::{Event, NodeProgress};
use crate::job::{NodeTime, Profile};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many nodes a profile has at most; of more the slowest.
const NODES: usize = 512;

/// How many nodes are followed that are not of the graph itself, but that nodes of it were expanded into.
const INNER: usize = 1024;

/// The most letters of a class or a title.
const LETTERS: usize = 100;

/// Of one run.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Stopwatch {
    /// The backend has it in its queue.
    taken: Option<Timestamp>,
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// What the history says of how long it ran.
    told: Option<Duration>,
    is_partial: bool,
    /// The backend says which nodes run; an older one only which began last.
    tells_states: bool,
    /// The nodes of the graph that did not run.
    cached: BTreeSet<String>,
    /// The nodes of the graph that ran.
    nodes: BTreeMap<String, Watch>,
    /// What runs, by its own id: a node of the graph or one that such was expanded into; and to which it belongs.
    running: BTreeMap<String, String>,
    over: BTreeSet<String>,
    /// Which nodes of the graph began to run or were over since somebody has asked.
    changes: Vec<NodeChange>,
}

/// A node of the graph began to run, or is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeChange {
    /// The node.
    pub id: String,
    /// It runs; else it is over.
    pub is_running: bool,
}

/// Of one node of the graph.
#[derive(Clone, PartialEq, Debug)]
struct Watch {
    first: Timestamp,
    took: Duration,
    /// How many of what belongs to it run, and since when any.
    open: usize,
    since: Timestamp,
}

impl Stopwatch {
    /// Begins to watch a run of an earlier life of the gateway.
    pub(super) fn recovered(began: Option<Timestamp>) -> Self {
        Self { began, is_partial: true, ..Self::default() }
    }

    pub(super) fn taken(&mut self, now: Timestamp) {
        if !self.is_partial {
            // The answer may come after the first event.
            let taken = self.began.map_or(now, |began| began.min(now));
            self.taken.get_or_insert(taken);
        }
    }

    pub(super) fn began(&mut self, now: Timestamp) {
        self.began.get_or_insert(now);
    }

    /// Events are not heard any more: what runs may end meanwhile.
    pub(super) fn deaf(&mut self, now: Timestamp) {
        if self.ended.is_none() {
            self.is_partial = true;
            self.close_all(now);
        }
    }

    pub(super) fn ended(&mut self, now: Timestamp) {
        if self.ended.is_none() {
            self.ended = Some(now);
            self.close_all(now);
        }
    }

    /// Takes in what the history says: it matters where not everything was heard.
    pub(super) fn history(&mut self, timeline: &Timeline, plan: &Plan, now: Timestamp) {
        if self.ended.is_none() {
            self.is_partial = true;
        }
        self.told = self.told.or_else(|| timeline.took());
        self.cached(&timeline.cached, plan);
        self.ended(now);
    }

    pub(super) fn event(&mut self, event: &Event, plan: &Plan, now: Timestamp) {
        if self.ended.is_some() {
            return;
        }
        match event {
            Event::Cached { nodes, .. } => self.cached(nodes, plan),
            Event::ProgressState { nodes, .. } => {
                self.tells_states = true;
                for node in nodes {
                    self.state(node, plan, now);
                }
            }
            Event::Executing { node, display_node, .. } => {
                if !self.tells_states && !self.running.contains_key(node) {
                    self.close_all(now);
                }
                self.start(node, display_node, plan, now);
            }
            Event::Succeeded { .. } | Event::Interrupted { .. } | Event::Idle { .. } => self.ended(now),
            Event::Failed { error, .. } if !error.is_block() => self.ended(now),
            Event::Started { .. }
            | Event::Failed { .. }
            | Event::Progress { .. }
            | Event::Executed { .. }
            | Event::Image(_)
            | Event::Status { .. }
            | Event::FeatureFlags { .. }
            | Event::Text { .. }
            | Event::Noise { .. } => {}
        }
    }

    /// Returns how the run went that ends now; none where it never began.
    pub(super) fn profile(&self, plan: &Plan, until: Timestamp) -> Option<Profile> {
        let began = self.began?;
        let ended = self.ended.unwrap_or(until);
        let told = self.told.filter(|_| self.is_partial);
        let took = told.unwrap_or_else(|| ended.since(began));
        let mut nodes: Vec<(&String, &Watch)> = self.nodes.iter().collect();
        let ms = |watch: &Watch| millis(watch.so_far(ended));
        nodes.sort_by_key(|(_, watch)| Reverse(ms(watch)));
        nodes.truncate(NODES);
        nodes.sort_by_key(|(_, watch)| watch.first);
        let time = |(id, watch): (&String, &Watch)| {
            let label = plan.labels.get(id);
            NodeTime {
                id: id.clone(),
                class: label.map(|label| short(&label.class)),
                title: label.and_then(|label| label.title.as_deref()).map(short),
                at_ms: watch.first.millis_since(began),
                ms: ms(watch),
            }
        };
        Some(Profile {
            backend: plan.backend.clone(),
            run: plan.number,
            // When the job was accepted is not known here.
            queued_ms: 0,
            waited_ms: self.taken.map(|taken| began.millis_since(taken)),
            run_ms: millis(took),
            nodes_executed: self.nodes.len(),
            nodes_cached: self.cached.len(),
            partial: self.is_partial,
            is_from_history: told.is_some(),
            nodes: nodes.into_iter().map(time).collect(),
        })
    }

    /// Returns which nodes began to run or were over since this was last asked.
    pub(super) fn take_changes(&mut self) -> Vec<NodeChange> {
        std::mem::take(&mut self.changes)
    }

    /// Returns how many things it holds.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.cached.len() + self.nodes.len() + self.running.len() + self.over.len()
    }

    fn cached(&mut self, nodes: &[String], plan: &Plan) {
        let known = nodes.iter().filter(|node| plan.nodes.contains(*node) && !self.nodes.contains_key(*node));
        self.cached.extend(known.cloned());
    }

    fn state(&mut self, node: &NodeProgress, plan: &Plan, now: Timestamp) {
        if !node.finished {
            return self.start(&node.node, &node.display_node, plan, now);
        }
        if self.running.contains_key(&node.node) {
            self.finish(&node.node, now);
        } else if !self.is_partial && !self.over.contains(&node.node) {
            // It never ran: its result was that of another node, or was kept.
            self.cached(std::slice::from_ref(&node.node), plan);
        }
    }

    fn start(&mut self, node: &str, display_node: &str, plan: &Plan, now: Timestamp) {
        let is_full = self.running.len() + self.over.len() >= plan.nodes.len() + INNER;
        if is_full || self.running.contains_key(node) || self.over.contains(node) {
            return;
        }
        let Some(of_graph) = plan.node_of_graph(display_node) else { return };
        self.cached.remove(of_graph);
        self.running.insert(node.to_owned(), of_graph.to_owned());
        let fresh = Watch { first: now, took: Duration::ZERO, open: 0, since: now };
        let watch = self.nodes.entry(of_graph.to_owned()).or_insert(fresh);
        if watch.open == 0 {
            watch.since = now;
            self.changes.push(NodeChange { id: of_graph.to_owned(), is_running: true });
        }
        watch.open += 1;
    }

    fn finish(&mut self, node: &str, now: Timestamp) {
        let Some(of_graph) = self.running.remove(node) else { return };
        self.over.insert(node.to_owned());
        if let Some(watch) = self.nodes.get_mut(&of_graph) {
            watch.took = watch.so_far(now);
            watch.since = now;
            watch.open = watch.open.saturating_sub(1);
            if watch.open == 0 {
                self.changes.push(NodeChange { id: of_graph, is_running: false });
            }
        }
    }

    fn close_all(&mut self, now: Timestamp) {
        let running: Vec<String> = self.running.keys().cloned().collect();
        for node in running {
            self.finish(&node, now);
        }
    }
}

impl Watch {
    fn so_far(&self, now: Timestamp) -> Duration {
        if self.open > 0 { self.took + now.since(self.since) } else { self.took }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn short(text: &str) -> String {
    text.chars().take(LETTERS).collect()
}
