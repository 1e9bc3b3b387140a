//! What a person gave for a parameter: a text of the command line, or a value of a file. Becomes a value of the input's type
//! and nothing else. Pure.

use crate::definitions::{InputDefinition, InputKind};
use crate::graph::kind_of;
use crate::names::shown;
use crate::workflow::Kind;
use serde_json::{Number, Value};

/// A value as it was given.
#[derive(Clone, PartialEq, Debug)]
pub enum Given {
    /// A text of the command line, whose type the input tells.
    Word(String),
    /// A value that was written as JSON.
    Json(Value),
}

/// What an input takes, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Takes {
    Text,
    Whole,
    Number,
    /// A number, and nobody knows whether only whole ones.
    AnyNumber,
    Boolean,
    /// Nothing is known.
    Any,
}

impl Given {
    /// Returns the text that was given, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) => Some(text),
            Self::Json(value) => value.as_str(),
        }
    }

    /// Returns the same with its text changed.
    #[must_use]
    pub(super) fn map_text(&self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Word(text) => Self::Word(change(text)),
            Self::Json(Value::String(text)) => Self::Json(Value::String(change(text))),
            Self::Json(other) => Self::Json(other.clone()),
        }
    }

    /// Returns it as a value that the input takes, or the end of a sentence that begins with the parameter's name.
    pub(super) fn typed(&self, takes: Takes) -> Result<Value, String> {
        match self {
            Self::Word(word) => of_word(word, takes),
            Self::Json(value) => of_json(value, takes),
        }
    }
}

impl Takes {
    /// Returns what a parameter of this kind takes.
    pub(super) fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Filename | Kind::Image => Self::Text,
            Kind::Integer | Kind::Seed => Self::Whole,
            Kind::Number => Self::Number,
            Kind::Boolean => Self::Boolean,
        }
    }

    /// Returns what an input of a graph takes, by its definition, else by the value that stands there.
    pub(super) fn of_input(definition: Option<&InputDefinition>, value: Option<&Value>) -> Self {
        let told = definition.and_then(|definition| match &definition.kind {
            InputKind::Type(name) => match name.as_str() {
                "INT" => Some(Self::Whole),
                "FLOAT" => Some(Self::Number),
                "STRING" => Some(Self::Text),
                "BOOLEAN" => Some(Self::Boolean),
                _ => None,
            },
            InputKind::Combo(choices) => choices.iter().all(Value::is_string).then_some(Self::Text),
        });
        told.unwrap_or(match value {
            Some(Value::String(_)) => Self::Text,
            Some(Value::Bool(_)) => Self::Boolean,
            Some(Value::Number(number)) if number.is_f64() => Self::Number,
            // Editors write `8` for `8.0`.
            Some(Value::Number(_)) => Self::AnyNumber,
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => Self::Any,
        })
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Whole => "an integer",
            Self::Number | Self::AnyNumber => "a number",
            Self::Boolean => "true or false",
            Self::Any => "a text, a number, true or false",
        }
    }
}

fn of_word(word: &str, takes: Takes) -> Result<Value, String> {
    let trimmed = word.trim();
    let typed = match takes {
        Takes::Text => Some(Value::String(word.to_owned())),
        Takes::Whole => whole(trimmed).map(Value::Number),
        Takes::Number => number(trimmed).and_then(|number| Number::from_f64(number.as_f64()?)).map(Value::Number),
        Takes::AnyNumber => whole(trimmed).or_else(|| number(trimmed)).map(Value::Number),
        Takes::Boolean => truth(trimmed).map(Value::Bool),
        Takes::Any => Some(match serde_json::from_str(trimmed) {
            Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
            Ok(Value::Null | Value::Array(_) | Value::Object(_)) | Err(_) => Value::String(word.to_owned()),
        }),
    };
    typed.ok_or_else(|| format!("must be {}, not `{}`", takes.noun(), shown(word)))
}

fn of_json(value: &Value, takes: Takes) -> Result<Value, String> {
    let fits = match takes {
        Takes::Text => value.is_string(),
        Takes::Whole => value.as_number().is_some_and(is_whole),
        Takes::Number | Takes::AnyNumber => value.is_number(),
        Takes::Boolean => value.is_boolean(),
        Takes::Any => value.is_string() || value.is_number() || value.is_boolean(),
    };
    if fits {
        return Ok(value.clone());
    }
    // A file may have been written by what knows texts only.
    match value.as_str() {
        Some(word) => of_word(word, takes),
        None => Err(format!("must be {}, not {}", takes.noun(), kind_of(value))),
    }
}

fn whole(word: &str) -> Option<Number> {
    if let Ok(whole) = word.parse::<u64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = word.parse::<i64>() {
        return Some(whole.into());
    }
    // `50.0` is whole.
    let (digits, zeros) = word.split_once('.')?;
    (!zeros.is_empty() && zeros.chars().all(|digit| digit == '0')).then(|| whole(digits))?
}

fn number(word: &str) -> Option<Number> {
    let number: f64 = word.parse().ok()?;
    Number::from_f64(number)
}

fn is_whole(number: &Number) -> bool {
    number.is_u64() || number.is_i64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_word_gets_the_type_of_its_input() {
        let cases = [
            (Takes::Text, "50", Ok(json!("50"))),
            (Takes::Text, " a castle ", Ok(json!(" a castle "))),
            (Takes::Whole, "50", Ok(json!(50))),
            (Takes::Whole, "18446744073709551615", Ok(json!(u64::MAX))),
            (Takes::Whole, "-1", Ok(json!(-1))),
            (Takes::Whole, "50.0", Ok(json!(50))),
            (Takes::Whole, "7.5", Err("must be an integer, not `7.5`")),
            (Takes::Whole, "many", Err("must be an integer, not `many`")),
            (Takes::Number, "7", Ok(json!(7.0))),
            (Takes::Number, "inf", Err("must be a number, not `inf`")),
            (Takes::AnyNumber, "7", Ok(json!(7))),
            (Takes::AnyNumber, "7.5", Ok(json!(7.5))),
            (Takes::Boolean, "Yes", Ok(json!(true))),
            (Takes::Boolean, "0", Ok(json!(false))),
            (Takes::Boolean, "maybe", Err("must be true or false, not `maybe`")),
            (Takes::Any, "0.5", Ok(json!(0.5))),
            (Takes::Any, "[\"4\", 0]", Ok(json!("[\"4\", 0]"))),
        ];
        for (takes, word, expected) in cases {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(Given::Word(word.into()).typed(takes), expected, "{takes:?} {word}");
        }
    }

    #[test]
    fn a_value_of_a_file_keeps_its_type_and_is_never_a_link() {
        assert_eq!(Given::Json(json!(50)).typed(Takes::Whole), Ok(json!(50)));
        assert_eq!(Given::Json(json!("50")).typed(Takes::Whole), Ok(json!(50)));
        assert_eq!(Given::Json(json!(50)).typed(Takes::Text), Err("must be a text, not an integer".into()));
        for takes in [Takes::Text, Takes::Whole, Takes::AnyNumber, Takes::Boolean, Takes::Any] {
            assert!(Given::Json(json!(["4", 0])).typed(takes).is_err(), "{takes:?}");
            assert!(Given::Json(json!({})).typed(takes).is_err(), "{takes:?}");
        }
    }
}
