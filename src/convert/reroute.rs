//! Reroute nodes look where they lead as soon as a file is open: they take the type of what comes in, let go of targets
//! that do not take it, and break circles.

use super::ConvertError;
use super::resolve::connects;
use super::scene::{GraphAt, Kind, NodeAt, ROOT, Scene};
use super::value::at;
use std::collections::HashSet;

pub(super) fn tidy(scene: &mut Scene<'_>) -> Result<(), ConvertError> {
    let reroutes: Vec<NodeAt> =
        scene.graphs[ROOT].nodes.iter().copied().filter(|node| scene.nodes[*node].kind == Kind::Reroute).collect();
    break_circles(scene, &reroutes)?;
    // What comes in at the top goes all the way down, so looking from there is enough.
    for node in reroutes {
        let Some(Above::Other { kind }) = above(scene, node) else { continue };
        let network = downwards(scene, node, kind.as_deref())?;
        let kind = kind.unwrap_or_else(|| "*".to_owned());
        for reroute in network {
            if let Some(output) = scene.nodes[reroute].outputs.first_mut() {
                output.kind.clone_from(&kind);
            }
        }
    }
    Ok(())
}

/// What a reroute is connected to.
enum Above {
    Reroute(NodeAt),
    /// Nothing, or an output of a type.
    Other {
        kind: Option<String>,
    },
}

/// Looks one step up; none where the link leads nowhere.
fn above(scene: &Scene<'_>, node: NodeAt) -> Option<Above> {
    let Some(id) = &scene.nodes[node].inputs.first()?.link else { return Some(Above::Other { kind: None }) };
    let link = scene.graphs[ROOT].links.get(id)?;
    let origin = scene.by_id(ROOT, &link.origin)?;
    if scene.nodes[origin].kind == Kind::Reroute {
        return Some(Above::Reroute(origin));
    }
    let output = link.origin_slot.and_then(|slot| at(&scene.nodes[origin].outputs, slot));
    Some(Above::Other { kind: output.map(|output| output.kind.clone()).filter(|kind| !kind.is_empty()) })
}

/// Breaks each circle at the reroute below the one that is looked at first.
fn break_circles(scene: &mut Scene<'_>, reroutes: &[NodeAt]) -> Result<(), ConvertError> {
    let mut done = HashSet::new();
    for start in reroutes {
        let mut current = *start;
        while done.insert(current) {
            scene.spend(0)?;
            let Some(Above::Reroute(origin)) = above(scene, current) else { break };
            if origin == *start {
                disconnect(scene, ROOT, current, 0);
                break;
            }
            current = origin;
        }
    }
    Ok(())
}

/// Follows all branches down to the inputs that they end in, and disconnects those that do not take the type. Returns the
/// reroutes on the way.
fn downwards(scene: &mut Scene<'_>, node: NodeAt, incoming: Option<&str>) -> Result<Vec<NodeAt>, ConvertError> {
    let mut network = vec![node];
    let mut branches = vec![node];
    let mut passed = HashSet::new();
    while let Some(current) = branches.pop() {
        let links = scene.nodes[current].outputs.first().map(|output| output.links.clone()).unwrap_or_default();
        scene.spend(links.len())?;
        for id in links {
            let Some(link) = scene.graphs[ROOT].links.get(&id) else { continue };
            let Some(target) = scene.by_id(ROOT, &link.target) else { continue };
            if scene.nodes[target].kind == Kind::Reroute {
                if passed.insert(target) {
                    branches.push(target);
                    network.push(target);
                }
                continue;
            }
            let Some(slot) = link.target_slot.and_then(|slot| usize::try_from(slot).ok()) else { continue };
            let Some(input) = scene.nodes[target].inputs.get(slot) else { continue };
            if incoming.is_some_and(|incoming| !connects(incoming, &input.kind)) {
                disconnect(scene, ROOT, target, slot);
            }
        }
    }
    Ok(network)
}

/// Takes the link from an input.
pub(super) fn disconnect(scene: &mut Scene<'_>, graph: GraphAt, node: NodeAt, slot: usize) {
    let Some(id) = scene.nodes[node].inputs.get_mut(slot).and_then(|input| input.link.take()) else { return };
    let Some(link) = scene.graphs[graph].links.get(&id) else { return };
    let Some(origin) = scene.by_id(graph, &link.origin) else { return };
    let Some(slot) = link.origin_slot.and_then(|slot| usize::try_from(slot).ok()) else { return };
    let Some(output) = scene.nodes[origin].outputs.get_mut(slot) else { return };
    output.links.retain(|other| *other != id);
    // The order of the others stays, since primitives look at their first link.
    scene.graphs[graph].links.shift_remove(&id);
}
