//! Why a text is not a graph in API format, told so that its author can mend it.

/// Why a text is not a graph in API format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GraphError {
    /// The text is not JSON.
    #[error("not valid JSON: {reason} (line {line}, column {column}); is the file complete?")]
    NotJson {
        /// Where reading stopped, from 1.
        line: usize,
        /// Where reading stopped, from 1.
        column: usize,
        /// What was wrong there.
        reason: String,
    },
    /// The JSON is a list or a scalar.
    #[error("a graph is an object of nodes by id, but this is {found}")]
    NotAnObject {
        /// What was found instead.
        found: &'static str,
    },
    /// The text is what ComfyUI saves, not what it executes.
    #[error(
        "this is a workflow as ComfyUI saves it (UI format), not as it executes it: convert it with `comfygate convert`, \
         or open it in ComfyUI and use Workflow > Export (API)"
    )]
    UiFormat,
    /// There is no node.
    #[error("the graph has no nodes")]
    Empty,
    /// A node is a list or a scalar.
    #[error("node `{node}` must be an object with `class_type` and `inputs`, but it is {found}")]
    NodeNotAnObject {
        /// The node's id.
        node: String,
        /// What was found instead.
        found: &'static str,
    },
    /// A node does not say what kind it is.
    #[error("node `{node}` has no `class_type`; every node of the API format names its class in a text")]
    NoClassType {
        /// The node's id.
        node: String,
    },
    /// A node's inputs are not an object.
    #[error("`inputs` of node `{node}` must be an object, but it is {found}")]
    InputsNotAnObject {
        /// The node's id.
        node: String,
        /// What was found instead.
        found: &'static str,
    },
    /// There is no such node.
    #[error("the graph has no node `{node}`")]
    NoSuchNode {
        /// The id that was asked for.
        node: String,
    },
}

impl GraphError {
    /// Returns the line of the text on which the fault lies, where it is known.
    pub fn line(&self) -> Option<usize> {
        if let Self::NotJson { line, .. } = self { Some(*line) } else { None }
    }

    /// Returns the node at fault.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::NodeNotAnObject { node, .. }
            | Self::NoClassType { node }
            | Self::InputsNotAnObject { node, .. }
            | Self::NoSuchNode { node } => Some(node),
            Self::NotJson { .. } | Self::NotAnObject { .. } | Self::UiFormat | Self::Empty => None,
        }
    }
}
