//! Where a link comes from in truth: through reroutes, bypassed nodes and the walls of subgraphs to the node that is run,
//! or to the value that an instance of a subgraph shows.

use super::ConvertError;
use super::file::ENTRANCE;
use super::scene::{BYPASSED, GraphAt, Kind, NodeAt, ROOT, Scene};
use super::value::at;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Where a frame stands; the outermost graph is the first.
pub(super) type FrameAt = usize;

/// All instances of subgraphs, each in its place.
pub(super) struct Frames {
    list: Vec<Frame>,
    inside: HashMap<(FrameAt, NodeAt), FrameAt>,
}

/// One instance of a subgraph in its place, or the outermost graph.
struct Frame {
    graph: GraphAt,
    /// The frame and node of the instance.
    instance: Option<(FrameAt, NodeAt)>,
    /// The ids of the instances around its nodes: `12:3:`.
    prefix: String,
}

/// What stands at the beginning of a link.
pub(super) enum Source {
    /// Output `slot` of a node that is run, or would be.
    Output { frame: FrameAt, node: NodeAt, slot: i64 },
    /// A value that an instance shows; none where it has none.
    Value(Option<Arc<Value>>),
}

/// One step on the way.
enum Step {
    Input { frame: FrameAt, node: NodeAt, slot: i64, kind: Option<String> },
    Output { frame: FrameAt, node: NodeAt, slot: i64, kind: String },
}

impl Frames {
    pub(super) fn new() -> Self {
        let root = Frame { graph: ROOT, instance: None, prefix: String::new() };
        Self { list: vec![root], inside: HashMap::new() }
    }

    /// Goes into an instance.
    pub(super) fn enter(&mut self, scene: &Scene<'_>, frame: FrameAt, node: NodeAt, graph: GraphAt) -> FrameAt {
        let prefix = format!("{}{}:", self.list[frame].prefix, scene.nodes[node].id);
        self.list.push(Frame { graph, instance: Some((frame, node)), prefix });
        let inside = self.list.len() - 1;
        self.inside.insert((frame, node), inside);
        inside
    }

    pub(super) fn graph(&self, frame: FrameAt) -> GraphAt {
        self.list[frame].graph
    }

    /// Returns the id under which a node is sent.
    pub(super) fn id(&self, scene: &Scene<'_>, frame: FrameAt, node: NodeAt) -> String {
        format!("{}{}", self.list[frame].prefix, scene.nodes[node].id)
    }

    /// Finds where input `slot` of a node comes from; none where nothing is connected in the end.
    pub(super) fn source(
        &self,
        scene: &Scene<'_>,
        frame: FrameAt,
        node: NodeAt,
        slot: usize,
    ) -> Result<Option<Source>, ConvertError> {
        let fault = |why: &'static str| ConvertError::BrokenLink {
            node: self.id(scene, frame, node),
            title: scene.nodes[node].shown_title(),
            input: scene.nodes[node].inputs.get(slot).map(|input| input.name.clone()).unwrap_or_default(),
            why,
        };
        let start = i64::try_from(slot).unwrap_or_default();
        let mut step = Step::Input { frame, node, slot: start, kind: None };
        let mut passed = HashSet::new();
        loop {
            scene.spend(1)?;
            let place = match &step {
                Step::Input { frame, node, slot, .. } => (true, *frame, *node, *slot),
                Step::Output { frame, node, slot, .. } => (false, *frame, *node, *slot),
            };
            if !passed.insert(place) {
                return Err(ConvertError::Circle {
                    node: self.id(scene, frame, node),
                    title: scene.nodes[node].shown_title(),
                    input: scene.nodes[node].inputs.get(slot).map(|input| input.name.clone()).unwrap_or_default(),
                });
            }
            let next = match step {
                Step::Input { frame, node, slot, kind } => self.through_input(scene, (frame, node, slot), kind),
                Step::Output { frame, node, slot, kind } => self.through_output(scene, (frame, node, slot), kind),
            };
            step = match next.map_err(fault)? {
                Next::Step(step) => step,
                Next::Found(source) => return Ok(Some(source)),
                Next::Nothing => return Ok(None),
            };
        }
    }

    fn through_input(
        &self,
        scene: &Scene<'_>,
        (frame, node, slot): (FrameAt, NodeAt, i64),
        kind: Option<String>,
    ) -> Result<Next, &'static str> {
        let input = at(&scene.nodes[node].inputs, slot).ok_or("it passes an input that is not there")?;
        let Some(id) = &input.link else { return Ok(Next::Nothing) };
        let network = &scene.graphs[self.graph(frame)];
        let link = network.links.get(id).ok_or("the file has no such link")?;
        let origin_slot = link.origin_slot.ok_or("it begins at no output")?;
        if link.origin == ENTRANCE
            && let Some((outside, instance)) = self.list[frame].instance
        {
            return self.outwards(scene, outside, instance, origin_slot);
        }
        let origin = network.by_id.get(&link.origin).ok_or("the node at its beginning is not there")?;
        let kind = kind.unwrap_or_else(|| input.kind.clone());
        Ok(Next::Step(Step::Output { frame, node: *origin, slot: origin_slot, kind }))
    }

    /// Goes from a link inside a subgraph to what is connected to its instance.
    fn outwards(&self, scene: &Scene<'_>, frame: FrameAt, instance: NodeAt, slot: i64) -> Result<Next, &'static str> {
        let input = at(&scene.nodes[instance].inputs, slot).ok_or("the subgraph has no such input")?;
        let Some(id) = &input.link else {
            let shown = scene.widget_of(instance, input);
            return Ok(shown.map_or(Next::Nothing, |widget| Next::Found(Source::Value(scene.value(widget)))));
        };
        let link = scene.graphs[self.graph(frame)].links.get(id).ok_or("the file has no such link")?;
        let slot = link.target_slot.ok_or("it ends at no input")?;
        Ok(Next::Step(Step::Input { frame, node: instance, slot, kind: None }))
    }

    fn through_output(
        &self,
        scene: &Scene<'_>,
        (frame, node, slot): (FrameAt, NodeAt, i64),
        kind: String,
    ) -> Result<Next, &'static str> {
        let placed = &scene.nodes[node];
        if placed.mode == BYPASSED {
            let passing = bypass(scene, node, slot, &kind)?;
            return Ok(passing.map_or(Next::Nothing, |slot| Next::Step(Step::Input { frame, node, slot, kind: None })));
        }
        match placed.kind {
            Kind::Instance(graph) => self.inwards(scene, (frame, node, slot), graph, kind),
            Kind::Reroute | Kind::Primitive | Kind::Note => Ok(match at(&placed.inputs, slot) {
                Some(_) => Next::Step(Step::Input { frame, node, slot, kind: Some(kind) }),
                None => Next::Nothing,
            }),
            Kind::Class | Kind::Unknown => Ok(Next::Found(Source::Output { frame, node, slot })),
        }
    }

    /// Goes from an output of an instance to what it is connected to inside.
    fn inwards(
        &self,
        scene: &Scene<'_>,
        (frame, node, slot): (FrameAt, NodeAt, i64),
        graph: GraphAt,
        kind: String,
    ) -> Result<Next, &'static str> {
        at(&scene.nodes[node].outputs, slot).ok_or("the subgraph has no such output")?;
        let network = &scene.graphs[graph];
        let port = at(&network.outputs, slot).ok_or("the subgraph has no such output")?;
        let Some(link) = port.links.iter().find_map(|id| network.links.get(id)) else { return Ok(Next::Nothing) };
        let origin_slot = link.origin_slot.ok_or("it begins at no output")?;
        if link.origin == ENTRANCE {
            return self.outwards(scene, frame, node, origin_slot);
        }
        let origin = network.by_id.get(&link.origin).ok_or("the node at its beginning is not there")?;
        let inside = self.inside.get(&(frame, node)).ok_or("the subgraph has no nodes")?;
        Ok(Next::Step(Step::Output { frame: *inside, node: *origin, slot: origin_slot, kind }))
    }
}

enum Next {
    Step(Step),
    Found(Source),
    Nothing,
}

/// Finds the input that a bypassed node passes on as an output: the one of the same place if its type fits, the first of
/// just that type, the first that fits.
fn bypass(scene: &Scene<'_>, node: NodeAt, slot: i64, kind: &str) -> Result<Option<i64>, &'static str> {
    let placed = &scene.nodes[node];
    let output = usize::try_from(slot).ok().and_then(|slot| placed.outputs.get(slot));
    let output = &output.ok_or("it begins at an output that is not there")?.kind;
    if is_any(kind) {
        let first = if at(&placed.inputs, slot).is_some() { slot } else { 0 };
        return Ok((!placed.inputs.is_empty()).then_some(first));
    }
    let fits = |input: &str| connects(input, output) && connects(input, kind);
    if at(&placed.inputs, slot).is_some_and(|input| fits(&input.kind)) {
        return Ok(Some(slot));
    }
    let mut inputs = placed.inputs.iter();
    let exact = inputs.position(|input| input.kind == kind);
    let found = exact.or_else(|| placed.inputs.iter().position(|input| fits(&input.kind)));
    Ok(found.and_then(|place| i64::try_from(place).ok()))
}

fn is_any(kind: &str) -> bool {
    kind.is_empty() || kind == "*"
}

/// Says whether an output of one type may be connected to an input of another. A type may be several: `IMAGE,MASK`.
pub(super) fn connects(one: &str, two: &str) -> bool {
    if is_any(one) || is_any(two) || one == two {
        return true;
    }
    let (one, two) = (one.to_lowercase(), two.to_lowercase());
    one.split(',').any(|one| two.split(',').any(|two| is_any(one) || is_any(two) || one == two))
}
