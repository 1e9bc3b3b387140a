//! Links: whether one leads to an output that is there, and whether what comes out fits the input.

use super::node::Place;
use super::problem::{Kind, Problem, brief};
use crate::definitions::{InputDefinition, InputKind, NodeDefinition, OutputDefinition};
use crate::graph::Graph;
use crate::names::shown;
use serde_json::{Value, json};

/// How many outputs of a class are listed.
const LISTED: usize = 12;

/// Returns the id of the node from which a value comes, if the value is a link to one that is there.
pub(super) fn source<'a>(graph: &Graph, value: &'a Value) -> Option<&'a str> {
    let [node, _] = value.as_array()?.as_slice() else { return None };
    node.as_str().filter(|id| graph.node(id).is_some())
}

/// Says whether an input of type `wanted` takes what comes out as `received`; each may name several types by commas.
/// Types that tell nothing fit everything.
pub(super) fn fits(received: &str, wanted: &str) -> bool {
    if received == wanted || tells_nothing(received) || tells_nothing(wanted) {
        return true;
    }
    let types = |text: &str, word: &str| text.split(',').any(|other| other.trim() == word);
    received.split(',').any(|word| types(wanted, word.trim()))
}

/// Says whether a type may be anything: `*`, and the types of later versions whose meaning is in the frontend.
pub(super) fn tells_nothing(type_name: &str) -> bool {
    type_name == "*" || type_name.starts_with("COMFY_")
}

/// Says whether what an input takes is not told at all.
pub(super) fn tells_nothing_at_all(input: &InputDefinition) -> bool {
    input.type_name().starts_with("COMFY_")
}

impl Place<'_> {
    /// Checks a list that stands in an input: ComfyUI takes every list for a link.
    pub(super) fn check_link(&self, input: &InputDefinition, value: &Value) -> Option<Problem> {
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let [node, slot] = list else {
            let message = format!("a list is a link, and this one has {} entries, not 2", list.len());
            return Some(self.bad_link(input, value, message));
        };
        let Some(source_id) = node.as_str() else {
            let message = format!("a link begins with a node's id as a text, and this one with {}", brief(node));
            let meant = node.as_number().map(ToString::to_string).filter(|id| self.graph.node(id).is_some());
            return Some(self.bad_link(input, value, message).suggesting(meant.map(|id| json!([id, slot]))));
        };
        let Some(source) = self.graph.node(source_id) else {
            let message = format!("it comes from node `{}`, which is not in the graph", shown(source_id));
            return Some(self.bad_link(input, value, message).suggesting(self.only_source(input)));
        };
        // What a class that is not there would give is not known; that it is not there is told at its node.
        let class = self.definitions.node(&source.class_type)?;
        let Some(output) = output(class, slot) else {
            if class.outputs.last().is_some_and(|last| last.type_name == "*") && slot.is_number() {
                return None;
            }
            let message = format!(
                "it comes from output {} of node `{}` ({}), {}",
                brief(slot),
                shown(source_id),
                shown(&source.class_type),
                outputs_of(class)
            );
            return Some(self.bad_link(input, value, message).suggesting(other_slot(source_id, class, input)));
        };
        if takes(input, &output.type_name) {
            return None;
        }
        let message = format!(
            "it takes {}, and what comes from node `{}` ({}) is {}",
            shown(input.type_name()),
            shown(source_id),
            shown(&source.class_type),
            shown(&output.type_name)
        );
        let suggestion = other_slot(source_id, class, input).or_else(|| self.only_source(input));
        let problem = self.problem(Kind::ReturnTypeMismatch, message, "link it to an output of the type that it takes");
        Some(problem.of_input(&input.name).received(value).suggesting(suggestion))
    }

    fn bad_link(&self, input: &InputDefinition, value: &Value, message: String) -> Problem {
        let mend = "write a link as [\"<node id>\", <number of the output>], of a node that is in the graph";
        self.problem(Kind::BadLinkedInput, message, mend).of_input(&input.name).received(value)
    }

    /// Returns the link to the one output in the graph that fits, if there is just one.
    pub(super) fn only_source(&self, input: &InputDefinition) -> Option<Value> {
        if tells_nothing(input.type_name()) {
            return None;
        }
        let mut found = None;
        for (id, node) in self.graph.nodes().filter(|(id, _)| *id != self.id) {
            let outputs = self.definitions.node(&node.class_type).map(|class| class.outputs.iter().enumerate());
            for (slot, output) in outputs.into_iter().flatten() {
                if !tells_nothing(&output.type_name) && takes(input, &output.type_name) {
                    if found.is_some() {
                        return None;
                    }
                    found = Some(json!([id, slot]));
                }
            }
        }
        found
    }
}

/// Says whether an input takes what comes out as this type. Which choices come out of another node is not known.
fn takes(input: &InputDefinition, received: &str) -> bool {
    match &input.kind {
        InputKind::Combo(_) => fits(received, "COMBO"),
        InputKind::Type(wanted) => fits(received, wanted),
    }
}

/// Returns the output of a class that a slot names, as Python counts: from the end where it is negative.
fn output<'a>(class: &'a NodeDefinition, slot: &Value) -> Option<&'a OutputDefinition> {
    let slot = slot.as_bool().map(i64::from).or_else(|| slot.as_i64())?;
    let count = i64::try_from(class.outputs.len()).ok()?;
    let place = if slot < 0 { slot.checked_add(count)? } else { slot };
    class.outputs.get(usize::try_from(place).ok()?)
}

/// Returns the first other output of the same node that fits.
fn other_slot(id: &str, class: &NodeDefinition, input: &InputDefinition) -> Option<Value> {
    let slot = class.outputs.iter().position(|output| takes(input, &output.type_name))?;
    Some(json!([id, slot]))
}

fn outputs_of(class: &NodeDefinition) -> String {
    let outputs = class.outputs.iter().enumerate().take(LISTED);
    let mut listed: Vec<String> =
        outputs.map(|(slot, output)| format!("{slot} is {}", shown(&output.type_name))).collect();
    match class.outputs.len() {
        0 => return "which has no outputs".to_owned(),
        all if all > LISTED => listed.push("...".to_owned()),
        _ => {}
    }
    format!("which has only: {}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_fit_as_comfyui_compares_them() {
        for (received, wanted, expected) in [
            ("IMAGE", "IMAGE", true),
            ("IMAGE", "MASK", false),
            ("IMAGE", "IMAGE,MASK", true),
            ("INT,FLOAT", "FLOAT, STRING", true),
            ("INT,FLOAT", "STRING", false),
            ("*", "MODEL", true),
            ("MODEL", "*", true),
            ("image", "IMAGE", false),
            ("COMFY_MATCHTYPE_V3", "IMAGE", true),
            ("STRING", "COMBO", false),
        ] {
            assert_eq!(fits(received, wanted), expected, "{received} into {wanted}");
        }
    }
}
