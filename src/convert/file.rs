//! Reads a workflow as ComfyUI saves it into nodes, links and subgraphs, in both versions of the format (0.4 and 1).
//! What the format has in several spellings is one thing here; what the nodes are is for others.

use super::value::{as_read, id_of, is_something, object_as_read, slot_of, spelled};
use super::{ConvertError, limits};
use crate::graph::kind_of;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A graph of the file: the outermost one, or a subgraph's definition.
#[derive(Default)]
pub(super) struct SavedGraph {
    /// A subgraph's id, which is the type of its instances.
    pub(super) id: String,
    /// A subgraph's name.
    pub(super) name: String,
    /// The nodes in their order.
    pub(super) nodes: Vec<SavedNode>,
    /// The links by their ids.
    pub(super) links: IndexMap<String, Link>,
    /// What goes into a subgraph.
    pub(super) inputs: Vec<Port>,
    /// What comes out of a subgraph.
    pub(super) outputs: Vec<Port>,
    /// The subgraphs that are defined here.
    pub(super) subgraphs: Vec<SavedGraph>,
    /// The highest id that was given to a node.
    pub(super) last_node: u64,
}

/// One node of the file.
pub(super) struct SavedNode {
    pub(super) id: Option<String>,
    pub(super) class: String,
    pub(super) title: Option<Value>,
    pub(super) mode: i64,
    pub(super) inputs: Vec<Socket>,
    pub(super) outputs: Vec<Outlet>,
    pub(super) values: SavedValues,
    pub(super) properties: Map<String, Value>,
}

/// The saved values of a node's widgets.
pub(super) enum SavedValues {
    /// By position, as the frontend saves them.
    List(Vec<Arc<Value>>),
    /// By name, as the scripts of some node packs save them.
    Named(Map<String, Value>),
}

/// An input of a node.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) link: Option<String>,
    /// The name of the widget that it stands for.
    pub(super) widget: Option<String>,
}

/// An output of a node.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    pub(super) kind: String,
    pub(super) links: Vec<String>,
}

/// A place where links enter or leave a subgraph.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) links: Vec<String>,
}

/// A link between two nodes.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) origin: String,
    pub(super) origin_slot: Option<i64>,
    pub(super) target: String,
    pub(super) target_slot: Option<i64>,
}

/// The node that a subgraph's links begin at where they come from outside.
pub(super) const ENTRANCE: &str = "-10";

pub(super) fn read(workflow: &Value) -> Result<SavedGraph, ConvertError> {
    let not_a_workflow = |found: String| ConvertError::NotAWorkflow { found };
    let Some(object) = workflow.as_object() else {
        return Err(not_a_workflow(format!("this is {}", kind_of(workflow))));
    };
    match object.get("nodes") {
        Some(Value::Array(_)) => graph(object, 0),
        Some(other) => Err(not_a_workflow(format!("`nodes` is {}", kind_of(other)))),
        None if is_api_format(object) => Err(ConvertError::ApiFormat),
        None => Err(not_a_workflow("this has no `nodes`".to_owned())),
    }
}

fn is_api_format(object: &Map<String, Value>) -> bool {
    !object.is_empty() && object.values().all(|node| node.get("class_type").is_some_and(Value::is_string))
}

fn graph(object: &Map<String, Value>, depth: usize) -> Result<SavedGraph, ConvertError> {
    if depth > limits::DEPTH {
        return Err(ConvertError::TooLarge { what: "subgraphs inside each other", limit: limits::DEPTH });
    }
    let saved = list(object, "nodes");
    if saved.len() > limits::NODES {
        return Err(ConvertError::TooLarge { what: "nodes in one graph", limit: limits::NODES });
    }
    let nodes = saved.iter().enumerate().map(|(place, saved)| node(place, saved)).collect::<Result<_, _>>()?;
    let mut links = IndexMap::new();
    let entries: Vec<&Value> = match object.get("links") {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(Value::Object(by_id)) => by_id.values().collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => Vec::new(),
    };
    for entry in entries {
        if let Some((id, link)) = link(entry) {
            links.insert(id, link);
        }
    }
    let definitions = object.get("definitions").and_then(Value::as_object);
    let subgraphs = definitions.map_or(&[][..], |definitions| list(definitions, "subgraphs"));
    let subgraphs = subgraphs
        .iter()
        .filter_map(Value::as_object)
        .map(|definition| graph(definition, depth + 1))
        .collect::<Result<_, _>>()?;
    let state = object.get("state").and_then(|state| state.get("lastNodeId"));
    Ok(SavedGraph {
        id: object.get("id").map(spelled).unwrap_or_default(),
        name: object.get("name").map(spelled).unwrap_or_default(),
        nodes,
        links,
        inputs: list(object, "inputs").iter().filter_map(port).collect(),
        outputs: list(object, "outputs").iter().filter_map(port).collect(),
        subgraphs,
        last_node: object.get("last_node_id").or(state).and_then(Value::as_u64).unwrap_or_default(),
    })
}

pub(super) fn node(place: usize, saved: &Value) -> Result<SavedNode, ConvertError> {
    let Some(object) = saved.as_object() else {
        return Err(ConvertError::Malformed {
            place: format!("`nodes[{place}]`"),
            expected: "an object",
            found: kind_of(saved),
            node: None,
        });
    };
    let id = object.get("id").and_then(id_of);
    let class = match object.get("type") {
        Some(Value::String(class)) => renamed(class).to_owned(),
        other => {
            return Err(ConvertError::Malformed {
                place: format!("`nodes[{place}].type`"),
                expected: "the name of a class",
                found: other.map_or("absent", kind_of),
                node: id,
            });
        }
    };
    Ok(SavedNode {
        class,
        title: object.get("title").filter(|title| is_something(title)).map(as_read),
        mode: object.get("mode").and_then(Value::as_i64).unwrap_or_default(),
        inputs: list(object, "inputs").iter().filter_map(socket).collect(),
        outputs: list(object, "outputs").iter().filter_map(outlet).collect(),
        values: object.get("widgets_values").map_or_else(|| SavedValues::List(Vec::new()), values),
        properties: object.get("properties").and_then(Value::as_object).map(object_as_read).unwrap_or_default(),
        id,
    })
}

/// Classes that had other names once, which the frontend puts right as it loads a file.
fn renamed(class: &str) -> &str {
    match class {
        "T2IAdapterLoader" => "ControlNetLoader",
        "ConditioningAverage " => "ConditioningAverage",
        "SDV_img2vid_Conditioning" => "SVD_img2vid_Conditioning",
        other => other,
    }
}

fn values(saved: &Value) -> SavedValues {
    let read = |value: &Value| Arc::new(as_read(value));
    match saved {
        Value::Array(list) => SavedValues::List(list.iter().map(read).collect()),
        Value::String(text) => {
            SavedValues::List(text.chars().map(|letter| Arc::new(Value::String(letter.to_string()))).collect())
        }
        Value::Object(object) => match object.get("length").and_then(slot_of) {
            Some(length) => {
                let present = (0..length.min(1000)).map(|place| object.get(&place.to_string()));
                SavedValues::List(present.map(|value| read(value.unwrap_or(&Value::Null))).collect())
            }
            None => SavedValues::Named(object_as_read(object)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => SavedValues::List(Vec::new()),
    }
}

fn socket(saved: &Value) -> Option<Socket> {
    let object = saved.as_object()?;
    let widget = object.get("widget").and_then(|widget| widget.get("name"));
    Some(Socket {
        name: object.get("name").map(spelled).unwrap_or_default(),
        kind: object.get("type").map(kind_name).unwrap_or_default(),
        link: object.get("link").and_then(id_of),
        widget: widget.map(spelled),
    })
}

fn outlet(saved: &Value) -> Option<Outlet> {
    let object = saved.as_object()?;
    Some(Outlet {
        kind: object.get("type").map(kind_name).unwrap_or_default(),
        links: list(object, "links").iter().filter_map(id_of).collect(),
    })
}

fn port(saved: &Value) -> Option<Port> {
    let object = saved.as_object()?;
    Some(Port {
        name: object.get("name").map(spelled).unwrap_or_default(),
        kind: object.get("type").map(kind_name).unwrap_or_default(),
        links: list(object, "linkIds").iter().filter_map(id_of).collect(),
    })
}

/// Reads a link: a list of id, origin, its slot, target, its slot and type, or an object of the same.
fn link(saved: &Value) -> Option<(String, Link)> {
    let (position, name) = match saved {
        Value::Array(list) => (Some(list), None),
        Value::Object(object) => (None, Some(object)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    let part = |place: usize, key: &str| {
        position.and_then(|list| list.get(place)).or_else(|| name.and_then(|object| object.get(key)))
    };
    let link = Link {
        origin: part(1, "origin_id").and_then(id_of)?,
        origin_slot: part(2, "origin_slot").and_then(slot_of),
        target: part(3, "target_id").and_then(id_of)?,
        target_slot: part(4, "target_slot").and_then(slot_of),
    };
    Some((part(0, "id").and_then(id_of)?, link))
}

/// Returns a slot's type; a number 0, an empty text and `*` are any.
pub(super) fn kind_name(value: &Value) -> String {
    if is_something(value) { spelled(value) } else { String::new() }
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    object.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
