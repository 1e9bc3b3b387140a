//! What is known of graphs on backends, in memory and bounded: what graphs need, what backends lack of it, what they said
//! themselves, and how they fared with it.

use super::Fit;
use super::needs::{Lack, Needs, sentence};
use crate::clock::Timestamp;
use crate::dispatch::breaker::Breaker;
use crate::job::{FailedNode, StructureHash};
use std::collections::HashMap;
use std::sync::Arc;

/// Of how many graphs something is known. When there are more, what can be found out again is forgotten.
const MOST: usize = 5000;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    graphs: HashMap<StructureHash, OfGraph>,
}

#[derive(Debug, Default)]
struct OfGraph {
    /// What such graphs need, and the revision whose graph has shown it; none where it is not known.
    needs: Option<(Arc<Needs>, String)>,
    /// By backend.
    on: HashMap<String, OnBackend>,
}

#[derive(Debug, Default)]
struct OnBackend {
    /// The state of its inventory that it was judged by; none where that is not known.
    version: Option<u64>,
    share: String,
    lacks: Vec<Lack>,
    /// What it lacks in one line.
    reason: Option<Arc<str>>,
    said: Option<Said>,
    breaker: Breaker,
}

/// What a backend said.
#[derive(Clone, Debug)]
pub(super) struct Said {
    reason: Arc<str>,
    /// What it had of the graph's needs then; none for what it has now.
    share: Option<String>,
}

impl Said {
    pub(super) fn new(reason: &str) -> Self {
        Self { reason: reason.into(), share: None }
    }

    pub(super) fn earlier(reason: &str, share: String) -> Self {
        Self { reason: reason.into(), share: Some(share) }
    }
}

impl OnBackend {
    fn unfit(&self) -> Option<&Arc<str>> {
        self.reason.as_ref().or(self.said.as_ref().map(|said| &said.reason))
    }
}

impl Known {
    /// Says whether it is known what such graphs need.
    pub(super) fn knows(&self, graph: &StructureHash) -> bool {
        self.graphs.get(graph).is_some_and(|of| of.needs.is_some())
    }

    /// Says whether a backend may be given such graphs, and whether it is known what they need.
    pub(super) fn weigh(&self, graph: &StructureHash, backend: &str, now: Timestamp) -> (Fit, bool) {
        let Some(of) = self.graphs.get(graph) else { return (Fit::Fits, false) };
        let is_known = of.needs.is_some();
        let Some(on) = of.on.get(backend) else { return (Fit::Fits, is_known) };
        let fit = match on.unfit() {
            Some(reason) => Fit::Unfit(reason.to_string()),
            None => on.breaker.blocked(now).map_or(Fit::Fits, Fit::Blocked),
        };
        (fit, is_known)
    }

    /// Returns why a backend cannot run such graphs.
    pub(super) fn unfit(&self, graph: &StructureHash, backend: &str) -> Option<&Arc<str>> {
        self.on(graph, backend)?.unfit()
    }

    pub(super) fn breaker(&self, graph: &StructureHash, backend: &str) -> Option<&Breaker> {
        self.on(graph, backend).map(|on| &on.breaker)
    }

    /// Returns the breaker, a new one where there is none.
    pub(super) fn breaker_mut(&mut self, graph: &StructureHash, backend: &str) -> &mut Breaker {
        &mut self.on_mut(graph, backend).breaker
    }

    /// Lets a breaker know of a run, where there is one.
    pub(super) fn shows<T>(
        &mut self,
        graph: &StructureHash,
        backend: &str,
        show: impl FnOnce(&mut Breaker) -> T,
    ) -> Option<T> {
        Some(show(&mut self.graphs.get_mut(graph)?.on.get_mut(backend)?.breaker))
    }

    /// Returns the graphs and backends whose breaker is open.
    pub(super) fn blocked(&self) -> Vec<(StructureHash, String)> {
        let of = |(graph, of): (&StructureHash, &OfGraph)| {
            let open = of.on.iter().filter(|(_, on)| on.breaker.is_open());
            open.map(|(backend, _)| (graph.clone(), backend.clone())).collect::<Vec<_>>()
        };
        self.graphs.iter().flat_map(of).collect()
    }

    /// Learns what such graphs need.
    pub(super) fn learn(&mut self, graph: &StructureHash, needs: Arc<Needs>, taught_by: &str) {
        self.make_room();
        self.graphs.entry(graph.clone()).or_default().needs = Some((needs, taught_by.to_owned()));
    }

    /// Notes what a backend said, and returns what it had then.
    pub(super) fn say(&mut self, graph: &StructureHash, backend: &str, mut said: Said) -> String {
        let on = self.on_mut(graph, backend);
        let share = said.share.get_or_insert_with(|| on.share.clone()).clone();
        on.said = Some(said);
        share
    }

    /// Returns the graphs and backends whose verdict is older than the backends' inventories, with what to judge them by.
    pub(super) fn stale(&self, versions: &HashMap<String, Option<u64>>) -> Vec<(StructureHash, String)> {
        let of = |(graph, of): (&StructureHash, &OfGraph)| {
            let is_stale = |backend: &&String| {
                let version = versions.get(*backend).copied().flatten();
                of.needs.is_some() && version != of.on.get(*backend).and_then(|on| on.version)
            };
            versions.keys().filter(is_stale).map(|backend| (graph.clone(), backend.clone())).collect::<Vec<_>>()
        };
        self.graphs.iter().flat_map(of).collect()
    }

    /// Says whether a backend was judged by some inventory.
    pub(super) fn is_judged(&self, graph: &StructureHash, backend: &str) -> bool {
        self.on(graph, backend).is_some_and(|on| on.version.is_some())
    }

    /// Takes in what a backend lacks by its inventory of this version. Returns the graph and the backend where what it said
    /// holds no more.
    pub(super) fn judged(
        &mut self,
        graph: &StructureHash,
        backend: &str,
        version: u64,
        lacks: Vec<Lack>,
        share: String,
    ) -> Option<(StructureHash, String)> {
        let on = self.on_mut(graph, backend);
        on.version = Some(version);
        on.reason = (!lacks.is_empty()).then(|| sentence(&lacks).into());
        on.lacks = lacks;
        on.share = share;
        let holds = on.said.as_ref().is_none_or(|said| said.share.as_ref() == Some(&on.share));
        if holds {
            return None;
        }
        on.said = None;
        Some((graph.clone(), backend.to_owned()))
    }

    /// Returns what such graphs need.
    pub(super) fn needs(&self, graph: &StructureHash) -> Option<Arc<Needs>> {
        self.graphs.get(graph)?.needs.as_ref().map(|(needs, _)| Arc::clone(needs))
    }

    /// Returns the node that needs what a backend lacks, where graphs of this revision have taught it.
    pub(super) fn failed_node(&self, graph: &StructureHash, backend: &str, revision: &str) -> Option<FailedNode> {
        let (_, taught_by) = self.graphs.get(graph)?.needs.as_ref()?;
        let lack = self.on(graph, backend)?.lacks.first().filter(|_| taught_by == revision)?;
        let message = format!("the backend has {}", lack.what);
        Some(FailedNode { id: lack.node.clone(), class: lack.class.clone(), message })
    }

    /// Forgets backends that are gone, and breakers that nobody asks for any more; returns the latter.
    pub(super) fn forget(&mut self, is_there: impl Fn(&str) -> bool, now: Timestamp) -> Vec<(StructureHash, String)> {
        let mut closed = Vec::new();
        for (graph, of) in &mut self.graphs {
            of.on.retain(|backend, on| is_there(backend) || on.said.is_some());
            for (backend, on) in of.on.iter_mut().filter(|(_, on)| on.breaker.is_forgotten(now)) {
                on.breaker = Breaker::default();
                closed.push((graph.clone(), backend.clone()));
            }
        }
        closed
    }

    /// Returns of how many graphs something is known.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.graphs.len()
    }

    fn on(&self, graph: &StructureHash, backend: &str) -> Option<&OnBackend> {
        self.graphs.get(graph)?.on.get(backend)
    }

    fn on_mut(&mut self, graph: &StructureHash, backend: &str) -> &mut OnBackend {
        if !self.graphs.contains_key(graph) {
            self.make_room();
        }
        let of = self.graphs.entry(graph.clone()).or_default();
        of.on.entry(backend.to_owned()).or_default()
    }

    /// Forgets what can be found out again, where there is too much; and where that is not enough, all.
    fn make_room(&mut self) {
        if self.graphs.len() < MOST {
            return;
        }
        self.graphs.retain(|_, of| of.on.values().any(|on| on.said.is_some() || on.breaker.is_open()));
        if self.graphs.len() >= MOST {
            self.graphs.clear();
        }
    }
}
