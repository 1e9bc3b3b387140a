//! Holds the nodes and inputs that a mapping names against the template: each must be there, once, and not be a link.

use super::mapping::{Selector, Wanted, WantedInput};
use super::parameter::Target;
use super::places::Places;
use super::problem::Problem;
use super::template::LeftOut;
use crate::graph::{Graph, Node, is_link};
use crate::names::{hint, shown, there_are};

/// A template as it is named in messages.
pub(super) struct Template<'a> {
    pub(super) file: &'a str,
    pub(super) graph: &'a Graph,
    pub(super) places: &'a Places,
    pub(super) left_out: &'a [LeftOut],
}

impl Template<'_> {
    /// Finds the node that is meant.
    pub(super) fn node(&self, config: &str, wanted: &Wanted) -> Result<(&str, &Node), Problem> {
        let found: Vec<(&str, &Node)> = self.graph.nodes().filter(|(id, node)| wanted.by.fits(id, node)).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(self.no_node(config, wanted)),
            several => {
                let ids: Vec<&str> = several.iter().map(|(id, _)| *id).collect();
                let reason = format!(
                    "{} fits {} nodes of {} ({}): name one of them by `node_id`",
                    wanted.by,
                    several.len(),
                    self.file,
                    ids.join(", ")
                );
                Err(Problem::of_file(config, reason).at(wanted.line))
            }
        }
    }

    /// Finds the input that is meant.
    pub(super) fn input(&self, config: &str, parameter: &str, wanted: &WantedInput) -> Result<Target, Problem> {
        let (id, node) = self.node(config, &wanted.node)?;
        let about = |reason: String, line| Problem {
            node: Some(id.to_owned()),
            input: Some(wanted.input.clone()),
            ..Problem::of_file(config, reason).at(line)
        };
        let Some(value) = node.inputs.get(&wanted.input) else {
            let names: Vec<&str> =
                node.inputs.iter().filter(|(_, value)| !is_link(value)).map(|(name, _)| name.as_str()).collect();
            let reason = format!(
                "parameter `{parameter}`: node `{id}` ({}) of {} has no input `{}`{}",
                shown(&node.class_type),
                self.place(self.places.node(id)),
                shown(&wanted.input),
                hint(&wanted.input, names)
            );
            return Err(about(reason, wanted.input_line));
        };
        if is_link(value) {
            let from = value.get(0).and_then(serde_json::Value::as_str).unwrap_or_default();
            let reason = format!(
                "parameter `{parameter}`: input `{}` of node `{id}` ({}) comes from node `{from}` by a link in {}: map the input \
                 of the node where the value is written",
                wanted.input,
                shown(&node.class_type),
                self.place(self.places.input(id, &wanted.input)),
            );
            return Err(about(reason, wanted.input_line));
        }
        Ok(Target { node: id.to_owned(), input: wanted.input.clone() })
    }

    fn no_node(&self, config: &str, wanted: &Wanted) -> Problem {
        let text = wanted.by.text();
        if let Some(node) = self.left_out.iter().find(|node| wanted.by.fits_left_out(node)) {
            let why = if node.parts.is_empty() {
                "is not executed: it is muted, bypassed, or there for the editor alone".to_owned()
            } else {
                format!(
                    "is a subgraph: name one of the nodes in it{}",
                    there_are(node.parts.iter().map(String::as_str))
                )
            };
            let reason = format!("{} of {} (node `{}`) {why}", wanted.by, self.file, shown(&node.id));
            return Problem { node: Some(node.id.clone()), ..Problem::of_file(config, reason).at(wanted.line) };
        }
        let hint = match &wanted.by {
            // Ids are numbers, and no number is a slip of the finger for another.
            Selector::Id(_) => there_are(self.graph.nodes().map(|(id, _)| id)),
            Selector::Title(_) => hint(text, self.graph.nodes().filter_map(|(_, node)| node.title.as_deref())),
            Selector::Class(_) => hint(text, self.graph.nodes().map(|(_, node)| node.class_type.as_str())),
        };
        let reason = format!("{} has no {}{hint}", self.file, wanted.by);
        let node = if let Selector::Id(id) = &wanted.by { Some(id.clone()) } else { None };
        Problem { node, ..Problem::of_file(config, reason).at(wanted.line) }
    }

    fn place(&self, line: Option<usize>) -> String {
        line.map_or_else(|| self.file.to_owned(), |line| format!("{}:{line}", self.file))
    }
}

impl Selector {
    fn fits(&self, id: &str, node: &Node) -> bool {
        match self {
            Self::Id(wanted) => wanted == id,
            Self::Title(wanted) => node.title.as_ref() == Some(wanted),
            Self::Class(wanted) => *wanted == node.class_type,
        }
    }

    fn fits_left_out(&self, node: &LeftOut) -> bool {
        match self {
            Self::Id(wanted) => *wanted == node.id,
            Self::Title(wanted) => node.title.as_ref() == Some(wanted),
            Self::Class(wanted) => *wanted == node.class,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Title(text) | Self::Class(text) => text,
        }
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "node `{}`", shown(id)),
            Self::Title(title) => write!(f, "node with the title `{}`", shown(title)),
            Self::Class(class) => write!(f, "node of the class `{}`", shown(class)),
        }
    }
}
