//! The links of a graph: which output feeds which input, what comes from nowhere, and which nodes wait for each other.

use super::{Graph, Node, PromptError, is_link};
use serde_json::{Number, Value};
use std::collections::HashMap;

/// One link: an output of a node feeds an input of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link<'a> {
    /// The node that is fed.
    pub node: &'a str,
    /// Its input.
    pub input: &'a str,
    /// The node that feeds it. The graph need not have it.
    pub from: &'a str,
    /// The number of its output, from 0; none where what is written is no such number.
    pub slot: Option<usize>,
}

impl Graph {
    /// Returns all links, in the order of the nodes that they feed.
    ///
    /// ```
    /// use comfygate::graph::Graph;
    ///
    /// let graph = Graph::parse(
    ///     r#"{"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    ///         "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}}}"#,
    /// )?;
    /// let link = graph.links().next().unwrap();
    /// assert_eq!((link.from, link.slot, link.node, link.input), ("4", Some(1), "6", "clip"));
    /// # Ok::<_, comfygate::graph::GraphError>(())
    /// ```
    pub fn links(&self) -> impl Iterator<Item = Link<'_>> {
        self.nodes().flat_map(|(id, node)| node.links(id))
    }

    /// Returns the nodes of one circle in which nodes feed each other, in the order of the flow, the last one feeding the
    /// first; none where there is no circle. Takes time in proportion to the size of the graph, and no stack.
    ///
    /// ```
    /// use comfygate::graph::Graph;
    ///
    /// let graph = Graph::parse(
    ///     r#"{"1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
    ///         "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}}"#,
    /// )?;
    /// assert_eq!(graph.cycle().unwrap(), ["2", "1"]);
    /// # Ok::<_, comfygate::graph::GraphError>(())
    /// ```
    pub fn cycle(&self) -> Option<Vec<String>> {
        let sources = self.sources();
        let mut state = vec![State::New; sources.len()];
        // Each entry is a node on the way and the next of its sources to look at.
        let mut way: Vec<(usize, usize)> = Vec::new();
        for start in 0..sources.len() {
            if state.get(start) == Some(&State::New) {
                enter(start, &mut state, &mut way);
            }
            while let Some((node, next)) = way.last_mut() {
                let Some(source) = sources.get(*node).and_then(|sources| sources.get(*next)).copied() else {
                    if let Some(state) = state.get_mut(*node) {
                        *state = State::Done;
                    }
                    way.pop();
                    continue;
                };
                *next += 1;
                match state.get(source) {
                    Some(State::New) => enter(source, &mut state, &mut way),
                    Some(State::OnTheWay) => {
                        let round = way.iter().skip_while(|(node, _)| *node != source).map(|(node, _)| *node);
                        let ids: Vec<&str> = self.nodes().map(|(id, _)| id).collect();
                        // The way goes against the flow.
                        let mut nodes: Vec<String> =
                            round.filter_map(|node| ids.get(node).map(|id| (*id).to_owned())).collect();
                        nodes.reverse();
                        return Some(nodes);
                    }
                    Some(State::Done) | None => {}
                }
            }
        }
        None
    }

    /// Returns what is wrong with the links: every one that comes from nowhere, and one circle.
    pub fn link_faults(&self) -> Vec<PromptError> {
        let dangling = self.links().filter(|link| self.node(link.from).is_none()).map(|link| self.dangling(&link));
        let mut faults: Vec<PromptError> = dangling.collect();
        if let Some(nodes) = self.cycle() {
            faults.push(PromptError::Cycle { nodes });
        }
        faults
    }

    /// Returns the first thing that is wrong with the links.
    pub(super) fn require_links(&self) -> Result<(), PromptError> {
        if let Some(link) = self.links().find(|link| self.node(link.from).is_none()) {
            return Err(self.dangling(&link));
        }
        self.cycle().map_or(Ok(()), |nodes| Err(PromptError::Cycle { nodes }))
    }

    /// Returns, for each node by its place, the places of the nodes that feed it.
    pub(super) fn sources(&self) -> Vec<Vec<usize>> {
        let places: HashMap<&str, usize> = self.nodes().enumerate().map(|(place, (id, _))| (id, place)).collect();
        let of = |(id, node): (&str, &Node)| node.links(id).filter_map(|link| places.get(link.from).copied()).collect();
        self.nodes().map(of).collect()
    }

    fn dangling(&self, link: &Link<'_>) -> PromptError {
        PromptError::DanglingLink {
            node: link.node.to_owned(),
            input: link.input.to_owned(),
            from: link.from.to_owned(),
            hint: self.near(link.from),
        }
    }
}

impl Node {
    /// Returns the links of its inputs; `id` is its own id.
    pub(super) fn links<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Link<'a>> {
        self.inputs.iter().filter_map(move |(input, value)| {
            let (from, slot) = origin(value)?;
            Some(Link { node: id, input, from, slot })
        })
    }
}

/// Returns the node and the output that a value is linked to; none where the value is no link.
pub(super) fn origin(value: &Value) -> Option<(&str, Option<usize>)> {
    if !is_link(value) {
        return None;
    }
    let [from, slot] = value.as_array()?.as_slice() else { return None };
    Some((from.as_str()?, slot.as_number().and_then(number_of_slot)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    OnTheWay,
    Done,
}

fn enter(node: usize, state: &mut [State], way: &mut Vec<(usize, usize)>) {
    if let Some(state) = state.get_mut(node) {
        *state = State::OnTheWay;
    }
    way.push((node, 0));
}

/// Some programs write whole numbers with a fraction of zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole, small and positive")]
fn number_of_slot(number: &Number) -> Option<usize> {
    if let Some(whole) = number.as_u64() {
        return usize::try_from(whole).ok();
    }
    number.as_f64().filter(|slot| slot.fract() == 0.0 && (0.0..=65_535.0).contains(slot)).map(|slot| slot as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chain(length: usize, last: Value) -> Graph {
        let node = |source: Value| json!({"class_type": "ImageInvert", "inputs": {"image": source}});
        let rest = (1..length).map(|place| (place.to_string(), node(json!([(place - 1).to_string(), 0]))));
        Graph::from_value(Value::Object(rest.chain([("0".to_owned(), node(last))]).collect())).unwrap()
    }

    #[test]
    fn a_circle_is_found_however_long_it_is_and_a_chain_is_none() {
        assert_eq!(chain(100_000, json!(1)).cycle(), None);
        let circle = chain(100_000, json!(["99999", 0])).cycle().unwrap();
        assert_eq!(circle.len(), 100_000);
        for (node, next) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            assert_eq!((node.parse::<u32>().unwrap() + 1) % 100_000, next.parse::<u32>().unwrap());
        }
    }

    #[test]
    fn a_node_that_feeds_itself_is_a_circle_of_one() {
        assert_eq!(chain(2, json!(["0", 0])).cycle().unwrap(), ["0"]);
    }

    #[test]
    fn a_node_that_two_ways_lead_to_is_no_circle() {
        let node = |sources: Value| json!({"class_type": "A", "inputs": sources});
        let graph = json!({"1": node(json!({})), "2": node(json!({"a": ["1", 0]})), "3": node(json!({"a": ["1", 0]})),
                           "4": node(json!({"a": ["2", 0], "b": ["3", 0]}))});
        assert_eq!(Graph::from_value(graph).unwrap().cycle(), None);
    }

    #[test]
    fn every_link_to_nowhere_is_told_with_its_place() {
        let graph = json!({"1": {"class_type": "A", "inputs": {"a": ["7", 0], "b": ["1", 0.0], "c": "7"}}});
        let faults = Graph::from_value(graph).unwrap().link_faults();
        let told: Vec<(&str, String)> = faults.iter().map(|fault| (fault.code(), fault.to_string())).collect();
        assert_eq!(
            told,
            [
                (
                    "dangling_link",
                    "input `a` of node `1` is linked to node `7`, which the graph does not have; there are: 1".into()
                ),
                ("cycle", "nodes feed each other in a circle, so that none could run first: 1 -> 1".into()),
            ]
        );
    }

    #[test]
    fn a_slot_is_a_small_whole_number_or_not_known() {
        for (written, slot) in
            [(json!(1), Some(1)), (json!(2.0), Some(2)), (json!(-1), None), (json!(0.5), None), (json!(1e300), None)]
        {
            assert_eq!(origin(&json!(["4", written])), Some(("4", slot)));
        }
    }
}
