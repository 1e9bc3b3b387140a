//! Reads the answer of `GET /object_info`.

use super::{InputDefinition, InputKind, NodeDefinition, OutputDefinition, Presence};
use crate::lenient;
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Why a text is not the answer of `GET /object_info`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// It is not JSON, or no object of classes.
    #[error("this is not what ComfyUI answers to GET /object_info: {0}")]
    Malformed(String),
    /// No class in it could be read.
    #[error(
        "no node class is described here; an answer to GET /object_info is an object such as \
         {{\"KSampler\": {{\"input\": ..., \"output\": ...}}}}"
    )]
    Empty,
}

/// A class as the server describes it, or something else under its name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Described {
    Class(Box<Class>),
    Unknown(IgnoredAny),
}

#[derive(Deserialize)]
struct Class {
    input: Sections,
    #[serde(default)]
    input_order: Option<Orders>,
    output: Vec<Value>,
    #[serde(default)]
    output_is_list: Option<Vec<bool>>,
    #[serde(default)]
    output_name: Option<Vec<Value>>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    output_node: Option<bool>,
    #[serde(default)]
    api_node: Option<bool>,
    #[serde(default)]
    deprecated: Option<bool>,
    #[serde(default)]
    experimental: Option<bool>,
}

/// Inputs in the order in which they are written, which is the order of their widgets.
type Inputs = IndexMap<String, Value>;

#[derive(Deserialize)]
struct Sections {
    #[serde(default)]
    required: Option<Inputs>,
    #[serde(default)]
    optional: Option<Inputs>,
    #[serde(default)]
    hidden: Option<Inputs>,
}

#[derive(Deserialize, Default)]
struct Orders {
    #[serde(default)]
    required: Option<Vec<String>>,
    #[serde(default)]
    optional: Option<Vec<String>>,
    #[serde(default)]
    hidden: Option<Vec<String>>,
}

/// Returns the classes, and the names of those that cannot be read.
pub(super) fn read(text: &str) -> Result<(Vec<NodeDefinition>, BTreeSet<String>), DefinitionsError> {
    let classes: IndexMap<String, Described> =
        lenient::from_str(lenient::unmarked(text)).map_err(|error| DefinitionsError::Malformed(error.to_string()))?;
    let (mut nodes, mut unread) = (Vec::with_capacity(classes.len()), BTreeSet::new());
    for (name, described) in classes {
        match described {
            Described::Class(class) => nodes.push(node(name, *class)),
            Described::Unknown(_) => {
                unread.insert(name);
            }
        }
    }
    if nodes.is_empty() { Err(DefinitionsError::Empty) } else { Ok((nodes, unread)) }
}

fn node(class: String, described: Class) -> NodeDefinition {
    let Sections { required, optional, hidden } = described.input;
    let orders = described.input_order.unwrap_or_default();
    let mut inputs = section(Presence::Required, required, orders.required);
    inputs.extend(section(Presence::Optional, optional, orders.optional));
    inputs.extend(section(Presence::Hidden, hidden, orders.hidden));
    let names = described.output_name.unwrap_or_default();
    let lists = described.output_is_list.unwrap_or_default();
    let outputs = described.output.into_iter().enumerate().map(|(slot, value)| {
        let type_name = kind(value).0;
        let name = names.get(slot).and_then(Value::as_str).unwrap_or(&type_name).to_owned();
        OutputDefinition { type_name, name, is_list: lists.get(slot).copied().unwrap_or_default() }
    });
    NodeDefinition {
        outputs: outputs.collect(),
        inputs,
        display_name: described.display_name.unwrap_or_default(),
        description: described.description.unwrap_or_default(),
        category: described.category.unwrap_or_default(),
        is_output: described.output_node.unwrap_or_default(),
        is_api: described.api_node.unwrap_or_default(),
        is_deprecated: described.deprecated.unwrap_or_default(),
        is_experimental: described.experimental.unwrap_or_default(),
        class,
    }
}

fn section(presence: Presence, inputs: Option<Inputs>, order: Option<Vec<String>>) -> Vec<InputDefinition> {
    let mut inputs = inputs.unwrap_or_default();
    let order = order.unwrap_or_default();
    let place = |name: &String| order.iter().position(|known| known == name).unwrap_or(usize::MAX);
    inputs.sort_by_cached_key(|name, _| place(name));
    inputs.into_iter().map(|(name, spec)| input(name, presence, spec)).collect()
}

/// Reads `[type, options]`; of a hidden input there may be the type alone.
fn input(name: String, presence: Presence, spec: Value) -> InputDefinition {
    let (type_value, options) = match spec {
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            (parts.next().unwrap_or_default(), parts.next())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            (other, None)
        }
    };
    let options = match options {
        Some(Value::Object(options)) => options,
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) | None => Map::new(),
    };
    let (type_name, choices) = kind(type_value);
    let kind = match choices.or_else(|| (type_name == "COMBO").then(|| listed(&options))) {
        Some(choices) => InputKind::Combo(choices),
        None => InputKind::Type(type_name),
    };
    InputDefinition { name, presence, kind, options }
}

/// Returns the type's name, and the choices where they stand in its place.
fn kind(value: Value) -> (String, Option<Vec<Value>>) {
    match value {
        Value::String(name) => (name, None),
        Value::Array(choices) => ("COMBO".to_owned(), Some(choices)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => ("*".to_owned(), None),
    }
}

/// Returns the choices of an input whose type is `COMBO`: newer nodes list them among the options.
fn listed(options: &Map<String, Value>) -> Vec<Value> {
    options.get("options").and_then(Value::as_array).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SERVER: &str = r#"{
      "Broken": 7,
      "Zoo": {"input": {"required": {"b": ["INT", {"default": 1, "max": Infinity}], "a": [["x", "y"], {"tooltip": "t"}]},
                        "optional": {"c": ["COMBO", {"options": ["p", "q"]}], "d": ["IMAGE,MASK"]},
                        "hidden": {"prompt": "PROMPT"}},
              "input_order": {"required": ["b", "a"], "optional": ["d", "c"]},
              "output": ["IMAGE", ["x", "y"]], "output_is_list": [false, true], "output_name": ["picture"],
              "display_name": "A Zoo", "category": "tests", "output_node": true, "api_node": true},
      "Bare": {"input": {}, "output": []}
    }"#;

    fn zoo() -> NodeDefinition {
        super::super::Definitions::parse(SERVER).unwrap().node("Zoo").unwrap().clone()
    }

    #[test]
    fn inputs_come_in_the_servers_order_and_hidden_ones_last() {
        let zoo = zoo();
        let names: Vec<(&str, Presence)> = zoo.inputs.iter().map(|it| (it.name.as_str(), it.presence)).collect();
        let (required, optional, hidden) = (Presence::Required, Presence::Optional, Presence::Hidden);
        assert_eq!(names, [("b", required), ("a", required), ("d", optional), ("c", optional), ("prompt", hidden)]);
        assert!(zoo.input("prompt").is_none(), "a hidden input is nobody's to set");
    }

    #[test]
    fn both_spellings_of_choices_are_read() {
        let zoo = zoo();
        assert_eq!(zoo.choices("a").unwrap(), [json!("x"), json!("y")]);
        assert_eq!(zoo.choices("c").unwrap(), [json!("p"), json!("q")]);
        assert_eq!(zoo.choices("d"), None);
        assert_eq!(zoo.input("d").unwrap().type_name(), "IMAGE,MASK");
    }

    #[test]
    fn what_python_writes_and_json_does_not_know_is_no_obstacle() {
        let zoo = zoo();
        assert_eq!(zoo.input("b").unwrap().options.get("max"), Some(&Value::Null));
        assert_eq!(zoo.input("b").unwrap().default(), Some(&json!(1)));
    }

    #[test]
    fn outputs_have_names_and_types_also_where_the_server_tells_less() {
        let outputs: Vec<_> = zoo().outputs.into_iter().map(|it| (it.type_name, it.name, it.is_list)).collect();
        let expected = [("IMAGE", "picture", false), ("COMBO", "COMBO", true)];
        assert_eq!(outputs, expected.map(|(kind, name, list)| (kind.to_owned(), name.to_owned(), list)));
        assert!(zoo().is_output && zoo().is_api && !zoo().is_deprecated);
    }

    #[test]
    fn a_class_of_ones_own_joins_those_of_a_server_or_takes_the_place_of_one() {
        let server = super::super::Definitions::parse(SERVER).unwrap();
        let own = NodeDefinition { class: "Own".into(), is_output: true, ..NodeDefinition::default() };
        let other_zoo = NodeDefinition { class: "Zoo".into(), ..own.clone() };
        let both = server.clone().with(own.clone()).with(other_zoo.clone());
        let classes = |all: &super::super::Definitions| all.nodes().map(|it| it.class.clone()).collect::<Vec<_>>();
        assert_eq!(classes(&both), ["Zoo", "Bare", "Own"]);
        assert_eq!((both.node("Own"), both.node("Zoo")), (Some(&own), Some(&other_zoo)));
        assert_eq!((classes(&server).len(), server.node("Own")), (2, None), "others keep what they had");
    }

    #[test]
    fn a_broken_class_does_not_hide_the_others() {
        let all = super::super::Definitions::parse(SERVER).unwrap();
        assert_eq!(all.nodes().map(|node| node.class.as_str()).collect::<Vec<_>>(), ["Zoo", "Bare"]);
        assert!(all.has("Broken") && all.has("Zoo") && !all.has("Other"), "it is there all the same");
        assert_eq!(super::super::Definitions::parse(r#"{"Broken": 7}"#), Err(DefinitionsError::Empty));
        assert!(matches!(super::super::Definitions::parse("[]"), Err(DefinitionsError::Malformed(_))));
    }
}
