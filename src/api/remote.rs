//! The remote control's calls that change its workflow in memory: they take the request apart, make one call, answer with a sentence.

use super::body::{invalid_type, optional_text, parse_object, read};
use super::caller::Caller;
use super::door::{Door, as_written};
use super::{Api, ApiError};
use crate::names::shown;
use crate::remote::{EditError, Found, RemoteError, Standing, Wanted, Whereabouts, input_file};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

/// Says that the process serves, in one word.
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body("running")
}

/// Says how the caller's workflow in memory stands.
pub(super) async fn status(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    tell(&api, &caller, &request);
    Ok(HttpResponse::Ok().json(view(&api.remote.standing(&caller.tenant)?)))
}

/// Sets the text of a node.
pub(super) async fn update_text(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    update(&api, &caller, &request, payload, Wanted::Text, "text").await
}

/// Sets the prompt of a node.
pub(super) async fn update_prompt(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    update(&api, &caller, &request, payload, Wanted::Prompt, "prompt").await
}

/// Sets the file of a node that loads an image, once a ComfyUI has said that it has that file.
pub(super) async fn update_image(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    tell(&api, &caller, &request);
    let (node, filename) = change(&api, &request, payload, "filename").await?;
    let file = input_file(&filename).map_err(|reason| {
        ApiError::bad_request("invalid_filename", format!("filename `{}`: {reason}", shown(&filename)))
    })?;
    // Before anybody is asked.
    api.remote.find(&caller.tenant, &node, Wanted::Image)?;
    let found = api.remote.whereabouts(&file).await;
    refuse_missing(&found, &filename)?;
    let set = api.remote.set(&caller.tenant, &node, Wanted::Image, filename)?;
    let mut told = message(&set);
    told["backends"] = json!(found.on);
    if !found.not_on.is_empty() {
        told["not_on"] = json!(found.not_on);
    }
    Ok(HttpResponse::Ok().json(told))
}

/// Takes the workflow from its template again.
pub(super) async fn reset(api: web::Data<Api>, caller: Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    tell(&api, &caller, &request);
    let standing = api.remote.reset(&caller.tenant)?;
    let mut told = view(&standing);
    let sentence = format!("the workflow `{}` is as its template again", standing.workflow);
    told.insert("message".into(), json!(sentence));
    Ok(HttpResponse::Ok().json(told))
}

/// Tells those who listen to the remote control that somebody asks for something.
pub(super) fn tell(api: &Api, caller: &Caller, request: &HttpRequest) {
    let path = as_written(request.path(), request.app_data::<Door>());
    api.remote.tell_request(&caller.tenant, request.method().as_str(), &path);
}

async fn update(
    api: &Api,
    caller: &Caller,
    request: &HttpRequest,
    payload: Payload,
    wanted: Wanted,
    field: &str,
) -> Result<HttpResponse, ApiError> {
    tell(api, caller, request);
    let (node, text) = change(api, request, payload, field).await?;
    Ok(HttpResponse::Ok().json(message(&api.remote.set(&caller.tenant, &node, wanted, text)?)))
}

/// Reads `node_id`, which may be a number, and one more field, which is a text.
async fn change(api: &Api, request: &HttpRequest, payload: Payload, field: &str) -> Result<(String, String), ApiError> {
    let mut fields = parse_object(&read(api, request, payload).await?)?;
    let missing = |name: &str| ApiError::bad_request("missing_field", format!("`{name}` is missing"));
    let node = match fields.remove("node_id") {
        None | Some(Value::Null) => return Err(missing("node_id")),
        Some(Value::String(node)) => node,
        Some(Value::Number(number)) if number.is_u64() => number.to_string(),
        Some(other) => return Err(invalid_type("node_id", "a node's id or name", &other)),
    };
    let text = optional_text(&mut fields, field)?.ok_or_else(|| missing(field))?;
    if let Some(name) = fields.keys().next() {
        let message = format!("there is no field `{}`; there are: node_id, {field}", shown(name));
        return Err(ApiError::bad_request("unknown_field", message));
    }
    if text.contains('\0') {
        let message = format!("{field} contains the character U+0000, which is not text");
        return Err(ApiError::bad_request("invalid_string", message));
    }
    Ok((node, text))
}

fn message(found: &Found) -> Value {
    let Found { node, class, input } = found;
    json!({
        "message": format!("`{input}` of node `{node}` ({class}) is set"),
        "node_id": node,
        "class_type": class,
        "input": input,
    })
}

/// A file that no ComfyUI has would fail its run, and one that nobody was asked about may.
fn refuse_missing(found: &Whereabouts, filename: &str) -> Result<(), ApiError> {
    if !found.on.is_empty() {
        return Ok(());
    }
    let name = shown(filename);
    if found.not_on.is_empty() {
        let message = format!(
            "no ComfyUI answers, so it is not known whether one has `{name}` in its input folder: send this again when one is \
             there (GET /ready)"
        );
        return Err(ApiError::unavailable("no_backend", message));
    }
    let message = format!(
        "no ComfyUI has `{name}` in its input folder: put it there first, with ComfyUI's POST /upload/image or by copying it"
    );
    Err(ApiError::not_there("image_not_there", message).with_details(json!({ "asked": found.not_on })))
}

fn view(standing: &Standing) -> Map<String, Value> {
    let state = if standing.runs.is_empty() { "idle" } else { "running" };
    let runs: Vec<String> = standing.runs.iter().map(ToString::to_string).collect();
    let view = [
        ("state", json!(state)),
        ("workflow", json!(standing.workflow)),
        ("revision", json!(standing.revision)),
        ("edited", json!(standing.is_edited)),
        ("runs", json!(runs)),
    ];
    view.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl From<RemoteError> for ApiError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Intake(error) => error.into(),
            RemoteError::Edit(error) => error.into(),
            RemoteError::Busy => Self::unavailable("queue_full", error.to_string()),
            RemoteError::Lost => Self::internal(),
        }
    }
}

impl From<EditError> for ApiError {
    fn from(error: EditError) -> Self {
        let message = error.to_string();
        let answer = match &error {
            EditError::NoSuchNode { .. } => Self::not_there("unknown_node", message),
            EditError::SeveralNodes { .. } => Self::bad_request("several_nodes", message),
            EditError::NoInput { .. } => Self::bad_request("no_such_input", message),
            EditError::Linked { .. } => Self::bad_request("linked_input", message),
        };
        answer.with_details(error.details())
    }
}
