//! Classes that a server does not have.

use super::node::Place;
use super::problem::{Kind, Problem};
use crate::names::{nearest, shown};
use serde_json::Value;
use std::collections::HashMap;

/// For how many unknown classes the nearest known one is sought.
const SOUGHT: usize = 50;

/// Nodes that the frontend has and no server: they are gone from a graph that was exported in API format.
const FRONTEND_ONLY: &[&str] = &["Note", "MarkdownNote", "Reroute", "PrimitiveNode", "GroupNode"];

/// Says that the server has no such class, and which one is near.
pub(super) fn unknown(place: &Place<'_>, known: &mut HashMap<String, Option<String>>) -> Problem {
    let class = place.node.class_type.as_str();
    let message = format!("the server has no node class `{}`", shown(class));
    if FRONTEND_ONLY.contains(&class) {
        let mend = "it exists in ComfyUI's frontend only: export the workflow with Workflow > Export (API)";
        return place.problem(Kind::MissingNodeType, message, mend);
    }
    let is_sought = known.len() < SOUGHT;
    let near = match known.get(class) {
        Some(near) => near.clone(),
        None if is_sought => {
            let near = nearest_class(place, class);
            known.insert(class.to_owned(), near.clone());
            near
        }
        None => None,
    };
    let mend = "correct the class, or install the custom node that has it on the server and restart ComfyUI";
    place.problem(Kind::MissingNodeType, message, mend).suggesting(near.map(Value::String))
}

/// Returns the class that is called nearly so, or that people see under this name.
fn nearest_class(place: &Place<'_>, class: &str) -> Option<String> {
    let classes = place.definitions.nodes();
    let by_display_name = || {
        let mut named = classes.clone().filter(|other| other.display_name.eq_ignore_ascii_case(class));
        named.next().map(|other| other.class.clone())
    };
    nearest(class, classes.clone().map(|other| other.class.as_str())).map(str::to_owned).or_else(by_display_name)
}
