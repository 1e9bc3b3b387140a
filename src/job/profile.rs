//! How a run went: how long it waited and ran, and which of its nodes took how long. What a receiver is told of it is its brief;
//! the whole is asked for on its own.

use super::StructureHash;
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::Arc;

/// How many of the slowest nodes are in the brief.
const SLOWEST: usize = 5;

/// Hears how each run went that has ended its job. It must not wait.
pub type Learn = Arc<dyn Fn(&Ran) + Send + Sync>;

/// A run that has ended its job.
#[derive(Clone, PartialEq, Debug)]
pub struct Ran {
    /// What its graph is.
    pub structure: StructureHash,
    /// How it went.
    pub profile: Profile,
    /// It ended well.
    pub is_success: bool,
    /// When.
    pub at: Timestamp,
}

/// How a run went. Times are those at which the gateway heard of something; where it could not listen all the time, `run_ms` is
/// what the backend's history says, if it says so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// The backend's name.
    pub backend: String,
    /// Which run of the job it was, from 1.
    pub run: u32,
    /// From the job's acceptance to the beginning of the run, in milliseconds; other runs may have been before it.
    pub queued_ms: u64,
    /// How much of that the run waited in the backend's own queue, in milliseconds; none where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<u64>,
    /// How long the backend executed it, in milliseconds; fetching the outputs is not in it.
    pub run_ms: u64,
    /// How many nodes of the graph ran, as far as was heard.
    pub nodes_executed: usize,
    /// How many nodes of the graph did not run, since the backend had their results.
    pub nodes_cached: usize,
    /// Not all of it was heard, so that nodes and times may be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// `run_ms` is what the history says.
    #[serde(skip)]
    pub is_from_history: bool,
    /// The nodes that ran, in the order in which they began; of very many only the slowest.
    pub nodes: Vec<NodeTime>,
}

/// How long a node of the graph took. Nodes that it was expanded into count as its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeTime {
    /// Its id in the graph.
    pub id: String,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The title that its author gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it began, in milliseconds after the run did.
    pub at_ms: u64,
    /// How long it ran, in milliseconds.
    pub ms: u64,
}

/// What a node of a graph is called.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeLabel {
    /// Its class.
    pub class: String,
    /// The title that its author gave it.
    pub title: Option<String>,
}

impl Profile {
    /// Says whether the time that the run took may be learnt from: something ran, and it is known how long.
    pub fn is_telling(&self) -> bool {
        self.nodes_executed > 0 && (!self.partial || self.is_from_history)
    }

    /// Returns what goes into the final object of the job: all but the nodes, of which only the slowest.
    pub fn brief(&self) -> Value {
        let mut slowest: Vec<&NodeTime> = self.nodes.iter().collect();
        slowest.sort_by_key(|node| Reverse(node.ms));
        slowest.truncate(SLOWEST);
        let slowest: Vec<Value> = slowest.into_iter().map(NodeTime::brief).collect();
        let mut brief = json!({
            "backend": self.backend,
            "run": self.run,
            "queued_ms": self.queued_ms,
            "run_ms": self.run_ms,
            "nodes_executed": self.nodes_executed,
            "nodes_cached": self.nodes_cached,
            "slowest": slowest,
        });
        if let Some(waited_ms) = self.waited_ms {
            brief["waited_ms"] = json!(waited_ms);
        }
        if self.partial {
            brief["partial"] = json!(true);
        }
        brief
    }
}

impl NodeTime {
    fn brief(&self) -> Value {
        let mut brief = json!({ "id": self.id, "ms": self.ms });
        if let Some(class) = &self.class {
            brief["class"] = json!(class);
        }
        if let Some(title) = &self.title {
            brief["title"] = json!(title);
        }
        brief
    }
}
