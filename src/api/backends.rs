//! `/backends`: an operator sees the backends, adds and removes them, and has them drained, while the gateway runs.

use super::body::{parse_object, read};
use super::{Api, ApiError};
use crate::pool::{Backend, Definition, Duty, Mistake, RosterError, Said, Source, Unopened};
use crate::store::Leaving;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// Lists the backends in the order in which they came, and then those that cannot be begun.
pub(super) async fn list(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let said = api.roster.said().await?;
    let backends = api.pool.backends();
    let open = backends.iter().map(|backend| view(&api, backend, &said));
    let all: Vec<Map<String, Value>> = open.chain(said.unopened.iter().map(|one| unopened(one, &said))).collect();
    Ok(HttpResponse::Ok().json(json!({ "backends": all })))
}

/// Shows one.
pub(super) async fn get(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    show(&api, &name).await
}

/// Adds one. It need not be there yet.
pub(super) async fn add(
    api: web::Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read(&api, &request, payload).await?;
    let definition = Definition::from_afar(parse_object(&body)?).map_err(|mistakes| wrong(&mistakes))?;
    let backend = api.roster.add(&definition).await?;
    let place = format!("/backends/{}", encoded(&backend.name));
    Ok(HttpResponse::Created().insert_header((LOCATION, place)).json(view(&api, &backend, &Said::default())))
}

/// Lets one go.
pub(super) async fn remove(
    api: web::Data<Api>,
    name: web::Path<String>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let mut how = Leaving::Drained;
    for (field, value) in query.iter() {
        how = match (field.as_str(), value.as_str()) {
            ("now", "true") => Leaving::Now,
            ("now", "false") => how,
            ("now", _) => {
                let message = format!("now: `{}` is neither true nor false", shown(value));
                return Err(ApiError::bad_request("not_allowed", message));
            }
            (field, _) => {
                let message = format!("there is no parameter `{}`; there is now", shown(field));
                return Err(ApiError::bad_request("unknown_field", message));
            }
        };
    }
    api.roster.remove(&name, how).await?;
    Ok(HttpResponse::Accepted().json(json!({ "name": *name, "leaving": how.as_str() })))
}

/// Has one get no more jobs.
pub(super) async fn drain(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    set_duty(&api, &name, Duty::Draining).await
}

/// Has one get jobs again.
pub(super) async fn resume(api: web::Data<Api>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    set_duty(&api, &name, Duty::Serving).await
}

async fn set_duty(api: &Api, name: &str, duty: Duty) -> Result<HttpResponse, ApiError> {
    api.roster.set_duty(name, duty).await?;
    show(api, name).await
}

/// Returns the backend of this name, for whoever asks it something; one that cannot be begun cannot be asked.
pub(super) async fn find(api: &Api, name: &str) -> Result<Arc<Backend>, ApiError> {
    if let Some(backend) = api.pool.get(name) {
        return Ok(backend);
    }
    let said = api.roster.said().await?;
    let Some(unopened) = said.unopened(name) else { return Err(unknown(name)) };
    let reason = unopened.trouble.as_deref().unwrap_or("it is about to");
    let message = format!("the backend `{}` cannot be asked, as it is not begun: {reason}", unopened.name);
    Err(ApiError::bad_gateway("backend_unreachable", message))
}

async fn show(api: &Api, name: &str) -> Result<HttpResponse, ApiError> {
    let said = api.roster.said().await?;
    let view = match (api.pool.get(name), said.unopened(name)) {
        (Some(backend), _) => view(api, &backend, &said),
        (None, Some(one)) => unopened(one, &said),
        (None, None) => return Err(unknown(name)),
    };
    Ok(HttpResponse::Ok().json(view))
}

fn unknown(name: &str) -> ApiError {
    RosterError::Unknown(shown(name)).into()
}

fn view(api: &Api, backend: &Backend, said: &Said) -> Map<String, Value> {
    let mut view = Map::new();
    let desk = &backend.desk;
    view.insert("name".into(), json!(backend.name));
    view.insert("url".into(), json!(backend.client.url().to_string()));
    view.insert("source".into(), json!(backend.source.as_str()));
    view.insert("tags".into(), json!(backend.tags));
    view.insert("slots".into(), json!(backend.slots));
    view.insert("ahead".into(), json!(backend.ahead));
    view.extend(backend.route.clone());
    view.insert("duty".into(), json!(backend.duty().as_str()));
    view.insert("leaving".into(), json!(said.leaving.contains(&backend.name)));
    view.insert("connected".into(), json!(desk.is_connected()));
    view.insert("prompts".into(), json!(desk.load()));
    view.insert("error".into(), json!(desk.trouble()));
    view.insert("trouble".into(), Value::Null);
    view.insert("health".into(), backend.health.view());
    view.insert("agent".into(), backend.vitals.view(api.clock.now()));
    view
}

/// Shows one of which no more is known than its definition.
fn unopened(backend: &Unopened, said: &Said) -> Map<String, Value> {
    let mut view = Map::new();
    let definition = backend.definition.as_ref();
    view.insert("name".into(), json!(backend.name));
    view.insert("url".into(), json!(definition.map(|it| it.url.to_string()).unwrap_or_default()));
    view.insert("source".into(), json!(Source::Added.as_str()));
    view.insert("tags".into(), json!(definition.map(|it| it.tags.clone()).unwrap_or_default()));
    view.insert("slots".into(), json!(definition.map_or(1, |it| it.slots)));
    view.insert("ahead".into(), json!(definition.and_then(|it| it.ahead)));
    if let Some(Ok(Value::Object(route))) = definition.map(|it| serde_json::to_value(&it.route)) {
        view.extend(route);
    }
    view.insert("duty".into(), json!(backend.duty.as_str()));
    view.insert("leaving".into(), json!(said.leaving.contains(&backend.name)));
    view.insert("connected".into(), json!(false));
    view.insert("prompts".into(), json!(0));
    view.insert("error".into(), Value::Null);
    view.insert("trouble".into(), json!(backend.trouble));
    view.insert("health".into(), Value::Null);
    view.insert("agent".into(), Value::Null);
    view
}

/// Tells everything that is wrong with a definition.
fn wrong(mistakes: &[Mistake]) -> ApiError {
    let message = mistakes.iter().map(|mistake| mistake.text.as_str()).collect::<Vec<_>>().join("; ");
    let fields: Vec<Value> =
        mistakes.iter().map(|mistake| json!({ "field": mistake.field, "message": mistake.text })).collect();
    ApiError::bad_request("invalid_backend", message).with_details(json!({ "fields": fields }))
}

/// Returns a name as it stands in a path: every byte that may mean something there is written as its number.
fn encoded(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

fn shown(text: &str) -> String {
    crate::names::shown(text)
}

impl From<RosterError> for ApiError {
    fn from(error: RosterError) -> Self {
        let message = error.to_string();
        match error {
            RosterError::Unknown(_) => Self::not_found(message),
            RosterError::NameTaken(_) => Self::conflict("backend_exists", message),
            RosterError::UrlTaken { .. } => Self::conflict("backend_url_taken", message),
            RosterError::HasRuns { .. } => Self::conflict("backend_has_runs", message),
            RosterError::Configured(_) => Self::conflict("backend_is_configured", message),
            RosterError::IsGoing(_) => Self::conflict("backend_is_going", message),
            RosterError::TooMany => Self::conflict("too_many_backends", message),
            RosterError::NotOpened { .. } => Self::bad_request("invalid_backend", message),
            RosterError::Store(error) => error.into(),
        }
    }
}
