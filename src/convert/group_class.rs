//! Group nodes, of the kind that subgraphs have replaced: one node that stands for several, which the file has under
//! `extra.groupNodes`. Says what such a node has for inputs, outputs and widgets; none of that for those with reroutes,
//! primitives or unknown classes inside. Leaves to others what becomes of the nodes inside.

use super::file::{self, SavedNode};
use super::plan::{self, uploaded};
use super::value::{as_read, slot_of, spelled};
use super::{ConvertError, limits};
use crate::definitions::{Definitions, InputDefinition, InputKind, NodeDefinition, OutputDefinition, Presence};
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// All group nodes of a file by their class, such as `workflow>Upscale`.
pub(super) type Groups = HashMap<String, Group>;

/// What stands behind one class of group nodes.
pub(super) struct Group {
    /// The nodes as the file has them.
    pub(super) nodes: Vec<Value>,
    /// How much there is to read for each instance: their text's length, a part of it.
    pub(super) weight: usize,
    /// For an input of a node inside: the place of the group's input that it stands for.
    pub(super) inputs: HashMap<(usize, usize), usize>,
    /// For an input of a node inside: the node and output inside that it is linked to.
    pub(super) links: HashMap<(usize, usize), (usize, i64)>,
    /// For each output of the group: the node inside and its output.
    pub(super) outputs: Vec<(usize, i64)>,
    /// For each widget of the group: the node inside and its widget.
    pub(super) widgets: IndexMap<String, (usize, String)>,
}

/// Reads the group nodes of a file. Returns them, and the classes that there are with those of group nodes among them.
pub(super) fn read(workflow: &Value, definitions: &Definitions) -> Result<(Groups, Definitions), ConvertError> {
    let (mut groups, mut known) = (HashMap::new(), definitions.clone());
    let saved = workflow.get("extra").and_then(|extra| extra.get("groupNodes")).and_then(Value::as_object);
    for (name, saved) in saved.into_iter().flatten() {
        if groups.len() > limits::SUBGRAPHS {
            return Err(ConvertError::TooLarge { what: "group nodes", limit: limits::SUBGRAPHS });
        }
        let Some(builder) = build(definitions, saved)? else { continue };
        for prefix in ["workflow>", "workflow/"] {
            let class = format!("{prefix}{name}");
            known = known.with(builder.definition(&class, name));
            groups.insert(class, builder.group());
        }
    }
    Ok((groups, known))
}

/// A group's inputs, widgets and outputs as they are found, node by node.
#[derive(Default)]
struct Builder {
    nodes: Vec<Value>,
    inputs: IndexMap<String, InputDefinition>,
    outputs: Vec<OutputDefinition>,
    /// How often a name came up.
    seen: HashMap<String, usize>,
    /// The place among the group's inputs that links are told of.
    map: HashMap<(usize, usize), usize>,
    links: HashMap<(usize, usize), (usize, i64)>,
    from: Vec<(usize, i64)>,
    widgets: IndexMap<String, (usize, String)>,
}

/// Reads one group; none where it has parts that are not taken apart here.
fn build(definitions: &Definitions, saved: &Value) -> Result<Option<Builder>, ConvertError> {
    let Some(nodes) = saved.get("nodes").and_then(Value::as_array) else { return Ok(None) };
    if nodes.len() > limits::NODES {
        return Err(ConvertError::TooLarge { what: "nodes in a group node", limit: limits::NODES });
    }
    let number = |value: Option<&Value>| value.and_then(slot_of).and_then(|number| usize::try_from(number).ok());
    let mut builder = Builder { nodes: nodes.clone(), ..Builder::default() };
    let mut inner_outputs: HashMap<(usize, i64), bool> = HashMap::new();
    for link in saved.get("links").and_then(Value::as_array).into_iter().flatten() {
        let [from, target, slot] = [0, 2, 3].map(|part| number(link.get(part)));
        let (Some(from), Some(target), Some(slot)) = (from, target, slot) else { continue };
        let output = link.get(1).and_then(slot_of).unwrap_or_default();
        builder.links.insert((target, slot), (from, output));
        inner_outputs.insert((from, output), true);
    }
    for external in saved.get("external").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(from), Some(output)) = (number(external.get(0)), external.get(1).and_then(slot_of)) {
            inner_outputs.insert((from, output), false);
        }
    }
    let mut read = Vec::new();
    for (place, saved) in nodes.iter().enumerate() {
        let node = file::node(place, saved)?;
        let Some(class) = definitions.node(&node.class).filter(|class| !plan::has_parts_of_the_page(class)) else {
            return Ok(None);
        };
        read.push((node, class));
    }
    let parts: Vec<Part<'_>> = read
        .iter()
        .zip(nodes)
        .enumerate()
        .map(|(place, ((node, class), saved_node))| {
            let custom = saved.get("config").and_then(|config| config.get(place.to_string()));
            Part { place, class, saved: saved_node, node, custom }
        })
        .collect();
    let mut converted = Vec::new();
    for part in &parts {
        converted.push(builder.add(part));
        for (slot, output) in part.class.outputs.iter().enumerate() {
            let slot = i64::try_from(slot).unwrap_or_default();
            let hidden = inner_outputs.get(&(part.place, slot)).copied().unwrap_or_default();
            if part.visible("output", &slot.to_string()).unwrap_or(!hidden) {
                builder.from.push((part.place, slot));
                builder.outputs.push(output.clone());
            }
        }
    }
    for (part, (sockets, inputs)) in parts.iter().zip(converted) {
        builder.add_converted(part, sockets, &inputs);
    }
    Ok(Some(builder))
}

/// One node of a group.
struct Part<'a> {
    place: usize,
    class: &'a NodeDefinition,
    saved: &'a Value,
    node: &'a SavedNode,
    /// What a person has chosen to show of it.
    custom: Option<&'a Value>,
}

impl Part<'_> {
    fn visible(&self, side: &str, name: &str) -> Option<bool> {
        self.custom?.get(side)?.get(name)?.get("visible")?.as_bool()
    }

    fn label(&self, input: &str) -> String {
        let given = |object: &Value, key: &str| object.get(key).filter(|label| !label.is_null()).map(spelled);
        let custom = self.custom.and_then(|custom| given(custom.get("input")?.get(input)?, "name"));
        let saved = || {
            let inputs = self.saved.get("inputs")?.as_array()?;
            given(inputs.iter().find(|saved| saved.get("name").and_then(Value::as_str) == Some(input))?, "label")
        };
        custom.or_else(saved).unwrap_or_else(|| input.to_owned())
    }
}

impl Builder {
    /// Takes a node in: its widgets and sockets. Returns how many sockets it has, and its widgets that stand among its saved
    /// inputs, which come last.
    fn add(&mut self, part: &Part<'_>) -> (usize, Vec<InputDefinition>) {
        let mut sockets = Vec::new();
        // The frontend sorts the places of these as texts: 10 comes before 9.
        let mut converted = BTreeMap::new();
        let upload = uploaded(part.class).map(|input| InputDefinition {
            name: "upload".to_owned(),
            presence: Presence::Required,
            kind: InputKind::Type("IMAGEUPLOAD".to_owned()),
            options: input.options.clone(),
        });
        for input in part.class.visible().cloned().chain(upload) {
            if !plan::is_widget(input.type_name()) {
                sockets.push(input);
                continue;
            }
            let is_saved =
                |socket: &file::Socket| socket.name == input.name && socket.widget.as_ref() == Some(&input.name);
            match part.node.inputs.iter().position(is_saved) {
                Some(place) => {
                    converted.insert(place.to_string(), input);
                }
                None => {
                    self.offer(part, &input, true);
                }
            }
        }
        for (slot, input) in sockets.iter().enumerate() {
            if self.links.contains_key(&(part.place, slot)) {
                continue;
            }
            if part.visible("input", &input.name) == Some(false) {
                self.name(part, input);
                continue;
            }
            self.offer(part, input, false);
            self.map.insert((part.place, slot), self.map.len());
        }
        (sockets.len(), converted.into_values().collect())
    }

    fn add_converted(&mut self, part: &Part<'_>, sockets: usize, converted: &[InputDefinition]) {
        for (place, input) in converted.iter().enumerate() {
            let slot = sockets + place;
            if !self.links.contains_key(&(part.place, slot)) {
                self.offer(part, input, true);
                self.map.insert((part.place, slot), self.map.len());
            }
        }
    }

    /// Gives the group an input of one of its nodes.
    fn offer(&mut self, part: &Part<'_>, input: &InputDefinition, is_widget: bool) {
        let (name, prefix) = self.name(part, input);
        let mut options = input.options.clone();
        if matches!(input.name.as_str(), "seed" | "noise_seed") {
            options.insert("control_after_generate".to_owned(), Value::from(format!("{prefix}control_after_generate")));
        }
        let offered =
            InputDefinition { name: name.clone(), presence: Presence::Required, kind: input.kind.clone(), options };
        self.inputs.insert(name.clone(), offered);
        if is_widget {
            self.widgets.insert(name, (part.place, input.name.clone()));
        }
    }

    /// Finds a name that no other input has: with the node's title before it, and a number if need be.
    fn name(&mut self, part: &Part<'_>, input: &InputDefinition) -> (String, String) {
        let mut name = part.label(&input.name);
        let mut key = name.clone();
        let mut prefix = String::new();
        if self.seen.contains_key(&name) {
            let title = part.saved.get("title").filter(|title| !title.is_null()).map(|title| spelled(&as_read(title)));
            prefix = format!("{} ", title.unwrap_or_else(|| part.node.class.clone()));
            name = format!("{prefix}{}", input.name);
            key.clone_from(&name);
            if let Some(count) = self.seen.get(&name) {
                name = format!("{prefix}{count} {}", input.name);
            }
        }
        let count = self.seen.entry(key).or_insert(1);
        *count += 1;
        (name, prefix)
    }

    fn definition(&self, class: &str, name: &str) -> NodeDefinition {
        NodeDefinition {
            class: class.to_owned(),
            display_name: name.to_owned(),
            inputs: self.inputs.values().cloned().collect(),
            outputs: self.outputs.clone(),
            ..NodeDefinition::default()
        }
    }

    fn group(&self) -> Group {
        let weight = self.nodes.iter().map(|node| node.to_string().len() / 16).sum();
        Group {
            nodes: self.nodes.clone(),
            weight,
            inputs: self.map.clone(),
            links: self.links.clone(),
            outputs: self.from.clone(),
            widgets: self.widgets.clone(),
        }
    }
}
