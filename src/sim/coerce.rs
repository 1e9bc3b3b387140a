//! Turns a written input value into its declared type, or into the error entry that ComfyUI answers.

use super::classes::{Input, Kind};
use super::json::Json;

/// Longer lists are not repeated in an error answer.
const LONGEST_LIST: usize = 20;

/// Converts a value to the input's declared type, or says what is wrong with it.
pub(super) fn scalar(input: &Input<'_>, value: &Json) -> Result<Json, Json> {
    match input.kind {
        Kind::Choice(choices) => one_of(input, choices, value),
        Kind::Type("INT") => in_range(input, value, integer(value)),
        Kind::Type("FLOAT") => in_range(input, value, decimal(value)),
        Kind::Type("STRING") => Ok(value.python_str().into()),
        Kind::Type("BOOLEAN") => Ok(value.truthy().into()),
        Kind::AnyModel | Kind::Type(_) => Ok(value.clone()),
    }
}

fn one_of(input: &Input<'_>, choices: &[Json], value: &Json) -> Result<Json, Json> {
    // An uploaded file is checked by its own rule, not by the list that was made when the server started.
    let is_upload = input.declared.items().get(1).is_some_and(|settings| settings.get("image_upload").is_some());
    if is_upload || choices.contains(value) {
        return Ok(value.clone());
    }
    let is_long = choices.len() > LONGEST_LIST;
    let list = if is_long {
        format!("(list of length {})", choices.len())
    } else {
        Json::List(choices.to_vec()).python_repr()
    };
    let mut extra = extra_info(input, "received_value", value);
    if is_long {
        extra.set("input_config", Json::Null);
    }
    let details = format!("{}: {} not in {list}", input.name, quoted(value));
    Err(error("value_not_in_list", "Value not in list", &details, extra))
}

fn quoted(value: &Json) -> String {
    format!("'{}'", value.python_str())
}

fn in_range(input: &Input<'_>, value: &Json, converted: Result<Json, String>) -> Result<Json, Json> {
    let name = input.name;
    let converted = converted.map_err(|exception| {
        let kind = input.declared.items().first().map(Json::python_str).unwrap_or_default();
        let message = format!("Failed to convert an input value to a {kind} value");
        let mut extra = extra_info(input, "received_value", value);
        extra.set("exception_message", exception.as_str().into());
        error("invalid_input_type", &message, &format!("{name}, {}, {exception}", value.python_str()), extra)
    })?;
    let limit = |key: &str| input.declared.items().get(1).and_then(|settings| settings.get(key)).cloned();
    let number = converted.number().unwrap_or(f64::NAN);
    let beyond =
        |kind: &str, message: String| Err(error(kind, &message, name, extra_info(input, "received_value", &converted)));
    if let Some(min) = limit("min").filter(|min| min.number().is_some_and(|min| number < min)) {
        return beyond("value_smaller_than_min", format!("Value {converted} smaller than min of {min}"));
    }
    if let Some(max) = limit("max").filter(|max| max.number().is_some_and(|max| number > max)) {
        return beyond("value_bigger_than_max", format!("Value {converted} bigger than max of {max}"));
    }
    Ok(converted)
}

fn integer(value: &Json) -> Result<Json, String> {
    let invalid = || format!("invalid literal for int() with base 10: {}", value.python_repr());
    match value {
        Json::Bool(flag) => Ok(i64::from(*flag).into()),
        Json::Number(text) if !text.contains(['.', 'e', 'N', 'I']) => Ok(value.clone()),
        Json::Number(_) => whole(value.number().unwrap_or(f64::NAN)),
        Json::Text(text) => match Json::parse(text.trim().as_bytes()) {
            Some(Json::Number(digits)) if !digits.contains(['.', 'e', 'N', 'I']) => Ok(Json::Number(digits)),
            Some(_) | None => Err(invalid()),
        },
        Json::Null | Json::List(_) | Json::Object(_) => Err(not_convertible("int()", value)),
    }
}

fn whole(number: f64) -> Result<Json, String> {
    if number.is_finite() {
        return Ok(Json::Number(format!("{:.0}", number.trunc())));
    }
    Err(format!("cannot convert float {} to integer", if number.is_nan() { "NaN" } else { "infinity" }))
}

fn decimal(value: &Json) -> Result<Json, String> {
    match value {
        Json::Bool(flag) => Ok(Json::float(f64::from(u8::from(*flag)))),
        Json::Number(_) => Ok(Json::float(value.number().unwrap_or(f64::NAN))),
        Json::Text(text) => match text.trim().parse() {
            Ok(number) => Ok(Json::float(number)),
            Err(_) => Err(format!("could not convert string to float: {}", value.python_repr())),
        },
        Json::Null | Json::List(_) | Json::Object(_) => Err(not_convertible("float()", value)),
    }
}

fn not_convertible(function: &str, value: &Json) -> String {
    let kind = match value {
        Json::Null => "NoneType",
        Json::List(_) => "list",
        Json::Object(_) => "dict",
        Json::Bool(_) => "bool",
        Json::Number(_) => "float",
        Json::Text(_) => "str",
    };
    let wanted = if function == "int()" {
        "a string, a bytes-like object or a real number"
    } else {
        "a string or a real number"
    };
    format!("{function} argument must be {wanted}, not '{kind}'")
}

/// Makes an error's `extra_info` about an input.
pub(super) fn extra_info(input: &Input<'_>, key: &str, value: &Json) -> Json {
    Json::object([("input_name", input.name.into()), ("input_config", input.declared.clone()), (key, value.clone())])
}

/// Makes one entry of a node's `errors`.
pub(super) fn error(kind: &str, message: &str, details: &str, extra: Json) -> Json {
    Json::object([
        ("type", kind.into()),
        ("message", message.into()),
        ("details", details.into()),
        ("extra_info", extra),
    ])
}
