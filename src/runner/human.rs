//! From the names that people use to the inputs of a graph: `Steps`, `PositivePrompt`, `6.text`, `"Positive Prompt".text`.
//! A name that fits nothing or several inputs is a fault that says what there is. Pure.

use super::error::Fault;
use super::prompts::{Side, prompt};
use crate::graph::{Graph, Node, SEEDS, is_link};
use crate::names::{canonical, hint, shown, there_are};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many links are followed from an input to the value behind it.
const MOST_LINKS: usize = 16;

/// What people call an input, and what nodes call it.
const WELL_KNOWN: [(&str, &[&str], &[&str]); 16] = [
    ("steps", &["sampling_steps"], &["steps"]),
    ("seed", &["noise_seed"], &SEEDS),
    ("cfg", &["cfg_scale"], &["cfg"]),
    ("guidance", &[], &["guidance"]),
    ("sampler", &["sampler_name"], &["sampler_name"]),
    ("scheduler", &[], &["scheduler"]),
    ("denoise", &["strength"], &["denoise"]),
    ("width", &[], &["width"]),
    ("height", &[], &["height"]),
    ("batch", &["batch_size", "image_count", "count"], &["batch_size"]),
    ("checkpoint", &["ckpt", "ckpt_name", "model"], &["ckpt_name", "unet_name"]),
    ("vae", &["vae_name"], &["vae_name"]),
    ("lora", &["lora_name"], &["lora_name"]),
    ("image", &["input_image"], &["image"]),
    ("prefix", &["filename_prefix"], &["filename_prefix"]),
    ("fps", &["frame_rate"], &["fps", "frame_rate"]),
];

/// The names of the two prompts.
const POSITIVE: [&str; 3] = ["positive_prompt", "prompt", "positive"];
const NEGATIVE: [&str; 2] = ["negative_prompt", "negative"];

/// An input of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    /// The node's id.
    pub node: String,
    /// The input's name.
    pub input: String,
}

/// Returns the names that mean the same as `name` to most people, itself first.
pub(super) fn synonyms(name: &str) -> Vec<&'static str> {
    let name = spelled(name);
    let is_one = |names: &[&str]| names.contains(&name.as_str());
    let mut same = Vec::new();
    for (first, others, inputs) in WELL_KNOWN {
        if first == name || is_one(others) || is_one(inputs) {
            same.push(first);
            same.extend(others);
            same.extend(inputs);
        }
    }
    for prompts in [&POSITIVE[..], &NEGATIVE[..]] {
        if is_one(prompts) {
            same.extend(prompts);
        }
    }
    same
}

/// Finds the inputs that a name means: one, or all texts of one encoder.
pub(super) fn find(graph: &Graph, name: &str) -> Result<Vec<Place>, Fault> {
    if let Some(found) = by_path(graph, name) {
        return found.map(|place| vec![place]);
    }
    let spelled = spelled(name);
    for (names, side) in [(&POSITIVE[..], Side::Positive), (&NEGATIVE[..], Side::Negative)] {
        if names.contains(&spelled.as_str())
            && let Some(found) = prompt(graph, name, side)
        {
            return found;
        }
    }
    let known = WELL_KNOWN.iter().find(|(first, others, _)| *first == spelled || others.contains(&spelled.as_str()));
    if let Some((first, _, inputs)) = known {
        let places = places_of(graph, inputs);
        if !places.is_empty() {
            return one_of(graph, name, preferred(graph, first, places));
        }
    }
    if let Some(found) = by_title(graph, name) {
        return found;
    }
    let named: Vec<Place> = values(graph).filter(|place| canonical(&place.input) == spelled).collect();
    if named.is_empty() { Err(unknown(graph, name)) } else { one_of(graph, name, named) }
}

/// Returns every place that holds a seed, with the inputs that get it: itself, or those that are linked to it.
pub(super) fn seeds(graph: &Graph) -> BTreeMap<Place, Vec<Place>> {
    let is_whole = |value: &Value| value.as_number().is_some_and(|number| number.is_i64() || number.is_u64());
    let mut found: BTreeMap<Place, Vec<Place>> = BTreeMap::new();
    for (id, node) in graph.nodes() {
        for input in SEEDS.iter().filter(|input| node.inputs.contains_key(**input)) {
            let fed = Place { node: id.to_owned(), input: (*input).to_owned() };
            let place = behind(graph, &fed).filter(|place| value_at(graph, place).is_some_and(is_whole));
            if let Some(place) = place {
                found.entry(place).or_default().push(fed);
            }
        }
    }
    found
}

/// Returns what stands at a place.
pub(super) fn value_at<'a>(graph: &'a Graph, place: &Place) -> Option<&'a Value> {
    graph.node(&place.node)?.inputs.get(&place.input)
}

/// Writes a name in the one spelling by which it is compared: `Positive Prompt` is `positive_prompt`.
pub(super) fn spelled(name: &str) -> String {
    canonical(&name.trim().replace(' ', "_")).replace("__", "_")
}

/// `6.text`, `6.inputs.text`, `"Positive Prompt".text`, `KSampler.seed`; none where the name is no path.
fn by_path(graph: &Graph, name: &str) -> Option<Result<Place, Fault>> {
    let (left, input) = name.rsplit_once('.')?;
    let left = left.strip_suffix(".inputs").unwrap_or(left).trim();
    let left = left.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(left);
    let is_named = |(id, node): &(&str, &Node)| {
        let title = node.title.as_deref().unwrap_or_default();
        *id == left || title.eq_ignore_ascii_case(left) || node.class_type == left
    };
    // An id is nobody else's; a title comes before a class.
    let found = [
        graph.nodes().filter(|(id, _)| *id == left).collect::<Vec<_>>(),
        graph
            .nodes()
            .filter(|(_, node)| node.title.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(left)))
            .collect(),
        graph.nodes().filter(is_named).collect(),
    ];
    let nodes = found.into_iter().find(|nodes| !nodes.is_empty())?;
    Some(match nodes.as_slice() {
        [(id, node)] => input_of(graph, name, id, node, input),
        several => {
            let each =
                several.iter().map(|(id, node)| Place { node: (*id).to_owned(), input: input.to_owned() }.told(node));
            Err(ambiguous(name, &each.collect::<Vec<_>>()))
        }
    })
}

fn input_of(graph: &Graph, name: &str, id: &str, node: &Node, input: &str) -> Result<Place, Fault> {
    let known = node.inputs.keys().map(String::as_str);
    let Some((input, value)) = node.inputs.iter().find(|(key, _)| *key == input || canonical(key) == spelled(input))
    else {
        let (id, class) = (shown(id), shown(&node.class_type));
        let message = format!("node `{id}` ({class}) has no input `{}`{}", shown(input), hint(input, known));
        return Err(Fault::new("unknown_param", name, message));
    };
    let place = Place { node: id.to_owned(), input: input.clone() };
    if !is_link(value) {
        return Ok(place);
    }
    behind(graph, &place).ok_or_else(|| {
        let from = value.get(0).and_then(Value::as_str).unwrap_or_default();
        let message = format!(
            "input `{input}` of node `{}` comes from node `{}` by a link: set an input of that node",
            shown(id),
            shown(from)
        );
        Fault::new("linked_input", name, message)
    })
}

/// Returns the input that holds the value which comes to a place by a link, where that is certain.
pub(super) fn behind(graph: &Graph, place: &Place) -> Option<Place> {
    let mut place = place.clone();
    for _ in 0..MOST_LINKS {
        let value = value_at(graph, &place)?;
        if !is_link(value) {
            return is_scalar(value).then_some(place);
        }
        let id = value.get(0)?.as_str()?;
        let inputs = &graph.node(id)?.inputs;
        let called = |name: &str| inputs.get(name).is_some_and(|value| is_scalar(value) || is_link(value));
        let mut scalars = inputs.iter().filter(|(_, value)| is_scalar(value)).map(|(name, _)| name.as_str());
        let input = match (called(&place.input), called("value")) {
            (true, _) => place.input.clone(),
            (false, true) => "value".to_owned(),
            (false, false) => {
                let only = scalars.next()?.to_owned();
                scalars.next().is_none().then_some(only)?
            }
        };
        place = Place { node: id.to_owned(), input };
    }
    None
}

/// A title or class alone, where its node holds one value only.
fn by_title(graph: &Graph, name: &str) -> Option<Result<Vec<Place>, Fault>> {
    let wanted = spelled(name.trim_matches('"'));
    let is_titled = |node: &Node| node.title.as_deref().is_some_and(|title| spelled(title) == wanted);
    let nodes: Vec<(&str, &Node)> = graph.nodes().filter(|(_, node)| is_titled(node)).collect();
    let places: Vec<Place> = nodes.iter().flat_map(|(id, node)| values_of(id, node)).collect();
    if places.is_empty() { None } else { Some(one_of(graph, name, places)) }
}

/// Returns the values of these inputs; those that come from one place by links are that place.
fn places_of(graph: &Graph, inputs: &[&str]) -> Vec<Place> {
    let mut found = BTreeSet::new();
    for (id, node) in graph.nodes() {
        for input in inputs.iter().filter(|input| node.inputs.contains_key(**input)) {
            let place = Place { node: id.to_owned(), input: (*input).to_owned() };
            found.extend(behind(graph, &place).filter(|place| place.input != "image" || loads(graph, place)));
        }
    }
    found.into_iter().collect()
}

fn loads(graph: &Graph, place: &Place) -> bool {
    graph.node(&place.node).is_some_and(|node| node.class_type.starts_with("LoadImage"))
}

/// Size and count are those of the empty latent, where there is one: later nodes scale what it began.
fn preferred(graph: &Graph, name: &str, places: Vec<Place>) -> Vec<Place> {
    if !matches!(name, "width" | "height" | "batch") || places.len() < 2 {
        return places;
    }
    let is_latent = |place: &&Place| {
        let class = graph.node(&place.node).map(|node| node.class_type.as_str()).unwrap_or_default();
        class.starts_with("Empty") && class.contains("Latent")
    };
    let latents: Vec<Place> = places.iter().filter(is_latent).cloned().collect();
    if latents.len() == 1 { latents } else { places }
}

fn one_of(graph: &Graph, name: &str, places: Vec<Place>) -> Result<Vec<Place>, Fault> {
    if places.len() == 1 {
        return Ok(places);
    }
    Err(ambiguous(name, &places.iter().map(|place| told(graph, place)).collect::<Vec<_>>()))
}

pub(super) fn ambiguous(name: &str, places: &[String]) -> Fault {
    let there_are = there_are(places.iter().map(String::as_str));
    let message = format!("`{}` fits {} inputs{there_are}; name one of them", shown(name), places.len());
    Fault::new("ambiguous_param", name, message)
}

fn unknown(graph: &Graph, name: &str) -> Fault {
    let mut known: Vec<String> = Vec::new();
    for (first, _, inputs) in WELL_KNOWN {
        if places_of(graph, inputs).len() == 1 {
            known.push(first.to_owned());
        }
    }
    for (names, side) in [(POSITIVE[0], Side::Positive), (NEGATIVE[0], Side::Negative)] {
        if matches!(prompt(graph, names, side), Some(Ok(_))) {
            known.push(names.to_owned());
        }
    }
    known.extend(values(graph).map(|place| format!("{}.{}", place.node, place.input)));
    let message =
        format!("the workflow has nothing called `{}`{}", shown(name), hint(name, known.iter().map(String::as_str)));
    Fault::new("unknown_param", name, message)
}

impl Place {
    fn told(&self, node: &Node) -> String {
        let title = node.title.as_deref().unwrap_or(&node.class_type);
        format!("{}.{} ({title})", self.node, self.input)
    }
}

pub(super) fn told(graph: &Graph, place: &Place) -> String {
    graph.node(&place.node).map_or_else(String::new, |node| place.told(node))
}

fn values(graph: &Graph) -> impl Iterator<Item = Place> {
    graph.nodes().flat_map(|(id, node)| values_of(id, node))
}

fn values_of<'a>(id: &'a str, node: &'a Node) -> impl Iterator<Item = Place> + use<'a> {
    let scalars = node.inputs.iter().filter(|(_, value)| is_scalar(value));
    scalars.map(move |(input, _)| Place { node: id.to_owned(), input: input.clone() })
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

#[cfg(test)]
mod tests;
