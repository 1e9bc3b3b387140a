//! Tells which of ComfyUI's two formats a text is in, and reads it: the only place where the two part.

use super::{ConvertError, Converted, convert};
use crate::definitions::Definitions;
use crate::graph::{Graph, GraphError};
use crate::lenient::{self, unmarked};
use serde_json::Value;

/// A text that is in one of ComfyUI's formats.
#[derive(Clone, PartialEq, Debug)]
pub enum Format {
    /// As ComfyUI executes it (API format).
    Executed(Graph),
    /// As ComfyUI saves it (UI format), still to be converted.
    Saved(Saved),
}

/// A workflow as ComfyUI saves it.
#[derive(Clone, PartialEq, Debug)]
pub struct Saved(Value);

/// Reads a text in either format. In UI format, what Python writes and JSON does not know is no obstacle.
pub fn read(text: &str) -> Result<Format, GraphError> {
    match lenient::parse(unmarked(text)).ok().filter(is_ui_format) {
        Some(saved) => Ok(Format::Saved(Saved(saved))),
        None => Graph::parse(text).map(Format::Executed),
    }
}

/// Says whether a file is a workflow as ComfyUI saves it: an object with a list of nodes.
pub fn is_ui_format(value: &Value) -> bool {
    value.get("nodes").is_some_and(Value::is_array)
}

impl Saved {
    /// Converts it into a graph, with the node definitions of a server.
    pub fn convert(&self, definitions: &Definitions) -> Result<Converted, ConvertError> {
        convert(&self.0, definitions)
    }

    /// Returns it as it was read.
    pub fn as_value(&self) -> &Value {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_nodes_makes_a_text_one_that_was_saved() {
        for text in [r#"{"nodes": []}"#, "\u{feff}{\"nodes\": [], \"extra\": NaN}"] {
            assert!(matches!(read(text), Ok(Format::Saved(_))), "{text}");
        }
        let Ok(Format::Executed(graph)) = read(r#"{"nodes": {"class_type": "A"}}"#) else { panic!("it is a graph") };
        assert_eq!(graph.node("nodes").unwrap().class_type, "A");
    }

    #[test]
    fn what_is_in_neither_format_is_told_as_a_graph_is() {
        for text in ["{\"nodes\": [", "[]", "{}", r#"{"1": {"class_type": "A", "inputs": {"x": NaN}}}"#] {
            assert_eq!(read(text), Graph::parse(text).map(Format::Executed));
            assert!(read(text).is_err(), "{text}");
        }
    }
}
