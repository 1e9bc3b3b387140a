//! `/queue`: an operator sees how many jobs wait, and holds them back from all backends.

use super::{Api, ApiError};
use crate::names;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Shows whether the queue is paused, and how many jobs there are; `?workflow=`.
pub(super) async fn get(
    api: web::Data<Api>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    if let Some(other) = query.keys().find(|field| *field != "workflow") {
        let message = format!("there is no parameter `{}`; there is workflow", names::shown(other));
        return Err(ApiError::bad_request("unknown_field", message));
    }
    tell(&api, query.get("workflow").map(String::as_str)).await
}

/// Has no job given to any backend. What is on backends goes on.
pub(super) async fn pause(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    api.roster.pause(true).await?;
    tell(&api, None).await
}

/// Has jobs given to backends again.
pub(super) async fn resume(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    api.roster.pause(false).await?;
    tell(&api, None).await
}

async fn tell(api: &Api, workflow: Option<&str>) -> Result<HttpResponse, ApiError> {
    let counts = api.roster.queue_counts(workflow).await?;
    let lanes = counts.waiting.iter().map(|(priority, jobs)| json!({ "priority": priority, "jobs": jobs }));
    Ok(HttpResponse::Ok().json(json!({
        "paused": api.pool.is_paused(),
        "queued": counts.waiting.iter().map(|(_, jobs)| jobs).sum::<u64>(),
        "submitted": counts.submitted,
        "running": counts.running,
        "lanes": lanes.collect::<Vec<Value>>(),
    })))
}
