//! `/queue`: an operator sees how many jobs wait, and holds them back from all backends.

use super::{Api, ApiError};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

/// Shows whether the queue is paused, and how many jobs there are.
pub(super) async fn get(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let counts = api.roster.queue_counts().await?;
    let lanes = counts.waiting.iter().map(|(priority, jobs)| json!({ "priority": priority, "jobs": jobs }));
    Ok(HttpResponse::Ok().json(json!({
        "paused": api.pool.is_paused(),
        "queued": counts.waiting.iter().map(|(_, jobs)| jobs).sum::<u64>(),
        "submitted": counts.submitted,
        "running": counts.running,
        "lanes": lanes.collect::<Vec<Value>>(),
    })))
}

/// Has no job given to any backend. What is on backends goes on.
pub(super) async fn pause(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    api.roster.pause(true).await?;
    get(api).await
}

/// Has jobs given to backends again.
pub(super) async fn resume(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    api.roster.pause(false).await?;
    get(api).await
}
