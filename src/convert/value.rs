//! Values as a browser has them: every number is a double, everything can be spelled as a text, some things count as
//! nothing. A converted file holds the values that the frontend would send, so its arithmetic is needed, not ours.

use serde_json::{Map, Number, Value};

/// Returns a value as it comes out of a browser that has read it: `1.0` is `1`, and integers beyond 2^53 have the digits
/// of the nearest double.
pub(super) fn as_read(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
        Value::Number(number) => Value::Number(number_as_read(number)),
        Value::Array(list) => Value::Array(list.iter().map(as_read).collect()),
        Value::Object(object) => Value::Object(object_as_read(object)),
    }
}

pub(super) fn object_as_read(object: &Map<String, Value>) -> Map<String, Value> {
    object.iter().map(|(key, value)| (key.clone(), as_read(value))).collect()
}

const EXACT: f64 = 9_007_199_254_740_992.0;

fn number_as_read(number: &Number) -> Number {
    let Some(double) = number.as_f64() else { return number.clone() };
    if double.abs() < EXACT {
        return if number.is_f64() { of_double(double).unwrap_or_else(|| number.clone()) } else { number.clone() };
    }
    of_double(double).filter(|rounded| rounded.is_f64() == number.is_f64()).unwrap_or_else(|| number.clone())
}

/// Makes a JSON number of a double, an integer where it has no fraction; none for what JSON cannot say.
pub(super) fn of_double(double: f64) -> Option<Number> {
    if double.fract() == 0.0 && double.abs() < 1e21 {
        // The shortest digits that name this double, with zeros to the right: `12345678901234567890` is ...`67000`.
        let digits = format!("{double}");
        let digits = if digits == "-0" { "0" } else { &digits };
        if let Ok(number) = digits.parse::<u64>() {
            return Some(number.into());
        }
        if let Ok(number) = digits.parse::<i64>() {
            return Some(number.into());
        }
    }
    Number::from_f64(double)
}

/// Spells a value as a browser does where it wants a text.
pub(super) fn spelled(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => spelled_number(number),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let parts: Vec<String> =
                list.iter().map(|part| if part.is_null() { String::new() } else { spelled(part) }).collect();
            parts.join(",")
        }
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

fn spelled_number(number: &Number) -> String {
    let number = number_as_read(number);
    let Some(double) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let size = double.abs();
    if (1e-6..1e21).contains(&size) {
        return format!("{double}");
    }
    let text = format!("{double:e}");
    text.split_once('e').map_or(text.clone(), |(digits, power)| {
        let sign = if power.starts_with('-') { "" } else { "+" };
        format!("{digits}e{sign}{power}")
    })
}

/// Says whether a value counts as something.
pub(super) fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Returns a value as a number; not a number where it is none.
pub(super) fn as_double(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => {
            let text = text.trim();
            let plain = text.chars().all(|it| it.is_ascii_digit() || matches!(it, '.' | '-' | '+' | 'e' | 'E'));
            if text.is_empty() {
                0.0
            } else if plain {
                text.parse().unwrap_or(f64::NAN)
            } else {
                f64::NAN
            }
        }
        Value::Array(list) => match list.as_slice() {
            [] => 0.0,
            [one] if !one.is_object() => as_double(&Value::String(spelled(one))),
            _ => f64::NAN,
        },
        Value::Object(_) => f64::NAN,
    }
}

/// Rounds to the nearest integer, halves upwards.
pub(super) fn rounded(number: f64) -> f64 {
    let floor = number.floor();
    if number - floor >= 0.5 { floor + 1.0 } else { floor }
}

/// Rounds to a number of decimals, exact halves away from nothing.
pub(super) fn fixed(number: f64, decimals: usize) -> f64 {
    let decimals = decimals.min(100);
    let exact = format!("{:.*}", decimals + 80, number.abs());
    let cut = exact.len().saturating_sub(80);
    let half = exact.get(cut..).is_some_and(|rest| rest.starts_with('5') && rest.trim_end_matches('0') == "5");
    let near: f64 = if half {
        let step = format!("1e-{decimals}").parse().unwrap_or(0.0);
        exact.get(..cut).and_then(|kept| kept.parse::<f64>().ok()).unwrap_or_default() + step
    } else {
        format!("{:.*}", decimals, number.abs()).parse().unwrap_or_default()
    };
    let near = format!("{near:.decimals$}").parse().unwrap_or(near);
    if number < 0.0 { -near } else { near }
}

/// Returns a value as the id of a node or link: numbers by their digits. None for what cannot be one.
pub(super) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(spelled_number(number)),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns a value as the number of a slot.
pub(super) fn slot_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let double = number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() < 1e9)?;
            #[expect(clippy::cast_possible_truncation, reason = "it is a whole number in bounds")]
            let slot = double as i64;
            Some(slot)
        }),
        Value::String(text) => {
            let text = text.trim_start();
            let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
            let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<i64>().ok().map(|number| sign * number)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns what stands at a slot; negative ones count from the end.
pub(super) fn at<T>(list: &[T], slot: i64) -> Option<&T> {
    let place = if slot < 0 { i64::try_from(list.len()).ok()?.checked_add(slot)? } else { slot };
    usize::try_from(place).ok().and_then(|place| list.get(place))
}

/// Returns the place of a key among those that a browser puts first, in ascending order: integers below 2^32 - 1.
pub(super) fn leading_key(key: &str) -> Option<u32> {
    let number: u32 = key.parse().ok()?;
    (number != u32::MAX && number.to_string() == key).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_doubles() {
        let cases = [
            (json!(1.0), "1"),
            (json!(-0.0), "0"),
            (json!(0.5), "0.5"),
            (json!(12_345_678_901_234_567_890_u64), "12345678901234567000"),
            (json!(9_007_199_254_740_993_u64), "9007199254740992"),
            (json!(-9_007_199_254_740_993_i64), "-9007199254740992"),
            (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
            (json!(1e300), "1e+300"),
            (json!(1e-7), "1e-7"),
            (json!([1.0, {"a": 2.0}]), ""),
        ];
        for (value, text) in cases {
            if text.is_empty() {
                assert_eq!(as_read(&value).to_string(), r#"[1,{"a":2}]"#);
            } else {
                assert_eq!(spelled(&as_read(&value)), text);
            }
        }
    }

    #[test]
    fn halves_go_the_browsers_way() {
        let text = |number: f64| number.to_string();
        assert_eq!([2.5, -2.5, 0.499_999_999_999_999_94].map(|it| text(rounded(it))), ["3", "-2", "0"]);
        let cases = [(0.25, 1), (8.25, 1), (1.005, 2), (0.15, 1), (2.5, 0), (-2.5, 0), (3.7, 0)];
        let spelled = cases.map(|(number, digits)| text(fixed(number, digits)));
        assert_eq!(spelled, ["0.3", "8.3", "1", "0.1", "3", "-3", "4"]);
    }

    #[test]
    fn texts_are_spelled_as_a_browser_spells_them() {
        assert_eq!(spelled(&json!([1, null, "a", {"b": 1}])), "1,,a,[object Object]");
        assert_eq!(spelled(&json!(null)), "null");
    }

    #[test]
    fn only_small_integers_lead_an_objects_keys() {
        assert_eq!(leading_key("12"), Some(12));
        for other in ["012", "+1", "-1", "1.5", "12:3", "4294967295", "", "a"] {
            assert_eq!(leading_key(other), None, "{other}");
        }
    }
}
