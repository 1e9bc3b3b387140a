//! The remote control's calls that run its workflow, wait for it, stop it, and have prompts written for it.

use super::body::{invalid_type, parse_object, read};
use super::caller::Caller;
use super::remote::tell;
use super::{Api, ApiError, guard};
use crate::job::{Fault, JobId};
use crate::remote::{Awaited, End, How, ServiceError};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use std::sync::Arc;

/// What a picture shall show, by the names of its parts.
const DESCRIPTION: [&str; 3] = ["description", "visualCue", "moodCue"];

/// Runs the caller's workflow and answers once it has ended. Who goes away meanwhile finds the job at `GET /jobs`.
pub(super) async fn queue(api: web::Data<Api>, caller: Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    if *request.method() == Method::HEAD {
        return Err(ApiError::method_not_allowed("GET, POST"));
    }
    guard::own_page(&request)?;
    tell(&api, &caller, &request);
    if api.is_draining() {
        return Err(ApiError::unavailable("shutting_down", "the gateway is stopping: send the request again soon"));
    }
    let begun = Arc::new(api.remote.begin(&caller.tenant)?);
    let mut submission = api.remote.submission(&begun);
    (submission.delivery, submission.strip_metadata) = (api.defaults.delivery, api.defaults.strip_metadata);
    let (remote, drawing, wished) = (Arc::clone(&api.remote), Arc::clone(&begun), submission.clone());
    let graph = api.bench.work(&caller.tenant, move || remote.draw(&drawing, &wished)).await??;
    let place = api.throttle.job(&caller.tenant, &caller.limits).await??;
    let mut launched = api.remote.launch(&begun, graph, submission);
    launched.accepted().await?;
    place.keep();
    caller.note("job taken in", begun.id());
    answer(launched.end().await?, begun.id())
}

/// Stops what runs and what waits of the caller's workflow, and answers at once.
pub(super) async fn interrupt(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    tell(&api, &caller, &request);
    let stopped = api.remote.interrupt(&caller.tenant).await?;
    for job in stopped.running.iter().chain(&stopped.waiting) {
        caller.note("asked to cancel a job", *job);
    }
    let ids = |jobs: &[JobId]| jobs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (running, waiting) = (stopped.running.len(), stopped.waiting.len());
    Ok(HttpResponse::Ok().json(json!({
        "message": format!("{running} running and {waiting} waiting were stopped"),
        "state": "idle",
        "running": ids(&stopped.running),
        "waiting": ids(&stopped.waiting),
    })))
}

/// Has prompts written by the service that the operator has set, and passes its answer on.
pub(super) async fn generate_image(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    tell(&api, &caller, &request);
    let body = read(&api, &request, payload).await?;
    check_description(&parse_object(&body)?.into())?;
    let Some(service) = api.remote.prompt_service() else {
        let message = "no service that writes prompts is set: the operator names it in COMFYGATE_RUNNER_PROMPT_URL";
        return Err(ApiError::unavailable("prompt_service_off", message));
    };
    Ok(HttpResponse::Ok().json(service.ask(body.freeze()).await?))
}

fn check_description(body: &Value) -> Result<(), ApiError> {
    let missing = |name: &str| ApiError::bad_request("missing_field", format!("`{name}` is missing"));
    let members = match body.get("image_description") {
        None => return Err(missing("image_description")),
        Some(Value::Object(members)) => members,
        Some(other) => return Err(invalid_type("image_description", "an object", other)),
    };
    for name in DESCRIPTION {
        match members.get(name) {
            Some(Value::String(_)) => {}
            None => return Err(missing(&format!("image_description.{name}"))),
            Some(other) => return Err(invalid_type(&format!("image_description.{name}"), "a string", other)),
        }
    }
    Ok(())
}

fn answer(awaited: Awaited, job: JobId) -> Result<HttpResponse, ApiError> {
    let at = json!({ "prompt_id": job.to_string(), "status_url": format!("/jobs/{job}") });
    match awaited {
        Awaited::Ended(end) => Ok(HttpResponse::build(status(&end)).json(end.told)),
        Awaited::TooLong(limit) => {
            let limit = humantime::format_duration(limit);
            let message =
                format!("job {job} has not ended within {limit}, its limits together; it goes on: GET /jobs/{job}");
            Err(ApiError::gateway_timeout("still_running", message).with_details(at))
        }
        Awaited::Stopping => {
            let message = format!("the gateway is stopping; job {job} goes on when it is back: GET /jobs/{job}");
            Err(ApiError::unavailable("shutting_down", message).with_details(at))
        }
    }
}

/// Says whose fault a failure is by its status, as far as HTTP has one for it.
fn status(end: &End) -> StatusCode {
    match end.how {
        How::Succeeded => StatusCode::OK,
        How::Cancelled | How::Failed(Fault::Human, _) => StatusCode::CONFLICT,
        How::Failed(Fault::Request, _) => StatusCode::UNPROCESSABLE_ENTITY,
        How::Failed(Fault::Backend, true) => StatusCode::GATEWAY_TIMEOUT,
        How::Failed(Fault::Backend, false) => StatusCode::BAD_GATEWAY,
        How::Failed(Fault::Gateway, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let message = error.to_string();
        match error {
            ServiceError::Blocked(_) => Self::bad_gateway("prompt_service_blocked", message),
            ServiceError::Unreachable { .. } => Self::bad_gateway("prompt_service_unreachable", message),
            ServiceError::TimedOut { .. } => Self::gateway_timeout("prompt_service_timeout", message),
            ServiceError::Refused { .. } => Self::bad_gateway("prompt_service_refused", message),
        }
    }
}
