//! One node of a graph in API format, and what the values of its inputs are.

use super::GraphError;
use serde_json::{Map, Value};

/// One node of a graph.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// What kind of node it is.
    pub class_type: String,
    /// The title that its author gave it.
    pub title: Option<String>,
    /// Its inputs: plain values, and links to outputs of other nodes.
    pub inputs: Map<String, Value>,
    /// Everything else that was written, such as `_meta`; kept so that what is sent is what was written.
    rest: Map<String, Value>,
}

impl Node {
    /// Makes a node; the title goes into `_meta`, as the frontend writes it.
    pub fn new(class_type: String, title: Value, inputs: Map<String, Value>) -> Self {
        let mut rest = Map::new();
        let text = title.as_str().map(str::to_owned);
        rest.insert("_meta".to_owned(), Value::Object(Map::from_iter([("title".to_owned(), title)])));
        Self { class_type, title: text, inputs, rest }
    }

    pub(super) fn from_value(id: &str, value: Value) -> Result<Self, GraphError> {
        let found = kind_of(&value);
        let Value::Object(mut rest) = value else {
            return Err(GraphError::NodeNotAnObject { node: id.to_owned(), found });
        };
        let class_type = match rest.remove("class_type") {
            Some(Value::String(class)) if !class.is_empty() => class,
            Some(_) | None => return Err(GraphError::NoClassType { node: id.to_owned() }),
        };
        let inputs = match rest.remove("inputs") {
            None => Map::new(),
            Some(Value::Object(inputs)) => inputs,
            Some(other) => {
                return Err(GraphError::InputsNotAnObject { node: id.to_owned(), found: kind_of(&other) });
            }
        };
        let title = rest.get("_meta").and_then(|meta| meta.get("title")).and_then(Value::as_str).map(str::to_owned);
        Ok(Self { class_type, title, inputs, rest })
    }

    pub(super) fn to_value(&self) -> Value {
        let mut node = self.rest.clone();
        node.insert("class_type".to_owned(), Value::String(self.class_type.clone()));
        node.insert("inputs".to_owned(), Value::Object(self.inputs.clone()));
        Value::Object(node)
    }
}

/// Says whether ComfyUI takes this input for a link: a list of a node's id and the number of one of its outputs.
pub fn is_link(value: &Value) -> bool {
    value.as_array().is_some_and(|list| {
        let [node, output] = list.as_slice() else { return false };
        node.is_string() && output.is_number()
    })
}

/// Names the kind of a JSON value for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "an integer",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_node_id_with_an_output_number_is_a_link() {
        assert!(is_link(&json!(["4", 0])));
        assert!(is_link(&json!(["4", 0.0])));
        for other in [json!("4"), json!(["4"]), json!([4, 0]), json!(["4", "0"]), json!(["4", 0, 1]), json!({"0": "4"})]
        {
            assert!(!is_link(&other), "{other}");
        }
    }
}
