//! What can be wrong with a graph that is edited or filled: typed, with a stable code, and a text that names the node,
//! the input and the nearest known one.

use super::{Graph, GraphError, Node};
use crate::names::{hint, shown, there_are};

/// Why a graph could not be changed, filled or built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PromptError {
    /// The text is no graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// No node has this id.
    #[error("the graph has no node `{}`{hint}", shown(.node))]
    UnknownNode {
        /// The id that was asked for.
        node: String,
        /// The nearest one, or those that there are.
        hint: String,
    },
    /// A title or a class fits no node.
    #[error("the graph has no node with the {by} `{}`{hint}", shown(.wanted))]
    NothingFits {
        /// What was looked at: `title` or `class`.
        by: &'static str,
        /// What was asked for.
        wanted: String,
        /// The nearest one, or those that there are.
        hint: String,
    },
    /// A title or a class fits more than one node.
    #[error("{} nodes have the {by} `{}` ({}): name one of them by its id", .nodes.len(), shown(.wanted), .nodes.join(", "))]
    SeveralFit {
        /// What was looked at: `title` or `class`.
        by: &'static str,
        /// What was asked for.
        wanted: String,
        /// The nodes that fit.
        nodes: Vec<String>,
    },
    /// A path names no input.
    #[error("`{}` names no input: write the node's id and the input, such as `6.text` or `6.inputs.text`", shown(.path))]
    BadPath {
        /// The path.
        path: String,
    },
    /// A node has no input of this name.
    #[error("node `{}` ({}) has no input `{}`{hint}", shown(.node), shown(.class_type), shown(.input))]
    UnknownInput {
        /// The node.
        node: String,
        /// Its class.
        class_type: String,
        /// The input that was asked for.
        input: String,
        /// The nearest one, or those that there are.
        hint: String,
    },
    /// The input gets its value from another node.
    #[error(
        "input `{}` of node `{}` ({}) comes from node `{}` by a link: set the input where the value is written, or \
         replace the link by `force`",
        shown(.input), shown(.node), shown(.class_type), shown(.from)
    )]
    Linked {
        /// The node.
        node: String,
        /// Its class.
        class_type: String,
        /// The input.
        input: String,
        /// Where its value comes from.
        from: String,
    },
    /// A list was given as a value.
    #[error(
        "input `{}` of node `{}` cannot be a list, which ComfyUI takes for a link: make links by `connect`, and write a \
         list of values as {{\"__value__\": [...]}}",
        shown(.input), shown(.node)
    )]
    NotAValue {
        /// The node.
        node: String,
        /// The input.
        input: String,
    },
    /// A link comes from a node that is not there.
    #[error("input `{}` of node `{}` is linked to node `{}`, which the graph does not have{hint}", shown(.input), shown(.node), shown(.from))]
    DanglingLink {
        /// The node that has the link.
        node: String,
        /// Its input.
        input: String,
        /// The node that is not there.
        from: String,
        /// The nodes that there are.
        hint: String,
    },
    /// Nodes wait for each other.
    #[error("nodes feed each other in a circle, so that none could run first: {}", circle(.nodes))]
    Cycle {
        /// The nodes of one circle, each feeding the next and the last one the first.
        nodes: Vec<String>,
    },
    /// A node cannot be bypassed, as one of its outputs would be fed by nothing.
    #[error(
        "node `{}` ({}) cannot be bypassed: {reason}, so nothing would feed input `{}` of node `{}`",
        shown(.node), shown(.class_type), shown(.input), shown(.consumer)
    )]
    NotBypassable {
        /// The node.
        node: String,
        /// Its class.
        class_type: String,
        /// The node that would lose an input.
        consumer: String,
        /// That input.
        input: String,
        /// Why nothing fits.
        reason: String,
    },
    /// A node that is declared as an output was to go.
    #[error("node `{}` is declared as the output `{}`, so it must stay", shown(.node), shown(.alias))]
    DeclaredOutput {
        /// The node.
        node: String,
        /// The name of the output.
        alias: String,
    },
    /// Two outputs have the same name or the same node.
    #[error("output `{}` names node `{}`, and so does `{}` already, or it has the same name: keep one", shown(.alias), shown(.node), shown(.first))]
    DuplicateOutput {
        /// The name of the output.
        alias: String,
        /// Its node.
        node: String,
        /// The name of the one before.
        first: String,
    },
    /// An input or output needs a name.
    #[error("{what} needs a name of 1 to 128 printable characters, not `{}`", shown(.name))]
    BadName {
        /// `an input` or `an output`.
        what: &'static str,
        /// What was given.
        name: String,
    },
    /// No named input is called so.
    #[error("there is no input called `{}`{hint}", shown(.name))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// The nearest one, or those that there are.
        hint: String,
    },
    /// Two named inputs set the same input of a node.
    #[error("input `{}` of node `{}` is set by `{}` already: keep one", shown(.input), shown(.node), shown(.first))]
    DuplicateTarget {
        /// The node.
        node: String,
        /// The input.
        input: String,
        /// The named input that has it already.
        first: String,
    },
    /// A named input sets nothing.
    #[error("it sets nothing: name at least one node and input, such as `6.text`")]
    NoTarget,
    /// Something is wrong with a named input or output.
    #[error("{what} `{}`: {error}", shown(.name))]
    Mapping {
        /// `input` or `output`.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        error: Box<PromptError>,
    },
}

impl PromptError {
    /// Returns the stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Graph(GraphError::NotJson { .. }) => "not_json",
            Self::Graph(GraphError::UiFormat) => "ui_format",
            Self::Graph(GraphError::Empty) => "empty_graph",
            Self::Graph(
                GraphError::NotAnObject { .. }
                | GraphError::Wrapped { .. }
                | GraphError::NodeNotAnObject { .. }
                | GraphError::NoClassType { .. }
                | GraphError::InputsNotAnObject { .. },
            ) => "not_a_graph",
            Self::Graph(GraphError::NoSuchNode { .. }) | Self::UnknownNode { .. } | Self::NothingFits { .. } => {
                "unknown_node"
            }
            Self::SeveralFit { .. } => "ambiguous_node",
            Self::BadPath { .. } => "bad_path",
            Self::UnknownInput { .. } => "unknown_input",
            Self::Linked { .. } => "linked_input",
            Self::NotAValue { .. } => "not_a_value",
            Self::DanglingLink { .. } => "dangling_link",
            Self::Cycle { .. } => "cycle",
            Self::NotBypassable { .. } => "not_bypassable",
            Self::DeclaredOutput { .. } => "declared_output",
            Self::DuplicateOutput { .. } => "duplicate_output",
            Self::BadName { .. } => "bad_name",
            Self::UnknownName { .. } => "unknown_name",
            Self::DuplicateTarget { .. } => "duplicate_target",
            Self::NoTarget => "no_target",
            Self::Mapping { error, .. } => error.code(),
        }
    }

    /// Returns the node that it is about.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Graph(error) => error.node(),
            Self::UnknownNode { node, .. }
            | Self::UnknownInput { node, .. }
            | Self::Linked { node, .. }
            | Self::NotAValue { node, .. }
            | Self::DanglingLink { node, .. }
            | Self::NotBypassable { node, .. }
            | Self::DeclaredOutput { node, .. }
            | Self::DuplicateOutput { node, .. }
            | Self::DuplicateTarget { node, .. } => Some(node),
            Self::Cycle { nodes } => nodes.first().map(String::as_str),
            Self::Mapping { error, .. } => error.node(),
            Self::NothingFits { .. }
            | Self::SeveralFit { .. }
            | Self::BadPath { .. }
            | Self::BadName { .. }
            | Self::UnknownName { .. }
            | Self::NoTarget => None,
        }
    }

    /// Returns the input of that node that it is about.
    pub fn input(&self) -> Option<&str> {
        match self {
            Self::UnknownInput { input, .. }
            | Self::Linked { input, .. }
            | Self::NotAValue { input, .. }
            | Self::DanglingLink { input, .. }
            | Self::DuplicateTarget { input, .. } => Some(input),
            Self::Mapping { error, .. } => error.input(),
            Self::Graph(_)
            | Self::UnknownNode { .. }
            | Self::NothingFits { .. }
            | Self::SeveralFit { .. }
            | Self::BadPath { .. }
            | Self::Cycle { .. }
            | Self::NotBypassable { .. }
            | Self::DeclaredOutput { .. }
            | Self::DuplicateOutput { .. }
            | Self::BadName { .. }
            | Self::UnknownName { .. }
            | Self::NoTarget => None,
        }
    }

    /// Says to which named input or output it belongs.
    pub(super) fn of(self, what: &'static str, name: &str) -> Self {
        Self::Mapping { what, name: name.to_owned(), error: Box::new(self) }
    }
}

impl Graph {
    /// Finds a node, or says which there are.
    pub(super) fn find(&self, id: &str) -> Result<&Node, PromptError> {
        self.node(id).ok_or_else(|| PromptError::UnknownNode { node: id.to_owned(), hint: self.near(id) })
    }

    /// Returns the node's id that is nearest to one that no node has.
    pub(super) fn near(&self, id: &str) -> String {
        let known = self.nodes().map(|(id, _)| id);
        // No number is a slip of the finger for another.
        let is_number = id.chars().all(|letter| letter.is_ascii_digit());
        if is_number { there_are(known) } else { hint(id, known) }
    }
}

fn circle(nodes: &[String]) -> String {
    const MOST: usize = 20;
    let mut shown: Vec<String> = nodes.iter().take(MOST).map(|node| shown(node)).collect();
    if nodes.len() > MOST {
        shown.push("...".to_owned());
    }
    shown.extend(nodes.first().cloned());
    shown.join(" -> ")
}
