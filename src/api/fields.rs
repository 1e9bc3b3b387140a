//! The fields of `POST /generate` that say how a job is run and told, and nothing of what it makes: each read and checked for itself.

use super::ApiError;
use super::body::invalid_type;
use crate::job::{JobId, Limits, MOST_VARIANTS, Placement, Timeouts, WebhookEvent};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The largest `metadata`, as JSON text, and how deep it may nest.
const METADATA_BYTES: usize = 4096;
const METADATA_DEPTH: usize = 16;

/// The longest list of events that is read; there are four.
const MOST_EVENTS: usize = 16;

/// How many names each list of a placement may have, and how long each may be.
const MOST_NAMES: usize = 16;
const LONGEST_NAME: usize = 64;

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

/// Reads what a job wishes of its backend; anything where nothing is said.
pub(super) fn placement(value: Option<Value>) -> Result<Placement, ApiError> {
    let mut placement = Placement::default();
    let wishes = match value {
        None | Some(Value::Null) => return Ok(placement),
        Some(Value::Object(wishes)) => wishes,
        Some(other) => return Err(invalid_type("placement", "an object", &other)),
    };
    for (name, wish) in wishes {
        let place = match name.as_str() {
            "tags" => &mut placement.tags,
            "prefer" => &mut placement.prefer,
            "exclude" => &mut placement.exclude,
            _ => {
                let message =
                    format!("placement: there is no `{}`; there are tags, prefer, exclude", name.escape_debug());
                return Err(ApiError::bad_request("unknown_field", message));
            }
        };
        *place = names(&format!("placement.{name}"), wish)?;
    }
    Ok(placement)
}

/// Reads the names of other workflows that a job may run as; none where nothing is said.
pub(super) fn variants(value: Option<Value>, has_graph: bool) -> Result<Vec<String>, ApiError> {
    let names = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(names)) => names,
        Some(other) => return Err(invalid_type("variants", "a list of names of workflows", &other)),
    };
    if has_graph && !names.is_empty() {
        let message = "variants go with a workflow of the catalogue, and not with a `graph` of the request's own";
        return Err(ApiError::bad_request("not_allowed", message));
    }
    if names.len() >= MOST_VARIANTS {
        let most = MOST_VARIANTS - 1;
        return Err(ApiError::bad_request("too_long", format!("variants: {} names, at most {most}", names.len())));
    }
    let name = |name: Value| match name {
        Value::String(name) => Ok(name),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(invalid_type("variants", "a list of names of workflows", &other))
        }
    };
    names.into_iter().map(name).collect()
}

/// Reads how many runs a job may have, at most as many as the settings allow.
pub(super) fn max_runs(value: Option<Value>, most: u32) -> Result<Option<u32>, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let Some(runs) = value.as_i64() else { return Err(invalid_type("max_runs", "a whole number", &value)) };
    let allowed = u32::try_from(runs).ok().filter(|runs| (1..=most).contains(runs));
    let refusal = || ApiError::bad_request("out_of_range", format!("max_runs: {runs} is outside 1..={most}"));
    allowed.map(Some).ok_or_else(refusal)
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

fn names(field: &str, value: Value) -> Result<BTreeSet<String>, ApiError> {
    let names = match value {
        Value::Null => return Ok(BTreeSet::new()),
        Value::Array(names) => names,
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            return Err(invalid_type(field, "a list of names", &other));
        }
    };
    if names.len() > MOST_NAMES {
        let message = format!("{field} has {} entries; at most {MOST_NAMES} are read", names.len());
        return Err(ApiError::bad_request("too_long", message));
    }
    let read = |name: Value| match name {
        Value::String(name) if !name.is_empty() && name.chars().count() <= LONGEST_NAME => Ok(name),
        Value::String(_) => {
            let message = format!("{field}: each name must have 1 to {LONGEST_NAME} characters");
            Err(ApiError::bad_request("too_long", message))
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(invalid_type(&format!("each of {field}"), "a name", &other))
        }
    };
    names.into_iter().map(read).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use serde_json::json;

    #[test]
    fn a_placement_names_backends_and_tags_within_bounds() {
        let wish = json!({ "tags": ["flux"], "prefer": ["big", "big"], "exclude": null });
        let names = |name: &str| BTreeSet::from([name.to_owned()]);
        let expected =
            Placement { tags: names("flux"), prefer: names("big"), exclude: BTreeSet::new(), by_variant: Vec::new() };
        assert_eq!(placement(Some(wish)).unwrap(), expected);
        for nothing in [None, Some(json!(null)), Some(json!({}))] {
            assert!(placement(nothing).unwrap().is_any());
        }
        let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        for (wish, code) in [
            (json!("gpu"), "invalid_type"),
            (json!({ "tags": "flux" }), "invalid_type"),
            (json!({ "tags": [1] }), "invalid_type"),
            (json!({ "avoid": ["a"] }), "unknown_field"),
            (json!({ "exclude": many }), "too_long"),
            (json!({ "prefer": ["a".repeat(65)] }), "too_long"),
            (json!({ "prefer": [""] }), "too_long"),
        ] {
            let error = placement(Some(wish.clone())).unwrap_err();
            assert_eq!((error.status_code().as_u16(), error.code()), (400, code), "{wish}");
        }
        assert!(placement(Some(json!({ "prefer": ["ä".repeat(64)] }))).is_ok());
    }

    #[test]
    fn a_request_may_have_fewer_runs_than_the_settings_allow_and_no_more() {
        assert_eq!(max_runs(None, 3).unwrap(), None);
        assert_eq!(max_runs(Some(json!(1)), 3).unwrap(), Some(1));
        assert_eq!(max_runs(Some(json!(3)), 3).unwrap(), Some(3));
        for wish in [json!(0), json!(4), json!(-1), json!(1_u64 << 40), json!("2"), json!(1.5)] {
            assert_eq!(max_runs(Some(wish.clone()), 3).unwrap_err().status_code().as_u16(), 400, "{wish}");
        }
    }
}
