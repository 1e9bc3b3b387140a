//! Which nodes of a graph its outputs need, and whether nodes need each other in a circle.

use super::{link, value};
use crate::definitions::{Definitions, InputDefinition, Presence};
use crate::graph::{Graph, Node};
use serde_json::Value;
use std::collections::HashSet;

/// What ComfyUI does with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It checks the node before it accepts the graph.
    Checked,
    /// It runs the node and does not check it before, or would if every link led somewhere.
    Run,
    /// It does neither.
    Unused,
}

/// What the outputs of a graph need.
pub(super) struct Need<'a> {
    /// Reached by inputs that their classes declare.
    checked: HashSet<&'a str>,
    /// Reached by any input.
    run: HashSet<&'a str>,
    /// There is no output, and no node that might be one.
    is_nothing: bool,
    /// A node that is needed lacks what should come from another, so what that one needs is not known.
    has_loose_ends: bool,
    circle: Option<Vec<String>>,
}

impl<'a> Need<'a> {
    pub(super) fn of(graph: &'a Graph, definitions: &Definitions) -> Self {
        // A node of an unknown class might be an output.
        let is_root = |node: &Node| definitions.node(&node.class_type).is_none_or(|class| class.is_output);
        let mut roots: Vec<&str> = graph.nodes().filter(|(_, node)| is_root(node)).map(|(id, _)| id).collect();
        let is_nothing = roots.is_empty();
        if is_nothing {
            roots = graph.nodes().map(|(id, _)| id).collect();
        }
        let declared = |node: &Node, input: &str| {
            definitions.node(&node.class_type).is_none_or(|class| class.input(input).is_some())
        };
        let checked = reach(graph, &roots, declared);
        let run = reach(graph, &roots, |_, _| true);
        let circle = circle(graph, &run);
        let has_loose_ends = run.iter().filter_map(|id| graph.node(id)).any(|node| is_loose(graph, definitions, node));
        Self { checked, run, is_nothing, has_loose_ends, circle }
    }

    /// Says whether the graph has no output.
    pub(super) fn is_nothing(&self) -> bool {
        self.is_nothing
    }

    /// Returns nodes that need each other in a circle, in its order.
    pub(super) fn circle(&self) -> Option<&[String]> {
        self.circle.as_deref()
    }

    pub(super) fn of_node(&self, id: &str) -> Standing {
        if self.checked.contains(id) {
            Standing::Checked
        } else if self.run.contains(id) || self.has_loose_ends {
            Standing::Run
        } else {
            Standing::Unused
        }
    }
}

/// Returns the nodes that `roots` need over the inputs that `follows` names.
fn reach<'a>(graph: &'a Graph, roots: &[&'a str], follows: impl Fn(&Node, &str) -> bool) -> HashSet<&'a str> {
    let mut reached: HashSet<&str> = roots.iter().copied().collect();
    let mut ahead: Vec<&str> = roots.to_vec();
    while let Some(node) = ahead.pop().and_then(|id| graph.node(id)) {
        for (_, source) in sources(graph, node).filter(|(input, _)| follows(node, input)) {
            if reached.insert(source) {
                ahead.push(source);
            }
        }
    }
    reached
}

/// Finds a circle among some nodes.
fn circle(graph: &Graph, among: &HashSet<&str>) -> Option<Vec<String>> {
    let first = graph.cycle()?;
    if first.iter().all(|id| among.contains(id.as_str())) {
        return Some(first);
    }
    let Value::Object(mut nodes) = graph.to_value() else { return None };
    nodes.retain(|id, _| among.contains(id.as_str()));
    Graph::from_value(Value::Object(nodes)).ok()?.cycle()
}

/// Returns the inputs of a node that come from other nodes, with those nodes' ids.
fn sources<'a>(graph: &Graph, node: &'a Node) -> impl Iterator<Item = (&'a str, &'a str)> {
    node.inputs.iter().filter_map(|(input, value)| Some((input.as_str(), link::source(graph, value)?)))
}

/// Says whether a node has a link that leads nowhere, or lacks one that must be there.
fn is_loose(graph: &Graph, definitions: &Definitions, node: &Node) -> bool {
    let leads_nowhere = |value: &Value| value.is_array() && link::source(graph, value).is_none();
    let is_absent = |input: &InputDefinition| {
        input.presence == Presence::Required
            && !value::is_plain(input.type_name())
            && !node.inputs.contains_key(&input.name)
    };
    let lacks_one = || definitions.node(&node.class_type).is_some_and(|class| class.visible().any(is_absent));
    node.inputs.values().any(leads_nowhere) || lacks_one()
}
