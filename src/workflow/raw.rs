//! A graph that came with a request instead of the name of a workflow: read within limits, its outputs found, its seeds drawn.
//! It becomes a pair of its own, so that it is stored and built like any other.

use super::mapping;
use super::pair::{Files, Pair};
use crate::definitions::Definitions;
use crate::graph::{Graph, GraphError, is_link, is_seed};
use crate::job::Request;
use crate::names::{shown, there_are};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most nodes of a graph that came with a request. The largest workflows that people draw have some hundreds.
const MAX_NODES: usize = 5000;

/// How deep an input's value may nest.
const MAX_DEPTH: usize = 16;

/// The most outputs that are declared.
const MAX_OUTPUTS: usize = 500;

/// Seeds are drawn from the whole numbers that every reader of JSON can hold and give back.
const DRAWN: u64 = (1 << 53) - 1;

/// A graph that came with a request.
#[derive(Clone, PartialEq, Debug)]
pub struct RawGraph {
    graph: Graph,
    outputs: Vec<(String, Option<String>)>,
    warnings: Vec<String>,
}

/// Why a graph is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RawError {
    /// It is no graph.
    #[error("graph: {0}")]
    Graph(#[from] GraphError),
    /// It is in UI format, and no backend has described its nodes yet.
    #[error(
        "graph: this is a workflow as ComfyUI saves it (UI format), and no backend has told its node definitions yet, \
         with which it is converted: send it again soon, or send the API format"
    )]
    NoDefinitions,
    /// It is in UI format and cannot be converted.
    #[error("graph: {0}")]
    Convert(String),
    /// It has too many nodes.
    #[error("graph: it has {0} nodes; at most {MAX_NODES} are taken")]
    TooManyNodes(usize),
    /// A value nests too deep.
    #[error("graph: an input of node `{node}` is nested deeper than {MAX_DEPTH}")]
    TooDeep {
        /// The node.
        node: String,
    },
    /// A link leads nowhere.
    #[error("graph: input `{input}` of node `{node}` comes from node `{from}`, which is not there")]
    BrokenLink {
        /// The node.
        node: String,
        /// Its input.
        input: String,
        /// What it names.
        from: String,
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
    pub fn read(text: &str, _definitions: &Definitions) -> Result<Self, RawError> {
        let graph = Graph::parse(text)?;
        let count = graph.nodes().count();
        if count > MAX_NODES {
            return Err(RawError::TooManyNodes(count));
        }
        for (id, node) in graph.nodes() {
            for (input, value) in &node.inputs {
                if is_deeper(value, MAX_DEPTH) {
                    return Err(RawError::TooDeep { node: shown(id) });
                }
                let from = value.get(0).and_then(Value::as_str).filter(|_| is_link(value));
                if let Some(from) = from.filter(|from| graph.node(from).is_none()) {
                    let (node, input, from) = (shown(id), shown(input), shown(from));
                    return Err(RawError::BrokenLink { node, input, from });
                }
            }
        }
        Ok(Self { graph, outputs: Vec::new(), warnings: Vec::new() })
    }

    /// Declares an output: `9`, or `images:9`, which gives it a name.
    pub fn output(&mut self, text: &str) -> Result<(), RawError> {
        // Nodes of subgraphs have a colon in their ids.
        let (name, node) = match text.split_once(':') {
            Some((name, node)) if self.graph.node(text).is_none() => (Some(name), node),
            Some(_) | None => (None, text),
        };
        let wrong = |reason: String| Err(RawError::Output(reason));
        if self.graph.node(node).is_none() {
            let known = there_are(self.graph.nodes().map(|(id, _)| id));
            return wrong(format!("the graph has no node `{}`{known}", shown(node)));
        }
        if let Some(reason) = name.and_then(mapping::wrong_output_name) {
            return wrong(reason);
        }
        if self.outputs.len() >= MAX_OUTPUTS {
            return wrong(format!("there are more than {MAX_OUTPUTS}; leave them out to get every output"));
        }
        let name = name.map(str::to_owned);
        if self.outputs.iter().any(|(known, alias)| known == node || (alias.is_some() && *alias == name)) {
            return wrong(format!("`{}` has a node or a name that is there already: keep one", shown(text)));
        }
        self.outputs.push((node.to_owned(), name));
        Ok(())
    }

    /// Puts a drawn seed in the place of every `-1` in an input that holds one, and returns them by node; several seeds of
    /// one node are one.
    pub fn draw_seeds(&mut self, mut draw: impl FnMut() -> u64) -> BTreeMap<String, u64> {
        let is_wish = |name: &str, value: &Value| is_seed(name) && value.as_f64() == Some(-1.0);
        let wishes = self.graph.nodes().flat_map(|(id, node)| {
            let wishes = node.inputs.iter().filter(|(name, value)| is_wish(name, value));
            wishes.map(move |(name, _)| (id.to_owned(), name.clone()))
        });
        let mut seeds = BTreeMap::new();
        for (node, input) in wishes.collect::<Vec<_>>() {
            let seed = *seeds.entry(node.clone()).or_insert_with(|| draw() & DRAWN);
            // It was there a moment ago.
            let _ = self.graph.set(&node, &input, json!(seed));
        }
        seeds
    }

    /// Returns what was odd about it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Makes it a workflow that nobody else can ask for. `whose` keeps its revision apart from all others.
    pub fn into_pair(self, whose: &str) -> Result<Pair, RawError> {
        let outputs: Vec<Value> = self
            .outputs
            .iter()
            .map(|(node, name)| match name {
                Some(name) => json!({ "node_id": node, "name": name }),
                None => json!({ "node_id": node }),
            })
            .collect();
        let mut config = json!({ "node_mappings": {}, "description": format!("came with request {whose}") });
        if !outputs.is_empty() {
            config["outputs"] = Value::Array(outputs);
        }
        let files = Files { config: "the request".to_owned(), template: "the request's graph".to_owned() };
        // Not through a `Value`, which would put the nodes in another order.
        let text = serde_json::to_string(&self.graph).map_err(|error| RawError::Unusable(error.to_string()))?;
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
