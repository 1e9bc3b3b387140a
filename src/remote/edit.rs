//! Finds the node and the input that a caller means, by the names that a workflow and ComfyUI give them. Pure: what is found is set
//! by others.

use crate::graph::{Graph, Node, is_link, kind_of};
use crate::names::{hint, shown, there_are};
use crate::workflow::{Pair, Place};
use serde_json::{Value, json};
use thiserror::Error as ThisError;

/// The inputs that hold a text, in the order in which they are looked for.
pub const TEXT_FIELDS: [&str; 11] = [
    "text",
    "value",
    "text_positive",
    "text_negative",
    "prompt",
    "system",
    "style",
    "style_name",
    "key",
    "url",
    "model",
];

/// The input that comes first where a prompt is set.
const PROMPT: &str = "prompt";

/// The input that is a text of few nodes, and a link to a loaded model of many.
const MODEL: &str = "model";

/// The input in which a node that loads an image has the file's name.
const IMAGE: &str = "image";

/// The most nodes and names that an error lists.
const MOST_LISTED: usize = 200;

/// Which input is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// The first of [`TEXT_FIELDS`] that the node has.
    Text,
    /// `prompt`, and else the same.
    Prompt,
    /// The file of a node that loads an image.
    Image,
}

/// An input that may be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The node.
    pub node: String,
    /// Its class.
    pub class: String,
    /// The input.
    pub input: String,
}

/// Why nothing was found that may be set.
#[derive(Clone, PartialEq, Debug, ThisError)]
pub enum EditError {
    /// There is no such node, by id or by name.
    #[error("the workflow `{workflow}` has no node `{written}`{hint}")]
    NoSuchNode {
        /// The workflow.
        workflow: String,
        /// What was asked for.
        written: String,
        /// What is near, or what there is.
        hint: String,
        /// All nodes and names, for programs.
        there: Value,
    },
    /// A parameter sets inputs of several nodes.
    #[error("`{name}` stands for inputs of several nodes ({}): give the id of one of them", .nodes.join(", "))]
    SeveralNodes {
        /// The parameter.
        name: String,
        /// The nodes.
        nodes: Vec<String>,
    },
    /// The node has no input of that kind.
    #[error("node `{node}` ({class}) has no {what}: {} were looked for, in this order{}", .tried.join(", "), has(.inputs))]
    NoInput {
        /// The node.
        node: String,
        /// Its class.
        class: String,
        /// The kind of input.
        what: &'static str,
        /// What was looked for.
        tried: Vec<String>,
        /// What it has, each with its kind.
        inputs: Vec<(String, &'static str)>,
    },
    /// Another node feeds the input.
    #[error(
        "input `{input}` of node `{node}` ({class}) comes from node `{from}` by a link, which is not overwritten: change node \
         `{from}`, or whatever feeds it"
    )]
    Linked {
        /// The node.
        node: String,
        /// Its class.
        class: String,
        /// The input.
        input: String,
        /// The node that feeds it.
        from: String,
    },
}

/// Finds the input that is meant by `written`: a node's id, a name of the chosen section, `section.name`, or the name of a
/// parameter, in this order.
pub fn find(
    pair: &Pair,
    graph: &Graph,
    section: Option<&str>,
    written: &str,
    wanted: Wanted,
) -> Result<Found, EditError> {
    let place = place(pair, graph, section, written)?;
    let gone = || no_such_node(pair, graph, section, written);
    let node = graph.node(&place.node).ok_or_else(gone)?;
    let input = wanted.input(&place, node)?;
    Ok(Found { node: place.node, class: node.class_type.clone(), input })
}

fn place(pair: &Pair, graph: &Graph, section: Option<&str>, written: &str) -> Result<Place, EditError> {
    if graph.node(written).is_some() {
        return Ok(Place { node: written.to_owned(), property: None });
    }
    let in_section = section.and_then(|section| pair.sections().find(section, written));
    let dotted = || written.split_once('.').and_then(|(section, name)| pair.sections().find(section, name));
    if let Some(place) = in_section.or_else(dotted) {
        return Ok(place.clone());
    }
    let Some(parameter) = pair.parameter(written) else { return Err(no_such_node(pair, graph, section, written)) };
    let mut nodes: Vec<String> = parameter.targets.iter().map(|target| target.node.clone()).collect();
    nodes.dedup();
    match (parameter.targets.first(), nodes.len()) {
        (Some(target), 1) => Ok(Place { node: target.node.clone(), property: Some(target.input.clone()) }),
        (Some(_) | None, _) => Err(EditError::SeveralNodes { name: parameter.name.clone(), nodes }),
    }
}

impl Wanted {
    /// Returns the input of a node that is meant. The first that is there counts: if another node feeds it, no other is taken in
    /// its place.
    fn input(self, place: &Place, node: &Node) -> Result<String, EditError> {
        let first = place.property.as_deref();
        let usual: &[&str] = match self {
            Self::Text | Self::Prompt => &TEXT_FIELDS,
            Self::Image => &[IMAGE],
        };
        let first = first.filter(|name| usual.contains(name)).or((self == Self::Prompt).then_some(PROMPT));
        let tried: Vec<&str> =
            first.into_iter().chain(usual.iter().copied().filter(|name| Some(*name) != first)).collect();
        for name in &tried {
            match node.inputs.get(*name) {
                Some(Value::String(_)) => return Ok((*name).to_owned()),
                // What is linked as `model` is hardly ever a text.
                Some(link) if is_link(link) && *name != MODEL => {
                    let from = link.get(0).and_then(Value::as_str).unwrap_or_default().to_owned();
                    let (node, class) = (place.node.clone(), node.class_type.clone());
                    return Err(EditError::Linked { node, class, input: (*name).to_owned(), from });
                }
                // A number or a switch is no text, whatever it is called.
                Some(_) | None => {}
            }
        }
        let kind = |value: &Value| if is_link(value) { "a link" } else { kind_of(value) };
        Err(EditError::NoInput {
            node: place.node.clone(),
            class: node.class_type.clone(),
            what: match self {
                Self::Text | Self::Prompt => "text input",
                Self::Image => "image input",
            },
            tried: tried.into_iter().map(str::to_owned).collect(),
            inputs: node.inputs.iter().map(|(name, value)| (name.clone(), kind(value))).collect(),
        })
    }
}

impl EditError {
    /// Returns what a program should know besides the sentence.
    pub fn details(&self) -> Value {
        match self {
            Self::NoSuchNode { there, .. } => there.clone(),
            Self::SeveralNodes { nodes, .. } => json!({ "nodes": nodes }),
            Self::NoInput { node, tried, inputs, .. } => {
                let inputs: Vec<Value> =
                    inputs.iter().map(|(name, kind)| json!({ "input": name, "is": kind })).collect();
                json!({ "node_id": node, "tried": tried, "inputs": inputs })
            }
            Self::Linked { node, input, from, .. } => json!({ "node_id": node, "input": input, "from": from }),
        }
    }
}

fn no_such_node(pair: &Pair, graph: &Graph, section: Option<&str>, written: &str) -> EditError {
    let nodes = graph.nodes().take(MOST_LISTED);
    let nodes: Vec<Value> =
        nodes.map(|(id, node)| json!({ "node_id": id, "class_type": node.class_type, "title": node.title })).collect();
    let mut names: Vec<String> =
        section.into_iter().flat_map(|section| pair.sections().of(section)).map(str::to_owned).collect();
    names.extend(pair.sections().all());
    names.extend(pair.parameters().map(|parameter| parameter.name.clone()));
    names.truncate(MOST_LISTED);
    let ids = graph.nodes().map(|(id, _)| id);
    // Ids are numbers, and no number is a slip of the finger for another.
    let is_number = written.bytes().all(|byte| byte.is_ascii_digit());
    let hint = if is_number { there_are(ids) } else { hint(written, names.iter().map(String::as_str)) };
    EditError::NoSuchNode {
        workflow: pair.name().to_owned(),
        written: shown(written),
        hint,
        there: json!({ "nodes": nodes, "names": names }),
    }
}

fn has(inputs: &[(String, &'static str)]) -> String {
    let inputs: Vec<String> = inputs.iter().map(|(name, kind)| format!("{} ({kind})", shown(name))).collect();
    if inputs.is_empty() { "; it has no inputs".to_owned() } else { format!("; it has {}", inputs.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Files;

    const CONFIG: &str = "node_mappings:\n  prompt: { node_id: 6, property: text }\n  both: [{ node_id: 6, property: style }, { node_id: 7, property: text }]\n  t2i: { positive: 6, size: 5 }\n";
    const GRAPH: &str = r#"{
        "3": {"class_type": "KSampler", "inputs": {"model": ["4", 0], "steps": 20}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
        "5": {"class_type": "Size", "inputs": {"value": 5}},
        "6": {"class_type": "Styled", "inputs": {"style": "s", "text": "t", "prompt": "p", "value": "v"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "b", "value": 3}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": ["7", 0], "prompt": "x"}},
        "9": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "10": {"class_type": "Nothing", "inputs": {}}}"#;

    fn found(written: &str, wanted: Wanted) -> Result<(String, String), String> {
        let pair = Pair::parse("x", CONFIG, GRAPH, &Files::of("x")).unwrap();
        let found = find(&pair, pair.template(), Some("t2i"), written, wanted);
        found.map(|found| (found.node, found.input)).map_err(|error| error.to_string())
    }

    fn at(node: &str, input: &str) -> (String, String) {
        (node.to_owned(), input.to_owned())
    }

    #[test]
    fn a_node_is_found_by_id_by_section_and_by_parameter() {
        for written in ["6", "positive", "t2i.positive", "t2i.Positive", "prompt"] {
            assert_eq!(found(written, Wanted::Text), Ok(at("6", "text")), "{written}");
        }
        assert_eq!(found("6", Wanted::Prompt), Ok(at("6", "prompt")));
        assert_eq!(found("7", Wanted::Prompt), Ok(at("7", "text")));
        assert_eq!(found("9", Wanted::Image), Ok(at("9", "image")));
    }

    #[test]
    fn the_fields_are_tried_in_their_order_whatever_else_a_node_has() {
        let pair = |inputs: &Value| {
            let graph = json!({ "1": { "class_type": "A", "inputs": inputs } }).to_string();
            Pair::parse("x", "node_mappings: {}\n", &graph, &Files::of("x")).unwrap()
        };
        for (place, field) in TEXT_FIELDS.iter().enumerate() {
            let rest = TEXT_FIELDS.iter().skip(place).map(|name| ((*name).to_owned(), json!("x")));
            let pair = pair(&Value::Object(rest.collect()));
            assert_eq!(find(&pair, pair.template(), None, "1", Wanted::Text).unwrap().input, *field);
        }
    }

    #[test]
    fn a_link_is_not_overwritten_and_no_other_field_is_taken_instead() {
        let error = found("8", Wanted::Text).unwrap_err();
        assert!(
            error.starts_with("input `text` of node `8` (CLIPTextEncode) comes from node `7` by a link"),
            "{error}"
        );
        assert_eq!(found("8", Wanted::Prompt), Ok(at("8", "prompt")));
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let error = found("99", Wanted::Text).unwrap_err();
        assert_eq!(error, "the workflow `x` has no node `99`; there are: 3, 4, 5, 6, 7, 8, 9, 10");
        assert!(found("positiv", Wanted::Text).unwrap_err().ends_with("did you mean `positive`?"));
        assert!(found("both", Wanted::Text).unwrap_err().contains("several nodes (6, 7)"));
        let error = found("3", Wanted::Text).unwrap_err();
        assert!(error.starts_with("node `3` (KSampler) has no text input: text, value, text_positive,"), "{error}");
        assert!(error.ends_with("it has model (a link), steps (an integer)"), "{error}");
        assert!(found("5", Wanted::Text).is_err(), "a number is no text, though its input is called `value`");
        assert!(found("10", Wanted::Text).unwrap_err().ends_with("it has no inputs"));
        assert!(found("6", Wanted::Image).unwrap_err().contains("has no image input: image were looked for"));
    }
}
