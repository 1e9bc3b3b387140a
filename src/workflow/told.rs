//! What a backend says of one input of a node class: its type, its bounds, its choices. Pure; decides nothing of what callers
//! may give, only what ComfyUI would take.

use super::parameter::{Kind, Target, is_less};
use crate::definitions::{Definitions, InputDefinition, InputKind};
use crate::graph::{Graph, is_seed};
use crate::job::ParamValue;
use serde_json::{Number, Value};

/// The most choices that are told of one input; folders of models can have thousands of files.
const MAX_CHOICES: usize = 1000;

/// What is known of one input.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Told<'a> {
    input: &'a InputDefinition,
}

/// Finds what is said of the input that a target names; none where its class is not known.
pub(super) fn told<'a>(definitions: &'a Definitions, graph: &Graph, target: &Target) -> Option<Told<'a>> {
    let class = &graph.node(&target.node)?.class_type;
    definitions.node(class)?.input(&target.input).map(|input| Told { input })
}

impl Told<'_> {
    /// Returns what the input holds; none where its type is no value, or one that the template tells better.
    pub(super) fn kind(&self) -> Option<Kind> {
        let name = self.input.name.as_str();
        match &self.input.kind {
            InputKind::Type(kind) => match kind.as_str() {
                "INT" if is_seed(name) || self.input.is("control_after_generate") => Some(Kind::Seed),
                "INT" => Some(Kind::Integer),
                "FLOAT" => Some(Kind::Number),
                "BOOLEAN" => Some(Kind::Boolean),
                "STRING" if name == "filename_prefix" => Some(Kind::Filename),
                "STRING" => Some(Kind::Text),
                _ => None,
            },
            InputKind::Combo(_) if self.input.is("image_upload") => Some(Kind::Image),
            InputKind::Combo(choices) => kind_of_all(choices),
        }
    }

    /// Returns the least and the largest value that the backend takes, as values of `kind`.
    pub(super) fn bounds(&self, kind: Kind) -> (Option<ParamValue>, Option<ParamValue>) {
        let bound =
            |name, up| self.input.options.get(name).and_then(Value::as_number).and_then(|it| bound(it, kind, up));
        let is_number = matches!(&self.input.kind, InputKind::Type(kind) if kind == "INT" || kind == "FLOAT");
        if is_number { (bound("min", true), bound("max", false)) } else { (None, None) }
    }

    /// Returns the values among which the backend lets choose.
    pub(super) fn choices(&self) -> Vec<ParamValue> {
        match &self.input.kind {
            InputKind::Combo(choices) => choices.iter().take(MAX_CHOICES).filter_map(scalar).collect(),
            InputKind::Type(_) => Vec::new(),
        }
    }
}

/// Returns bounds within both, or the first where no value is within both.
pub(super) fn within(
    written: (Option<ParamValue>, Option<ParamValue>),
    told: (Option<ParamValue>, Option<ParamValue>),
) -> (Option<ParamValue>, Option<ParamValue>) {
    let closer = |one: &Option<ParamValue>, other: Option<ParamValue>, is_min: bool| match (one, other) {
        (Some(one), Some(other)) => {
            let is_closer = if is_min { is_less(one, &other) } else { is_less(&other, one) };
            Some(if is_closer { other } else { one.clone() })
        }
        (one, other) => one.clone().or(other),
    };
    let (min, max) = (closer(&written.0, told.0, true), closer(&written.1, told.1, false));
    let is_empty = min.as_ref().zip(max.as_ref()).is_some_and(|(min, max)| is_less(max, min));
    if is_empty { written } else { (min, max) }
}

/// Reads a bound; one with a fraction becomes the nearest whole number inside where whole numbers are meant.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded, and a float that is too large becomes the largest integer"
)]
fn bound(number: &Number, kind: Kind, up: bool) -> Option<ParamValue> {
    match kind {
        Kind::Integer | Kind::Seed => {
            let rounded = |number: f64| (if up { number.ceil() } else { number.floor() }) as i128;
            number.as_i128().or_else(|| number.as_f64().map(rounded)).map(ParamValue::Integer)
        }
        Kind::Number => number.as_f64().filter(|number| number.is_finite()).map(ParamValue::Number),
        Kind::Text | Kind::Filename | Kind::Image | Kind::Boolean => None,
    }
}

fn kind_of_all(choices: &[Value]) -> Option<Kind> {
    let all = |is: fn(&Value) -> bool| !choices.is_empty() && choices.iter().all(is);
    if all(Value::is_string) {
        Some(Kind::Text)
    } else if all(Value::is_boolean) {
        Some(Kind::Boolean)
    } else if all(|value| value.is_i64() || value.is_u64()) {
        Some(Kind::Integer)
    } else if all(Value::is_number) {
        Some(Kind::Number)
    } else {
        None
    }
}

fn scalar(value: &Value) -> Option<ParamValue> {
    match value {
        Value::Bool(truth) => Some(ParamValue::Boolean(*truth)),
        Value::String(text) => Some(ParamValue::Text(text.clone())),
        Value::Number(number) => {
            number.as_i128().map(ParamValue::Integer).or_else(|| number.as_f64().map(ParamValue::Number))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
