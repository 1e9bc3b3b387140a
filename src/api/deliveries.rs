//! Webhooks as callers see them: where each stands, the log of its attempts, and the wish to have it sent again. Sending
//! is left to the notifier, which is woken.

use super::body::{optional_text, parse_object, read};
use super::caller::Caller;
use super::jobs::{cursor, find, limit};
use super::{Api, ApiError};
use crate::clock::Timestamp;
use crate::job::Job;
use crate::notifier::without_query;
use crate::store::{Attempt, Cursor, Delivery, DeliveryFilter, DeliveryState, ListedDelivery, ReplayFilter};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

const PAGE: u32 = 50;

/// Lists webhooks, those of the newest jobs first; `?state=&tenant=&limit=&cursor=`.
pub(super) async fn list(
    api: web::Data<Api>,
    caller: Caller,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let tenant = caller.only(query.get("tenant").map(String::as_str))?;
    let filter = DeliveryFilter { tenant, ..filter(&query)? };
    let limit = filter.limit as usize;
    let listed = api.store.list_deliveries(filter).await?;
    let next = listed
        .last()
        .filter(|_| listed.len() == limit)
        .map(|last| Cursor { job: last.job, accepted_at: last.accepted_at }.to_string());
    let deliveries: Vec<Value> = listed.iter().map(|entry| Value::Object(entry_view(&caller, entry))).collect();
    Ok(HttpResponse::Ok().json(json!({ "deliveries": deliveries, "next_cursor": next })))
}

/// Answers with a job's webhook and every attempt; a job without one has an empty list.
pub(super) async fn of_job(
    api: web::Data<Api>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let job = find(&api, &caller, &id).await?;
    let found = api.store.delivery(job.id).await?;
    let deliveries: Vec<Value> =
        found.iter().map(|(delivery, attempts)| log_view(&caller, &job, delivery, attempts)).collect();
    Ok(HttpResponse::Ok().json(json!({ "prompt_id": job.id.to_string(), "deliveries": deliveries })))
}

/// Sends a job's webhook again: from the beginning of the schedule where it is over, at once where it is pending.
pub(super) async fn replay(
    api: web::Data<Api>,
    caller: Caller,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (id, delivery) = path.into_inner();
    let job = find(&api, &caller, &id).await?;
    let webhook_id = job.id.webhook_id();
    if delivery != webhook_id {
        let message =
            format!("job {} has no delivery `{}`; its only one is `{webhook_id}`", job.id, delivery.escape_debug());
        return Err(ApiError::not_found(message));
    }
    if job.request.webhook_url.is_none() {
        let message = format!("job {} has no webhook_url, so nobody is told of its end", job.id);
        return Err(ApiError::conflict("no_delivery", message));
    }
    let Some(before) = api.store.replay_delivery(job.id, api.clock.now()).await? else {
        let message = format!("job {} is {}; its webhook is sent when it has ended", job.id, job.state.as_str());
        return Err(ApiError::conflict("not_final", message));
    };
    api.intake.delivery_bell.notify_one();
    caller.note("webhook to be sent again", job.id);
    let view = json!({ "prompt_id": job.id.to_string(), "id": webhook_id, "state": "pending", "was": before.as_str() });
    Ok(HttpResponse::Accepted().json(view))
}

/// Sends all webhooks of one state again, or those of them that go to one host or whose jobs ended since some time.
pub(super) async fn replay_all(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read(&api, &request, payload).await?;
    let mut fields = parse_object(&body)?;
    let tenant = caller.only(optional_text(&mut fields, "tenant")?.as_deref())?;
    let filter = ReplayFilter { tenant, ..replay_filter(fields)? };
    let replayed = api.store.replay_deliveries(filter, api.clock.now()).await?;
    api.intake.delivery_bell.notify_one();
    Ok(HttpResponse::Accepted().json(json!({ "replayed": replayed })))
}

fn entry_view(caller: &Caller, entry: &ListedDelivery) -> Map<String, Value> {
    let mut view = Map::new();
    if caller.is_operator() {
        view.insert("tenant".into(), json!(entry.tenant.name()));
    }
    view.insert("id".into(), json!(entry.job.webhook_id()));
    view.insert("prompt_id".into(), json!(entry.job.to_string()));
    view.insert("url".into(), json!(without_query(&entry.url)));
    view.insert("state".into(), json!(entry.state.as_str()));
    view.insert("attempt_count".into(), json!(entry.attempts));
    view.insert("replays".into(), json!(entry.replays));
    view.insert("created_at".into(), json!(entry.created_at.rfc3339()));
    view.insert("last_status".into(), json!(entry.status));
    view.insert("last_code".into(), json!(entry.code));
    let next = (entry.state == DeliveryState::Pending).then_some(entry.due_at);
    let times = [("replayed_at", entry.replayed_at), ("next_attempt_at", next), ("ended_at", entry.ended_at)];
    for (name, time) in times {
        if let Some(time) = time {
            view.insert(name.into(), json!(time.rfc3339()));
        }
    }
    view
}

fn log_view(caller: &Caller, job: &Job, delivery: &Delivery, attempts: &[Attempt]) -> Value {
    let last = attempts.last();
    let entry = ListedDelivery {
        job: delivery.job,
        tenant: delivery.tenant.clone(),
        accepted_at: job.created_at,
        url: delivery.url.clone(),
        state: delivery.state,
        attempts: delivery.attempts,
        replays: delivery.replays,
        created_at: delivery.created_at,
        replayed_at: delivery.replayed_at,
        due_at: delivery.due_at,
        ended_at: delivery.ended_at,
        status: last.and_then(|attempt| attempt.status),
        code: last.and_then(|attempt| attempt.code.clone()),
    };
    let mut view = entry_view(caller, &entry);
    view.insert("attempts".into(), attempts.iter().map(attempt_view).collect());
    Value::Object(view)
}

fn attempt_view(attempt: &Attempt) -> Value {
    // What was kept is the answer's beginning, or says why there was no answer.
    let kept = if attempt.status.is_some() { "answer" } else { "error" };
    json!({
        "number": attempt.number,
        "started_at": attempt.started_at.rfc3339(),
        "duration_ms": u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
        "status": attempt.status,
        "code": attempt.code,
        kept: attempt.snippet,
    })
}

fn filter(query: &HashMap<String, String>) -> Result<DeliveryFilter, ApiError> {
    let mut filter = DeliveryFilter { limit: PAGE, ..DeliveryFilter::default() };
    for (name, value) in query {
        match name.as_str() {
            "state" => filter.state = Some(state(value)?),
            "limit" => filter.limit = limit(value)?,
            "cursor" => filter.before = Some(cursor(value)?),
            // Whose they are is settled already.
            "tenant" => {}
            _ => {
                let message = format!("there is no filter `{name}`; there are state, tenant, limit, cursor");
                return Err(ApiError::bad_request("unknown_field", message));
            }
        }
    }
    Ok(filter)
}

fn replay_filter(mut fields: Map<String, Value>) -> Result<ReplayFilter, ApiError> {
    let word = optional_text(&mut fields, "state")?;
    let host = optional_text(&mut fields, "host")?;
    let since = optional_text(&mut fields, "since")?;
    if let Some(name) = fields.keys().next() {
        let message = format!("there is no field `{}`; there are state, tenant, host, since", name.escape_debug());
        return Err(ApiError::bad_request("unknown_field", message));
    }
    let missing = |message: &str| ApiError::bad_request("missing_field", message);
    let word = word
        .ok_or_else(|| missing("state is missing: say which webhooks are to be sent again, such as undeliverable"))?;
    let state = state(&word)?;
    let since = since.map(|text| time(&text)).transpose()?;
    if state == DeliveryState::Delivered && since.is_none() {
        return Err(missing("since is missing: all webhooks that have ever arrived would be sent again"));
    }
    Ok(ReplayFilter { tenant: None, state, host, since })
}

fn time(text: &str) -> Result<Timestamp, ApiError> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| {
        let message = format!("since: `{}` is not a time such as 2026-11-21T08:00:00Z", text.escape_debug());
        ApiError::bad_request("invalid_type", message)
    })
}

fn state(word: &str) -> Result<DeliveryState, ApiError> {
    DeliveryState::parse(word).ok_or_else(|| {
        let words: Vec<&str> = DeliveryState::ALL.into_iter().map(DeliveryState::as_str).collect();
        let message = format!("state `{}` is none of {}", word.escape_debug(), words.join(", "));
        ApiError::bad_request("not_allowed", message)
    })
}
