//! What the machine is told, and what it answers: the plan of a run, what happens to it, what is to be done for it.

use super::super::evidence::Evidence;
use super::super::harvest::{SlotId, SlotResult, Source};
use crate::clock::Timestamp;
use crate::comfy::event::Event;
use crate::job::{Failure, JobId, Limits, NodeLabel, Outcome, PromptId};
use crate::store::Refused;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What must be known of a run before it is submitted.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and none excludes another")]
pub struct Plan {
    /// The job.
    pub job: JobId,
    /// Which run of the job this is.
    pub number: u32,
    /// ComfyUI's name for it.
    pub prompt: PromptId,
    /// Where it runs.
    pub backend: String,
    /// Which of the job's variants this is, from 0.
    pub variant: u32,
    /// The ways in which the job cannot run.
    pub refused: Vec<Refused>,
    /// Whether there is a backend besides this one that has not refused the job, as one of its variants at least.
    pub elsewhere: bool,
    /// Whether one of those may run this very variant.
    pub alike: bool,
    /// Whether this backend has not refused the job as some other of its variants.
    pub otherwise: bool,
    /// Whether one may still join that can run the job.
    pub may_join: bool,
    /// The ids of the submitted graph's nodes.
    pub nodes: BTreeSet<String>,
    /// What those nodes are called.
    pub labels: Arc<BTreeMap<String, NodeLabel>>,
    /// How long each of them usually takes, in milliseconds; empty where that is not known.
    pub weights: Arc<BTreeMap<String, f64>>,
    /// How long such a run usually takes there; none where that is not known.
    pub usual: Option<Duration>,
    /// Those of them that send their images over the socket only.
    pub websocket_nodes: BTreeSet<String>,
    /// The nodes whose outputs the workflow declares; none: every output node's.
    pub declared: Option<Vec<String>>,
    /// How many images the caller expects.
    pub expected_images: Option<u32>,
    /// The limits in force.
    pub limits: Limits,
    /// Since when the job waits in queues: since it was accepted, or was put back after a run that counts.
    pub queued_since: Timestamp,
    /// Whether the job may be tried once more after this run.
    pub may_retry: bool,
}

impl Plan {
    /// Returns the node of the graph that `node` is or belongs to: what a node is expanded into has ids such as `5.0.0.2`.
    pub(in crate::tracker) fn node_of_graph(&self, node: &str) -> Option<&str> {
        let known = |id: &str| self.nodes.get(id).map(String::as_str);
        known(node).or_else(|| known(node.split('.').next()?))
    }
}

/// One thing that happened to a run.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The socket said something.
    Event(Event),
    /// The socket is in the middle of something long, which may be of this run.
    Receiving,
    /// Its input images are being brought to the backend, or are there: then its prompt is sent.
    Placing(bool),
    /// `POST /prompt` ended.
    Submitted(SubmitResult),
    /// Somebody asked `/queue`, then `/history`.
    Evidence(Evidence),
    /// An output was stored, or could not be.
    Stored(SlotId, SlotResult),
    /// The socket that this run's events go to is gone; from now on they are not heard.
    SocketLost {
        /// Another prompt of ours was running on the backend until then.
        another_ran: bool,
    },
    /// A socket is there again, under another client id.
    SocketUp,
    /// The caller wants it cancelled.
    Cancel,
    /// A deadline has passed, perhaps.
    Tick,
}

/// How `POST /prompt` ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SubmitResult {
    /// ComfyUI took it; some outputs may have been refused for this reason.
    Accepted(Option<Failure>),
    /// ComfyUI refused the whole graph.
    Refused(Failure),
    /// This ComfyUI lacks something that the graph needs, and another one may have it.
    Incompatible(Failure),
    /// It surely did not reach ComfyUI.
    Unreachable(String),
    /// It was not sent, since its input images could not be brought, which is no fault of the ComfyUI: it is the job's.
    NotPlaced(Failure),
    /// It was not sent, since its run had ended before.
    GivenUp,
    /// It may or may not have been queued: the answer says neither.
    Ambiguous(String),
    /// The same, by a fault of the gateway's own: it says nothing about the backend.
    Failed(String),
    /// It may or may not have been queued: no answer came.
    Unanswered(String),
}

/// Something to be done for a run.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Note that execution has begun.
    Started,
    /// Ask `/queue`, then `/history/{id}`, and answer with [`Input::Evidence`].
    LookUp,
    /// The socket says nothing though it should: replace it.
    Reconnect,
    /// Delete the prompt from ComfyUI's queue and interrupt it, by its id only.
    StopUpstream,
    /// Store an output and answer with [`Input::Stored`].
    Collect(SlotId, Source),
    /// The job has ended.
    Finish(Outcome),
    /// Another run may do better; `counts` says whether this one was a try.
    Requeue {
        /// Why.
        failure: Failure,
        /// Whether the run was a try: it reached a backend and may be what made it fall.
        counts: bool,
    },
    /// This backend cannot run the job as it is, and another one may, or this one another variant.
    Elsewhere {
        /// What it lacks.
        failure: Failure,
        /// Whether that took a run, which was a try.
        counts: bool,
    },
}
