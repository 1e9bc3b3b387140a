//! The definitions of several backends as one: what any of them has.

use crate::definitions::{Definitions, InputKind, NodeDefinition};
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::HashSet;

/// Puts definitions together. Of a class that several have, the first one's description counts, with the choices of all.
pub(super) fn all(each: impl IntoIterator<Item = Definitions>) -> Definitions {
    let mut each = each.into_iter();
    let Some(first) = each.next() else { return Definitions::default() };
    let mut rest = each.peekable();
    if rest.peek().is_none() {
        return first;
    }
    let mut all: IndexMap<String, NodeDefinition> =
        first.nodes().map(|node| (node.class.clone(), node.clone())).collect();
    for other in rest {
        for node in other.nodes() {
            match all.get_mut(&node.class) {
                Some(known) => add_choices(known, node),
                None => {
                    all.insert(node.class.clone(), node.clone());
                }
            }
        }
    }
    Definitions::of(all.into_values())
}

fn add_choices(known: &mut NodeDefinition, other: &NodeDefinition) {
    for input in &mut known.inputs {
        let InputKind::Combo(choices) = &mut input.kind else { continue };
        let more = other.choices(&input.name).unwrap_or_default();
        let mut there: HashSet<String> = choices.iter().map(Value::to_string).collect();
        choices.extend(more.iter().filter(|choice| there.insert(choice.to_string())).cloned());
    }
}
