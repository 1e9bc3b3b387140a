//! Gives a declared parameter its type, bounds and default: what is written, else what backends say of the input, else what
//! the template tells, else what `ComfyLite` did for the parameters that it knew by name.

use super::mapping::Declared;
use super::parameter::{Kind, Parameter, Target, is_less};
use super::reader::{Reader, one_or_many};
use super::told::{Told, told, within};
use super::yaml::{Content, Item};
use crate::definitions::Definitions;
use crate::graph::{Graph, is_seed, kind_of};
use crate::job::ParamValue;
use crate::names::shown;
use serde_json::{Number, Value};

/// Inputs that take fractions although editors write `8` for `8.0`.
const FRACTIONS: [&str; 14] = [
    "cfg",
    "denoise",
    "guidance",
    "strength",
    "strength_model",
    "strength_clip",
    "start_percent",
    "end_percent",
    "shift",
    "base_shift",
    "max_shift",
    "scale_by",
    "blend_factor",
    "fps",
];

/// What `ComfyLite` drew where a caller did not say.
const COMFYLITE_SIDE: i128 = 450;

/// The largest side that `ComfyUI` takes.
const MAX_SIDE: i128 = 16_384;

/// The most images of one request where the mapping does not say.
const MAX_IMAGES: i128 = 64;

/// Makes the parameter; what is wrong with it is noted in `reader`.
pub(super) fn parameter(
    reader: &mut Reader,
    declared: &Declared,
    targets: Vec<Target>,
    graph: &Graph,
    definitions: &Definitions,
) -> Option<Parameter> {
    let kind = kind(reader, declared, &targets, graph, definitions)?;
    let mut parameter = Parameter::new(declared.name.clone(), kind, targets);
    parameter.description.clone_from(&declared.description);
    parameter.required = declared.required;
    parameter.min = declared.min.as_ref().and_then(|item| bound(reader, &parameter, "min", item));
    parameter.max = declared.max.as_ref().and_then(|item| bound(reader, &parameter, "max", item));
    if let (Some(min), Some(max)) = (&parameter.min, &parameter.max)
        && is_less(max, min)
    {
        // Of whatever type.
        reader.waits = None;
        reader.wrong(declared.line, format!("parameter `{}`: min {min} is more than max {max}", parameter.name));
        return None;
    }
    known_by_name(&mut parameter);
    let own = (parameter.min.clone(), parameter.max.clone());
    parameter.choices = declared.choices.as_ref().map(|item| choices(reader, &parameter, item)).unwrap_or_default();
    if let Some(item) = &declared.default {
        parameter.default = default(reader, &parameter, item);
    }
    let inputs: Vec<_> = parameter.targets.iter().filter_map(|target| told(definitions, graph, target)).collect();
    (parameter.min, parameter.max) = inputs.iter().map(|input| input.bounds(kind)).fold(own, within);
    parameter.suggested = inputs.first().map(Told::choices).unwrap_or_default();
    if declared.default.is_none() {
        parameter.default = comfylite_default(&parameter);
    }
    Some(parameter)
}

fn kind(
    reader: &mut Reader,
    declared: &Declared,
    targets: &[Target],
    graph: &Graph,
    definitions: &Definitions,
) -> Option<Kind> {
    let by_backend = |target| told(definitions, graph, target).and_then(|input| input.kind());
    let told: Vec<Option<Kind>> =
        targets.iter().map(|target| by_backend(target).or_else(|| told_by(graph, target))).collect();
    if let Some(kind) = declared.kind {
        return Some(special(kind, &declared.name, &told));
    }
    let first = targets.first()?;
    let Some(kind) = told.first().copied().flatten() else {
        let value = value_at(graph, first).map_or("nothing", kind_of);
        let reason = format!(
            "parameter `{}`: node `{}` holds {value} in `{}`, which does not tell a type: write `type`",
            declared.name, first.node, first.input
        );
        reader.wrong(declared.line, reason);
        return None;
    };
    let odd = targets.iter().zip(&told).find(|(_, told)| **told != Some(kind));
    if let Some((target, told)) = odd {
        let told = told.map_or("no type", Kind::as_str);
        let reason = format!(
            "parameter `{}`: node `{}` holds {} in `{}`, but node `{}` holds {told} in `{}`: write `type`",
            declared.name,
            first.node,
            kind.as_str(),
            first.input,
            target.node,
            target.input
        );
        reader.wrong(declared.line, reason);
        return None;
    }
    Some(special(kind, &declared.name, &told))
}

/// Returns what the template's value tells about an input.
fn told_by(graph: &Graph, target: &Target) -> Option<Kind> {
    let is = |names: &[&str]| names.contains(&target.input.as_str());
    match value_at(graph, target)? {
        Value::Bool(_) => Some(Kind::Boolean),
        Value::Number(_) if is_seed(&target.input) => Some(Kind::Seed),
        Value::Number(number) if number.is_f64() || is(&FRACTIONS) => Some(Kind::Number),
        Value::Number(_) => Some(Kind::Integer),
        Value::String(_) if is(&["filename_prefix"]) => Some(Kind::Filename),
        Value::String(_) => {
            let loads = graph.node(&target.node).is_some_and(|node| node.class_type.starts_with("LoadImage"));
            Some(if loads && is(&["image"]) { Kind::Image } else { Kind::Text })
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A text that names files is checked as such, and a seed is drawn, also where only `text` or `integer` is written.
fn special(kind: Kind, name: &str, told: &[Option<Kind>]) -> Kind {
    let any = |kind| told.contains(&Some(kind));
    match kind {
        Kind::Text if any(Kind::Filename) => Kind::Filename,
        Kind::Text if any(Kind::Image) => Kind::Image,
        Kind::Integer if any(Kind::Seed) || name == "seed" => Kind::Seed,
        Kind::Text | Kind::Filename | Kind::Image | Kind::Integer | Kind::Seed | Kind::Number | Kind::Boolean => kind,
    }
}

fn value_at<'a>(graph: &'a Graph, target: &Target) -> Option<&'a Value> {
    graph.node(&target.node)?.inputs.get(&target.input)
}

fn bound(reader: &mut Reader, parameter: &Parameter, name: &str, item: &Item) -> Option<ParamValue> {
    let wanted = match parameter.kind {
        Kind::Text | Kind::Filename | Kind::Image => match item.content {
            Content::Integer(length @ 0..=1_000_000) => return Some(ParamValue::Integer(length)),
            Content::Null
            | Content::Boolean(_)
            | Content::Integer(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_) => "a number of characters, 0 to 1000000",
        },
        Kind::Boolean => "absent: a truth value has no bounds",
        Kind::Integer | Kind::Seed | Kind::Number => match json(&item.content).map(|value| parameter.typed(&value)) {
            Some(Ok(bound)) => return Some(bound),
            Some(Err(_)) | None if parameter.kind == Kind::Number => "a number",
            Some(Err(_)) | None => "an integer",
        },
    };
    let found = item.content.kind();
    reader.wrong(item.line, format!("parameter `{}`: {name} must be {wanted}, but it is {found}", parameter.name));
    None
}

fn choices(reader: &mut Reader, parameter: &Parameter, item: &Item) -> Vec<ParamValue> {
    let wrong = |reader: &mut Reader, line, reason: &str| {
        reader.wrong(line, format!("parameter `{}`: enum {reason}", parameter.name));
    };
    if matches!(parameter.kind, Kind::Seed | Kind::Boolean) {
        wrong(reader, item.line, &format!("makes no sense for a {}", parameter.kind.as_str()));
        return Vec::new();
    }
    let Content::List(items) = &item.content else {
        wrong(reader, item.line, &format!("must be a list, but it is {}", item.content.kind()));
        return Vec::new();
    };
    if items.is_empty() {
        wrong(reader, item.line, "is empty, so no value could be given");
    }
    let mut choices = Vec::new();
    for item in one_or_many(item) {
        match checked(parameter, item) {
            Ok(choice) => choices.push(choice),
            Err(reason) => wrong(reader, item.line, &reason),
        }
    }
    choices
}

fn default(reader: &mut Reader, parameter: &Parameter, item: &Item) -> Option<ParamValue> {
    // A seed's -1 is a wish to draw one, which is what happens without a default.
    if parameter.kind == Kind::Seed && item.content == Content::Integer(-1) {
        return None;
    }
    checked(parameter, item)
        .map_err(|reason| reader.wrong(item.line, format!("parameter `{}`: default {reason}", parameter.name)))
        .ok()
}

/// Checks a written value as a caller's would be.
fn checked(parameter: &Parameter, item: &Item) -> Result<ParamValue, String> {
    let Some(value) = json(&item.content) else {
        return Err(format!("must be {}, but it is {}", parameter.kind.noun(), item.content.kind()));
    };
    parameter.check(&value).map_err(|(_, reason)| {
        let is_text = matches!(parameter.kind, Kind::Text | Kind::Filename | Kind::Image);
        let unquoted = is_text && !value.is_string();
        if unquoted { format!("{reason}: put `{}` in quotes", shown(&value.to_string())) } else { reason }
    })
}

/// Sets the bounds of the parameters that `ComfyLite` knew by name, where none are written.
fn known_by_name(parameter: &mut Parameter) {
    let (least, most) = match (parameter.kind, parameter.name.as_str()) {
        (Kind::Integer, "width" | "height") => (1, MAX_SIDE),
        (Kind::Integer, "image_count") => (1, MAX_IMAGES),
        (Kind::Seed, _) => (0, u64::MAX.into()),
        (Kind::Text | Kind::Filename | Kind::Image | Kind::Integer | Kind::Number | Kind::Boolean, _) => return,
    };
    let (least, most) = (ParamValue::Integer(least), ParamValue::Integer(most));
    if parameter.max.is_none() {
        let above = parameter.min.clone().filter(|min| is_less(&most, min));
        parameter.max = Some(above.unwrap_or(most));
    }
    if parameter.min.is_none() {
        let below = parameter.max.clone().filter(|max| is_less(max, &least));
        parameter.min = Some(below.unwrap_or(least));
    }
}

/// Returns what `ComfyLite` took for the parameters that it knew by name, as near as the bounds allow.
fn comfylite_default(parameter: &Parameter) -> Option<ParamValue> {
    let usual = match (parameter.kind, parameter.name.as_str()) {
        (Kind::Integer, "width" | "height") => ParamValue::Integer(COMFYLITE_SIDE),
        (Kind::Integer, "image_count") => ParamValue::Integer(1),
        (Kind::Text | Kind::Filename | Kind::Image | Kind::Integer | Kind::Seed | Kind::Number | Kind::Boolean, _) => {
            return None;
        }
    };
    let below = parameter.min.clone().filter(|min| is_less(&usual, min));
    let above = parameter.max.clone().filter(|max| is_less(max, &usual));
    let usual = below.or(above).unwrap_or(usual);
    let is_taken = !parameter.required && (parameter.choices.is_empty() || parameter.choices.contains(&usual));
    is_taken.then_some(usual)
}

fn json(content: &Content) -> Option<Value> {
    match content {
        Content::Boolean(truth) => Some(Value::Bool(*truth)),
        Content::Integer(whole) => Number::from_i128(*whole).map(Value::Number),
        Content::Number(number) => Number::from_f64(*number).map(Value::Number),
        Content::Text(text) => Some(Value::String(text.clone())),
        Content::Null | Content::List(_) | Content::Map(_) => None,
    }
}
