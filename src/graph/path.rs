//! Where a value goes: a node and one of its inputs, also as a path, `6.text` or `6.inputs.text`.

use super::{Graph, PromptError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most dots of a path at which a node's id may end.
const MAX_DOTS: usize = 32;

/// An input of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The node's id.
    pub node: String,
    /// The name of its input.
    pub input: String,
}

impl Target {
    /// Makes one of its parts.
    pub fn new(node: impl Into<String>, input: impl Into<String>) -> Self {
        Self { node: node.into(), input: input.into() }
    }

    /// Reads a path. Ids and names may have dots themselves, so the graph says what is meant: the longest id fits first,
    /// and `inputs.` is passed over where the node has no input that is called so.
    pub fn parse(path: &str, graph: &Graph) -> Result<Self, PromptError> {
        let cuts =
            path.match_indices('.').take(MAX_DOTS).filter_map(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)));
        let mut cuts: Vec<(&str, &str)> = cuts.collect();
        let Some((first, _)) = cuts.first().copied() else {
            graph.find(path)?;
            return Err(PromptError::BadPath { path: path.to_owned() });
        };
        cuts.reverse();
        let Some((id, rest, node)) = cuts.into_iter().find_map(|(id, rest)| Some((id, rest, graph.node(id)?))) else {
            graph.find(first)?;
            return Err(PromptError::BadPath { path: path.to_owned() });
        };
        let input = match rest.strip_prefix("inputs.") {
            Some(name) if !node.inputs.contains_key(rest) => name,
            Some(_) | None => rest,
        };
        if input.is_empty() || rest == "inputs" && !node.inputs.contains_key(rest) {
            return Err(PromptError::BadPath { path: path.to_owned() });
        }
        Ok(Self::new(id, input))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(path: &str) -> Result<(String, String), (&'static str, String)> {
        let graph = json!({
            "6": {"class_type": "A", "inputs": {"text": "x", "resize.width": 1}},
            "57:8": {"class_type": "A", "inputs": {"inputs.x": 1}},
            "6.text": {"class_type": "A", "inputs": {"b": 1}},
        });
        let graph = Graph::from_value(graph).unwrap();
        Target::parse(path, &graph).map(|it| (it.node, it.input)).map_err(|error| (error.code(), error.to_string()))
    }

    #[test]
    fn a_path_is_read_as_the_graph_means_it() {
        for (path, node, input) in [
            ("6.cfg", "6", "cfg"),
            ("6.inputs.text", "6", "text"),
            ("6.resize.width", "6", "resize.width"),
            ("6.inputs.resize.width", "6", "resize.width"),
            ("57:8.inputs.x", "57:8", "inputs.x"),
            ("57:8.x", "57:8", "x"),
            ("6.text.b", "6.text", "b"),
        ] {
            assert_eq!(parse(path).unwrap(), (node.to_owned(), input.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_names_no_input_is_told_with_what_would() {
        let bad = |path: &str| {
            format!("`{path}` names no input: write the node's id and the input, such as `6.text` or `6.inputs.text`")
        };
        for path in ["6", "6.", "6.inputs", "6.inputs."] {
            assert_eq!(parse(path).unwrap_err(), ("bad_path", bad(path)), "{path}");
        }
        let unknown = "the graph has no node `66`; there are: 57:8, 6, 6.text".to_owned();
        assert_eq!(parse("66.inputs.text").unwrap_err(), ("unknown_node", unknown.clone()));
        assert_eq!(parse("66").unwrap_err(), ("unknown_node", unknown));
        assert_eq!(parse("").unwrap_err().0, "unknown_node");
    }
}
