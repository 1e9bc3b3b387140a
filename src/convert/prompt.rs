//! Writes what the scene shows as the graph that is sent: the nodes that run, their values and their links.

use super::order;
use super::resolve::{FrameAt, Frames, Source};
use super::scene::{BYPASSED, Kind, MUTED, NodeAt, Scene};
use super::text::{self, Dates};
use super::value::leading_key;
use super::widget::Treatment;
use super::{ConvertError, Converted, limits};
use crate::graph::{Graph, Node};
use crate::names;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// The nodes of all instances, in the order in which the frontend takes them.
struct Cast {
    frames: Frames,
    nodes: Vec<(FrameAt, NodeAt)>,
}

pub(super) fn write(scene: &Scene<'_>) -> Result<Converted, ConvertError> {
    let cast = cast(scene)?;
    let running: Vec<(FrameAt, NodeAt)> = cast.nodes.iter().copied().filter(|(_, node)| runs(scene, *node)).collect();
    refuse_unknown(scene, &cast.frames, &running)?;
    let ids: HashSet<String> = running.iter().map(|(frame, node)| cast.frames.id(scene, *frame, *node)).collect();
    let mut writer = Writer { scene, frames: &cast.frames, ids, bytes: 0, warnings: Vec::new() };
    let mut nodes: IndexMap<String, Node> = IndexMap::new();
    for (frame, node) in running {
        let inputs = writer.inputs(frame, node)?;
        let placed = &scene.nodes[node];
        nodes.insert(cast.frames.id(scene, frame, node), Node::new(placed.class.clone(), placed.title.clone(), inputs));
    }
    if nodes.is_empty() {
        let nothing = "nothing in this workflow runs: it has no nodes but notes, muted and bypassed ones";
        writer.warnings.push(nothing.to_owned());
    }
    // The order of an object's keys in a browser: integers first, ascending; then the others as they came.
    nodes.sort_by_cached_key(|id, _| leading_key(id).map_or((true, 0), |id| (false, id)));
    Ok(Converted { graph: Graph::of_nodes(nodes), warnings: writer.warnings })
}

fn runs(scene: &Scene<'_>, node: NodeAt) -> bool {
    let placed = &scene.nodes[node];
    !placed.is_virtual() && placed.mode != MUTED && placed.mode != BYPASSED
}

fn cast(scene: &Scene<'_>) -> Result<Cast, ConvertError> {
    let mut frames = Frames::new();
    let mut nodes = Vec::new();
    // Each entry is a node in its frame, with the depth of the frame.
    let mut stack: Vec<(FrameAt, NodeAt, usize)> =
        order::in_order(scene)?.into_iter().rev().map(|node| (0, node, 0)).collect();
    while let Some((frame, node, depth)) = stack.pop() {
        if nodes.len() >= limits::NODES {
            return Err(ConvertError::TooLarge { what: "nodes", limit: limits::NODES });
        }
        nodes.push((frame, node));
        let Kind::Instance(graph) = scene.nodes[node].kind else { continue };
        if depth >= limits::DEPTH {
            return Err(ConvertError::TooLarge { what: "subgraphs inside each other", limit: limits::DEPTH });
        }
        let inside = frames.enter(scene, frame, node, graph);
        stack.extend(scene.graphs[graph].nodes.iter().rev().map(|node| (inside, *node, depth + 1)));
        scene.spend(scene.graphs[graph].nodes.len())?;
    }
    Ok(Cast { frames, nodes })
}

/// Refuses nodes whose class the server does not have.
fn refuse_unknown(scene: &Scene<'_>, frames: &Frames, running: &[(FrameAt, NodeAt)]) -> Result<(), ConvertError> {
    let unknown: Vec<(FrameAt, NodeAt)> =
        running.iter().copied().filter(|(_, node)| scene.nodes[*node].kind == Kind::Unknown).collect();
    let Some((frame, node)) = unknown.first() else { return Ok(()) };
    let placed = &scene.nodes[*node];
    let (id, title) = (frames.id(scene, *frame, *node), placed.shown_title());
    let class = names::shown(&placed.class);
    if ["workflow>", "workflow/"].iter().any(|prefix| placed.class.starts_with(prefix)) {
        return Err(ConvertError::GroupNode {
            node: id,
            title,
            why: "what is in it is not in the file, or has reroutes, primitives or classes that are not there",
        });
    }
    if uuid::Uuid::try_parse(&placed.class).is_ok() {
        return Err(ConvertError::MissingSubgraph { node: id, title, subgraph: class });
    }
    let known = scene.definitions.nodes().map(|node| node.class.as_str());
    let near = names::nearest(&placed.class, known);
    let hint = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    let more: HashSet<&str> = unknown.iter().map(|(_, node)| scene.nodes[*node].class.as_str()).collect();
    let mut more: Vec<&str> = more.into_iter().filter(|other| *other != placed.class).collect();
    more.sort_unstable();
    let others = if more.is_empty() {
        String::new()
    } else {
        let shown: Vec<String> = more.iter().take(8).map(|class| format!("`{}`", names::shown(class))).collect();
        let rest = if more.len() > shown.len() { " and others" } else { "" };
        format!(" (the same goes for {}{rest})", shown.join(", "))
    };
    Err(ConvertError::UnknownClass { node: id, title, class, hint, others })
}

struct Writer<'s, 'a> {
    scene: &'s Scene<'a>,
    frames: &'s Frames,
    /// The nodes that are sent.
    ids: HashSet<String>,
    bytes: usize,
    warnings: Vec<String>,
}

impl Writer<'_, '_> {
    fn inputs(&mut self, frame: FrameAt, node: NodeAt) -> Result<Map<String, Value>, ConvertError> {
        let scene = self.scene;
        let placed = &scene.nodes[node];
        let mut inputs = Map::new();
        for widget in placed.widgets.iter().filter(|widget| widget.sent) {
            let value = scene.value(widget);
            let value = match (value.as_deref(), widget.treatment) {
                (Some(Value::String(text)), Treatment::Choices) => {
                    Some(Arc::new(Value::from(self.chosen(frame, node, &widget.name, text))))
                }
                (Some(Value::String(text)), Treatment::References) => {
                    Some(Arc::new(Value::from(self.replaced(frame, node, text)?)))
                }
                (Some(_) | None, _) => value,
            };
            self.set(&mut inputs, &widget.name, value)?;
        }
        for (slot, input) in placed.inputs.iter().enumerate() {
            match self.frames.source(scene, frame, node, slot)? {
                None => {}
                Some(Source::Value(value)) => self.set(&mut inputs, &input.name, value)?,
                Some(Source::Output { frame, node, slot }) => {
                    let id = self.frames.id(scene, frame, node);
                    if self.ids.contains(&id) {
                        self.count(id.len())?;
                        inputs.insert(input.name.clone(), json!([id, slot]));
                    } else {
                        inputs.remove(&input.name);
                    }
                }
            }
        }
        if matches!(placed.class.as_str(), "Load3D" | "Load3DAnimation" | "WebcamCapture" | "RecordAudio") {
            self.warn(frame, node, "needs a browser that takes its picture or sound; what it sends is empty");
        }
        Ok(inputs)
    }

    /// Sets an input to a value. A list is wrapped, since ComfyUI would take it for a link.
    fn set(
        &mut self,
        inputs: &mut Map<String, Value>,
        name: &str,
        value: Option<Arc<Value>>,
    ) -> Result<(), ConvertError> {
        if name.is_empty() {
            return Ok(());
        }
        let Some(value) = value else {
            inputs.remove(name);
            return Ok(());
        };
        self.count(size_of(&value).saturating_add(name.len()))?;
        let value = Arc::unwrap_or_clone(value);
        let value = if value.is_array() { json!({ "__value__": value }) } else { value };
        inputs.insert(name.to_owned(), value);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ConvertError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limits::BYTES {
            return Err(ConvertError::TooLarge { what: "bytes of values", limit: limits::BYTES });
        }
        Ok(())
    }

    fn chosen(&mut self, frame: FrameAt, node: NodeAt, widget: &str, text: &str) -> String {
        let (text, had_choice) = text::chosen(text);
        if had_choice {
            let widget = names::shown(widget);
            self.warn(
                frame,
                node,
                &format!("has choices like {{a|b}} in `{widget}`, of which ComfyUI draws one each time; here it is always the first"),
            );
        }
        text
    }

    fn replaced(&mut self, frame: FrameAt, node: NodeAt, text: &str) -> Result<String, ConvertError> {
        let mut left = Vec::new();
        let text = text::replaced(self.scene, text, Dates::Served, &mut left)?;
        for date in left {
            let date = names::shown(&date);
            self.warn(
                frame,
                node,
                &format!("has %{date}% in `filename_prefix`, for which the server has no words; it stays as it is"),
            );
        }
        Ok(text)
    }

    fn warn(&mut self, frame: FrameAt, node: NodeAt, what: &str) {
        if self.warnings.len() < limits::WARNINGS {
            let title = self.scene.nodes[node].shown_title();
            self.warnings.push(format!("node {} ({title:?}) {what}", self.frames.id(self.scene, frame, node)));
        }
    }
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(|part| size_of(part) + 8).sum(),
        Value::Object(object) => object.iter().map(|(key, part)| key.len() + size_of(part) + 8).sum(),
    }
}
