//! What a graph's links say: who needs whom, which node is to run next, and which nodes would do the same work.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::classes::Classes;
use super::json::Json;

/// One node of a graph.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) class: String,
    pub(super) inputs: Vec<(String, Json)>,
}

/// Equal for two nodes whose work is the same, in one graph or in two.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Signature(u64);

/// A graph that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    index: HashMap<String, usize>,
}

impl Node {
    /// Returns the nodes that this one reads from, with the name of the input.
    pub(super) fn links(&self) -> impl Iterator<Item = (&str, String)> {
        self.inputs.iter().filter_map(|(name, value)| Some((name.as_str(), link(value)?)))
    }

    /// Returns the value of an input as it is written, a link included.
    pub(super) fn input(&self, name: &str) -> Option<&Json> {
        self.inputs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl Graph {
    /// Takes the nodes out of a graph's JSON.
    pub(super) fn read(graph: &Json) -> Self {
        let nodes: Vec<_> = graph.fields().iter().map(|(id, node)| read_node(id, node)).collect();
        let index = nodes.iter().enumerate().map(|(index, node)| (node.id.clone(), index)).collect();
        Self { nodes, index }
    }

    /// Returns a node.
    pub(super) fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(*self.index.get(id)?)
    }

    /// Returns the nodes as they are written.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns every node's signature; `salt` keeps nodes apart that are never served from the cache.
    pub(super) fn signatures(&self, salt: u64) -> HashMap<String, Signature> {
        let mut known = HashMap::new();
        for node in &self.nodes {
            self.sign(node, salt, &mut known, 0);
        }
        known
    }

    fn sign(&self, node: &Node, salt: u64, known: &mut HashMap<String, Signature>, depth: usize) -> Signature {
        if let Some(signature) = known.get(&node.id) {
            return *signature;
        }
        let mut hasher = DefaultHasher::new();
        node.class.hash(&mut hasher);
        if node.class == "SaveImageWebsocket" {
            (salt, &node.id).hash(&mut hasher);
        }
        let mut inputs: Vec<_> = node.inputs.iter().collect();
        inputs.sort_by(|left, right| left.0.cmp(&right.0));
        for (name, value) in inputs {
            name.hash(&mut hasher);
            match link(value).and_then(|from| self.node(&from)) {
                // An unused part of a graph is not validated, so it may go in circles.
                Some(from) if depth < self.nodes.len() => {
                    self.sign(from, salt, known, depth + 1).0.hash(&mut hasher);
                    value.items().get(1).map(ToString::to_string).hash(&mut hasher);
                }
                Some(_) | None => value.to_string().hash(&mut hasher),
            }
        }
        let signature = Signature(hasher.finish());
        known.insert(node.id.clone(), signature);
        signature
    }
}

/// The nodes that are still to run, and which of them may.
#[derive(Debug)]
pub(super) struct Agenda {
    waiting: BTreeMap<usize, BTreeSet<usize>>,
    outputs: BTreeSet<usize>,
}

impl Agenda {
    /// Plans what `outputs` need; nodes that are cached need nothing themselves.
    pub(super) fn plan(graph: &Graph, outputs: &[String], is_cached: &dyn Fn(&str) -> bool, classes: &Classes) -> Self {
        let mut waiting: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut todo: Vec<usize> = outputs.iter().filter_map(|id| graph.index.get(id).copied()).collect();
        while let Some(at) = todo.pop() {
            let Some(node) = graph.nodes.get(at).filter(|_| !waiting.contains_key(&at)) else { continue };
            let links = node.links().map(|(_, from)| from).filter(|from| !is_cached(from) && !is_cached(&node.id));
            let needs: BTreeSet<usize> = links.filter_map(|from| graph.index.get(&from).copied()).collect();
            todo.extend(&needs);
            waiting.insert(at, needs);
        }
        let is_output = |at: &usize| graph.nodes.get(*at).is_some_and(|node| classes.is_output(&node.class));
        Self { outputs: waiting.keys().copied().filter(is_output).collect(), waiting }
    }

    /// Takes the next node: an output if one is ready, else one that an output waits for, else the first that is ready.
    pub(super) fn next<'a>(&mut self, graph: &'a Graph) -> Option<&'a Node> {
        let ready: Vec<usize> = self.waiting.iter().filter(|(_, needs)| needs.is_empty()).map(|(at, _)| *at).collect();
        let feeds_output = |at: &&usize| self.outputs.iter().any(|output| self.needs(*output, **at));
        let chosen = ready
            .iter()
            .find(|at| self.outputs.contains(at))
            .or_else(|| ready.iter().find(feeds_output))
            .or_else(|| ready.first())?;
        self.waiting.remove(chosen);
        graph.nodes.get(*chosen)
    }

    /// Notes that a node has run.
    pub(super) fn done(&mut self, graph: &Graph, id: &str) {
        if let Some(at) = graph.index.get(id) {
            self.waiting.values_mut().for_each(|needs| {
                needs.remove(at);
            });
        }
    }

    fn needs(&self, output: usize, at: usize) -> bool {
        self.waiting.get(&output).is_some_and(|needs| needs.contains(&at))
    }
}

fn read_node(id: &str, node: &Json) -> Node {
    Node {
        id: id.to_owned(),
        class: node.get("class_type").map(Json::python_str).unwrap_or_default(),
        inputs: node.get("inputs").map(|inputs| inputs.fields().to_vec()).unwrap_or_default(),
    }
}

/// Returns the node that a value links to, if it is a link.
fn link(value: &Json) -> Option<String> {
    match value.items() {
        [from, Json::Number(_)] => Some(from.python_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str) -> Graph {
        Graph::read(&Json::parse(text.as_bytes()).unwrap())
    }

    fn order(graph: &Graph, outputs: &[&str], cached: &[&str]) -> Vec<String> {
        let classes = Classes::load(None, None).unwrap();
        let outputs: Vec<String> = outputs.iter().map(|id| (*id).to_owned()).collect();
        let mut agenda = Agenda::plan(graph, &outputs, &|id| cached.contains(&id), &classes);
        let mut order = Vec::new();
        while let Some(node) = agenda.next(graph) {
            agenda.done(graph, &node.id);
            order.push(node.id.clone());
        }
        order
    }

    const FORKED: &str = r#"{
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 8}},
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "4": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
        "5": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["3", 0]}},
        "6": {"class_type": "ImageInvert", "inputs": {"image": ["6", 0]}}
    }"#;

    #[test]
    fn outputs_run_as_soon_as_they_can_and_unused_nodes_never() {
        assert_eq!(order(&graph(FORKED), &["4", "5"], &[]), ["1", "4", "2", "3", "5"]);
    }

    #[test]
    fn nothing_is_run_for_a_cached_node() {
        assert_eq!(order(&graph(FORKED), &["4", "5"], &["3"]), ["5", "1", "4"]);
        assert_eq!(order(&graph(FORKED), &["5"], &["5"]), ["5"]);
    }

    #[test]
    fn equal_work_has_equal_signatures_and_websocket_images_never_have() {
        let first = graph(FORKED).signatures(1);
        let second = graph(FORKED).signatures(2);
        assert_eq!(first.get("1"), first.get("2"));
        assert_eq!(first.get("3"), second.get("3"));
        assert_ne!(first.get("4"), second.get("4"));
    }
}
