//! The outputs that are wanted of a graph: nodes, each under a name; and the graph ready to be submitted.

use super::{Graph, PromptError};
use std::collections::{BTreeMap, BTreeSet};

/// The class whose images come over the socket and lie in no file.
const SOCKET_CLASS: &str = "SaveImageWebsocket";

/// The longest name of an input or output, in characters.
const MAX_NAME: usize = 128;

/// An output that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Its name; the node's id where none was given.
    pub alias: String,
    /// The node that makes it.
    pub node: String,
}

/// How an output is named: `"9"`, `"images:9"` or `("images", "9")`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputName<'a> {
    /// A node's id, or a name, a colon and a node's id.
    Text(&'a str),
    /// A name and a node's id.
    Named(&'a str, &'a str),
}

/// A graph ready to be submitted, and what is known about its outputs.
#[derive(Clone, PartialEq, Debug)]
pub struct Built {
    /// The graph.
    pub graph: Graph,
    /// The nodes whose outputs are the result; none: every output node.
    pub outputs: Option<Vec<String>>,
    /// The names of outputs by node, where they have one that is not the node's id.
    pub aliases: BTreeMap<String, String>,
    /// The nodes whose images come over the socket.
    pub websocket_nodes: BTreeSet<String>,
    /// The seeds that were drawn, by node.
    pub seeds: BTreeMap<String, u64>,
}

impl Built {
    pub(super) fn new(graph: Graph, outputs: &[Output], seeds: BTreeMap<String, u64>) -> Self {
        let is_socket = |class: &str| class == SOCKET_CLASS;
        let websocket_nodes =
            graph.nodes().filter(|(_, node)| is_socket(&node.class_type)).map(|(id, _)| id.to_owned()).collect();
        let named = outputs.iter().filter(|output| output.alias != output.node);
        Self {
            aliases: named.map(|output| (output.node.clone(), output.alias.clone())).collect(),
            outputs: (!outputs.is_empty()).then(|| outputs.iter().map(|output| output.node.clone()).collect()),
            graph,
            websocket_nodes,
            seeds,
        }
    }
}

impl Output {
    /// Finds out which node is meant.
    pub(super) fn find(name: OutputName<'_>, graph: &Graph) -> Result<Self, PromptError> {
        let (alias, node) = match name {
            OutputName::Named(alias, node) => (alias, node),
            // Nodes of subgraphs have a colon in their ids.
            OutputName::Text(text) if graph.node(text).is_some() => (text, text),
            OutputName::Text(text) => text.split_once(':').unwrap_or((text, text)),
        };
        graph.find(node)?;
        if alias != node {
            require_name("an output", alias)?;
        }
        Ok(Self { alias: alias.to_owned(), node: node.to_owned() })
    }

    /// Adds it to those that there are.
    pub(super) fn add_to(self, outputs: &mut Vec<Self>) -> Result<(), PromptError> {
        if let Some(first) = outputs.iter().find(|other| other.alias == self.alias || other.node == self.node) {
            let first = first.alias.clone();
            return Err(PromptError::DuplicateOutput { alias: self.alias, node: self.node, first });
        }
        outputs.push(self);
        Ok(())
    }
}

impl<'a> From<&'a str> for OutputName<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for OutputName<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<(&'a str, &'a str)> for OutputName<'a> {
    fn from((alias, node): (&'a str, &'a str)) -> Self {
        Self::Named(alias, node)
    }
}

/// Refuses a name that could not be written or shown.
pub(super) fn require_name(what: &'static str, name: &str) -> Result<(), PromptError> {
    let is_good = !name.trim().is_empty() && !name.chars().any(char::is_control) && name.chars().count() <= MAX_NAME;
    if is_good { Ok(()) } else { Err(PromptError::BadName { what, name: name.to_owned() }) }
}
