//! A graph that came with a request instead of the name of a workflow: read within limits, its outputs found, its seeds drawn.
//! It becomes a pair of its own, so that it is stored and built like any other.

use super::fields;
use super::pair::{Files, Pair};
use crate::convert::{ConvertError, Converted, Format, read};
use crate::definitions::Definitions;
use crate::graph::{Graph, PromptError, Workflow};
use crate::job::Request;
use crate::names::shown;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most nodes of a graph that came with a request. The largest workflows that people draw have some hundreds.
const MAX_NODES: usize = 5000;

/// How deep an input's value may nest.
const MAX_DEPTH: usize = 16;

/// The most outputs that are declared.
const MAX_OUTPUTS: usize = 500;

/// A graph that came with a request.
#[derive(Clone, PartialEq, Debug)]
pub struct RawGraph {
    edited: Workflow,
    warnings: Vec<String>,
}

/// Why a graph is not taken.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RawError {
    /// It is no graph, or one that cannot be executed.
    #[error("graph: {0}")]
    Graph(#[from] PromptError),
    /// It is in UI format, and no backend has described its nodes yet.
    #[error(
        "graph: this is a workflow as ComfyUI saves it (UI format), and no backend has told its node definitions yet, \
         with which it is converted: send it again soon, or send the API format"
    )]
    NoDefinitions,
    /// It is in UI format and cannot be converted.
    #[error("graph: {0}")]
    Convert(#[from] ConvertError),
    /// It has too many nodes.
    #[error("graph: it has {0} nodes; at most {MAX_NODES} are taken")]
    TooManyNodes(usize),
    /// A value nests too deep.
    #[error("graph: an input of node `{node}` is nested deeper than {MAX_DEPTH}")]
    TooDeep {
        /// The node.
        node: String,
    },
    /// It could be read, and cannot be kept.
    #[error("graph: {0}")]
    Unusable(String),
    /// An output is not what can be one.
    #[error("outputs: {0}")]
    Output(String),
}

impl RawGraph {
    /// Reads a graph from JSON text: API format, or UI format where `definitions` has its nodes.
    pub fn read(text: &str, definitions: &Definitions) -> Result<Self, RawError> {
        let Converted { graph, warnings } = match read(text).map_err(PromptError::from)? {
            Format::Executed(graph) => Converted { graph, warnings: Vec::new() },
            Format::Saved(_) if definitions.is_empty() => return Err(RawError::NoDefinitions),
            Format::Saved(saved) => saved.convert(definitions)?,
        };
        Ok(Self { warnings, ..Self::of(graph, definitions)? })
    }

    /// Takes a graph that was read already.
    pub fn of(graph: Graph, definitions: &Definitions) -> Result<Self, RawError> {
        let count = graph.nodes().count();
        if count > MAX_NODES {
            return Err(RawError::TooManyNodes(count));
        }
        let is_deep =
            |(_, node): &(&str, &crate::graph::Node)| node.inputs.values().any(|value| is_deeper(value, MAX_DEPTH));
        if let Some((id, _)) = graph.nodes().find(is_deep) {
            return Err(RawError::TooDeep { node: shown(id) });
        }
        Ok(Self { edited: Workflow::of(graph).with_definitions(definitions), warnings: Vec::new() })
    }

    /// Returns what the caller should know of its conversion, a sentence each, a hundred at most.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Declares an output: `9`, or `images:9`, which gives it a name.
    pub fn output(&mut self, text: &str) -> Result<(), RawError> {
        if self.edited.outputs().len() >= MAX_OUTPUTS {
            let reason = format!("there are more than {MAX_OUTPUTS}; leave them out to get every output");
            return Err(RawError::Output(reason));
        }
        self.edited.output(text).map_err(|error| RawError::Output(error.to_string()))?;
        let named = self.edited.outputs().last().filter(|output| output.alias != output.node);
        match named.and_then(|output| fields::wrong_output_name(&output.alias)) {
            Some(reason) => Err(RawError::Output(reason)),
            None => Ok(()),
        }
    }

    /// Declares an output that a workflow has declared, whose name is good; one that has no name is called as its node.
    pub fn declare(&mut self, name: &str, node: &str) -> Result<(), RawError> {
        self.edited.output((name, node)).map(drop).map_err(|error| RawError::Output(error.to_string()))
    }

    /// Puts a drawn seed in the place of every `-1` in an input that holds one, and returns them by node; several seeds of
    /// one node are one.
    pub fn draw_seeds(&mut self, draw: impl FnMut() -> u64) -> BTreeMap<String, u64> {
        self.edited.draw_seeds(draw).clone()
    }

    /// Makes it a workflow that nobody else can ask for. `whose` keeps its revision apart from all others.
    pub fn into_pair(self, whose: &str) -> Result<Pair, RawError> {
        let built = self.edited.build()?;
        let output = |node: String| match built.aliases.get(&node) {
            Some(name) => json!({ "node_id": node, "name": name }),
            None => json!({ "node_id": node }),
        };
        let mut config = json!({ "node_mappings": {}, "description": format!("came with request {whose}") });
        if let Some(outputs) = built.outputs {
            config["outputs"] = Value::Array(outputs.into_iter().map(output).collect());
        }
        let files = Files { config: "the request".to_owned(), template: "the request's graph".to_owned() };
        // Not through a `Value`, which would put the nodes in another order.
        let text = serde_json::to_string(&built.graph).map_err(|error| RawError::Unusable(error.to_string()))?;
        Pair::of_request(Request::GRAPH, &config.to_string(), &text, &files)
            .map_err(|problems| RawError::Unusable(problems.first().map(ToString::to_string).unwrap_or_default()))
    }
}

fn is_deeper(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(items) => most == 0 || items.iter().any(|item| is_deeper(item, most - 1)),
        Value::Object(members) => most == 0 || members.values().any(|member| is_deeper(member, most - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
