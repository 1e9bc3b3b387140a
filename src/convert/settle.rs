//! What happens once all nodes have their saved state: links learn the places of the inputs that they end in, inputs
//! whose widget is gone are taken away, and a few values of old files are put right.

use super::scene::{Kind, NodeAt, ROOT, Scene};
use super::value::is_something;
use super::{ConvertError, reroute};
use serde_json::Value;
use std::sync::Arc;

pub(super) fn settle(scene: &mut Scene<'_>) -> Result<(), ConvertError> {
    for graph in scene.used(ROOT)? {
        for node in scene.graphs[graph].nodes.clone() {
            point_links(scene, node);
        }
    }
    for node in scene.all_nodes() {
        if scene.nodes[node].kind == Kind::Class {
            drop_inputs(scene, node)?;
        }
    }
    Ok(())
}

fn point_links(scene: &mut Scene<'_>, node: NodeAt) {
    let links = &mut scene.graphs[scene.nodes[node].graph].links;
    for (place, input) in scene.nodes[node].inputs.iter().enumerate() {
        let id = input.link.as_deref().filter(|id| *id != "0" && !id.is_empty());
        if let Some(link) = id.and_then(|id| links.get_mut(id)) {
            link.target_slot = i64::try_from(place).ok();
        }
    }
}

/// Takes away the inputs that stand for widgets which the node does not have. The frontend goes on behind the one that
/// moves up, so of two in a row the second stays.
fn drop_inputs(scene: &mut Scene<'_>, node: NodeAt) -> Result<(), ConvertError> {
    let mut place = 0;
    while let Some(input) = scene.nodes[node].inputs.get(place) {
        scene.spend(0)?;
        let is_gone = input.widget.as_ref().is_some_and(|shown| scene.nodes[node].widget(&shown.name).is_none());
        if is_gone {
            drop_input(scene, node, place);
        }
        place += 1;
    }
    Ok(())
}

fn drop_input(scene: &mut Scene<'_>, node: NodeAt, place: usize) {
    let graph = scene.nodes[node].graph;
    reroute::disconnect(scene, graph, node, place);
    scene.nodes[node].inputs.remove(place);
    let later: Vec<String> =
        scene.nodes[node].inputs.iter().skip(place).filter_map(|input| input.link.clone()).collect();
    for id in later {
        if let Some(link) = scene.graphs[graph].links.get_mut(&id) {
            link.target_slot = link.target_slot.map(|slot| slot - 1);
        }
    }
}

/// Nodes that show a model of three dimensions show the last one that they had.
pub(super) fn show_last_models(scene: &mut Scene<'_>) {
    for node in scene.graphs[ROOT].nodes.clone() {
        if !matches!(scene.nodes[node].class.as_str(), "Preview3D" | "Preview3DAnimation") {
            continue;
        }
        let last = scene.nodes[node].properties.get("Last Time Model File").filter(|last| is_something(last)).cloned();
        if let (Some(last), Some(widget)) = (last, scene.nodes[node].widget("model_file").cloned()) {
            scene.put(&widget, Some(Arc::new(last)));
        }
    }
}

/// Samplers were called `sample_euler` once.
pub(super) fn rename_samplers(scene: &mut Scene<'_>) {
    for node in scene.graphs[ROOT].nodes.clone() {
        if !matches!(scene.nodes[node].class.as_str(), "KSampler" | "KSamplerAdvanced") {
            continue;
        }
        let Some(widget) = scene.nodes[node].widget("sampler_name").cloned() else { continue };
        let value = scene.value(&widget);
        if let Some(name) = value.as_deref().and_then(Value::as_str).and_then(|name| name.strip_prefix("sample_")) {
            scene.put(&widget, Some(Arc::new(Value::from(name))));
        }
    }
}
