//! The order in which the frontend takes the nodes of the outermost graph: a node comes when everything that it is linked
//! to has come, and nodes of a circle last.

use super::ConvertError;
use super::scene::{NodeAt, ROOT, Scene};
use super::value::leading_key;
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet, VecDeque};

/// Returns the nodes of the outermost graph in their order.
pub(super) fn in_order(scene: &Scene<'_>) -> Result<Vec<NodeAt>, ConvertError> {
    let root = &scene.graphs[ROOT];
    // By the ids that the file gives, of which two nodes may have one: then only one of them comes.
    let mut waiting: HashMap<&str, usize> = HashMap::new();
    let mut left: IndexMap<&str, NodeAt> = IndexMap::new();
    let mut ready = VecDeque::new();
    for at in &root.nodes {
        let node = &scene.nodes[*at];
        left.insert(&node.id, *at);
        let links = node.inputs.iter().filter(|input| input.link.is_some()).count();
        if links == 0 {
            ready.push_back(*at);
        } else {
            waiting.insert(&node.id, links);
        }
    }
    let mut order = Vec::with_capacity(root.nodes.len());
    let mut passed: HashSet<&str> = HashSet::new();
    let mut done: HashSet<&str> = HashSet::new();
    while let Some(at) = ready.pop_front() {
        order.push(at);
        done.insert(scene.nodes[at].id.as_str());
        for id in scene.nodes[at].outputs.iter().flat_map(|output| &output.links) {
            scene.spend(1)?;
            let Some(link) = root.links.get(id) else { continue };
            if !passed.insert(id) {
                continue;
            }
            let Some(target) = scene.by_id(ROOT, &link.target) else { continue };
            if let Some(count) = waiting.get_mut(scene.nodes[target].id.as_str()) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    waiting.remove(scene.nodes[target].id.as_str());
                    ready.push_back(target);
                }
            }
        }
    }
    let mut rest: Vec<NodeAt> = left.into_iter().filter(|(id, _)| !done.contains(id)).map(|(_, at)| at).collect();
    // A browser lists what is left by its ids: integers first, ascending; then the others as they came.
    rest.sort_by_key(|at| leading_key(&scene.nodes[*at].id).map_or((true, 0), |id| (false, id)));
    order.extend(rest);
    Ok(order)
}
