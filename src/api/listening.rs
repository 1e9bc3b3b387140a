//! What those who listen ask for: which events, of which jobs, and from where on; and for how long they may hear them.

use super::caller::Caller;
use super::{Api, ApiError};
use crate::dispatch::Outlooks;
use crate::job::{JobId, KeyId};
use crate::names;
use crate::relay::{EventKind, Filter, Place, TooMany};
use actix_web::HttpRequest;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::time::Duration;

/// How long one should wait that found no place to listen, in seconds.
const RETRY_AFTER: u64 = 10;

/// How often it is asked whether a listener's key is still good.
const LOOK: Duration = Duration::from_secs(15);

/// What a listener is told whose key is not.
pub(super) const KEY_GONE: &str = "the key that this stream was opened with is not good any more";

/// The key that a listener was let in with: it hears nothing more once that is not good.
pub(super) struct Pass {
    key: Option<KeyId>,
    look: Option<BoxFuture<'static, ()>>,
}

impl Pass {
    pub(super) fn of(caller: &Caller) -> Self {
        Self { key: caller.key.clone(), look: None }
    }

    /// Ends when the key is not good any more. Where a store does not answer, nothing is known against it.
    pub(super) async fn over(&mut self, api: &Api) {
        let Some(key) = &self.key else { return std::future::pending().await };
        loop {
            self.look.get_or_insert_with(|| api.clock.sleep_until(api.clock.now() + LOOK)).await;
            self.look = None;
            if matches!(api.keys.is_good(key).await, Ok(false)) {
                return;
            }
        }
    }
}

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
