//! Puts the nodes that a group node stands for in its place, with the values of its widgets and with its links.

use super::ConvertError;
use super::file::{self, Link, SavedNode};
use super::group_class::{Group, Groups};
use super::load::{configure, make};
use super::scene::{BYPASSED, NodeAt, ROOT, Scene};

/// Puts the nodes inside in the place of each group node, with the values of its widgets and with its links.
pub(super) fn expand(scene: &mut Scene<'_>, groups: &Groups) -> Result<(), ConvertError> {
    for node in scene.graphs[ROOT].nodes.clone() {
        let Some(group) = groups.get(&scene.nodes[node].class) else { continue };
        // The frontend does not ask whether the group is muted, and of a bypassed one it passes the outputs only.
        let inside = unpack(scene, node, group)?;
        hand_values_in(scene, node, group, &inside);
        connect_inputs(scene, node, group, &inside)?;
        if scene.nodes[node].mode != BYPASSED {
            connect_outputs(scene, node, group, &inside)?;
        }
    }
    Ok(())
}

fn inner_id(scene: &Scene<'_>, node: NodeAt, place: usize) -> String {
    format!("{}:{place}", scene.nodes[node].id)
}

/// Makes the nodes inside, in the place where the group node stood.
fn unpack(scene: &mut Scene<'_>, node: NodeAt, group: &Group) -> Result<Vec<NodeAt>, ConvertError> {
    let mut inside = Vec::new();
    scene.spend(group.weight)?;
    for (place, saved) in group.nodes.iter().enumerate() {
        let mut saved: SavedNode = file::node(place, saved)?;
        saved.id = Some(inner_id(scene, node, place));
        saved.inputs.iter_mut().for_each(|input| input.link = None);
        saved.outputs.iter_mut().for_each(|output| output.links.clear());
        let at = make(scene, ROOT, &saved, &mut 0);
        configure(scene, at, saved)?;
        scene.check_size()?;
        inside.push(at);
    }
    let root = &mut scene.graphs[ROOT];
    let kept = root.nodes.len() - inside.len();
    root.nodes.truncate(kept);
    if let Some(place) = root.nodes.iter().position(|other| *other == node) {
        root.nodes.splice(place..=place, inside.iter().copied());
    }
    scene.spend(kept)?;
    Ok(inside)
}

fn hand_values_in(scene: &mut Scene<'_>, node: NodeAt, group: &Group, inside: &[NodeAt]) {
    for (name, (place, inner)) in &group.widgets {
        let outer = scene.nodes[node].widget(name).cloned();
        let inner = inside.get(*place).and_then(|at| scene.nodes[*at].widget(inner)).cloned();
        if let (Some(outer), Some(inner)) = (outer, inner) {
            let value = scene.value(&outer);
            scene.put(&inner, value);
        }
    }
}

fn connect_inputs(scene: &mut Scene<'_>, node: NodeAt, group: &Group, inside: &[NodeAt]) -> Result<(), ConvertError> {
    for (place, at) in inside.iter().enumerate() {
        for slot in 0..scene.nodes[*at].inputs.len() {
            scene.spend(1)?;
            let origin = match group.inputs.get(&(place, slot)) {
                Some(outer) => {
                    let link = scene.nodes[node].inputs.get(*outer).and_then(|input| input.link.as_ref());
                    let link = link.and_then(|link| scene.graphs[ROOT].links.get(link));
                    link.and_then(|link| Some((link.origin.clone(), link.origin_slot?)))
                }
                None => group.links.get(&(place, slot)).map(|(from, output)| (inner_id(scene, node, *from), *output)),
            };
            let Some((origin, origin_slot)) = origin else { continue };
            let target = inner_id(scene, node, place);
            let id = format!("{target}<{slot}");
            let link = Link {
                origin: origin.clone(),
                origin_slot: Some(origin_slot),
                target,
                target_slot: i64::try_from(slot).ok(),
            };
            scene.nodes[*at].inputs[slot].link = Some(id.clone());
            hang(scene, &origin, origin_slot, &id);
            scene.graphs[ROOT].links.insert(id, link);
        }
    }
    Ok(())
}

fn connect_outputs(scene: &mut Scene<'_>, node: NodeAt, group: &Group, inside: &[NodeAt]) -> Result<(), ConvertError> {
    let id = scene.nodes[node].id.clone();
    scene.spend(scene.graphs[ROOT].links.len())?;
    let mut moved = Vec::new();
    for (link, ends) in &mut scene.graphs[ROOT].links {
        let output = ends.origin_slot.and_then(|slot| usize::try_from(slot).ok());
        if ends.origin == id
            && let Some((place, slot)) = output.and_then(|output| group.outputs.get(output))
            && *place < inside.len()
        {
            ends.origin = format!("{id}:{place}");
            ends.origin_slot = Some(*slot);
            moved.push((link.clone(), ends.origin.clone(), *slot));
        }
    }
    for (link, origin, slot) in moved {
        hang(scene, &origin, slot, &link);
    }
    Ok(())
}

/// Tells an output of its link.
fn hang(scene: &mut Scene<'_>, origin: &str, slot: i64, link: &str) {
    let Some(origin) = scene.by_id(ROOT, origin) else { return };
    if let Some(output) = usize::try_from(slot).ok().and_then(|slot| scene.nodes[origin].outputs.get_mut(slot)) {
        output.links.push(link.to_owned());
    }
}
