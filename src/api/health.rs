//! Liveness, which never asks anybody, and readiness, which says what is missing.

use super::{Api, ApiError};
use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

/// Says that the process serves; a load balancer may ask as often as it likes.
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Says whether new jobs can be taken in and run: 503 while stopping, without a store, without any backend, or
/// without the default workflow. Files that could not be loaded are listed, but do not make it unready.
pub(super) async fn ready(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let backlog = api.store.backlog().await;
    let backends: Vec<Value> = api
        .desks
        .iter()
        .map(|(name, desk)| {
            json!({ "name": name, "connected": desk.is_connected(), "prompts": desk.load(), "error": desk.trouble() })
        })
        .collect();
    let any_backend = api.desks.iter().any(|(_, desk)| desk.is_connected());
    let has_workflow = api.catalog.workflow(&api.intake.default_workflow).is_some();
    let is_ready = !api.is_draining() && backlog.is_ok() && any_backend && has_workflow;

    let mut view = Map::new();
    view.insert("status".into(), json!(if is_ready { "ready" } else { "not_ready" }));
    view.insert("draining".into(), json!(api.is_draining()));
    view.insert("backends".into(), Value::Array(backends));
    view.insert("workflows".into(), json!(api.catalog.names()));
    view.insert("default_workflow".into(), json!({ "name": api.intake.default_workflow, "loaded": has_workflow }));
    let problems: Vec<String> = api.catalog.problems().values().flatten().map(ToString::to_string).collect();
    view.insert("workflow_problems".into(), json!(problems));
    match backlog {
        Ok(backlog) => {
            let (queued, running, deliveries) = (backlog.queued, backlog.running, backlog.deliveries);
            let counts = json!({ "queued": queued, "running": running, "deliveries": deliveries });
            view.insert("backlog".into(), counts);
        }
        Err(error) => {
            view.insert("store".into(), json!(error.to_string()));
        }
    }
    let mut answer = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    Ok(answer.json(view))
}
