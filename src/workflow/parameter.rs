//! One parameter of a workflow: its kind, its bounds, where it goes, and which values it takes.
//!
//! A value is checked here and becomes a typed scalar; nothing else ever gets into a graph.

pub(super) use crate::graph::Target;
use crate::graph::kind_of;
use crate::job::ParamValue;
use crate::names::shown;
use serde_json::{Number, Value};
use std::fmt;

/// The longest text that any parameter takes, in characters.
const MAX_TEXT: usize = 100_000;

/// The largest whole number up to which a number with a fraction counts exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a parameter holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text.
    Text,
    /// The beginning of a name for files that ComfyUI writes.
    Filename,
    /// The name of an image that lies in ComfyUI's input folder.
    Image,
    /// A whole number.
    Integer,
    /// A whole number that is drawn where it is absent or -1.
    Seed,
    /// A number, with a fraction or without.
    Number,
    /// A truth value.
    Boolean,
}

/// One parameter of a workflow.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    /// Its name in the one spelling that is stored, `image_count`.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What it is where a caller does not say; none: the template's own value stays, and a seed is drawn.
    pub default: Option<ParamValue>,
    /// The least value, or the least length of a text.
    pub min: Option<ParamValue>,
    /// The largest value, or the largest length of a text.
    pub max: Option<ParamValue>,
    /// The only values that are taken; empty: any.
    pub choices: Vec<ParamValue>,
    /// The values among which a backend lets choose, where that is known. They are told and not enforced: another backend may
    /// have other files.
    pub suggested: Vec<ParamValue>,
    /// What it is for, in the author's words.
    pub description: Option<String>,
    /// A request without it is refused.
    pub required: bool,
    /// Where it goes; at least one.
    pub targets: Vec<Target>,
}

/// What is wrong with one parameter of a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ParamError {
    /// The stable word for it: `invalid_type`, `out_of_range`, `unknown_param`, ...
    pub code: &'static str,
    /// The parameter's name, as the caller wrote it.
    pub parameter: String,
    /// One line that names the parameter, the value and what is expected.
    pub message: String,
}

/// Why a value is not taken: the stable word, and the rest of a sentence that begins with the parameter's name.
pub(super) type Refusal = (&'static str, String);

impl Kind {
    /// Returns the word for it in a mapping file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Filename => "filename",
            Self::Image => "image",
            Self::Integer => "integer",
            Self::Seed => "seed",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// Returns the words for a value of it in a message.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Text | Self::Filename | Self::Image => "a text",
            Self::Integer | Self::Seed => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }

    /// Reads the word, or one that people use for the same.
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "text" | "string" | "str" => Some(Self::Text),
            "filename" => Some(Self::Filename),
            "image" => Some(Self::Image),
            "integer" | "int" => Some(Self::Integer),
            "seed" => Some(Self::Seed),
            "number" | "float" => Some(Self::Number),
            "boolean" | "bool" => Some(Self::Boolean),
            _ => None,
        }
    }
}

impl Parameter {
    /// Makes a parameter that takes every value of its kind.
    pub(super) fn new(name: String, kind: Kind, targets: Vec<Target>) -> Self {
        Self {
            name,
            kind,
            default: None,
            min: None,
            max: None,
            choices: Vec::new(),
            suggested: Vec::new(),
            description: None,
            required: false,
            targets,
        }
    }

    /// Checks a value and returns it as a typed scalar.
    pub(super) fn check(&self, value: &Value) -> Result<ParamValue, Refusal> {
        let value = self.typed(value)?;
        self.in_bounds(&value)?;
        let is_chosen = self.choices.is_empty() || self.choices.contains(&value);
        if !is_chosen {
            let all: Vec<String> = self.choices.iter().take(40).map(ToString::to_string).collect();
            return Err(("not_allowed", format!("{value} is not one of {}", all.join(", "))));
        }
        Ok(value)
    }

    /// Says whether a value of 0 can only mean that the caller left it out, as `ComfyLite`'s callers do.
    pub(super) fn zero_is_absent(&self) -> bool {
        let is_count = self.kind == Kind::Integer && matches!(self.name.as_str(), "width" | "height" | "image_count");
        is_count && matches!(self.min, Some(ParamValue::Integer(least)) if least > 0)
    }

    /// Gives a value the parameter's type. Nothing is guessed: a text stays a text, whatever it looks like.
    pub(super) fn typed(&self, value: &Value) -> Result<ParamValue, Refusal> {
        let typed = match self.kind {
            Kind::Text | Kind::Filename | Kind::Image => value.as_str().map(|text| ParamValue::Text(text.to_owned())),
            Kind::Integer | Kind::Seed => value.as_number().and_then(whole).map(ParamValue::Integer),
            Kind::Number => value.as_f64().filter(|number| number.is_finite()).map(ParamValue::Number),
            Kind::Boolean => value.as_bool().map(ParamValue::Boolean),
        };
        typed.ok_or_else(|| ("invalid_type", format!("must be {}, not {}", self.kind.noun(), kind_of(value))))
    }

    fn in_bounds(&self, value: &ParamValue) -> Result<(), Refusal> {
        match value {
            ParamValue::Boolean(_) => Ok(()),
            ParamValue::Text(text) => self.is_good_text(text),
            ParamValue::Integer(_) | ParamValue::Number(_) => {
                let too_small = self.min.as_ref().is_some_and(|min| is_less(value, min));
                let too_large = self.max.as_ref().is_some_and(|max| is_less(max, value));
                if too_small || too_large {
                    return Err(("out_of_range", self.outside(value)));
                }
                Ok(())
            }
        }
    }

    fn is_good_text(&self, text: &str) -> Result<(), Refusal> {
        if text.contains('\0') {
            return Err(("invalid_string", "contains the character U+0000, which is not text".into()));
        }
        let length = text.chars().count();
        let limit = |bound: &Option<ParamValue>| match bound {
            Some(ParamValue::Integer(limit)) => usize::try_from(*limit).ok(),
            Some(ParamValue::Boolean(_) | ParamValue::Number(_) | ParamValue::Text(_)) | None => None,
        };
        let most = limit(&self.max).unwrap_or(MAX_TEXT).min(MAX_TEXT);
        if length > most {
            return Err(("too_long", format!("has {length} characters, at most {most} are taken")));
        }
        if let Some(least) = limit(&self.min).filter(|least| length < *least) {
            return Err(("out_of_range", format!("has {length} characters, at least {least} are needed")));
        }
        match self.kind {
            Kind::Filename if !is_plain_path(text) || text.contains('%') => {
                Err(("invalid_filename", format!("`{}` is not a plain name such as `team/picture`", shown(text))))
            }
            // ComfyUI reads a folder out of the end of a name, as in `a.png [output]`.
            Kind::Image if !is_plain_path(text) || text.trim_end().ends_with(']') => {
                Err(("invalid_filename", format!("`{}` is not the plain name of an image", shown(text))))
            }
            Kind::Filename | Kind::Image | Kind::Text | Kind::Integer | Kind::Seed | Kind::Number | Kind::Boolean => {
                Ok(())
            }
        }
    }

    fn outside(&self, value: &ParamValue) -> String {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => format!("{value} is outside {min}..={max}"),
            (Some(min), None) => format!("{value} is less than {min}"),
            (None, Some(max)) => format!("{value} is more than {max}"),
            (None, None) => format!("{value} is not taken"),
        }
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(truth) => truth.fmt(f),
            Self::Integer(whole) => whole.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "`{}`", shown(text)),
        }
    }
}

/// Says whether a number is less than another.
pub(super) fn is_less(one: &ParamValue, other: &ParamValue) -> bool {
    match (one, other) {
        (ParamValue::Integer(one), ParamValue::Integer(other)) => one < other,
        (one, other) => as_f64(one).zip(as_f64(other)).is_some_and(|(one, other)| one < other),
    }
}

#[expect(clippy::cast_precision_loss, reason = "only bounds of numbers with a fraction are compared so")]
fn as_f64(value: &ParamValue) -> Option<f64> {
    match value {
        ParamValue::Integer(whole) => Some(*whole as f64),
        ParamValue::Number(number) => Some(*number),
        ParamValue::Boolean(_) | ParamValue::Text(_) => None,
    }
}

/// Returns the whole number that is written; `20.0` is one, since some languages write all numbers so.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small enough")]
fn whole(number: &Number) -> Option<i128> {
    if let Some(whole) = number.as_i128() {
        return Some(whole);
    }
    number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT).map(|number| number as i128)
}

/// Says whether a name stays below the folder that it is meant for, on every system.
fn is_plain_path(text: &str) -> bool {
    let is_plain = |part: &str| !part.trim_matches(['.', ' ']).is_empty();
    let has_odd_letters = text.chars().any(|letter| letter.is_control() || matches!(letter, '\\' | ':'));
    !has_odd_letters && text.split('/').all(is_plain)
}
