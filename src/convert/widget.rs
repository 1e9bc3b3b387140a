//! Widgets: what a node shows for a value, what becomes of a value that is put into it, and what it sends.

use super::value::{as_double, fixed, is_something, of_double, rounded, spelled};
use serde_json::Value;
use std::sync::Arc;

/// A widget as a class's definition makes it.
#[derive(Clone, Debug)]
pub(super) struct Widget {
    pub(super) name: String,
    pub(super) face: Face,
    /// The value that it begins with; none where it has none, such as a list of choices without any.
    pub(super) value: Option<Arc<Value>>,
    /// Whether its value has a place among the saved ones.
    pub(super) saved: bool,
    /// Whether its value is sent.
    pub(super) sent: bool,
    /// What is done to its text before it is sent.
    pub(super) treatment: Treatment,
}

/// What is done to a text before it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Treatment {
    /// Nothing.
    None,
    /// Comments go, one of several `{choices|of|text}` stays.
    Choices,
    /// `%Node.widget%` becomes that widget's value.
    References,
}

/// How a widget takes and gives values.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Face {
    /// As they are.
    Plain,
    /// One of several; as it is.
    Combo,
    /// A field of text with several lines: everything is a text, lines end with a line feed. Where a subgraph shows it, it is
    /// the same field.
    Area,
    /// Something to look at; always an empty text.
    Still,
    /// An integer, rounded to steps where a primitive sets it.
    Whole(Steps),
    /// A number, rounded where a primitive sets it.
    Fraction(Steps, Rounding),
    /// The name of a file that can be uploaded.
    Upload(Upload),
}

/// The bounds and steps of a number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Steps {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) step: f64,
    /// Whether it is a field, neither a slider nor a knob.
    pub(super) field: bool,
}

/// How a number with a fraction is rounded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Rounding {
    /// To multiples of this; 0 for not at all.
    pub(super) to: f64,
    pub(super) decimals: usize,
}

/// A name of a file that can be uploaded.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Upload {
    /// What it is where nothing is chosen.
    pub(super) first: String,
    /// Whether it may be several files.
    pub(super) many: bool,
    /// The folder that is named behind the file, where it is not the usual one.
    pub(super) folder: Option<String>,
}

impl Widget {
    pub(super) fn new(name: &str, face: Face, value: Option<Value>) -> Self {
        Self {
            name: name.to_owned(),
            face,
            value: value.map(Arc::new),
            saved: true,
            sent: true,
            treatment: Treatment::None,
        }
    }

    /// A widget that is saved and not sent.
    pub(super) fn unsent(name: &str, value: &str) -> Self {
        Self { sent: false, ..Self::new(name, Face::Plain, Some(Value::from(value))) }
    }
}

impl Face {
    /// Returns what stands in the widget once a value was put into it.
    pub(super) fn taken(&self, value: Option<Arc<Value>>) -> Option<Arc<Value>> {
        match self {
            Self::Plain | Self::Combo | Self::Whole(_) | Self::Fraction(..) | Self::Upload(_) => value,
            Self::Still => None,
            Self::Area => Some(match value.as_deref() {
                Some(Value::String(text)) if !text.contains('\r') => return value,
                None => Arc::new(Value::from("undefined")),
                Some(Value::Null) => Arc::new(Value::from("")),
                Some(other) => Arc::new(Value::String(spelled(other).replace("\r\n", "\n").replace('\r', "\n"))),
            }),
        }
    }

    /// Returns what the widget gives for what stands in it.
    pub(super) fn given(&self, value: Option<Arc<Value>>) -> Option<Arc<Value>> {
        match self {
            Self::Plain | Self::Combo | Self::Area | Self::Whole(_) | Self::Fraction(..) => value,
            Self::Still => Some(Arc::new(Value::from(""))),
            Self::Upload(upload) => Some(Arc::new(upload.given(value.as_deref().unwrap_or(&Value::Null)))),
        }
    }

    /// Returns what becomes of a value that a user or a primitive sets: numbers are rounded.
    pub(super) fn settled(&self, value: Option<Arc<Value>>) -> Option<Arc<Value>> {
        let number = || value.as_deref().map_or(f64::NAN, as_double);
        let result = match self {
            Self::Whole(steps) => steps.rounded(number()),
            Self::Fraction(steps, rounding) if rounding.to != 0.0 => rounding.rounded(number()).clamp_to(steps),
            Self::Plain | Self::Combo | Self::Area | Self::Still | Self::Fraction(..) | Self::Upload(_) => {
                return value;
            }
        };
        Some(Arc::new(of_double(result).map_or(Value::Null, Value::Number)))
    }
}

trait Clamp {
    fn clamp_to(self, steps: &Steps) -> f64;
}

impl Clamp for f64 {
    fn clamp_to(self, steps: &Steps) -> f64 {
        if self.is_nan() { self } else { self.min(steps.max).max(steps.min) }
    }
}

impl Steps {
    fn rounded(&self, number: f64) -> f64 {
        let step = if self.step == 0.0 || self.step.is_nan() { 1.0 } else { self.step };
        if (step - 1.0).abs() < f64::EPSILON {
            return rounded(number);
        }
        let offset = if self.min.is_finite() { self.min % step } else { f64::NAN };
        rounded((number - offset) / step) * step + offset
    }
}

impl Rounding {
    fn rounded(self, number: f64) -> f64 {
        let near = rounded(number / self.to) * self.to;
        if near.is_finite() { fixed(near, self.decimals) } else { near }
    }
}

impl Upload {
    fn given(&self, value: &Value) -> Value {
        if !is_something(value) {
            return Value::String(self.first.clone());
        }
        match value {
            Value::Array(files) if self.many => Value::Array(files.iter().map(|file| self.path(file)).collect()),
            Value::Array(files) => self.path(files.first().unwrap_or(&Value::Null)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => self.path(value),
        }
    }

    /// Spells a file as ComfyUI does: `folder/name.png [output]`.
    fn path(&self, file: &Value) -> Value {
        if let Value::String(name) = file {
            return Value::String(format!("{name}{}", self.suffix(name)));
        }
        let part = |key: &str| file.get(key).filter(|part| is_something(part)).map(spelled);
        let name = part("filename").unwrap_or_default();
        let path = part("subfolder").map_or(name.clone(), |folder| format!("{folder}/{name}"));
        let suffix = part("type").map(|kind| self.suffix(&kind)).unwrap_or_default();
        Value::String(format!("{path}{suffix}"))
    }

    fn suffix(&self, name: &str) -> String {
        let lower = name.to_ascii_lowercase();
        let named = ["[input]", "[output]", "[temp]"].iter().any(|suffix| lower.contains(suffix));
        match &self.folder {
            Some(folder) if !named => format!(" [{folder}]"),
            Some(_) | None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settled(face: &Face, value: &Value) -> Value {
        face.settled(Some(Arc::new(value.clone()))).unwrap().as_ref().clone()
    }

    #[test]
    fn a_whole_number_is_rounded_to_its_steps() {
        let steps = Steps { min: 16.0, max: 16384.0, step: 16.0, field: true };
        assert_eq!(settled(&Face::Whole(steps), &json!(1000)), json!(1008));
        let steps = Steps { min: 1.0, max: 9.0, step: 4.0, field: true };
        assert_eq!(settled(&Face::Whole(steps), &json!(4)), json!(5));
        assert_eq!(settled(&Face::Whole(Steps { step: 1.0, ..steps }), &json!("x")), json!(null));
    }

    #[test]
    fn a_fraction_is_rounded_and_held_in_bounds() {
        let steps = Steps { min: 0.0, max: 100.0, step: 0.1, field: true };
        let face = Face::Fraction(steps, Rounding { to: 0.01, decimals: 1 });
        assert_eq!(settled(&face, &json!(8.25)), json!(8.3));
        assert_eq!(settled(&face, &json!(120.5)), json!(100));
        assert_eq!(settled(&Face::Fraction(steps, Rounding { to: 0.0, decimals: 0 }), &json!(120.55)), json!(120.55));
    }

    #[test]
    fn an_upload_gives_the_name_of_a_file() {
        let upload = Upload { first: "a.png".to_owned(), many: false, folder: Some("output".to_owned()) };
        let cases = [
            (json!("b.png"), "b.png [output]"),
            (json!("b.png [Temp]"), "b.png [Temp]"),
            (json!(["c.png", "d.png"]), "c.png [output]"),
            (json!({"filename": "e.png", "subfolder": "x", "type": "output"}), "x/e.png [output]"),
            (json!(null), "a.png"),
            (json!(7), ""),
        ];
        for (value, expected) in cases {
            assert_eq!(upload.given(&value), json!(expected), "{value}");
        }
    }

    #[test]
    fn a_field_of_text_makes_everything_a_text() {
        let taken = |value: Value| Face::Area.taken(Some(Arc::new(value))).unwrap().as_ref().clone();
        assert_eq!(taken(json!("a\r\nb\rc")), json!("a\nb\nc"));
        assert_eq!(taken(json!(null)), json!(""));
        assert_eq!(taken(json!([1, 2])), json!("1,2"));
    }
}
