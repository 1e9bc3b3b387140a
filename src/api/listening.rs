//! What those who listen ask for: which events, of which jobs, and from where on.

use super::ApiError;
use crate::dispatch::Outlooks;
use crate::job::JobId;
use crate::names;
use crate::relay::{EventKind, Filter, Place, TooMany};
use actix_web::HttpRequest;
use std::collections::HashMap;

/// How long one should wait that found no place to listen, in seconds.
const RETRY_AFTER: u64 = 10;

/// Reads what is asked for in a query that may have these fields; `usual` are the events where it does not say which.
pub(super) fn asked(
    query: &HashMap<String, String>,
    known: &[&str],
    usual: Option<Vec<EventKind>>,
) -> Result<Filter, ApiError> {
    if let Some(other) = query.keys().find(|field| !known.contains(&field.as_str())) {
        let message = format!("there is no parameter `{}`; there are {}", names::shown(other), known.join(", "));
        return Err(ApiError::bad_request("unknown_field", message));
    }
    let mut kinds = match query.get("events") {
        None => usual,
        Some(words) => Some(words.split(',').map(|word| kind(word.trim())).collect::<Result<Vec<_>, _>>()?),
    };
    match query.get("previews").map(String::as_str) {
        None | Some("true") => {}
        Some("false") => {
            let all = kinds.unwrap_or_else(|| EventKind::ALL.to_vec());
            kinds = Some(all.into_iter().filter(|kind| *kind != EventKind::Preview).collect());
        }
        Some(other) => {
            let message = format!("previews: `{}` is neither true nor false", names::shown(other));
            return Err(ApiError::bad_request("not_allowed", message));
        }
    }
    let job = query.get("prompt_id").map(|id| {
        let wrong = || ApiError::bad_request("invalid_type", format!("prompt_id: `{}` is no UUID", names::shown(id)));
        id.parse::<JobId>().map_err(|_| wrong())
    });
    Ok(Filter { tenant: None, job: job.transpose()?, workflow: query.get("workflow").cloned(), kinds })
}

/// Returns the name of the last event that was heard before, where a request says it. A browser says it in a header, and cannot
/// when it first connects.
pub(super) fn last_event<'a>(request: &'a HttpRequest, query: &'a HashMap<String, String>) -> Option<&'a str> {
    let header = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    header.or_else(|| query.get("last_event_id").map(String::as_str))
}

/// Says how a job waits.
pub fn place_of(outlooks: &Outlooks, job: JobId) -> Option<Place> {
    let outlook = outlooks.outlook(job)?;
    let expected = outlook.starts_at.zip(outlook.ends_at).filter(|_| outlook.is_known);
    Some(Place { position: outlook.ahead.saturating_add(1), why: outlook.why.as_str(), expected })
}

pub(super) fn too_many(error: TooMany) -> ApiError {
    ApiError::too_many("too_many_streams", error.to_string(), RETRY_AFTER)
}

fn kind(word: &str) -> Result<EventKind, ApiError> {
    EventKind::parse(word).ok_or_else(|| {
        let words: Vec<&str> = EventKind::ALL.into_iter().map(EventKind::as_str).collect();
        let message = format!("events: `{}` is none of {}", names::shown(word), words.join(", "));
        ApiError::bad_request("not_allowed", message)
    })
}
