//! One number for what a graph needs: two graphs have the same hash when they are built of the same nodes with the same
//! models, whatever their texts, seeds, sizes, titles and ids are.

use super::links::{Link, origin};
use super::{Graph, Node};
use crate::definitions::{Definitions, InputDefinition, InputKind};
use crate::hex;
use crate::names::canonical;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// The endings of model files.
const MODEL_FILES: [&str; 11] =
    [".safetensors", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".gguf", ".sft", ".onnx", ".pkl", ".engine"];

/// Words in the names of inputs that hold model files.
const MODEL_WORDS: [&str; 12] =
    ["name", "model", "lora", "ckpt", "checkpoint", "unet", "vae", "control_net", "path", "file", "gguf", "embedding"];

/// Inputs of ComfyUI's loaders that name a model even where it has no ending, such as the `taesd` of a `VAELoader`.
const MODEL_INPUTS: [&str; 16] = [
    "ckpt_name",
    "lora_name",
    "vae_name",
    "unet_name",
    "clip_name",
    "clip_name1",
    "clip_name2",
    "clip_name3",
    "clip_name4",
    "control_net_name",
    "style_model_name",
    "clip_vision_name",
    "gligen_name",
    "hypernetwork_name",
    "model_name",
    "model_path",
];

/// The name of files to write, which is a text like any other.
const FILES_TO_WRITE: &str = "filename_prefix";

/// How deep an object as a value is looked into.
const DEPTH: usize = 8;

/// The longest name of a model file, in bytes.
const MAX_MODEL: usize = 1024;

type Hash = [u8; 32];

impl Graph {
    /// Returns the SHA-256, in hex, over what the graph needs of a server and how its nodes are joined: classes, links and
    /// the names of models.
    ///
    /// Texts, seeds, sizes and other numbers, truth values, names of images and files to write, titles, the order of the
    /// nodes and their ids do not count. Nor do samplers and schedulers: every server has the usual ones, and one that
    /// lacks them says so of the value, not of the graph. [`Graph::structure_hash_with`] counts them.
    ///
    /// Two graphs that differ in a circle of links only, or whose nodes are all of a kind and joined in rings of different
    /// lengths, may have the same hash.
    ///
    /// ```
    /// use comfygate::graph::Graph;
    ///
    /// let text = include_str!("../../templates/starter.json");
    /// let hash = Graph::parse(text)?.structure_hash();
    /// assert_eq!(Graph::parse(&text.replace("lighthouse", "cat"))?.structure_hash(), hash);
    /// assert_ne!(Graph::parse(&text.replace("v1-5-pruned", "v2-1"))?.structure_hash(), hash);
    /// # Ok::<_, comfygate::graph::GraphError>(())
    /// ```
    pub fn structure_hash(&self) -> String {
        self.hash(&|_, name, value| models(name, value, DEPTH))
    }

    /// Returns the hash as [`Graph::structure_hash`] does, and counts every choice from a list that the server gives:
    /// models under any name, samplers and schedulers, but not files that callers upload. It is another number than the
    /// hash without definitions.
    pub fn structure_hash_with(&self, definitions: &Definitions) -> String {
        self.hash(&|node, name, value| {
            let input = definitions.node(&node.class_type).and_then(|class| class.input(name));
            match input {
                Some(input) if is_choice(input) => vec![format!("choice {value}")],
                Some(_) | None => models(name, value, DEPTH),
            }
        })
    }

    /// Each node gets a number from its class, its models and what feeds it, and another from that and from what it
    /// feeds. All the latter together, sorted, are the graph.
    fn hash(&self, counted: &dyn Fn(&Node, &str, &Value) -> Vec<String>) -> String {
        let order = self.flow();
        let nodes: Vec<(&str, &Node)> = self.nodes().collect();
        let mut above: HashMap<&str, Hash> = HashMap::with_capacity(nodes.len());
        for place in &order {
            let Some((id, node)) = nodes.get(*place).copied() else { continue };
            let hash = self.node_hash(node, &above, counted);
            above.insert(id, hash);
        }
        let mut fed: HashMap<&str, Vec<Link<'_>>> = HashMap::new();
        for link in self.links() {
            fed.entry(link.from).or_default().push(link);
        }
        let mut whole: HashMap<&str, Hash> = HashMap::with_capacity(nodes.len());
        for place in order.iter().rev() {
            let Some((id, _)) = nodes.get(*place).copied() else { continue };
            let mut text = Text::new("node");
            text.hash(above.get(id));
            let feeds = fed.get(id).into_iter().flatten();
            let mut feeds: Vec<_> = feeds.map(|link| (whole.get(link.node), link.slot, link.input)).collect();
            feeds.sort_unstable();
            for (node, slot, input) in feeds {
                text.hash(node);
                text.part(&format!("{slot:?} {input}"));
            }
            whole.insert(id, text.end());
        }
        let mut all: Vec<&Hash> = whole.values().collect();
        all.sort_unstable();
        let mut text = Text::new("graph");
        for hash in all {
            text.hash(Some(hash));
        }
        hex::of(text.end())
    }

    fn node_hash(
        &self,
        node: &Node,
        above: &HashMap<&str, Hash>,
        counted: &dyn Fn(&Node, &str, &Value) -> Vec<String>,
    ) -> Hash {
        let mut text = Text::new("class");
        text.part(&node.class_type);
        let mut inputs: Vec<(&String, &Value)> = node.inputs.iter().collect();
        inputs.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in inputs {
            if let Some((from, slot)) = origin(value) {
                text.part(name);
                text.part(if self.node(from).is_some() { "link" } else { "link to nowhere" });
                text.part(&format!("{slot:?}"));
                text.hash(above.get(from));
                continue;
            }
            for model in counted(node, name, value) {
                text.part(name);
                text.part("model");
                text.part(&model);
            }
        }
        text.end()
    }

    /// Returns the places of all nodes so that each comes after those that feed it; nodes of circles, and what they feed,
    /// come last.
    fn flow(&self) -> Vec<usize> {
        let sources = self.sources();
        let mut waits: Vec<usize> = sources.iter().map(Vec::len).collect();
        let mut feeds: Vec<Vec<usize>> = vec![Vec::new(); sources.len()];
        for (node, sources) in sources.iter().enumerate() {
            for source in sources {
                if let Some(feeds) = feeds.get_mut(*source) {
                    feeds.push(node);
                }
            }
        }
        let mut order: Vec<usize> = (0..waits.len()).filter(|node| waits.get(*node) == Some(&0)).collect();
        let mut next = 0;
        while let Some(node) = order.get(next).copied() {
            next += 1;
            for fed in feeds.get(node).into_iter().flatten() {
                if let Some(left) = waits.get_mut(*fed) {
                    *left -= 1;
                    if *left == 0 {
                        order.push(*fed);
                    }
                }
            }
        }
        order.extend((0..waits.len()).filter(|node| waits.get(*node).is_some_and(|left| *left > 0)));
        order
    }
}

/// Parts of a text that cannot be cut otherwise, on their way into a hash.
struct Text(Sha256);

impl Text {
    fn new(kind: &str) -> Self {
        let mut text = Self(Sha256::new());
        text.part(kind);
        text
    }

    fn part(&mut self, part: &str) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn hash(&mut self, hash: Option<&Hash>) {
        self.0.update(hash.unwrap_or(&[0; 32]));
    }

    fn end(self) -> Hash {
        self.0.finalize().into()
    }
}

/// Returns the names of models that a value holds; some nodes write theirs in an object.
fn models(name: &str, value: &Value, depth: usize) -> Vec<String> {
    match value {
        Value::String(text) if is_model(name, text) => vec![text.clone()],
        Value::Object(object) if depth > 0 => {
            let mut found: Vec<String> =
                object.iter().flat_map(|(name, value)| models(name, value, depth - 1)).collect();
            found.sort_unstable();
            found
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Vec::new()
        }
    }
}

/// Says whether the text of an input names a model, by the name of the input and the ending of the text.
pub fn is_model(name: &str, text: &str) -> bool {
    let name = canonical(name);
    if MODEL_INPUTS.contains(&name.as_str()) {
        return true;
    }
    let has_word = name != FILES_TO_WRITE && MODEL_WORDS.iter().any(|word| name.contains(word));
    let small = text.get(text.len().saturating_sub(16)..).unwrap_or(text).to_ascii_lowercase();
    let has_ending = text.len() <= MAX_MODEL && MODEL_FILES.iter().any(|ending| small.ends_with(ending));
    has_word && has_ending && !text.contains('\n')
}

/// Says whether an input takes one of a list that the server gives, and no file that a caller uploads.
fn is_choice(input: &InputDefinition) -> bool {
    let is_uploaded = ["image_upload", "video_upload", "audio_upload", "upload"].iter().any(|option| input.is(option));
    matches!(input.kind, InputKind::Combo(_)) && !is_uploaded
}

#[cfg(test)]
mod tests {
    use super::super::workflow::tests::classes;
    use super::*;
    use serde_json::json;

    fn graph() -> Value {
        json!({
            "1": {"class_type": "LoraLoader", "inputs": {
                "lora_name": "a.safetensors", "lora_2": {"on": true, "lora": "b.safetensors", "strength": 1.0}}},
            "2": {"class_type": "KSampler", "inputs": {
                "model": ["1", 0], "seed": 1, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}},
            "3": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
            "5": {"class_type": "VAELoader", "inputs": {"vae_name": "taesd"}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a.safetensors", "clip": ["1", 1]}},
        })
    }

    /// Says whether a changed input changes the hash, and the hash with definitions.
    fn changes(node: &str, input: &str, value: Value) -> (bool, bool) {
        let one = Graph::from_value(graph()).unwrap();
        let mut other = one.clone();
        other.set(node, input, value).unwrap();
        let classes = classes();
        (
            one.structure_hash() != other.structure_hash(),
            one.structure_hash_with(&classes) != other.structure_hash_with(&classes),
        )
    }

    #[test]
    fn models_count_and_values_do_not() {
        for (node, input, value) in [
            ("1", "lora_name", json!("b.safetensors")),
            ("1", "lora_2", json!({"on": true, "lora": "c.safetensors", "strength": 1.0})),
            ("5", "vae_name", json!("taef1")),
            ("5", "my_model", json!("a.GGUF")),
        ] {
            assert_eq!(changes(node, input, value), (true, true), "{input}");
        }
        for (node, input, value) in [
            ("1", "lora_2", json!({"on": false, "lora": "b.safetensors", "strength": 0.5})),
            ("2", "seed", json!(2)),
            ("2", "scheduler", json!("karras")),
            ("2", "denoise", json!(0.5)),
            ("3", "image", json!("y.png")),
            ("4", "filename_prefix", json!("b.safetensors")),
            ("6", "text", json!("b.safetensors")),
            ("6", "a_new_switch", json!(true)),
        ] {
            assert_eq!(changes(node, input, value), (false, false), "{input}");
        }
        assert_eq!(
            changes("2", "sampler_name", json!("ddim")),
            (false, true),
            "a choice counts once it is known as one"
        );
    }

    #[test]
    fn which_of_two_equal_nodes_feeds_whom_counts() {
        let graph = |first: &str, second: &str| {
            let graph = json!({
                "1": {"class_type": "A"}, "2": {"class_type": "A"},
                "3": {"class_type": "B", "inputs": {"x": [first, 0]}}, "4": {"class_type": "C", "inputs": {"x": [second, 0]}},
            });
            Graph::from_value(graph).unwrap().structure_hash()
        };
        assert_eq!(graph("1", "2"), graph("2", "1"));
        assert_eq!(graph("1", "1"), graph("2", "2"));
        assert_ne!(graph("1", "2"), graph("1", "1"));
    }

    #[test]
    fn a_graph_of_any_depth_and_one_that_goes_round_have_a_hash() {
        let node = |from: usize| json!({"class_type": "A", "inputs": {"x": [from.to_string(), 0]}});
        let chain = |last: usize| {
            let nodes = (1..20_000).map(|place| (place.to_string(), node(place - 1)));
            let graph = Value::Object(nodes.chain([("0".to_owned(), node(last))]).collect());
            Graph::from_value(graph).unwrap().structure_hash()
        };
        let (open, round) = (chain(1_000_000), chain(19_999));
        assert_eq!((open.len(), round.len()), (64, 64));
        assert_ne!(open, round);
    }
}
