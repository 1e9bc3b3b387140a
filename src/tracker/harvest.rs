//! The outputs of one run: what it has produced, what of it is stored, and whether that is what was expected. Pure.

mod advance;
mod shortfall;

use super::machine::Plan;
use crate::comfy::event::{ImageFrame, NodeOutput, NodeProgress};
use crate::job::{Failure, FailureCode, FileRef, NodeAdvance, Output};
use crate::media::Kept;
use bytes::Bytes;
use shortfall::{gone, missing, not_stored, too_large, unavailable};
use std::collections::{BTreeMap, BTreeSet};

/// How many nodes are followed that nodes of the graph were expanded into.
const INNER: usize = 1024;

/// Where an output stands among those of its run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotId(pub usize);

/// Where the bytes of an output come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// They came over the socket.
    Frame {
        /// `image/png` or `image/jpeg`.
        content_type: String,
        /// The file.
        bytes: Bytes,
    },
    /// They must be fetched from the backend.
    File(FileRef),
    /// A text that the node said.
    Text(String),
}

/// What became of storing an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotResult {
    /// It is on disk.
    Stored(Kept),
    /// It is larger than allowed.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The backend has no such file.
    NotFound,
    /// It could not be fetched or stored.
    Unavailable(String),
    /// The gateway itself failed while it stored it.
    Failed,
}

/// Whether a run that ended well has what was expected of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Verdict {
    /// Something is still being stored.
    Wait,
    /// These are the outputs, in order.
    Complete(Vec<Output>),
    /// They are not what was expected, and another run would give the same.
    Fail(Failure),
    /// They are not what was expected, and another run may do better.
    Retry(Failure),
}

#[derive(Clone, PartialEq, Debug)]
struct Slot {
    node: String,
    index: u32,
    file: Option<FileRef>,
    result: Option<SlotResult>,
}

impl Slot {
    fn is_temporary(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.folder == "temp")
    }

    fn output(&self) -> Option<Output> {
        match &self.result {
            Some(SlotResult::Stored(kept)) => Some(Output {
                node_id: self.node.clone(),
                index: self.index,
                content_type: kept.content_type.clone(),
                filename: self.file.as_ref().map(|file| kept.renamed(&file.filename)),
                bytes: kept.bytes,
                sha256: kept.sha256.clone(),
                metadata_stripped: kept.metadata_stripped,
                origin: self.file.clone(),
            }),
            Some(
                SlotResult::TooLarge { .. } | SlotResult::NotFound | SlotResult::Unavailable(_) | SlotResult::Failed,
            )
            | None => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Bar {
    value: f64,
    max: f64,
    finished: bool,
}

/// The outputs of one run.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Harvest {
    nodes: BTreeSet<String>,
    websocket_nodes: BTreeSet<String>,
    declared: Option<Vec<String>>,
    slots: Vec<Slot>,
    bars: BTreeMap<String, Bar>,
    executing: BTreeSet<String>,
    /// The node that was heard of last.
    latest: Option<String>,
    cached: BTreeSet<String>,
    texts_of: BTreeSet<String>,
}

impl Harvest {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            nodes: plan.nodes.clone(),
            websocket_nodes: plan.websocket_nodes.clone(),
            declared: plan.declared.clone(),
            slots: Vec::new(),
            bars: BTreeMap::new(),
            executing: BTreeSet::new(),
            latest: None,
            cached: BTreeSet::new(),
            texts_of: BTreeSet::new(),
        }
    }

    pub(super) fn cached(&mut self, nodes: &[String]) {
        self.cached = nodes.iter().filter(|node| self.nodes.contains(*node)).cloned().collect();
    }

    pub(super) fn executing(&mut self, node: &str) {
        self.executing.insert(node.to_owned());
        self.latest = Some(node.to_owned());
    }

    pub(super) fn progress_state(&mut self, nodes: &[NodeProgress]) {
        for node in nodes {
            if !self.is_too_much(&node.node) {
                let bar = Bar { value: node.value, max: node.max, finished: node.finished };
                self.bars.insert(node.node.clone(), bar);
            }
        }
    }

    pub(super) fn bar_moved(&mut self, node: &str, value: f64, max: f64) {
        let finished = self.bars.get(node).is_some_and(|bar| bar.finished);
        if !self.is_too_much(node) {
            self.bars.insert(node.to_owned(), Bar { value, max, finished });
        }
        self.latest = Some(node.to_owned());
    }

    /// Returns the node that was heard of last, and how far it is.
    pub(super) fn at_node(&self) -> Option<NodeAdvance> {
        let node = self.latest.as_ref()?;
        let bar = self.bars.get(node).filter(|bar| bar.max > 0.0).map(|bar| (bar.value, bar.max));
        Some(NodeAdvance { id: self.node_of_graph(node), bar })
    }

    /// Returns an output once it is stored. What may turn out to be a preview only is told with the end.
    pub(super) fn output(&self, id: SlotId) -> Option<Output> {
        let slot = self.slots.get(id.0).filter(|slot| self.declared.is_some() || !slot.is_temporary())?;
        slot.output()
    }

    /// Returns how far the graph is, from 0 to 1: each node counts by how long it usually takes, or all the same.
    pub(super) fn progress(&self, plan: &Plan) -> f64 {
        advance::progress(plan, &self.cached, &self.bars)
    }

    /// Says whether nodes count in that by how long they usually take.
    pub(super) fn is_weighed(&self, plan: &Plan) -> bool {
        advance::is_weighed(plan, &self.cached)
    }

    /// Takes an image frame: a result if a `SaveImageWebsocket` node of this graph made it, else a preview.
    pub(super) fn frame(&mut self, frame: ImageFrame) -> Option<(SlotId, Source)> {
        let origin = frame.origin?;
        let made_by = |node: &String| self.websocket_nodes.contains(node);
        let node = [origin.node, origin.display_node].into_iter().find(made_by)?;
        if !self.may_be_wanted(&node) {
            return None;
        }
        // Its progress bar counts the images, from 0: a frame that comes twice finds its place taken.
        let index = match self.bars.get(&node) {
            Some(bar) => index_of(bar.value),
            None => self.frames_of(&node),
        };
        if self.slots.iter().any(|slot| slot.node == node && slot.index == index && slot.file.is_none()) {
            return None;
        }
        let source = Source::Frame { content_type: frame.content_type, bytes: frame.bytes };
        Some(self.add(node, index, None, source))
    }

    /// Takes a node's output, from an event or from the history; what is known already is passed over.
    pub(super) fn executed(&mut self, node: &str, output: NodeOutput) -> Vec<(SlotId, Source)> {
        let node = self.node_of_graph(node);
        if !self.may_be_wanted(&node) {
            return Vec::new();
        }
        let mut new = Vec::new();
        for file in output.files {
            let known = self.slots.iter().any(|slot| slot.node == node && slot.file.as_ref() == Some(&file));
            if !known && file.folder != "input" {
                let index = self.frames_of(&node);
                new.push(self.add(node.clone(), index, Some(file.clone()), Source::File(file)));
            }
        }
        if !output.texts.is_empty() && self.texts_of.insert(node.clone()) {
            for text in output.texts {
                let index = self.frames_of(&node);
                new.push(self.add(node.clone(), index, None, Source::Text(text)));
            }
        }
        new
    }

    pub(super) fn stored(&mut self, id: SlotId, result: SlotResult) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.result.get_or_insert(result);
        }
    }

    /// Returns what is stored so far, in the order of the final object.
    pub(super) fn stored_outputs(&self, plan: &Plan) -> Vec<Output> {
        self.wanted(plan).into_iter().filter_map(Slot::output).collect()
    }

    /// Judges a run that ended well. `heard`: every frame reached us; `warning`: why outputs may be missing.
    pub(super) fn verdict(&self, plan: &Plan, heard: bool, warning: Option<&Failure>) -> Verdict {
        let wanted = self.wanted(plan);
        for slot in &wanted {
            match &slot.result {
                Some(SlotResult::TooLarge { limit }) => return Verdict::Fail(too_large(slot, *limit)),
                Some(SlotResult::NotFound) => return Verdict::Fail(gone(slot)),
                Some(SlotResult::Unavailable(reason)) => return Verdict::Retry(unavailable(slot, reason)),
                Some(SlotResult::Failed) => return Verdict::Retry(not_stored(slot)),
                Some(SlotResult::Stored(_)) | None => {}
            }
        }
        if let Some(node) = self.lost_frames(plan, heard) {
            return Verdict::Retry(Failure::new(
                FailureCode::OutputMissing,
                format!("images of node `{node}` were sent while nobody could receive them"),
            ));
        }
        if wanted.iter().any(|slot| slot.result.is_none()) {
            return Verdict::Wait;
        }
        let outputs: Vec<Output> = wanted.into_iter().filter_map(Slot::output).collect();
        match missing(plan, &outputs) {
            None => Verdict::Complete(outputs),
            Some(failure) => Verdict::Fail(match warning {
                Some(reason) => {
                    Failure { message: format!("{}; {}", failure.message, reason.message), ..reason.clone() }
                }
                None => failure,
            }),
        }
    }

    /// Finds a node that sent images which did not reach us. A node that never ran has sent none.
    fn lost_frames(&self, plan: &Plan, heard: bool) -> Option<&str> {
        let is_wanted = |node: &&String| plan.declared.as_ref().is_none_or(|declared| declared.contains(node));
        self.websocket_nodes.iter().filter(is_wanted).map(String::as_str).find(|node| {
            let ran = self.executing.contains(*node) || self.bars.contains_key(*node);
            let sent = self.bars.get(*node).map_or(1, |bar| index_of(bar.max).max(1));
            (ran || !heard) && self.frames_of(node) < sent
        })
    }

    /// Returns the slots that belong into the result, in its order: the declared nodes as declared, else all nodes by
    /// id. Temporary files are previews: they count only where the workflow declares them, or has nothing else.
    fn wanted<'a>(&'a self, plan: &Plan) -> Vec<&'a Slot> {
        if let Some(declared) = &plan.declared {
            let mut wanted = Vec::new();
            for node in declared {
                wanted.extend(self.slots_of(node));
            }
            return wanted;
        }
        let all_temporary = self.slots.iter().all(Slot::is_temporary);
        let mut wanted: Vec<&Slot> = self.slots.iter().filter(|slot| all_temporary || !slot.is_temporary()).collect();
        wanted.sort_by_key(|slot| (slot.node.parse::<u64>().unwrap_or(u64::MAX), &slot.node, slot.index));
        wanted
    }

    fn slots_of(&self, node: &str) -> Vec<&Slot> {
        let mut slots: Vec<&Slot> = self.slots.iter().filter(|slot| slot.node == node).collect();
        slots.sort_by_key(|slot| slot.index);
        slots
    }

    fn frames_of(&self, node: &str) -> u32 {
        u32::try_from(self.slots.iter().filter(|slot| slot.node == node).count()).unwrap_or(u32::MAX)
    }

    /// Inner nodes of an expanded subgraph have ids such as `5.0.0.2`; their outputs belong to node `5`.
    fn node_of_graph(&self, node: &str) -> String {
        if self.nodes.contains(node) {
            return node.to_owned();
        }
        let outer = node.split('.').next().unwrap_or(node);
        if self.nodes.contains(outer) { outer.to_owned() } else { node.to_owned() }
    }

    /// Says whether a bar would be one too many: those of the graph's own nodes all have room, and some that they became.
    fn is_too_much(&self, node: &str) -> bool {
        let is_full = self.bars.len() >= self.nodes.len() + INNER;
        is_full && !self.nodes.contains(node) && !self.bars.contains_key(node)
    }

    /// Says whether the outputs of a node can come into the result: where the workflow declares its outputs, only theirs.
    fn may_be_wanted(&self, node: &String) -> bool {
        self.declared.as_ref().is_none_or(|declared| declared.contains(node))
    }

    fn add(&mut self, node: String, index: u32, file: Option<FileRef>, source: Source) -> (SlotId, Source) {
        self.slots.push(Slot { node, index, file, result: None });
        (SlotId(self.slots.len() - 1), source)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, NaN becomes 0")]
fn index_of(value: f64) -> u32 {
    value as u32
}
