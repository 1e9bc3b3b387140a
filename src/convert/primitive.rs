//! Primitive nodes: a value that widgets of other nodes take. A primitive makes its widget from that of its first target, and
//! narrows it down to what its other targets take.

use super::ConvertError;
use super::order;
use super::scene::{Input, Kind, NodeAt, PlacedWidget, ROOT, Scene, Shown};
use super::text;
use super::value::{as_double, at, is_something, of_double};
use super::widget::{Face, Steps, Widget};
use super::{furnish, plan};
use crate::definitions::InputKind;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What the widget of a primitive takes: the type, the choices, and the options of the input that it stands for.
#[derive(Clone)]
struct Config {
    kind: String,
    choices: Vec<Value>,
    options: Map<String, Value>,
    /// The bounds and steps on which several inputs have agreed.
    agreed: Option<Steps>,
}

/// Makes the widgets of all primitives.
pub(super) fn equip(scene: &mut Scene<'_>) -> Result<(), ConvertError> {
    for node in scene.all_nodes() {
        if scene.nodes[node].kind == Kind::Primitive {
            make_widget(scene, node)?;
        }
    }
    Ok(())
}

/// Lets all primitives set the widgets of their targets.
pub(super) fn apply_all(scene: &mut Scene<'_>) -> Result<(), ConvertError> {
    let mut graphs = vec![order::in_order(scene)?];
    graphs.extend(scene.used(ROOT)?.into_iter().skip(1).map(|graph| scene.graphs[graph].nodes.clone()));
    for node in graphs.into_iter().flatten() {
        if scene.nodes[node].kind == Kind::Primitive {
            apply(scene, node)?;
        }
    }
    Ok(())
}

fn links_of(scene: &Scene<'_>, node: NodeAt) -> Vec<String> {
    scene.nodes[node].outputs.first().map(|output| output.links.clone()).unwrap_or_default()
}

/// Finds the node and the place of the input at the end of a link.
fn target(scene: &Scene<'_>, node: NodeAt, link: &str) -> Option<(NodeAt, usize)> {
    let graph = scene.nodes[node].graph;
    let link = scene.graphs[graph].links.get(link)?;
    let target = scene.by_id(graph, &link.target)?;
    let slot = link.target_slot.filter(|slot| *slot >= 0)?;
    at(&scene.nodes[target].inputs, slot)?;
    Some((target, usize::try_from(slot).ok()?))
}

fn make_widget(scene: &mut Scene<'_>, node: NodeAt) -> Result<(), ConvertError> {
    let links = links_of(scene, node);
    let Some((first, place)) = links.first().and_then(|link| target(scene, node, link)) else { return Ok(()) };
    let Input { name, kind, widget, .. } = scene.nodes[first].inputs[place].clone();
    let (name, config) = match widget {
        Some(shown) => (shown.name.clone(), config_of(scene, &shown)),
        None if plan::is_basic(&kind) => {
            (name, Some(Config { kind, choices: Vec::new(), options: Map::new(), agreed: None }))
        }
        None => return Ok(()),
    };
    let Some(mut config) = config else { return Ok(()) };
    create(scene, node, &config);
    let theirs = scene.nodes[first].widget(&name).cloned();
    let value = theirs.and_then(|theirs| scene.value(&theirs));
    let widgets = scene.nodes[node].widgets.clone();
    if let (Some(widget), Some(value)) = (widgets.first(), value) {
        scene.put(widget, Some(value));
    }
    let saved = scene.nodes[node].saved.clone();
    for (widget, value) in widgets.iter().zip(saved) {
        scene.put(widget, Some(value));
    }
    narrow(scene, node, &links, &mut config)
}

/// Reads what the input takes for which a widget stands.
fn config_of(scene: &Scene<'_>, shown: &Shown) -> Option<Config> {
    let (class, name) = shown.config.as_ref()?;
    let input = scene.definitions.node(class)?.input(name)?;
    let choices = if let InputKind::Combo(choices) = &input.kind { choices.clone() } else { Vec::new() };
    Some(Config { kind: input.type_name().to_owned(), choices, options: input.options.clone(), agreed: None })
}

/// Makes the widget anew, and the widgets that say what becomes of its value.
fn create(scene: &mut Scene<'_>, node: NodeAt, config: &Config) {
    let mut widgets = Vec::new();
    if plan::is_basic(&config.kind) && config.kind != "IMAGEUPLOAD" {
        furnish::add(&mut widgets, "value", &config.kind, &config.choices, &config.options);
    } else {
        widgets.push(Widget::new("value", Face::Plain, Some(Value::Null)));
    }
    if let (Some(agreed), Some(widget)) = (config.agreed, widgets.first_mut()) {
        match &mut widget.face {
            Face::Whole(steps) => *steps = Steps { field: steps.field, ..agreed },
            Face::Fraction(steps, rounding) => {
                *steps = Steps { field: steps.field, ..agreed };
                *rounding = furnish::rounding(&config.options, agreed.step);
            }
            Face::Plain | Face::Combo | Face::Area | Face::Still | Face::Upload(_) => {}
        }
    }
    let controlled = config.options.get("control_after_generate").is_some_and(is_something);
    let face = widgets.first().map(|widget| widget.face.clone());
    let is_combo = face == Some(Face::Combo);
    let is_number = matches!(face, Some(Face::Whole(steps) | Face::Fraction(steps, _)) if steps.field);
    if !controlled && (is_number || is_combo) {
        widgets.push(Widget::unsent("control_after_generate", "fixed"));
        if is_combo {
            widgets.push(Widget::unsent("control_filter_list", ""));
        }
    }
    scene.nodes[node].widgets = widgets.iter().map(|widget| scene.place_widget(widget)).collect();
}

/// Numbers are narrowed down to what all targets take, as far as their definitions agree, and the value with them.
fn narrow(scene: &mut Scene<'_>, node: NodeAt, links: &[String], config: &mut Config) -> Result<(), ConvertError> {
    if config.kind != "INT" && config.kind != "FLOAT" {
        return Ok(());
    }
    for link in links {
        scene.spend(scene.nodes[node].widgets.len())?;
        let Some((theirs, place)) = target(scene, node, link) else { continue };
        let Some(shown) = scene.nodes[theirs].inputs[place].widget.clone() else { continue };
        let Some(other) = config_of(scene, &shown) else { continue };
        let Some(merged) = merged(config, &other) else { continue };
        *config = merged;
        let values: Vec<_> = scene.nodes[node].widgets.iter().map(|widget| scene.value(widget)).collect();
        create(scene, node, config);
        for (widget, value) in scene.nodes[node].widgets.clone().iter().zip(values) {
            scene.put(widget, value);
        }
        if let Some(widget) = scene.nodes[node].widgets.first().cloned() {
            hold_in_bounds(scene, &widget);
        }
        apply(scene, node)?;
        scene.check_size()?;
    }
    Ok(())
}

fn hold_in_bounds(scene: &mut Scene<'_>, widget: &PlacedWidget) {
    let (Face::Whole(steps) | Face::Fraction(steps, _)) = &widget.face else { return };
    let number = scene.value(widget).map_or(f64::NAN, |value| as_double(&value));
    let bounded = |bound: f64| Some(Arc::new(of_double(bound).map_or(Value::Null, Value::Number)));
    if number < steps.min {
        scene.put(widget, bounded(steps.min));
    }
    if scene.value(widget).is_some_and(|value| as_double(&value) > steps.max) {
        scene.put(widget, bounded(steps.max));
    }
    let settled = widget.face.settled(scene.value(widget));
    // What is no number stays what it is.
    if settled.as_deref().is_some_and(|value| !value.is_null()) {
        scene.put(widget, settled);
    }
}

/// Options in which two inputs may differ and still share a primitive.
const INDIFFERENT: &[&str] = &[
    "default",
    "forceInput",
    "defaultInput",
    "control_after_generate",
    "multiline",
    "tooltip",
    "dynamicPrompts",
    "min",
    "max",
    "step",
];

/// Merges what two inputs take; none where they do not go together.
fn merged(one: &Config, two: &Config) -> Option<Config> {
    if one.kind != two.kind {
        return None;
    }
    let bounds = |config: &Config| {
        let number = |option: &str| config.options.get(option).filter(|value| !value.is_null()).map(as_double);
        config.agreed.unwrap_or_else(|| Steps {
            min: number("min").unwrap_or(f64::NEG_INFINITY),
            max: number("max").unwrap_or(f64::INFINITY),
            step: number("step").unwrap_or(1.0),
            field: true,
        })
    };
    let (first, second) = (bounds(one), bounds(two));
    if first.min > second.max || first.max < second.min {
        return None;
    }
    let mut keys = one.options.keys().chain(two.options.keys()).filter(|key| !INDIFFERENT.contains(&key.as_str()));
    let agree = keys.all(|key| {
        let value = |config: &Config| config.options.get(key).filter(|value| !value.is_null()).cloned();
        value(one) == value(two)
    });
    if !agree {
        return None;
    }
    let mut options = one.options.clone();
    options.extend(two.options.clone());
    let agreed = Steps {
        min: first.min.max(second.min),
        max: first.max.min(second.max),
        step: common_multiple(first.step, second.step),
        field: true,
    };
    Some(Config { kind: one.kind.clone(), choices: Vec::new(), options, agreed: Some(agreed) })
}

fn common_multiple(one: f64, two: f64) -> f64 {
    let (mut greater, mut lesser) = (one, two);
    for _ in 0..1000 {
        if lesser == 0.0 || lesser.is_nan() {
            break;
        }
        (greater, lesser) = (lesser, greater % lesser);
    }
    (one * two).abs() / greater
}

/// Puts the value of a primitive into the widgets that it is linked to.
fn apply(scene: &mut Scene<'_>, node: NodeAt) -> Result<(), ConvertError> {
    let links = links_of(scene, node);
    let first = links.first().and_then(|link| target(scene, node, link));
    if first.is_none() {
        return Ok(());
    }
    let mut value = scene.nodes[node].widgets.first().and_then(|widget| scene.value(widget));
    if scene.nodes[node].properties.get("Run widget replace on values").is_some_and(is_something)
        && let Some(text) = value.as_deref().and_then(Value::as_str)
    {
        let replaced = text::replaced(scene, text, text::Dates::Left, &mut Vec::new())?;
        value = Some(Arc::new(Value::from(replaced)));
    }
    for link in links {
        let Some((theirs, place)) = target(scene, node, &link) else { continue };
        scene.spend(scene.nodes[theirs].widgets.len())?;
        let input = scene.nodes[theirs].inputs[place].clone();
        if let Some(widget) = scene.widget_of(theirs, &input).cloned() {
            let settled = widget.face.settled(value.clone());
            scene.put(&widget, settled);
        }
    }
    Ok(())
}
