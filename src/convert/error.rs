//! Why a file cannot be converted: which node it is about, and how to mend it.

use crate::graph::GraphError;

/// Why a file as ComfyUI saves it cannot be converted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is no object with a list of nodes.
    #[error("a workflow as ComfyUI saves it is an object with a list `nodes`, but {found}")]
    NotAWorkflow {
        /// What was found instead.
        found: String,
    },
    /// It is in API format already.
    #[error("this is in API format already, it needs no conversion; use it as it is")]
    ApiFormat,
    /// Something in it is not what ComfyUI writes.
    #[error("{place} must be {expected}, but it is {found}; open the file in ComfyUI and save it again")]
    Malformed {
        /// What is wrong, such as ``` `links[3]` ```.
        place: String,
        /// What belongs there.
        expected: &'static str,
        /// What was found instead.
        found: &'static str,
        /// The node in which it stands.
        node: Option<String>,
    },
    /// A node is of a class that the server does not have.
    #[error(
        "node {node} ({title:?}) is of class `{class}`, which this ComfyUI does not have{hint}; install the nodes that \
         bring it, or mute or remove the node{others}"
    )]
    UnknownClass {
        /// The node's id, with those of the subgraphs around it: `12:3`.
        node: String,
        /// The node's title.
        title: String,
        /// Its class.
        class: String,
        /// The known classes that are near, as a part of the sentence.
        hint: String,
        /// How many more nodes are like that, as a part of the sentence.
        others: String,
    },
    /// A node is an instance of a subgraph that the file does not define.
    #[error(
        "node {node} ({title:?}) is an instance of the subgraph {subgraph}, which this file does not define; open the \
         file in ComfyUI and save it again"
    )]
    MissingSubgraph {
        /// The node's id.
        node: String,
        /// The node's title.
        title: String,
        /// The subgraph's id.
        subgraph: String,
    },
    /// A node is a group node of old whose parts the file does not have, or which cannot be taken apart.
    #[error(
        "node {node} ({title:?}) is a group node, of the kind that subgraphs have replaced: {why}; open the file in \
         ComfyUI, use \"Convert to nodes\" on it, and save"
    )]
    GroupNode {
        /// The node's id.
        node: String,
        /// The node's title.
        title: String,
        /// What is the matter with it.
        why: &'static str,
    },
    /// A link leads nowhere.
    #[error(
        "input `{input}` of node {node} ({title:?}) has a link that leads nowhere: {why}; open the file in ComfyUI, \
         connect the input again, and save"
    )]
    BrokenLink {
        /// The node's id.
        node: String,
        /// The node's title.
        title: String,
        /// The input's name.
        input: String,
        /// Where the trace ends.
        why: &'static str,
    },
    /// Links that pass through reroutes, bypassed nodes or subgraphs end where they began.
    #[error(
        "input `{input}` of node {node} ({title:?}) depends on itself through reroutes, bypassed nodes or subgraphs; \
         remove one link of the circle"
    )]
    Circle {
        /// The node's id.
        node: String,
        /// The node's title.
        title: String,
        /// The input's name.
        input: String,
    },
    /// A subgraph contains itself.
    #[error("the subgraph {name:?} contains itself; take its instance out of it")]
    RecursiveSubgraph {
        /// The subgraph's name.
        name: String,
    },
    /// The whole is too large to be a workflow.
    #[error("this workflow has more than {limit} {what}; that is more than a server could run")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much of it may be.
        limit: usize,
    },
    /// It was to be a graph in API format, and is none.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl ConvertError {
    /// Returns the code by which programs know this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAWorkflow { .. } => "not_a_workflow",
            Self::ApiFormat => "api_format",
            Self::Malformed { .. } => "malformed_workflow",
            Self::UnknownClass { .. } => "unknown_class",
            Self::MissingSubgraph { .. } => "missing_subgraph",
            Self::GroupNode { .. } => "group_node",
            Self::BrokenLink { .. } => "broken_link",
            Self::Circle { .. } => "circular_links",
            Self::RecursiveSubgraph { .. } => "recursive_subgraph",
            Self::TooLarge { .. } => "workflow_too_large",
            Self::Graph(_) => "invalid_graph",
        }
    }

    /// Returns the node at fault, with the ids of the subgraphs around it: `12:3`.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::UnknownClass { node, .. }
            | Self::MissingSubgraph { node, .. }
            | Self::GroupNode { node, .. }
            | Self::BrokenLink { node, .. }
            | Self::Circle { node, .. } => Some(node),
            Self::Malformed { node, .. } => node.as_deref(),
            Self::Graph(error) => error.node(),
            Self::NotAWorkflow { .. } | Self::ApiFormat | Self::RecursiveSubgraph { .. } | Self::TooLarge { .. } => {
                None
            }
        }
    }
}
