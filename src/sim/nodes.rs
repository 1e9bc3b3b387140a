//! What nodes do, as far as a picture can show it: which text, seed and size flow through a graph.
//!
//! One rule serves every class: a node hands on what it was given, with its own written inputs on top.

use super::graph::{Graph, Node};
use super::json::Json;

/// What is known about the thing that flows along a link.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Essence {
    /// The prompt's text.
    pub(super) caption: Option<String>,
    /// The seed, or what stands for it.
    pub(super) seed: Option<u64>,
    /// The color of an empty image.
    pub(super) color: Option<u64>,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) batch: Option<u32>,
    /// Sampling steps.
    pub(super) steps: Option<u32>,
    /// Negative colors.
    pub(super) inverted: bool,
    /// A number or text on its own, such as a primitive's value.
    pub(super) value: Option<Json>,
    /// Images that were put behind these.
    pub(super) tail: Vec<Essence>,
}

/// How a node keeps the server busy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Effort {
    /// Ticks of its progress bar; a node without one has none.
    pub(super) ticks: u32,
    /// How long all ticks take together, where the node says so itself.
    pub(super) milliseconds: Option<u64>,
    /// It shows previews.
    pub(super) previews: bool,
}

/// What a node gives to the user interface or the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Product {
    /// Nothing but its outputs.
    Nothing,
    /// Image files in the output folder.
    SavedImages,
    /// Image files in the temporary folder.
    TemporaryImages,
    /// Frames on the socket.
    SocketImages,
    /// The text of what it was given.
    Text,
}

impl Essence {
    /// Returns the number of images, at least one.
    pub(super) fn images(&self) -> u32 {
        self.tail.iter().map(Self::images).fold(self.own_images(), u32::saturating_add)
    }

    /// Returns which of the joined batches an image belongs to, and its place there.
    pub(super) fn part(&self, index: u32) -> (&Self, u32) {
        let Some(mut index) = index.checked_sub(self.own_images()) else { return (self, index) };
        for part in &self.tail {
            match index.checked_sub(part.images()) {
                Some(rest) => index = rest,
                None => return part.part(index),
            }
        }
        (self, index)
    }

    fn own_images(&self) -> u32 {
        self.batch.unwrap_or(1).max(1)
    }
}

/// Returns what a node hands on; `upstream` gives what its links brought.
pub(super) fn essence(node: &Node, upstream: &dyn Fn(&str) -> Option<Essence>) -> Essence {
    let mut merged = Essence::default();
    for (name, from) in node.links() {
        match upstream(&from) {
            Some(given) if node.class == "ImageBatch" && name == "image2" => merged.tail.push(given),
            Some(given) => merge(&mut merged, given, name),
            None => {}
        }
    }
    let resolved = |name: &str| {
        let value = node.input(name)?;
        if value.items().is_empty() {
            return Some(value.clone());
        }
        let (_, from) = node.links().find(|(input, _)| *input == name)?;
        upstream(&from)?.value
    };
    own_inputs(&mut merged, node, &resolved);
    for part in &mut merged.tail {
        own_looks(part, node, &resolved);
    }
    merged
}

/// Returns how long a node works and whether it shows previews.
pub(super) fn effort(node: &Node, essence: &Essence, previews: bool) -> Effort {
    let seconds = node.input("seconds").and_then(Json::number);
    if let Some(seconds) = seconds {
        let ticks = node.input("steps").and_then(Json::unsigned).map_or(0, small);
        let shows = node.input("preview").and_then(Json::text).is_some_and(|kind| kind != "none");
        let milliseconds = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_millis();
        return Effort { ticks, milliseconds: u64::try_from(milliseconds).ok(), previews: shows };
    }
    let samples = node.class != "KSamplerSelect"
        && (node.class.starts_with("KSampler") || node.class.starts_with("SamplerCustom"));
    Effort { ticks: if samples { essence.steps.unwrap_or(1) } else { 0 }, milliseconds: None, previews }
}

/// Returns what a node of this class produces besides its outputs.
pub(super) fn product(class: &str, is_output: bool) -> Product {
    match class {
        "SaveImage" => Product::SavedImages,
        "PreviewImage" => Product::TemporaryImages,
        "SaveImageWebsocket" => Product::SocketImages,
        // An output node that is not known says something too.
        _ if is_output => Product::Text,
        _ => Product::Nothing,
    }
}

/// Returns the text that a graph is about, for images that no text is linked to.
pub(super) fn loose_caption(graph: &Graph) -> Option<String> {
    let texts = graph.nodes().iter().filter_map(|node| {
        let names =
            if node.class.starts_with("CLIPTextEncode") { &["text", "clip_l"][..] } else { &["value", "string_a"] };
        let has_text = node.class.starts_with("CLIPTextEncode") || node.class.contains("String");
        names.iter().filter(|_| has_text).find_map(|name| node.input(name)?.text().map(str::to_owned))
    });
    texts.filter(|text| !text.trim().is_empty()).max_by_key(String::len)
}

fn merge(into: &mut Essence, given: Essence, input: &str) {
    // The negative prompt shapes a picture too, but nobody wants to read it there.
    if input != "negative" {
        into.caption = into.caption.take().or(given.caption);
    }
    into.seed = into.seed.or(given.seed);
    into.color = into.color.or(given.color);
    into.width = into.width.or(given.width);
    into.height = into.height.or(given.height);
    into.batch = into.batch.or(given.batch);
    into.steps = into.steps.or(given.steps);
    into.inverted |= given.inverted;
    into.tail.extend(given.tail);
    into.value = into.value.take().or(given.value);
}

fn own_inputs(essence: &mut Essence, node: &Node, resolved: &dyn Fn(&str) -> Option<Json>) {
    let whole = |name: &str| resolved(name).and_then(|value| value.unsigned());
    let text = |name: &str| resolved(name).map(|value| value.python_str()).filter(|text| !text.trim().is_empty());
    essence.seed = whole("seed").or_else(|| whole("noise_seed")).or(essence.seed);
    essence.color = whole("color").or(essence.color);
    essence.batch = whole("batch_size").or_else(|| whole("amount")).map(small).or(essence.batch);
    essence.steps = whole("steps").map(small).or(essence.steps);
    own_looks(essence, node, resolved);
    if node.class.starts_with("CLIPTextEncode") {
        essence.caption = text("text").or_else(|| text("t5xxl")).or_else(|| text("clip_l")).or_else(|| text("text_g"));
    }
    if node.class == "StringConcatenate" {
        let parts = [resolved("string_a"), resolved("string_b")].map(|part| part.unwrap_or_default().python_str());
        let delimiter = resolved("delimiter").unwrap_or_else(|| "".into()).python_str();
        essence.value = Some(parts.join(&delimiter).into());
    } else {
        essence.value = resolved("value").or_else(|| resolved("string")).or_else(|| essence.value.take());
    }
}

/// Gives every image its size and negative; joined batches get them each.
fn own_looks(essence: &mut Essence, node: &Node, resolved: &dyn Fn(&str) -> Option<Json>) {
    let whole = |name: &str| resolved(name).and_then(|value| value.unsigned()).map(small);
    // Latent images come in steps of eight pixels.
    let grid = |length: u32| if node.class.contains("Latent") { (length / 8 * 8).max(8) } else { length };
    essence.width = whole("width").map(grid).or(essence.width);
    essence.height = whole("height").map(grid).or(essence.height);
    let is_model = node.class == "ImageUpscaleWithModel";
    let factor = if is_model { Some(4.0) } else { resolved("scale_by").and_then(|value| value.number()) };
    if let Some(factor) = factor {
        essence.width = essence.width.map(|width| scaled(width, factor));
        essence.height = essence.height.map(|height| scaled(height, factor));
    }
    if node.class == "ImageInvert" {
        essence.inverted = !essence.inverted;
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits just before")]
fn scaled(size: u32, factor: f64) -> u32 {
    (f64::from(size) * factor).round().clamp(1.0, 16_384.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole_graph(text: &str) -> (Graph, std::collections::HashMap<String, Essence>) {
        let graph = Graph::read(&Json::parse(text.as_bytes()).unwrap());
        let mut known = std::collections::HashMap::new();
        for node in graph.nodes() {
            let essence = essence(node, &|id| known.get(id).cloned());
            known.insert(node.id.clone(), essence);
        }
        (graph, known)
    }

    #[test]
    fn text_seed_and_size_reach_the_save_node_of_a_text_to_image_graph() {
        let (_, known) = whole_graph(
            r#"{"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lake", "clip": ["9", 1]}},
                "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["9", 1]}},
                "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 48, "batch_size": 2}},
                "4": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 5, "negative": ["2", 0], "positive": ["1", 0], "latent_image": ["3", 0]}},
                "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0]}},
                "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0]}}}"#,
        );
        let saved = known.get("6").unwrap();
        assert_eq!(saved.caption.as_deref(), Some("a lake"));
        assert_eq!(
            (saved.seed, saved.width, saved.height, saved.batch, saved.steps),
            (Some(7), Some(64), Some(48), Some(2), Some(5))
        );
    }

    #[test]
    fn primitives_feed_the_inputs_that_they_are_linked_to() {
        let (graph, known) = whole_graph(
            r#"{"1": {"class_type": "PrimitiveInt", "inputs": {"value": 96}},
                "2": {"class_type": "PrimitiveString", "inputs": {"value": "hills"}},
                "3": {"class_type": "StringConcatenate", "inputs": {"string_a": ["2", 0], "string_b": "fog", "delimiter": ", "}},
                "4": {"class_type": "CLIPTextEncode", "inputs": {"text": ["3", 0]}},
                "5": {"class_type": "EmptyImage", "inputs": {"width": ["1", 0], "height": 8, "batch_size": 1, "color": 5}},
                "6": {"class_type": "ImageScale", "inputs": {"image": ["5", 0], "height": 32}}}"#,
        );
        assert_eq!(known.get("4").unwrap().caption.as_deref(), Some("hills, fog"));
        let scaled = known.get("6").unwrap();
        assert_eq!((scaled.width, scaled.height, scaled.color), (Some(96), Some(32), Some(5)));
        assert_eq!(loose_caption(&graph).as_deref(), Some("hills"));
    }

    #[test]
    fn samplers_and_timed_nodes_tick_and_other_nodes_do_not() {
        let (graph, known) = whole_graph(
            r#"{"1": {"class_type": "BasicScheduler", "inputs": {"steps": 4}},
                "2": {"class_type": "SamplerCustomAdvanced", "inputs": {"sigmas": ["1", 0]}},
                "3": {"class_type": "Wait", "inputs": {"seconds": 0.5, "steps": 2, "preview": "jpeg"}}}"#,
        );
        let ticks = |id: &str| effort(graph.node(id).unwrap(), known.get(id).unwrap(), false);
        assert_eq!(ticks("1").ticks, 0);
        assert_eq!(ticks("2").ticks, 4);
        assert_eq!(ticks("3"), Effort { ticks: 2, milliseconds: Some(500), previews: true });
    }
}
