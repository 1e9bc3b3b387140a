//! A graph in ComfyUI's API format: nodes by id, read and written in their order. What a node is made of is `node`'s; what
//! the nodes mean is left to others.

use super::{GraphError, Node, kind_of};
use crate::lenient::unmarked;
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A graph in API format. Its nodes stay in the order in which they are written, which is the order in which ComfyUI
/// runs those that do not depend on each other.
#[derive(Clone, PartialEq, Debug)]
pub struct Graph {
    nodes: Vec<(String, Node)>,
    places: BTreeMap<String, usize>,
}

impl Graph {
    /// Reads a graph from JSON text.
    pub fn parse(text: &str) -> Result<Self, GraphError> {
        let text = unmarked(text);
        let not_json = |error: serde_json::Error| GraphError::NotJson {
            line: error.line(),
            column: error.column(),
            reason: without_place(&error),
        };
        let value: Value = serde_json::from_str(text).map_err(not_json)?;
        let graph = Self::from_value(value)?;
        let Order(order) = serde_json::from_str(text).map_err(not_json)?;
        Ok(graph.in_order(&order))
    }

    /// Reads a graph from JSON.
    pub fn from_value(value: Value) -> Result<Self, GraphError> {
        let found = kind_of(&value);
        let Value::Object(object) = value else { return Err(GraphError::NotAnObject { found }) };
        Self::from_nodes(object)
    }

    /// Makes a graph of nodes in this order.
    pub fn of_nodes(nodes: impl IntoIterator<Item = (String, Node)>) -> Self {
        Self::of(nodes.into_iter().collect())
    }

    /// Returns the nodes with their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> + Clone {
        self.nodes.iter().map(|(id, node)| (id.as_str(), node))
    }

    /// Returns the node with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.places.get(id).and_then(|place| self.nodes.get(*place)).map(|(_, node)| node)
    }

    /// Sets an input of a node.
    pub fn set(&mut self, node: &str, input: &str, value: Value) -> Result<(), GraphError> {
        let Some((_, found)) = self.places.get(node).and_then(|place| self.nodes.get_mut(*place)) else {
            return Err(GraphError::NoSuchNode { node: node.to_owned() });
        };
        found.inputs.insert(input.to_owned(), value);
        Ok(())
    }

    /// Refuses an id that no node has.
    pub fn require(&self, node: &str) -> Result<(), GraphError> {
        if self.places.contains_key(node) { Ok(()) } else { Err(GraphError::NoSuchNode { node: node.to_owned() }) }
    }

    /// Returns the graph as it goes into the body of `POST /prompt`.
    pub fn to_value(&self) -> Value {
        Value::Object(self.nodes.iter().map(|(id, node)| (id.clone(), node.to_value())).collect())
    }

    fn from_nodes(nodes: impl IntoIterator<Item = (String, Value)>) -> Result<Self, GraphError> {
        let nodes: Vec<(String, Value)> = nodes.into_iter().collect();
        if nodes.iter().any(|(id, node)| id == "nodes" && node.is_array()) {
            return Err(GraphError::UiFormat);
        }
        if nodes.is_empty() {
            return Err(GraphError::Empty);
        }
        let nodes = nodes.into_iter().map(|(id, node)| Node::from_value(&id, node).map(|node| (id, node)));
        Ok(Self::of(nodes.collect::<Result<_, _>>()?))
    }

    /// Takes a node out. What is linked to it is the caller's to mend.
    pub(super) fn take(&mut self, node: &str) -> Option<Node> {
        let place = self.places.get(node).copied()?;
        let mut nodes = std::mem::take(&mut self.nodes);
        let (_, taken) = nodes.remove(place);
        *self = Self::of(nodes);
        Some(taken)
    }

    /// Takes an input out of a node.
    pub(super) fn take_input(&mut self, node: &str, input: &str) -> Option<Value> {
        let (_, found) = self.places.get(node).and_then(|place| self.nodes.get_mut(*place))?;
        found.inputs.remove(input)
    }

    fn of(nodes: Vec<(String, Node)>) -> Self {
        let places = nodes.iter().enumerate().map(|(place, (id, _))| (id.clone(), place)).collect();
        Self { nodes, places }
    }

    fn in_order(self, order: &[String]) -> Self {
        let places: BTreeMap<&String, usize> = order.iter().enumerate().map(|(place, id)| (id, place)).collect();
        let mut nodes = self.nodes;
        nodes.sort_by_key(|(id, _)| places.get(id).copied());
        Self::of(nodes)
    }
}

/// The keys of an object in the order in which they are written.
struct Order(Vec<String>);

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderVisitor)
    }
}

struct OrderVisitor;

impl<'de> Visitor<'de> for OrderVisitor {
    type Value = Order;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Order, A::Error> {
        let mut order = Vec::new();
        while let Some((id, _)) = access.next_entry::<String, serde::de::IgnoredAny>()? {
            order.push(id);
        }
        Ok(Order(order))
    }
}

impl serde::Serialize for Graph {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.nodes.iter().map(|(id, node)| (id, node.to_value())))
    }
}

/// Reads a graph of any format that serde knows, its nodes in their order.
impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let nodes = IndexMap::<String, Value>::deserialize(deserializer)?;
        Self::from_nodes(nodes).map_err(serde::de::Error::custom)
    }
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_graph_goes_out_as_it_came_in() {
        let text = r#"{"3":{"_meta":{"title":"Sampler","x":1},"class_type":"KSampler","inputs":{"cfg":8.0,"model":["4",0],"seed":18446744073709551615},"is_changed":[0.25]}}"#;
        let graph = Graph::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&graph).unwrap(), text);
        assert_eq!(graph.to_value().to_string(), text);
        let node = graph.node("3").unwrap();
        assert_eq!((node.class_type.as_str(), node.title.as_deref()), ("KSampler", Some("Sampler")));
    }

    #[test]
    fn nodes_stay_in_the_order_in_which_they_are_written() {
        let text = r#"{"9":{"class_type":"A","inputs":{}},"10":{"class_type":"B","inputs":{}},"3":{"class_type":"C","inputs":{}}}"#;
        let graph = Graph::parse(text).unwrap();
        assert_eq!(graph.nodes().map(|(id, _)| id).collect::<Vec<_>>(), ["9", "10", "3"]);
        assert_eq!(serde_json::to_string(&graph).unwrap(), text);
    }

    #[test]
    fn every_wrong_shape_is_named() {
        let cases = [
            (json!([1]), "a graph is an object of nodes by id, but this is a list"),
            (json!("x"), "a graph is an object of nodes by id, but this is a text"),
            (json!({}), "the graph has no nodes"),
            (json!({"1": 5}), "node `1` must be an object with `class_type` and `inputs`, but it is an integer"),
            (
                json!({"1": {"inputs": {}}}),
                "node `1` has no `class_type`; every node of the API format names its class in a text",
            ),
            (
                json!({"1": {"class_type": 7}}),
                "node `1` has no `class_type`; every node of the API format names its class in a text",
            ),
            (
                json!({"1": {"class_type": "A", "inputs": []}}),
                "`inputs` of node `1` must be an object, but it is a list",
            ),
            (
                json!({"last_node_id": 9, "nodes": [{"id": 1}], "links": [], "version": 0.4}),
                "this is a workflow as ComfyUI saves it (UI format), not as it executes it: convert it with `comfygate \
                 convert`, or open it in ComfyUI and use Workflow > Export (API)",
            ),
        ];
        for (value, message) in cases {
            assert_eq!(Graph::from_value(value).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_half_written_file_is_told_with_its_line() {
        let error = Graph::parse("{\n \"1\": {\"class_type\":").unwrap_err();
        assert_eq!(error.line(), Some(2));
        assert_eq!(
            error.to_string(),
            "not valid JSON: EOF while parsing a value (line 2, column 20); is the file complete?"
        );
    }

    #[test]
    fn an_input_of_a_missing_node_cannot_be_set() {
        let mut graph = Graph::from_value(json!({"1": {"class_type": "A"}})).unwrap();
        assert_eq!(graph.set("2", "x", json!(1)), Err(GraphError::NoSuchNode { node: "2".into() }));
        graph.set("1", "x", json!(1)).unwrap();
        assert_eq!(graph.to_value(), json!({"1": {"class_type": "A", "inputs": {"x": 1}}}));
    }
}
