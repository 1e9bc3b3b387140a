//! Instances of subgraphs: which widgets of the nodes inside they show, and whose value counts.

use super::ConvertError;
use super::file::Port;
use super::scene::{GraphAt, Input, Kind, NodeAt, ROOT, Scene, Shown};
use super::value::at;
use std::collections::HashMap;

/// Shows the widgets that the inputs of an instance lead to, one for each input.
pub(super) fn show_widgets(scene: &mut Scene<'_>, instance: NodeAt, inner: GraphAt) -> Result<(), ConvertError> {
    scene.nodes[instance].widgets.clear();
    let ports: HashMap<String, Vec<String>> = first_of_each(&scene.graphs[inner].inputs);
    for place in 0..scene.nodes[instance].inputs.len() {
        let name = scene.nodes[instance].inputs[place].name.clone();
        let Some(links) = ports.get(&name) else { continue };
        let mut found = None;
        for link in links {
            let Some((node, input)) = target(scene, inner, link) else { continue };
            scene.spend(scene.nodes[node].widgets.len())?;
            if let Some(widget) = scene.widget_of(node, input) {
                found = Some((widget.clone(), input.widget.clone()));
                break;
            }
        }
        if let Some((widget, shown)) = found {
            let config = shown.and_then(|shown| shown.config);
            let widget = scene.show_widget(&widget, &name);
            let node = &mut scene.nodes[instance];
            node.widgets.push(widget);
            node.inputs[place].widget = Some(Shown { name, config });
        }
    }
    scene.spend(ports.len())
}

fn first_of_each(ports: &[Port]) -> HashMap<String, Vec<String>> {
    let mut first = HashMap::new();
    for port in ports {
        first.entry(port.name.clone()).or_insert_with(|| port.links.clone());
    }
    first
}

/// Tells the instances that were made before their subgraph had nodes what it has now. They show only widgets that have
/// the name of the input.
pub(super) fn announce_inputs(scene: &mut Scene<'_>, inner: GraphAt) -> Result<(), ConvertError> {
    scene.spend(scene.nodes.len())?;
    let instances: Vec<NodeAt> =
        (0..scene.nodes.len()).filter(|node| scene.nodes[*node].kind == Kind::Instance(inner)).collect();
    for port in scene.graphs[inner].inputs.clone() {
        for instance in &instances {
            scene.spend(scene.nodes[*instance].inputs.len())?;
            let Some(place) = scene.nodes[*instance].inputs.iter().position(|input| input.name == port.name) else {
                continue;
            };
            let Some((node, input)) = port.links.first().and_then(|link| target(scene, inner, link)) else { continue };
            let config = input.widget.clone().and_then(|shown| shown.config);
            let Some(widget) = scene.nodes[node].widget(&port.name).cloned() else { continue };
            let widget = scene.show_widget(&widget, &port.name);
            let node = &mut scene.nodes[*instance];
            node.widgets.push(widget);
            node.inputs[place].widget = Some(Shown { name: port.name.clone(), config });
        }
        scene.check_size()?;
    }
    Ok(())
}

/// Before the frontend converts, it saves; and then each instance puts the values that it shows into the widgets inside.
pub(super) fn sync(scene: &mut Scene<'_>) -> Result<(), ConvertError> {
    let mut graphs = scene.used(ROOT)?;
    // The outermost first, the subgraphs in the order of their definitions.
    graphs.sort_unstable();
    for graph in graphs {
        for node in scene.graphs[graph].nodes.clone() {
            if let Kind::Instance(inner) = scene.nodes[node].kind {
                sync_instance(scene, node, inner)?;
            }
        }
    }
    Ok(())
}

fn sync_instance(scene: &mut Scene<'_>, instance: NodeAt, inner: GraphAt) -> Result<(), ConvertError> {
    let ports = first_of_each(&scene.graphs[inner].inputs);
    for widget in scene.nodes[instance].widgets.clone() {
        scene.spend(scene.nodes[instance].inputs.len())?;
        if !scene.nodes[instance].inputs.iter().any(|input| input.name == widget.name) {
            continue;
        }
        let Some(links) = ports.get(&widget.name) else { continue };
        scene.spend(links.len())?;
        let connected: Vec<_> = links
            .iter()
            .filter_map(|link| target(scene, inner, link))
            .filter_map(|(node, input)| scene.widget_of(node, input).cloned())
            .collect();
        let value = scene.value(&widget);
        for inside in connected {
            scene.put(&inside, value.clone());
        }
    }
    Ok(())
}

/// Finds the node and input that a link leads to.
fn target<'s>(scene: &'s Scene<'_>, graph: GraphAt, link: &str) -> Option<(NodeAt, &'s Input)> {
    let link = scene.graphs[graph].links.get(link)?;
    let node = scene.by_id(graph, &link.target)?;
    let input = at(&scene.nodes[node].inputs, link.target_slot.filter(|slot| *slot >= 0)?)?;
    Some((node, input))
}
