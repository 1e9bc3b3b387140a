//! What graphs of a structure need of a server, and what of that a server lacks: node classes, and model files. Other values
//! that a server may not have, such as samplers and input images, are a job's own.

use crate::definitions::Definitions;
use crate::graph::{Graph, is_model};
use crate::hex;
use crate::names::shown;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// How many things that a server lacks are told.
const TOLD: usize = 5;

/// How many nodes of a graph are looked at. A larger one is left to the server.
const MOST_NODES: usize = 20_000;

/// What graphs of one structure need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Needs {
    nodes: Vec<Needed>,
}

/// One node, as far as it needs something.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Needed {
    id: String,
    class: String,
    /// Inputs with the model files that they name.
    models: Vec<(String, String)>,
    /// Inputs with the places of the nodes that feed them.
    fed: Vec<(String, usize)>,
}

/// Something that a server lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lack {
    /// The first node that needs it.
    pub(super) node: String,
    /// Its class.
    pub(super) class: String,
    /// What it is, as in ``no node class `X` ``.
    pub(super) what: String,
}

impl Needs {
    /// Returns what graphs like this one need.
    pub(super) fn of(graph: &Graph) -> Self {
        let count = graph.nodes().count();
        if count > MOST_NODES {
            return Self::default();
        }
        let places: HashMap<&str, usize> = graph.nodes().enumerate().map(|(place, (id, _))| (id, place)).collect();
        let mut nodes: Vec<Needed> = graph
            .nodes()
            .map(|(id, node)| {
                let models = node.inputs.iter().filter_map(|(input, value)| {
                    let text = value.as_str().filter(|text| is_model(input, text))?;
                    Some((input.clone(), text.to_owned()))
                });
                Needed { id: id.to_owned(), class: node.class_type.clone(), models: models.collect(), fed: Vec::new() }
            })
            .collect();
        for link in graph.links() {
            if let (Some(node), Some(from)) = (places.get(link.node), places.get(link.from))
                && let Some(node) = nodes.get_mut(*node)
            {
                node.fed.push((link.input.to_owned(), *from));
            }
        }
        Self { nodes }
    }

    /// Returns what a server with these definitions would refuse such a graph for; nothing where it would take it, be it in
    /// part.
    pub(super) fn lacks(&self, definitions: &Definitions) -> Vec<Lack> {
        let classes = self.nodes.iter().filter(|node| !definitions.has(&node.class));
        let classes = distinct(classes.map(|node| node.lack(format!("no node class `{}`", shown(&node.class)))));
        if !classes.is_empty() {
            return classes;
        }
        let lacking: HashSet<usize> = (0..)
            .zip(&self.nodes)
            .filter(|(_, node)| node.missing(definitions).next().is_some())
            .map(|it| it.0)
            .collect();
        if lacking.is_empty() || self.some_output_can_do_without(&lacking, definitions) {
            return Vec::new();
        }
        let missing = self.nodes.iter().flat_map(|node| {
            node.missing(definitions).map(|(input, model)| {
                node.lack(format!("no model `{}` for `{}` of {}", shown(model), shown(input), shown(&node.class)))
            })
        });
        distinct(missing)
    }

    /// Returns a hash over all that these definitions say of what is needed: what is found out stays true as long as it is
    /// the same.
    pub(super) fn share_of(&self, definitions: &Definitions) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for node in &self.nodes {
            part(&node.class);
            part(if definitions.has(&node.class) { "there" } else { "not there" });
            for (input, _) in &node.models {
                let choices = definitions.node(&node.class).and_then(|class| class.choices(input));
                let mut choices: Vec<String> = choices.into_iter().flatten().map(Value::to_string).collect();
                choices.sort_unstable();
                part(input);
                for choice in &choices {
                    part(choice);
                }
            }
        }
        hex::of(hash.finalize())
    }

    /// Says whether an output needs none of these nodes: the server takes the graph, and runs that part of it.
    fn some_output_can_do_without(&self, lacking: &HashSet<usize>, definitions: &Definitions) -> bool {
        let class_of = |place: usize| definitions.node(&self.nodes.get(place)?.class);
        let outputs = (0..self.nodes.len()).filter(|place| class_of(*place).is_some_and(|class| class.is_output));
        outputs.into_iter().any(|output| {
            let (mut reached, mut ahead) = (HashSet::from([output]), vec![output]);
            while let Some(place) = ahead.pop() {
                if lacking.contains(&place) {
                    return false;
                }
                // A server does not check what hangs on inputs that a class does not declare.
                let is_declared = |input: &str| class_of(place).is_none_or(|class| class.input(input).is_some());
                let fed = self.nodes.get(place).into_iter().flat_map(|node| &node.fed);
                let next = fed.filter(|(input, _)| is_declared(input)).map(|(_, from)| *from);
                ahead.extend(next.filter(|from| reached.insert(*from)).collect::<Vec<_>>());
            }
            true
        })
    }
}

impl Needed {
    /// Returns the inputs whose models are not among a server's. One that lists none tells them elsewhere, or has none, and
    /// says so itself.
    fn missing<'a>(&'a self, definitions: &'a Definitions) -> impl Iterator<Item = (&'a str, &'a str)> {
        let class = definitions.node(&self.class);
        self.models.iter().filter_map(move |(input, model)| {
            let choices = class?.choices(input)?;
            let is_missing = !choices.is_empty() && !choices.iter().any(|choice| choice.as_str() == Some(model));
            is_missing.then_some((input.as_str(), model.as_str()))
        })
    }

    fn lack(&self, what: String) -> Lack {
        Lack { node: self.id.clone(), class: self.class.clone(), what }
    }
}

/// Says in one line what is lacking.
pub(super) fn sentence(lacks: &[Lack]) -> String {
    let told: Vec<&str> = lacks.iter().take(TOLD).map(|lack| lack.what.as_str()).collect();
    let more = match lacks.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("it has {}{more}", told.join(", "))
}

/// Keeps each thing once, with the first that needs it.
fn distinct(lacks: impl Iterator<Item = Lack>) -> Vec<Lack> {
    let mut seen = HashSet::new();
    lacks.filter(|lack| seen.insert(lack.what.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(models: &[&str]) -> Definitions {
        let text = json!({
            "Loader": {"input": {"required": {"ckpt_name": [models, {}]}}, "output": ["MODEL"]},
            "Sampler": {"input": {"required": {"model": ["MODEL", {}], "sampler_name": [["euler"], {}]}}, "output": ["IMAGE"]},
            "LoadImage": {"input": {"required": {"image": [["there.png"], {"image_upload": true}]}}, "output": ["IMAGE"]},
            "Save": {"input": {"required": {"images": ["IMAGE", {}]}}, "output": [], "output_node": true},
            "Odd": 7,
        });
        Definitions::parse(&text.to_string()).unwrap()
    }

    fn graph(model: &str) -> Value {
        json!({
            "1": {"class_type": "Loader", "inputs": {"ckpt_name": model}},
            "2": {"class_type": "Sampler", "inputs": {"model": ["1", 0], "sampler_name": "of my own"}},
            "3": {"class_type": "Save", "inputs": {"images": ["2", 0]}},
            "4": {"class_type": "LoadImage", "inputs": {"image": "brought.png"}},
            "5": {"class_type": "Sampler", "inputs": {"model": ["1", 0], "image": ["4", 0], "sampler_name": "euler"}},
        })
    }

    fn lacks(graph: &Value, server: &Definitions) -> Vec<String> {
        let needs = Needs::of(&Graph::from_value(graph.clone()).unwrap());
        needs.lacks(server).into_iter().map(|lack| format!("{} {}: {}", lack.node, lack.class, lack.what)).collect()
    }

    #[test]
    fn a_model_that_is_not_there_is_lacking_and_samplers_and_images_are_not() {
        assert!(lacks(&graph("a.safetensors"), &server(&["a.safetensors"])).is_empty());
        let expected = ["1 Loader: no model `a.safetensors` for `ckpt_name` of Loader"];
        assert_eq!(lacks(&graph("a.safetensors"), &server(&["b.safetensors"])), expected);
    }

    #[test]
    fn a_list_without_models_says_nothing() {
        assert!(lacks(&graph("a.safetensors"), &server(&[])).is_empty());
    }

    #[test]
    fn a_class_that_is_not_there_is_lacking_wherever_it_stands_and_one_that_cannot_be_read_is_there() {
        let mut graph = graph("a.safetensors");
        graph["7"] = json!({"class_type": "Nope", "inputs": {}});
        graph["8"] = json!({"class_type": "Nope", "inputs": {}});
        graph["9"] = json!({"class_type": "Odd", "inputs": {}});
        assert_eq!(lacks(&graph, &server(&["b.safetensors"])), ["7 Nope: no node class `Nope`"]);
    }

    #[test]
    fn a_graph_of_which_a_part_can_run_is_not_refused() {
        let mut graph = graph("a.safetensors");
        graph["6"] = json!({"class_type": "Save", "inputs": {"images": ["4", 0]}});
        assert!(lacks(&graph, &server(&["b.safetensors"])).is_empty());
        graph["4"]["inputs"]["vae_name"] = json!("c.safetensors");
        assert!(lacks(&graph, &server(&["b.safetensors"])).is_empty(), "nobody says that it takes a vae_name");
        // What no output needs is not checked.
        let mut graph = self::graph("b.safetensors");
        graph["9"] = json!({"class_type": "Loader", "inputs": {"ckpt_name": "x.safetensors"}});
        assert!(lacks(&graph, &server(&["b.safetensors"])).is_empty());
    }

    #[test]
    fn what_was_found_out_holds_until_what_is_needed_changes() {
        let needs = Needs::of(&Graph::from_value(graph("a.safetensors")).unwrap());
        let one = needs.share_of(&server(&["a.safetensors", "b.safetensors"]));
        assert_eq!(one, needs.share_of(&server(&["b.safetensors", "a.safetensors"])));
        assert_ne!(one, needs.share_of(&server(&["a.safetensors"])));
        let text = json!({"Loader": {"input": {"required": {"ckpt_name": [["a.safetensors", "b.safetensors"], {}]}}, "output": []}});
        assert_ne!(one, needs.share_of(&Definitions::parse(&text.to_string()).unwrap()));
    }

    #[test]
    fn what_is_lacking_is_told_in_bounded_words() {
        let mut graph = json!({});
        for node in 0..1000 {
            graph[node.to_string()] = json!({"class_type": format!("{node}{}", "x".repeat(1000)), "inputs": {}});
        }
        let needs = Needs::of(&Graph::from_value(graph).unwrap());
        let told = sentence(&needs.lacks(&server(&[])));
        assert!(told.ends_with(" and 995 more") && told.len() < 600, "{told}");
    }

    #[test]
    fn a_graph_that_goes_round_and_one_of_any_length_are_read() {
        let mut graph = graph("a.safetensors");
        graph["1"]["inputs"]["x"] = json!(["2", 0]);
        assert_eq!(lacks(&graph, &server(&["b.safetensors"])).len(), 1);
        let nodes = (0..=MOST_NODES).map(|place| (place.to_string(), json!({"class_type": "Nope", "inputs": {}})));
        let long = Value::Object(nodes.collect());
        assert!(lacks(&long, &server(&[])).is_empty(), "it is left to the server");
    }
}
