//! Values that stand in inputs: what Python's `int()`, `float()` and `==` make of them, and their bounds.

use super::problem::{Kind, brief};
use crate::definitions::{InputDefinition, InputKind};
use crate::names::shown;
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// The most digits of a whole number in a text that Python reads.
const MOST_DIGITS: usize = 4300;

/// What is wrong with a value.
pub(super) struct Wrong {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) mend: String,
    pub(super) suggestion: Option<Value>,
}

/// A number as Python would have it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Numeric {
    Whole(i128),
    Fraction(f64),
}

/// Checks a value that is no choice and no link against the type and the bounds of its input.
pub(super) fn check(input: &InputDefinition, type_name: &str, given: &Value) -> Option<Wrong> {
    let converted = match type_name {
        "INT" => int(given).ok_or("a whole number"),
        "FLOAT" => float(given).ok_or("a number"),
        "BOOLEAN" => return text_for_boolean(given),
        // Python makes a text of everything, and other types are nobody's to convert.
        _ => return None,
    };
    let number = match converted {
        Ok(number) => number,
        Err(wanted) => {
            return Some(Wrong {
                kind: Kind::InvalidInputType,
                message: format!("{} is not {wanted}", brief(given)),
                mend: format!("write {wanted}"),
                suggestion: input.default().filter(|default| !default.is_null()).cloned(),
            });
        }
    };
    let bound = |name: &str| input.options.get(name).and_then(Value::as_number);
    let beyond = |kind, bound: &Number, words: &str| Wrong {
        kind,
        message: format!("{} is {words} {bound}", brief(given)),
        mend: format!("write {}", a_number(input)),
        suggestion: Some(Value::Number(bound.clone())),
    };
    if let Some(min) = bound("min").filter(|min| number.compare(min) == Some(Ordering::Less)) {
        return Some(beyond(Kind::ValueSmallerThanMin, min, "less than the least value,"));
    }
    if let Some(max) = bound("max").filter(|max| number.compare(max) == Some(Ordering::Greater)) {
        return Some(beyond(Kind::ValueBiggerThanMax, max, "more than the largest value,"));
    }
    None
}

/// Says what an input takes, for people.
pub(super) fn takes(input: &InputDefinition) -> String {
    match &input.kind {
        InputKind::Combo(choices) => match choices.len() {
            0 => "one of the server's choices".to_owned(),
            many => format!("one of {many} choices"),
        },
        InputKind::Type(name) => match name.as_str() {
            "INT" | "FLOAT" => a_number(input),
            "STRING" => "a text".to_owned(),
            "BOOLEAN" => "true or false".to_owned(),
            other => format!("a link to an output of type {}", shown(other)),
        },
    }
}

/// Says whether values of a type are written into the graph, and do not come from another node.
pub(super) fn is_plain(type_name: &str) -> bool {
    matches!(type_name, "INT" | "FLOAT" | "STRING" | "BOOLEAN" | "COMBO")
}

/// Says whether a value is one of the choices; with `several`, whether each of a list is.
pub(super) fn is_among(given: &Value, choices: &[Value], several: bool) -> bool {
    match given {
        Value::Array(all) if several => all.iter().all(|one| is_among(one, choices, false)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            choices.iter().any(|choice| equal(choice, given))
        }
    }
}

/// Says whether Python's `==` does: a number equals another one of its worth, and `true` is 1.
fn equal(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(|truth| f64::from(u8::from(truth))));
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.total_cmp(&other) == Ordering::Equal,
        _ => one == other,
    }
}

fn a_number(input: &InputDefinition) -> String {
    let noun = if input.type_name() == "INT" { "a whole number" } else { "a number" };
    let bound = |name: &str| input.options.get(name).and_then(Value::as_number);
    match (bound("min"), bound("max")) {
        (Some(min), Some(max)) => format!("{noun} from {min} to {max}"),
        (Some(min), None) => format!("{noun} from {min} on"),
        (None, Some(max)) => format!("{noun} up to {max}"),
        (None, None) => noun.to_owned(),
    }
}

/// Every text is true for Python, and so is one that says false.
fn text_for_boolean(given: &Value) -> Option<Wrong> {
    let text = given.as_str()?;
    let meant = match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    };
    let is_true = !text.is_empty();
    if meant == Some(is_true) {
        return None;
    }
    Some(Wrong {
        kind: Kind::TextForBoolean,
        message: format!("ComfyUI takes the text {} for {is_true}", brief(given)),
        mend: "write true or false without quotes".to_owned(),
        suggestion: meant.map(Value::Bool),
    })
}

/// Does as Python's `int()`: cuts a fraction off, and reads a text that is a whole number.
fn int(given: &Value) -> Option<Numeric> {
    match given {
        Value::Bool(truth) => Some(Numeric::Whole(i128::from(*truth))),
        Value::Number(number) => match number.as_i128() {
            Some(whole) => Some(Numeric::Whole(whole)),
            None => number.as_f64().filter(|number| number.is_finite()).map(|it| Numeric::Whole(cut_off(it))),
        },
        Value::String(text) => whole_text(text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Cuts a fraction off; what is beyond 128 bits is beyond all bounds, and how far does not matter.
#[expect(clippy::cast_possible_truncation, reason = "it is what is meant")]
fn cut_off(number: f64) -> i128 {
    number as i128
}

/// Does as Python's `float()`.
fn float(given: &Value) -> Option<Numeric> {
    let number = match given {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) if has_foreign_digits(text) => Some(f64::NAN),
        Value::String(text) => without_underscores(text.trim())?.parse().ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    number.map(Numeric::Fraction)
}

fn whole_text(text: &str) -> Option<Numeric> {
    if has_foreign_digits(text) {
        return Some(Numeric::Fraction(f64::NAN));
    }
    let text = without_underscores(text.trim())?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let is_whole = !digits.is_empty() && digits.len() <= MOST_DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
    if !is_whole {
        return None;
    }
    text.parse().map(Numeric::Whole).or_else(|_| text.parse().map(Numeric::Fraction)).ok()
}

/// Python reads the digits of all scripts. What they are worth is not known here, and held against nobody.
fn has_foreign_digits(text: &str) -> bool {
    text.chars().any(|letter| !letter.is_ascii() && letter.is_numeric())
}

/// Takes out underscores; Python allows them between two digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_digit);
    let is_allowed = |place: usize| is_digit(place.checked_sub(1)) && is_digit(Some(place + 1));
    let all_allowed = bytes.iter().enumerate().all(|(place, byte)| *byte != b'_' || is_allowed(place));
    all_allowed.then(|| text.replace('_', ""))
}

impl Numeric {
    fn compare(self, bound: &Number) -> Option<Ordering> {
        match (self, bound.as_i128()) {
            (Self::Whole(whole), Some(bound)) => Some(whole.cmp(&bound)),
            (_, _) => self.as_f64().partial_cmp(&bound.as_f64()?),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "bounds are far from where it matters")]
    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Fraction(number) => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_pythons_int_takes_is_taken() {
        for (given, expected) in [
            (json!(5), Some(5.0)),
            (json!(5.7), Some(5.0)),
            (json!(-5.7), Some(-5.0)),
            (json!("5"), Some(5.0)),
            (json!(" +1_000\n"), Some(1000.0)),
            (json!("-0"), Some(0.0)),
            (json!(true), Some(1.0)),
            (json!(u64::MAX), Some(18_446_744_073_709_551_615.0)),
            (json!("9".repeat(40)), Some(1e40)),
            (json!("5.0"), None),
            (json!("1__0"), None),
            (json!("_1"), None),
            (json!("+"), None),
            (json!("0x10"), None),
            (json!(""), None),
            (json!("nan"), None),
            (json!("9".repeat(4301)), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            assert_eq!(int(&given).map(Numeric::as_f64), expected, "{}", brief(&given));
        }
    }

    #[test]
    fn what_pythons_float_takes_is_taken() {
        for (given, expected) in [
            (json!(5), Some(5.0)),
            (json!("5"), Some(5.0)),
            (json!(" .5e1_0 "), Some(5e9)),
            (json!("1."), Some(1.0)),
            (json!("-Infinity"), Some(f64::NEG_INFINITY)),
            (json!("inf"), Some(f64::INFINITY)),
            (json!(false), Some(0.0)),
            (json!("1,5"), None),
            (json!("1._5"), None),
            (json!("five"), None),
            (json!(null), None),
            (json!({"a": 1}), None),
        ] {
            assert_eq!(float(&given).map(Numeric::as_f64), expected, "{given}");
        }
        assert!(float(&json!("nan")).is_some_and(|it| it.as_f64().is_nan()));
    }

    #[test]
    fn choices_are_compared_as_python_compares_them() {
        let choices = [json!("512"), json!(2), json!(1)];
        for (given, expected) in [
            (json!("512"), true),
            (json!(512), false),
            (json!(2.0), true),
            (json!(true), true),
            (json!("2"), false),
            (json!(null), false),
        ] {
            assert_eq!(is_among(&given, &choices, false), expected, "{given}");
        }
        assert!(is_among(&json!(["512", 2]), &choices, true) && !is_among(&json!(["512", 3]), &choices, true));
    }
}
