//! `/backends/{name}/..`: what an operator may ask of one ComfyUI and tell it, passed on. Answers are bounded, and what a ComfyUI
//! knows of callers' keys is taken out of them.

use super::backends::find;
use super::body::{invalid_type, optional_text, parse_object, read};
use super::passage::{fresh, held, place};
use super::{Api, ApiError};
use crate::comfy::{ClientError, Question, redact};
use crate::job::JobId;
use crate::lenient;
use crate::local::without_secrets;
use crate::pool::Backend;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use tokio::sync::OwnedSemaphorePermit;

/// How many prompts of a history are told where nobody says it, and at most.
const PAGE: u64 = 20;
const LARGEST_PAGE: u64 = 200;

/// The longest name of a folder, class or prompt, in bytes.
const LONGEST_NAME: usize = 200;

/// How many lines of a log are told.
const LINES: usize = 1000;

/// Tells how a backend is, without asking it.
pub(super) async fn health(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(fresh().json(find(&api, &name).await?.health.view()))
}

/// Tells how busy its GPUs were in the last hour, without asking it.
pub(super) async fn vitals(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(fresh().json(find(&api, &name).await?.vitals.samples()))
}

/// Asks for version, memory and devices.
pub(super) async fn stats(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    pass(&api, &name, Question::SystemStats).await
}

/// Asks what the server can do.
pub(super) async fn features(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    pass(&api, &name, Question::Features).await
}

/// Asks for the folders of models.
pub(super) async fn folders(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    pass(&api, &name, Question::ModelFolders).await
}

/// Asks for the files in one of them.
pub(super) async fn models(api: web::Data<Api>, path: web::Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (name, folder) = path.into_inner();
    plain("folder", &folder)?;
    match pass(&api, &name, Question::Models(&folder)).await {
        // A server that knows the path says so of a folder that it does not have, too.
        Err(error) if error.code() == "not_supported_by_backend" => {
            pass(&api, &name, Question::ModelFolders).await?;
            Err(ApiError::not_found(format!("the backend has no folder of models `{}`", folder.escape_debug())))
        }
        answer => answer,
    }
}

/// Asks for the names of the embeddings.
pub(super) async fn embeddings(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    pass(&api, &name, Question::Embeddings).await
}

/// Asks for the definition of a node class.
pub(super) async fn node(api: web::Data<Api>, path: web::Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (name, class) = path.into_inner();
    plain("class", &class)?;
    let (text, place) = ask(&api, &name, Question::Node(&class)).await?;
    let mut classes = object(&text, "GET /object_info")?;
    match classes.remove(&class) {
        Some(definition) => Ok(held(definition.to_string(), place)),
        None => Err(ApiError::not_found(format!("the backend has no node class `{}`", class.escape_debug()))),
    }
}

/// Asks what runs and waits, everybody's prompts included, and tells their names alone.
pub(super) async fn queue(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let backend = find(&api, &name).await?;
    let place = place(&api)?;
    let queue = backend.client.queue().await.map_err(|error| failed("/queue", &error))?;
    let ours = backend.desk.held();
    let entries = |prompts: &[String]| -> Vec<Value> {
        let job =
            |prompt: &String| prompt.parse::<JobId>().ok().filter(|id| ours.contains(id)).map(|id| id.to_string());
        prompts.iter().map(|prompt| json!({ "prompt_id": prompt, "job": job(prompt) })).collect()
    };
    let told = json!({ "running": entries(&queue.running), "pending": entries(&queue.pending) });
    Ok(held(told.to_string(), place))
}

/// Asks for the last prompts that ended; `?limit=&offset=`.
pub(super) async fn history(
    api: web::Data<Api>,
    name: web::Path<String>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let backend = find(&api, &name).await?;
    let (mut limit, mut offset) = (PAGE, None);
    for (field, value) in query.iter() {
        match field.as_str() {
            "limit" => limit = number("limit", value, 1, LARGEST_PAGE)?,
            "offset" => offset = Some(number("offset", value, 0, u64::from(u32::MAX))?),
            _ => {
                let message = format!("there is no parameter `{}`; there are limit, offset", field.escape_debug());
                return Err(ApiError::bad_request("unknown_field", message));
            }
        }
    }
    let place = place(&api)?;
    let text = ask_in(&backend, Question::History { limit, offset }).await?;
    let (told, place) = without_keys(text, place, |entries| Some(Value::Object(entries))).await?;
    Ok(held(told.unwrap_or_default(), place))
}

/// Asks for one of them.
pub(super) async fn history_of(
    api: web::Data<Api>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (name, prompt) = path.into_inner();
    let backend = find(&api, &name).await?;
    plain("prompt_id", &prompt)?;
    let place = place(&api)?;
    let text = ask_in(&backend, Question::HistoryOf(&prompt)).await?;
    match without_keys(text, place, move |mut entries| entries.remove(&prompt)).await? {
        (Some(entry), place) => Ok(held(entry, place)),
        (None, _) => Err(ApiError::not_found("the backend's history does not have this prompt; it may wait or run")),
    }
}

/// Asks for the last lines that the server wrote, and takes what looks like a secret out of them.
pub(super) async fn logs(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let (text, place) = ask(&api, &name, Question::Logs).await?;
    let answer = object(&text, "GET /internal/logs/raw")?;
    let entries = answer.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let line = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        json!({ "at": text("t"), "text": without_secrets(text("m").trim_end_matches('\n')) })
    };
    let lines: Vec<Value> = entries.iter().skip(entries.len().saturating_sub(LINES)).map(line).collect();
    Ok(held(json!({ "lines": lines }).to_string(), place))
}

/// Lets a backend unload its models and empty its caches.
pub(super) async fn free(
    api: web::Data<Api>,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let backend = find(&api, &name).await?;
    let mut fields = parse_object(&read(&api, &request, payload).await?)?;
    let models = truth(&mut fields, "unload_models")?;
    let memory = truth(&mut fields, "free_memory")?;
    no_more(&fields, "unload_models, free_memory")?;
    if !models && !memory {
        let message = "unload_models and free_memory are both false: there is nothing to do";
        return Err(ApiError::bad_request("not_allowed", message));
    }
    backend.client.free(models, memory).await.map_err(|error| failed("/free", &error))?;
    tracing::info!(backend = backend.name, models, memory, "a backend was told to free memory");
    Ok(HttpResponse::Accepted().json(json!({ "unload_models": models, "free_memory": memory })))
}

/// Interrupts a prompt by its name, if it is the one that runs; never whatever runs.
pub(super) async fn interrupt(
    api: web::Data<Api>,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let backend = find(&api, &name).await?;
    let mut fields = parse_object(&read(&api, &request, payload).await?)?;
    let prompt = optional_text(&mut fields, "prompt_id")?.ok_or_else(|| {
        ApiError::bad_request("missing_field", "prompt_id is missing: GET /backends/{name}/queue has those that run")
    })?;
    no_more(&fields, "prompt_id")?;
    plain("prompt_id", &prompt)?;
    let _place = place(&api)?;
    let was_running = backend.client.interrupt(&prompt).await.map_err(|error| failed("/interrupt", &error))?;
    if was_running {
        tracing::info!(backend = backend.name, prompt, "a prompt was interrupted");
    }
    Ok(HttpResponse::Ok().json(json!({ "prompt_id": prompt, "was_running": was_running })))
}

/// Asks, and passes the answer on as it is.
async fn pass(api: &Api, name: &str, question: Question<'_>) -> Result<HttpResponse, ApiError> {
    let (text, place) = ask(api, name, question).await?;
    // As a server in Python writes it, it may be no JSON.
    if serde_json::from_str::<IgnoredAny>(&text).is_ok() {
        return Ok(held(text, place));
    }
    let value = lenient::parse(&text).map_err(|_| no_json(&path(question)))?;
    Ok(held(value.to_string(), place))
}

async fn ask(api: &Api, name: &str, question: Question<'_>) -> Result<(String, OwnedSemaphorePermit), ApiError> {
    let backend = find(api, name).await?;
    let place = place(api)?;
    Ok((ask_in(&backend, question).await?, place))
}

async fn ask_in(backend: &Backend, question: Question<'_>) -> Result<String, ApiError> {
    backend.client.ask(question).await.map_err(|error| failed(&path(question), &error))
}

fn path(question: Question<'_>) -> String {
    question.path().iter().fold(String::new(), |path, segment| path + "/" + segment)
}

/// Says why a backend gave no answer that can be passed on.
fn failed(path: &str, error: &ClientError) -> ApiError {
    let path = path.escape_debug();
    match error {
        ClientError::Unreachable(_) => ApiError::bad_gateway("backend_unreachable", error.to_string()),
        ClientError::TimedOut(_) => ApiError::gateway_timeout("backend_unreachable", error.to_string()),
        ClientError::NotFound => {
            let message = format!("the backend does not know {path}; its ComfyUI may be too old for that");
            ApiError::not_implemented("not_supported_by_backend", message)
        }
        // Of a method that the path does not have: an older server may serve files there.
        ClientError::Status { status: 405, .. } => {
            let message = format!("the backend does not take this at {path}; its ComfyUI may be too old for that");
            ApiError::not_implemented("not_supported_by_backend", message)
        }
        ClientError::Status { .. } | ClientError::Malformed(_) | ClientError::TooLarge { .. } => {
            ApiError::bad_gateway("backend_refused", error.to_string())
        }
    }
}

fn no_json(path: &str) -> ApiError {
    let message = format!("the backend's answer at {} is not ComfyUI's; check its address", path.escape_debug());
    ApiError::bad_gateway("backend_refused", message)
}

fn object(text: &str, call: &str) -> Result<Map<String, Value>, ApiError> {
    match lenient::parse(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(no_json(call)),
    }
}

/// Reads a history without what stands there beside the graphs, since older servers keep the keys of callers in it, and writes
/// what `pick` takes of it.
async fn without_keys(
    text: String,
    place: OwnedSemaphorePermit,
    pick: impl FnOnce(Map<String, Value>) -> Option<Value> + Send + 'static,
) -> Result<(Option<String>, OwnedSemaphorePermit), ApiError> {
    let cleared = web::block(move || {
        let mut entries = object(&text, "/history")?;
        entries.values_mut().for_each(clear);
        Ok((pick(entries).map(|picked| picked.to_string()), place))
    });
    cleared.await.map_err(|_| ApiError::internal())?
}

/// Takes everything out of `[number, id, graph, extra data, outputs, ..]` that is not known to hold no key.
fn clear(entry: &mut Value) {
    if let Some(prompt) = entry.get_mut("prompt") {
        match prompt {
            Value::Array(parts) => {
                parts.truncate(5);
                if let Some(extra_data) = parts.get_mut(3) {
                    *extra_data = json!({});
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                *prompt = Value::Null;
            }
        }
    }
}

/// Refuses a name that a path could not carry, or that would lead elsewhere.
fn plain(field: &str, name: &str) -> Result<(), ApiError> {
    let is_odd = name.contains(|letter: char| letter.is_control() || letter == '\\');
    if name.is_empty() || name.len() > LONGEST_NAME || is_odd || name.split('/').any(|part| matches!(part, "." | ".."))
    {
        let message =
            format!("{field}: this is no name of one; it has 1 to {LONGEST_NAME} bytes, and is not `.` or `..`");
        return Err(ApiError::bad_request("not_allowed", message));
    }
    Ok(())
}

fn number(name: &str, text: &str, least: u64, most: u64) -> Result<u64, ApiError> {
    text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        let message = format!("{name}: `{}` is not a whole number from {least} to {most}", redact(text).escape_debug());
        ApiError::bad_request("out_of_range", message)
    })
}

/// Takes a boolean out of an object's fields; true where it is absent.
fn truth(fields: &mut Map<String, Value>, name: &str) -> Result<bool, ApiError> {
    match fields.remove(name) {
        None => Ok(true),
        Some(Value::Bool(truth)) => Ok(truth),
        Some(other) => Err(invalid_type(name, "true or false", &other)),
    }
}

fn no_more(fields: &Map<String, Value>, known: &str) -> Result<(), ApiError> {
    match fields.keys().next() {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(LONGEST_NAME).collect();
            let message = format!("there is no field `{}`; there are: {known}", name.escape_debug());
            Err(ApiError::bad_request("unknown_field", message))
        }
    }
}
