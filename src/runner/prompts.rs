//! The two prompts of a graph: the texts of the encoders that are linked to the sides of its samplers, through whatever lies
//! between. Pure.

use super::error::Fault;
use super::human::{Place, ambiguous, behind, told, value_at};
use crate::graph::Graph;
use serde_json::Value;
use std::collections::BTreeSet;

/// How many conditionings are looked through between a sampler and its text encoders.
const MOST_CONDITIONINGS: usize = 256;

/// The inputs in which encoders take their text.
const TEXTS: [&str; 8] = ["text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "prompt"];

/// Which of the two prompts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Positive,
    Negative,
}

impl Side {
    fn input(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

/// Finds the text of the encoder that is linked to the sampler's side; none where the graph has no such side.
pub(super) fn prompt(graph: &Graph, name: &str, side: Side) -> Option<Result<Vec<Place>, Fault>> {
    let found = encoders(graph, side);
    // A negative side that is made of the positive one has no text of its own.
    let positive = if side == Side::Negative { encoders(graph, Side::Positive) } else { BTreeSet::new() };
    let own: Vec<&String> = found.difference(&positive).collect();
    match own.as_slice() {
        [] => None,
        [one] => {
            let texts = texts_of(graph, one);
            if texts.is_empty() { None } else { Some(Ok(texts)) }
        }
        several => {
            let places = several.iter().flat_map(|id| texts_of(graph, id));
            Some(Err(ambiguous(name, &places.map(|place| told(graph, &place)).collect::<Vec<_>>())))
        }
    }
}

/// Returns the ids of the nodes whose texts come to a side of the samplers.
fn encoders(graph: &Graph, side: Side) -> BTreeSet<String> {
    let mut open: Vec<(&str, u64)> = Vec::new();
    for (_, node) in graph.nodes() {
        let guided = (node.class_type.contains("Guider") && side == Side::Positive).then_some("conditioning");
        for input in [Some(side.input()), guided].into_iter().flatten() {
            open.extend(node.inputs.get(input).and_then(link));
        }
    }
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    while let Some((id, slot)) = open.pop() {
        if seen.len() >= MOST_CONDITIONINGS || !seen.insert((id, slot)) {
            continue;
        }
        let Some(node) = graph.node(id) else { continue };
        if !texts_of(graph, id).is_empty() {
            found.insert(id.to_owned());
            continue;
        }
        // Where both sides go through a node, its first output is the positive one.
        let has_both = ["positive", "negative"].iter().all(|input| node.inputs.get(*input).and_then(link).is_some());
        for (input, value) in &node.inputs {
            let follows = match input.as_str() {
                "positive" => !has_both && side == Side::Positive || has_both && slot == 0,
                "negative" => !has_both && side == Side::Negative || has_both && slot == 1,
                other => other.starts_with("cond") && !node.class_type.contains("ZeroOut"),
            };
            open.extend(link(value).filter(|_| follows));
        }
    }
    found
}

fn texts_of(graph: &Graph, id: &str) -> Vec<Place> {
    let Some(node) = graph.node(id) else { return Vec::new() };
    let places = TEXTS.iter().filter(|text| node.inputs.contains_key(**text)).filter_map(|text| {
        let place = behind(graph, &Place { node: id.to_owned(), input: (*text).to_owned() })?;
        value_at(graph, &place).is_some_and(Value::is_string).then_some(place)
    });
    let found: BTreeSet<Place> = places.collect();
    found.into_iter().collect()
}

fn link(value: &Value) -> Option<(&str, u64)> {
    let [node, slot] = value.as_array()?.as_slice() else { return None };
    Some((node.as_str()?, slot.as_u64()?))
}
