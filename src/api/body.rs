//! Reads a JSON request body: its type, encoding, size and time are checked before it is parsed. Reads fields that several calls have.

use super::{Api, ApiError};
use crate::job::Tenant;
use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::Payload;
use bytes::BytesMut;
use futures_util::StreamExt;
use serde_json::{Map, Value};

/// Reads the body as bytes, at most `api.max_body` of them and within `api.body_limit`.
pub(super) async fn read(api: &Api, request: &HttpRequest, payload: Payload) -> Result<BytesMut, ApiError> {
    read_up_to(api, request, payload, &["application/json"], api.max_body).await
}

/// The same with media types and a limit of its own.
pub(super) async fn read_up_to(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
    types: &[&str],
    limit: usize,
) -> Result<BytesMut, ApiError> {
    check_headers(request, types, limit)?;
    match tokio::time::timeout(api.body_limit, collect(payload, limit)).await {
        Ok(body) => body,
        Err(_) => Err(ApiError::body_timeout()),
    }
}

/// Parses a body that must be one JSON object.
pub(super) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let invalid = |reason: String| ApiError::bad_request("invalid_json", reason);
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(invalid(format!("the body must be a JSON object, not {}", kind(&other)))),
        Err(error) => Err(invalid(format!("the body is not valid JSON: {error}"))),
    }
}

/// Names a JSON value's kind as a sentence needs it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Takes a text out of an object's fields; `null` is the same as absent.
pub(super) fn optional_text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(invalid_type(name, "a string", &other)),
    }
}

/// Takes the tenant out of an object's fields; it is `default` where none is named.
pub(super) fn tenant(fields: &mut Map<String, Value>) -> Result<Tenant, ApiError> {
    let Some(text) = optional_text(fields, "tenant")? else { return Ok(Tenant::default()) };
    text.parse().map_err(|error| ApiError::bad_request("not_allowed", format!("tenant: {error}")))
}

/// Says that a field is of another kind than it must be.
pub(super) fn invalid_type(name: &str, wanted: &str, value: &Value) -> ApiError {
    ApiError::bad_request("invalid_type", format!("{name} must be {wanted}, not {}", kind(value)))
}

/// Refuses a body that would have to be inflated.
pub(super) fn without_encoding(request: &HttpRequest) -> Result<(), ApiError> {
    let encoding = request.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let message = format!("content-encoding `{encoding}` is not supported: send the body as it is");
    Err(ApiError::unsupported("unsupported_encoding", message))
}

fn check_headers(request: &HttpRequest, types: &[&str], limit: usize) -> Result<(), ApiError> {
    without_encoding(request)?;
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = text(CONTENT_TYPE).split(';').next().unwrap_or("").trim();
    if !types.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        let message = format!("content-type `{media_type}` is not supported: send {}", types.join(" or "));
        return Err(ApiError::unsupported("unsupported_media_type", message));
    }
    let announced = text(CONTENT_LENGTH).parse::<u64>().unwrap_or(0);
    if announced > limit as u64 {
        return Err(ApiError::too_large(limit));
    }
    Ok(())
}

async fn collect(mut payload: Payload, limit: usize) -> Result<BytesMut, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| ApiError::bad_request("invalid_body", error.to_string()))?;
        if body.len() + chunk.len() > limit {
            return Err(ApiError::too_large(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
