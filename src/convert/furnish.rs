//! The widgets that the frontend makes of one input: how many, of which kind, and with which value.

use super::value::{as_double, as_read, is_something};
use super::widget::{Face, Rounding, Steps, Treatment, Widget};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Adds the widgets of one input.
pub(super) fn add(widgets: &mut Vec<Widget>, name: &str, kind: &str, choices: &[Value], options: &Map<String, Value>) {
    let default = options.get("default").filter(|value| !value.is_null()).map(as_read);
    let inner = |key: &str| options.get("options").and_then(|inner| inner.get(key)).map(as_read);
    let inner_something = |key: &str| inner(key).filter(is_something);
    let mut plain = |value: Value| widgets.push(Widget::new(name, Face::Plain, Some(value)));
    match kind {
        "INT" => {
            let default = default.unwrap_or_else(|| json!(0));
            widgets.push(Widget::new(name, Face::Whole(steps(options, 1.0)), Some(default)));
            let control = options.get("control_after_generate").filter(|option| !option.is_null());
            if control.map_or_else(|| is_seed(name), is_something) {
                widgets.push(control_of(options));
            }
        }
        "FLOAT" => {
            let steps = steps(options, 0.5);
            let face = Face::Fraction(steps, rounding(options, steps.step));
            widgets.push(Widget::new(name, face, Some(default.unwrap_or_else(|| json!(0)))));
        }
        "BOOLEAN" => plain(default.unwrap_or(Value::Bool(false))),
        "STRING" => {
            let default = default.unwrap_or_else(|| json!(""));
            let face = if options.get("multiline").is_some_and(is_something) { Face::Area } else { Face::Plain };
            let mut text = Widget::new(name, face, None);
            text.value = text.face.taken(Some(Arc::new(default)));
            if options.get("dynamicPrompts") == Some(&Value::Bool(true)) {
                text.treatment = Treatment::Choices;
            }
            widgets.push(text);
        }
        "COMBO" => combo(widgets, name, choices, options),
        "MARKDOWN" => widgets.push(Widget::new(name, Face::Area, Some(json!("")))),
        "IMAGEUPLOAD" => widgets.push(Widget::unsent(name, "image")),
        "AUDIOUPLOAD" => widgets.push(Widget::unsent(name, "")),
        "AUDIO_UI" => widgets.push(Widget { saved: false, ..Widget::new(name, Face::Still, None) }),
        "AUDIO_RECORD" => {
            widgets.push(Widget::new(name, Face::Still, None));
            widgets.push(Widget::unsent(name, ""));
        }
        "WEBCAM" | "PREVIEW_3D" | "PREVIEW_3D_ANIMATION" => widgets.push(Widget::new(name, Face::Still, None)),
        "LOAD_3D" | "LOAD_3D_ANIMATION" => {
            let buttons = [
                ("upload 3d model", "upload3dmodel"),
                ("upload extra resources", "uploadExtraResources"),
                ("clear", "clear"),
            ];
            for (button, value) in buttons {
                widgets.push(Widget::new(button, Face::Plain, Some(json!(value))));
            }
            widgets.push(Widget::new("image", Face::Still, None));
        }
        "COLOR" => plain(inner_something("default").unwrap_or_else(|| json!("#000000"))),
        "IMAGECOMPARE" => plain(json!(["", ""])),
        "TREESELECT" => plain(if inner_something("multiple").is_some() { json!([]) } else { json!("") }),
        "MULTISELECT" => plain(json!([])),
        "CHART" => plain(inner_something("data").unwrap_or_else(|| json!({}))),
        "GALLERIA" => plain(inner_something("images").unwrap_or_else(|| json!([]))),
        "SELECTBUTTON" => {
            let first = inner("values").and_then(|values| values.get(0).cloned()).filter(is_something);
            plain(first.unwrap_or_else(|| json!("")));
        }
        // What is left are texts: `TEXTAREA`, and `FILEUPLOAD`, which has no default.
        _ => plain(inner_something("default").filter(|_| kind == "TEXTAREA").unwrap_or_else(|| json!(""))),
    }
}

fn combo(widgets: &mut Vec<Widget>, name: &str, choices: &[Value], options: &Map<String, Value>) {
    let on = |option: &str| options.get(option).is_some_and(is_something);
    if on("multi_select") {
        widgets.push(Widget::new(name, Face::Plain, Some(json!([]))));
        return;
    }
    let default = options.get("default").filter(|default| is_something(default));
    let waiting = json!("Loading...");
    let value = default.or(choices.first()).or_else(|| on("remote").then_some(&waiting));
    widgets.push(Widget::new(name, Face::Combo, value.map(as_read)));
    if on("remote") {
        let toggle = Widget::new("Auto-refresh after generation", Face::Plain, Some(json!(false)));
        widgets.push(Widget { sent: false, ..toggle });
        if options.get("remote").and_then(|remote| remote.get("refresh_button")).is_some_and(is_something) {
            widgets.push(Widget::new("refresh", Face::Plain, Some(json!("refresh"))));
        }
    }
    if on("control_after_generate") {
        widgets.push(control_of(options));
        widgets.push(Widget::unsent("control_filter_list", ""));
    }
}

/// The widget that says what becomes of a value after each run.
fn control_of(options: &Map<String, Value>) -> Widget {
    let name = options.get("control_after_generate").and_then(Value::as_str);
    Widget::unsent(name.unwrap_or("control_after_generate"), "randomize")
}

/// Reads the bounds and steps of a number.
pub(super) fn steps(options: &Map<String, Value>, step: f64) -> Steps {
    let number = |option: &str| options.get(option).filter(|value| !value.is_null()).map(as_double);
    let display = options.get("display").and_then(Value::as_str);
    Steps {
        min: number("min").unwrap_or(0.0),
        max: number("max").unwrap_or(2048.0),
        step: number("step").unwrap_or(step),
        field: !matches!(display, Some("slider" | "knob")),
    }
}

/// Reads how a number with this step is rounded.
pub(super) fn rounding(options: &Map<String, Value>, step: f64) -> Rounding {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a small whole number")]
    let decimals = (-step.log10().floor()).clamp(0.0, 100.0) as usize;
    let given = options.get("round").filter(|round| is_something(round)).map(as_double);
    let to = match given {
        Some(round) => round,
        None if decimals > 0 => format!("1e-{decimals}").parse().unwrap_or(0.0),
        None => 0.0,
    };
    Rounding { to, decimals }
}

pub(super) fn is_seed(name: &str) -> bool {
    name == "seed" || name == "noise_seed"
}
