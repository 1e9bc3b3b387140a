//! Opens a file in the scene, as the frontend does: definitions of subgraphs first, then the nodes, each made from its
//! class and then given what was saved of it.

use super::file::{Outlet, Port, SavedGraph, SavedNode, SavedValues, Socket};
use super::scene::{GraphAt, Input, Kind, Network, NodeAt, Placed, ROOT, Scene};
use super::{ConvertError, limits, subgraph};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Opens the whole file.
pub(super) fn load(scene: &mut Scene<'_>, saved: SavedGraph) -> Result<(), ConvertError> {
    let definitions = announce(scene, &saved)?;
    fill(scene, ROOT, saved, &definitions)?;
    scene.used(ROOT)?;
    Ok(())
}

/// Makes the graphs of all subgraphs that are defined directly here, still empty.
fn announce(scene: &mut Scene<'_>, saved: &SavedGraph) -> Result<Vec<GraphAt>, ConvertError> {
    let mut places = Vec::new();
    for definition in &saved.subgraphs {
        if scene.graphs.len() > limits::SUBGRAPHS {
            return Err(ConvertError::TooLarge { what: "subgraphs", limit: limits::SUBGRAPHS });
        }
        scene.graphs.push(Network {
            name: definition.name.clone(),
            inputs: definition.inputs.clone(),
            outputs: definition.outputs.clone(),
            ..Network::default()
        });
        let place = scene.graphs.len() - 1;
        scene.subgraphs.insert(definition.id.clone(), place);
        places.push(place);
    }
    Ok(places)
}

/// Fills a graph: its links, the definitions in it, its nodes.
fn fill(scene: &mut Scene<'_>, graph: GraphAt, saved: SavedGraph, definitions: &[GraphAt]) -> Result<(), ConvertError> {
    let network = &mut scene.graphs[graph];
    network.nodes.clear();
    network.by_id.clear();
    network.links = saved.links;
    (network.inputs, network.outputs) = (saved.inputs, saved.outputs);
    for (definition, place) in saved.subgraphs.into_iter().zip(definitions) {
        // Of two definitions with one id the last is the one that instances know.
        let place = scene.subgraphs.get(&definition.id).copied().unwrap_or(*place);
        let inner = announce(scene, &definition)?;
        fill(scene, place, definition, &inner)?;
        subgraph::announce_inputs(scene, place)?;
    }
    let mut last = saved.last_node;
    let mut made = Vec::new();
    for node in saved.nodes {
        let at = make(scene, graph, &node, &mut last);
        scene.check_size()?;
        made.push((at, node));
    }
    for (at, node) in made {
        configure(scene, at, node)?;
        scene.check_size()?;
    }
    Ok(())
}

/// Makes a new node, and gives it an id of its own.
pub(super) fn make(scene: &mut Scene<'_>, graph: GraphAt, saved: &SavedNode, last: &mut u64) -> NodeAt {
    let kind = kind_of(scene, &saved.class);
    let mut node = Placed {
        graph,
        id: String::new(),
        class: saved.class.clone(),
        title: Value::from(saved.class.as_str()),
        kind,
        mode: 0,
        inputs: Vec::new(),
        outputs: Vec::new(),
        widgets: Vec::new(),
        properties: Map::new(),
        saved: Vec::new(),
    };
    let any = || String::from("*");
    match kind {
        Kind::Class => {
            if let Some(plan) = scene.plan(&saved.class) {
                node.title = Value::from(plan.title.as_str());
                node.inputs = plan.sockets.iter().map(|socket| Input::of(socket.clone(), Some(&saved.class))).collect();
                node.outputs.clone_from(&plan.outlets);
                node.widgets = plan.widgets.iter().map(|widget| scene.place_widget(widget)).collect();
            }
            if !super::plan::SAVERS.contains(&saved.class.as_str()) {
                node.properties.insert(super::text::NAME_PROPERTY.to_owned(), Value::from(saved.class.as_str()));
            }
        }
        Kind::Reroute => {
            let socket = Socket { name: String::new(), kind: any(), link: None, widget: None };
            node.inputs.push(Input::of(socket, None));
            node.outputs.push(Outlet { kind: any(), links: Vec::new() });
        }
        Kind::Primitive => {
            node.title = Value::from("Primitive");
            node.outputs.push(Outlet { kind: any(), links: Vec::new() });
        }
        Kind::Note => {
            let text = super::widget::Widget::new("text", super::widget::Face::Area, Some(Value::from("")));
            node.widgets.push(scene.place_widget(&text));
            if saved.class == "MarkdownNote" {
                node.title = Value::from("Markdown Note");
            }
        }
        Kind::Instance(inner) => node.title = Value::from(scene.graphs[inner].name.as_str()),
        Kind::Unknown => {}
    }
    let at = scene.nodes.len();
    let network = &mut scene.graphs[graph];
    let given = saved.id.clone().filter(|id| id != "-1");
    let key = match given {
        Some(id) if !network.by_id.contains_key(&id) => {
            *last = id.parse().map_or(*last, |number| (*last).max(number));
            id
        }
        Some(_) | None => {
            *last = last.saturating_add(1);
            last.to_string()
        }
    };
    network.nodes.push(at);
    network.by_id.insert(key.clone(), at);
    node.id = key;
    scene.nodes.push(node);
    at
}

fn kind_of(scene: &mut Scene<'_>, class: &str) -> Kind {
    if let Some(inner) = scene.subgraphs.get(class) {
        return Kind::Instance(*inner);
    }
    match class {
        "Reroute" => Kind::Reroute,
        "PrimitiveNode" => Kind::Primitive,
        "Note" | "MarkdownNote" => Kind::Note,
        class if scene.plan(class).is_some() => Kind::Class,
        _ => Kind::Unknown,
    }
}

/// Gives a new node what was saved of it.
pub(super) fn configure(scene: &mut Scene<'_>, at: NodeAt, saved: SavedNode) -> Result<(), ConvertError> {
    let kind = scene.nodes[at].kind;
    let node = &mut scene.nodes[at];
    node.mode = saved.mode;
    if let Some(id) = saved.id {
        node.id = id;
    }
    if let Some(title) = saved.title {
        node.title = title;
    }
    node.properties.extend(saved.properties);
    let class = (kind == Kind::Class).then(|| node.class.clone());
    match kind {
        Kind::Class => {
            node.inputs = merged_inputs(std::mem::take(&mut node.inputs), saved.inputs, class.as_deref());
            node.outputs = merged_outputs(std::mem::take(&mut node.outputs), saved.outputs);
        }
        Kind::Instance(inner) => {
            let Network { inputs, outputs, .. } = &scene.graphs[inner];
            let slots = inputs.iter().map(socket_of).map(|socket| Input::of(socket, None)).collect();
            let outlets = outputs.iter().map(|port| Outlet { kind: port.kind.clone(), links: Vec::new() }).collect();
            let node = &mut scene.nodes[at];
            node.inputs = merged_inputs(slots, saved.inputs, None);
            node.outputs = merged_outputs(outlets, saved.outputs);
            subgraph::show_widgets(scene, at, inner)?;
        }
        Kind::Reroute | Kind::Primitive | Kind::Note | Kind::Unknown => {
            overwrite(&mut node.inputs, saved.inputs.into_iter().map(|socket| Input::of(socket, None)));
            overwrite(&mut node.outputs, saved.outputs);
        }
    }
    let values = match saved.values {
        SavedValues::List(values) if kind == Kind::Class => migrated(scene, at, values),
        SavedValues::List(values) => values,
        SavedValues::Named(named) => {
            put_named(scene, at, &named);
            return Ok(());
        }
    };
    put_all(scene, at, &values);
    scene.nodes[at].saved = values;
    Ok(())
}

fn socket_of(port: &Port) -> Socket {
    Socket { name: port.name.clone(), kind: port.kind.clone(), link: None, widget: None }
}

fn overwrite<T>(list: &mut Vec<T>, saved: impl IntoIterator<Item = T>) {
    for (place, item) in saved.into_iter().enumerate() {
        match list.get_mut(place) {
            Some(slot) => *slot = item,
            None => list.push(item),
        }
    }
}

/// The inputs that the class has come first and in its order, with the links that were saved under their names; what was
/// saved besides comes behind them.
fn merged_inputs(made: Vec<Input>, saved: Vec<Socket>, class: Option<&str>) -> Vec<Input> {
    let mut links: HashMap<String, Option<String>> = HashMap::new();
    for socket in &saved {
        links.insert(socket.name.clone(), socket.link.clone());
    }
    let known: std::collections::HashSet<String> = made.iter().map(|input| input.name.clone()).collect();
    let mut inputs: Vec<Input> = made
        .into_iter()
        .map(|input| {
            let link = links.get(&input.name).cloned().flatten();
            Input { link, ..input }
        })
        .collect();
    let more = saved.into_iter().filter(|socket| !known.contains(&socket.name));
    inputs.extend(more.map(|socket| Input::of(socket, class)));
    inputs
}

/// Outputs have no names of their own, so they are matched by their places.
fn merged_outputs(made: Vec<Outlet>, saved: Vec<Outlet>) -> Vec<Outlet> {
    let count = made.len();
    let mut saved = saved.into_iter();
    let mut outlets: Vec<Outlet> = made
        .into_iter()
        .map(|outlet| Outlet { links: saved.next().map(|saved| saved.links).unwrap_or_default(), ..outlet })
        .collect();
    debug_assert_eq!(outlets.len(), count);
    outlets.extend(saved);
    outlets
}

/// Inputs that have no widget any more left a value behind in older files; it is dropped where the count of values says
/// that it is there.
fn migrated(scene: &mut Scene<'_>, at: NodeAt, values: Vec<Arc<Value>>) -> Vec<Arc<Value>> {
    let class = scene.nodes[at].class.clone();
    let Some(plan) = scene.plan(&class) else { return values };
    let count: usize = plan.once.iter().map(|(_, count)| count).sum();
    if count != values.len() {
        return values;
    }
    let gone = |place: usize| plan.once.get(place).is_some_and(|(gone, _)| *gone);
    values.into_iter().enumerate().filter(|(place, _)| !gone(*place)).map(|(_, value)| value).collect()
}

/// Puts the saved values into the widgets that have a place among them.
pub(super) fn put_all(scene: &mut Scene<'_>, at: NodeAt, values: &[Arc<Value>]) {
    let widgets: Vec<_> = scene.nodes[at].widgets.iter().filter(|widget| widget.saved).cloned().collect();
    for (widget, value) in widgets.iter().zip(values) {
        scene.put(widget, Some(Arc::clone(value)));
    }
}

/// The frontend itself makes nothing of values by name; the script of the one pack that saves them so puts each into its widget.
fn put_named(scene: &mut Scene<'_>, at: NodeAt, values: &Map<String, Value>) {
    if !scene.nodes[at].class.starts_with("VHS_") {
        return;
    }
    for widget in scene.nodes[at].widgets.clone() {
        if let Some(value) = values.get(&widget.name) {
            scene.put(&widget, Some(Arc::new(value.clone())));
        }
    }
}
