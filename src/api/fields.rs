//! The fields of `POST /generate` that say how a job is run and told, and nothing of what it makes: each read and checked for itself.

use super::ApiError;
use super::body::invalid_type;
use crate::job::{JobId, Limits, Timeouts, WebhookEvent};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The largest `metadata`, as JSON text, and how deep it may nest.
const METADATA_BYTES: usize = 4096;
const METADATA_DEPTH: usize = 16;

/// The longest list of events that is read; there are four.
const MOST_EVENTS: usize = 16;

/// Returns what the webhook is told of besides the end, of which it is always told.
pub(super) fn webhook_events(value: Option<Value>, has_url: bool) -> Result<BTreeSet<WebhookEvent>, ApiError> {
    let words = match value {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(Value::Array(words)) => words,
        Some(other) => return Err(invalid_type("webhook_events", "a list of words", &other)),
    };
    if words.len() > MOST_EVENTS {
        let message = format!("webhook_events has {} entries; at most {MOST_EVENTS} are read", words.len());
        return Err(ApiError::bad_request("too_long", message));
    }
    let events: Result<BTreeSet<_>, _> = words.iter().map(webhook_event).collect();
    let mut events = events?;
    events.remove(&WebhookEvent::Completed);
    if !has_url && !events.is_empty() {
        let message = "webhook_events: there is no `webhook_url` that they could go to";
        return Err(ApiError::bad_request("not_allowed", message));
    }
    Ok(events)
}

/// Reads the id that a caller chose for its job: a UUID of any version as it is usually written, and nothing else, since
/// it stands in paths, and in what is sent to `ComfyUI`.
pub(super) fn chosen_id(text: &str) -> Result<JobId, ApiError> {
    let id = text.parse().ok().filter(|id: &JobId| id.to_string().eq_ignore_ascii_case(text));
    id.ok_or_else(|| {
        let message = "prompt_id must be a UUID such as 0f8fad5b-d9cb-469f-a165-70867728950e; leave it out to get one";
        ApiError::bad_request("invalid_id", message)
    })
}

/// Refuses metadata that is too large or too deep.
pub(super) fn check_metadata(metadata: &Value) -> Result<(), ApiError> {
    let bytes = metadata.to_string().len();
    if bytes > METADATA_BYTES {
        let message = format!("metadata has {bytes} bytes as JSON; at most {METADATA_BYTES} are kept");
        return Err(ApiError::bad_request("too_long", message));
    }
    let depth = depth(metadata);
    if depth > METADATA_DEPTH {
        let message = format!("metadata is nested {depth} deep; at most {METADATA_DEPTH} is allowed");
        return Err(ApiError::bad_request("too_long", message));
    }
    Ok(())
}

/// Reads how urgent a job is; 0 where nothing is said.
pub(super) fn priority(value: Option<Value>) -> Result<i32, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(0) };
    let Some(priority) = value.as_i64() else { return Err(invalid_type("priority", "a whole number", &value)) };
    i32::try_from(priority)
        .ok()
        .filter(|priority| (-100..=100).contains(priority))
        .ok_or_else(|| ApiError::bad_request("out_of_range", format!("priority: {priority} is outside -100..=100")))
}

/// Reads the limits that a request sets, none of which may be beyond `most`.
pub(super) fn timeouts(most: &Limits, value: Option<Value>) -> Result<Timeouts, ApiError> {
    let mut timeouts = Timeouts::default();
    let wishes = match value {
        None | Some(Value::Null) => return Ok(timeouts),
        Some(Value::Object(wishes)) => wishes,
        Some(other) => return Err(invalid_type("timeouts", "an object", &other)),
    };
    for (name, wish) in wishes {
        let (place, most) = match name.as_str() {
            "queue" => (&mut timeouts.queue_ms, most.queue),
            "start" => (&mut timeouts.start_ms, most.start),
            "silence" => (&mut timeouts.silence_ms, most.silence),
            "run" => (&mut timeouts.run_ms, most.run),
            _ => {
                let message = format!("timeouts: there is no `{name}`; there are queue, start, silence, run");
                return Err(ApiError::bad_request("unknown_field", message));
            }
        };
        *place = Some(timeout(&name, &wish, most)?);
    }
    Ok(timeouts)
}

fn webhook_event(word: &Value) -> Result<WebhookEvent, ApiError> {
    let Some(text) = word.as_str() else { return Err(invalid_type("each of webhook_events", "a word", word)) };
    WebhookEvent::ALL.into_iter().find(|event| event.as_str() == text).ok_or_else(|| {
        let known = WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ");
        let message = format!("webhook_events: `{}` is none of {known}", text.escape_debug());
        ApiError::bad_request("not_allowed", message)
    })
}

fn timeout(name: &str, wish: &Value, most: Duration) -> Result<u64, ApiError> {
    let Some(text) = wish.as_str() else {
        return Err(invalid_type(&format!("timeouts.{name}"), "a text such as \"10m\"", wish));
    };
    let duration = humantime::parse_duration(text).map_err(|error| {
        ApiError::bad_request(
            "invalid_type",
            format!("timeouts.{name}: `{text}` is not a duration such as 30s or 10m: {error}"),
        )
    })?;
    if duration < Duration::from_millis(1) || duration > most {
        let most = humantime::format_duration(most);
        return Err(ApiError::bad_request("out_of_range", format!("timeouts.{name}: {text} is outside 1ms..={most}")));
    }
    Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
