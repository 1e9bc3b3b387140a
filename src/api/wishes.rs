//! What a request may wish of its outputs: how they reach the receiver, what is taken out of them, what they are turned into.

use super::ApiError;
use super::body::{invalid_type, optional_text};
use crate::job::{Conversion, DeliveryMode};
use crate::secret::Secret;
use crate::settings::OutputSettings;
use serde_json::{Map, Value};

/// The quality of JPEGs where a request does not say it.
const QUALITY: u8 = 85;

/// The longest key for partner nodes.
const PARTNER_KEY_BYTES: usize = 512;

/// What holds where a request does not say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Defaults {
    /// How images reach the receiver.
    pub delivery: DeliveryMode,
    /// Whether what is not the content of a file is taken out.
    pub strip_metadata: bool,
}

impl Defaults {
    /// Returns what the settings say.
    pub fn of(settings: &OutputSettings) -> Self {
        Self { delivery: settings.delivery, strip_metadata: settings.strip_metadata }
    }
}

/// What a request wishes of its outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wishes {
    pub(super) delivery: DeliveryMode,
    pub(super) strip_metadata: bool,
    pub(super) conversion: Option<Conversion>,
}

/// Takes the wishes out of a request's fields.
pub(super) fn wishes(fields: &mut Map<String, Value>, defaults: Defaults) -> Result<Wishes, ApiError> {
    Ok(Wishes {
        delivery: delivery(fields)?.unwrap_or(defaults.delivery),
        strip_metadata: strip_metadata(fields.remove("strip_metadata"))?.unwrap_or(defaults.strip_metadata),
        conversion: conversion(fields.remove("convert"))?,
    })
}

/// Takes the key for partner nodes out of a request's fields. What is wrong with it is said without it.
pub(super) fn partner_key(fields: &mut Map<String, Value>) -> Result<Option<Secret>, ApiError> {
    let Some(key) = optional_text(fields, "api_key_comfy_org")? else { return Ok(None) };
    if !(1..=PARTNER_KEY_BYTES).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "api_key_comfy_org must be a comfy.org API key, of 1 to {PARTNER_KEY_BYTES} visible ASCII characters; \
             leave it out where no partner node needs one"
        );
        return Err(ApiError::bad_request("invalid_api_key", message));
    }
    Ok(Some(Secret::new(key)))
}

fn delivery(fields: &mut Map<String, Value>) -> Result<Option<DeliveryMode>, ApiError> {
    let Some(word) = optional_text(fields, "delivery")? else { return Ok(None) };
    let mode = DeliveryMode::parse(&word);
    let words = || DeliveryMode::ALL.map(DeliveryMode::as_str);
    mode.map(Some).ok_or_else(|| not_allowed("delivery", &word, &words()))
}

fn strip_metadata(value: Option<Value>) -> Result<Option<bool>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(wish)) => Ok(Some(wish)),
        Some(other) => Err(invalid_type("strip_metadata", "true or false", &other)),
    }
}

/// Reads `"jpeg"`, `"webp"`, or an object with `format` and, for JPEG, `quality`.
fn conversion(value: Option<Value>) -> Result<Option<Conversion>, ApiError> {
    let mut wish = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(format)) => Map::from_iter([("format".to_owned(), Value::String(format))]),
        Some(Value::Object(wish)) => wish,
        Some(other) => return Err(invalid_type("convert", "a format or an object", &other)),
    };
    let format = match wish.remove("format") {
        Some(Value::String(format)) => format,
        Some(other) => return Err(invalid_type("convert.format", "a string", &other)),
        None => {
            return Err(ApiError::bad_request("missing_field", "convert.format is missing; there are jpeg and webp"));
        }
    };
    let quality = wish.remove("quality").filter(|value| !value.is_null());
    if let Some(name) = wish.keys().next() {
        let message = format!("convert: there is no `{}`; there are format, quality", name.escape_debug());
        return Err(ApiError::bad_request("unknown_field", message));
    }
    match (format.as_str(), quality) {
        ("jpeg", quality) => Ok(Some(Conversion::Jpeg { quality: quality.map_or(Ok(QUALITY), |it| percent(&it))? })),
        ("webp", None) => Ok(Some(Conversion::Webp)),
        ("webp", Some(_)) => {
            let message = "convert.quality: webp is written without loss, so it has no quality; leave it out";
            Err(ApiError::bad_request("not_allowed", message))
        }
        (other, _) => Err(not_allowed("convert.format", other, &["jpeg", "webp"])),
    }
}

fn percent(value: &Value) -> Result<u8, ApiError> {
    let Some(quality) = value.as_i64() else { return Err(invalid_type("convert.quality", "a whole number", value)) };
    u8::try_from(quality)
        .ok()
        .filter(|quality| (1..=100).contains(quality))
        .ok_or_else(|| ApiError::bad_request("out_of_range", format!("convert.quality: {quality} is outside 1..=100")))
}

fn not_allowed(name: &str, word: &str, words: &[&str]) -> ApiError {
    let message = format!("{name}: `{}` is none of {}", word.escape_debug(), words.join(", "));
    ApiError::bad_request("not_allowed", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use serde_json::json;

    fn read(fields: &Value) -> Result<Wishes, ApiError> {
        wishes(&mut fields.as_object().unwrap().clone(), Defaults::default())
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let defaults = Defaults { delivery: DeliveryMode::Links, strip_metadata: true };
        for fields in [json!({}), json!({ "delivery": null, "strip_metadata": null, "convert": null })] {
            let wishes = wishes(&mut fields.as_object().unwrap().clone(), defaults).unwrap();
            let expected = Wishes { delivery: DeliveryMode::Links, strip_metadata: true, conversion: None };
            assert_eq!(wishes, expected);
        }
    }

    #[test]
    fn formats_are_words_or_objects() {
        for (wish, expected) in [
            (json!("jpeg"), Conversion::Jpeg { quality: 85 }),
            (json!({ "format": "jpeg" }), Conversion::Jpeg { quality: 85 }),
            (json!({ "format": "jpeg", "quality": 1 }), Conversion::Jpeg { quality: 1 }),
            (json!({ "format": "jpeg", "quality": 100 }), Conversion::Jpeg { quality: 100 }),
            (json!("webp"), Conversion::Webp),
            (json!({ "format": "webp", "quality": null }), Conversion::Webp),
        ] {
            assert_eq!(read(&json!({ "convert": wish })).unwrap().conversion, Some(expected));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_there_is() {
        for (fields, code, text) in [
            (json!({ "delivery": "link" }), "not_allowed", "delivery: `link` is none of inline, links, both"),
            (json!({ "delivery": true }), "invalid_type", "delivery must be a string"),
            (json!({ "strip_metadata": "yes" }), "invalid_type", "strip_metadata must be true or false"),
            (json!({ "convert": 85 }), "invalid_type", "convert must be"),
            (json!({ "convert": "png" }), "not_allowed", "`png` is none of jpeg, webp"),
            (json!({ "convert": { "quality": 85 } }), "missing_field", "convert.format is missing"),
            (json!({ "convert": { "format": 1 } }), "invalid_type", "convert.format must be"),
            (json!({ "convert": { "format": "jpeg", "size": 1 } }), "unknown_field", "there is no `size`"),
            (json!({ "convert": { "format": "jpeg", "quality": 0 } }), "out_of_range", "0 is outside 1..=100"),
            (json!({ "convert": { "format": "jpeg", "quality": 101 } }), "out_of_range", "101 is outside"),
            (json!({ "convert": { "format": "jpeg", "quality": 85.5 } }), "invalid_type", "a whole number"),
            (json!({ "convert": { "format": "webp", "quality": 85 } }), "not_allowed", "without loss"),
        ] {
            let error = read(&fields).unwrap_err();
            assert!(error.to_string().contains(text), "{fields}: {error}");
            assert_eq!((error.status_code().as_u16(), error.code()), (400, code), "{fields}");
        }
    }
}
