//! `POST /generate`: takes the request apart, makes one call, answers 202.

use super::apart::{Ready, taken_apart};
use super::body::{invalid_type, optional_text, parse_object, read};
use super::caller::Caller;
use super::fields::{check_metadata, chosen_id, max_runs, placement, priority, timeouts, variants, webhook_events};
use super::raw::{Known, raw_graph};
use super::wait::{ended, preferred};
use super::wishes::{Defaults, Wishes, partner_key, wishes};
use super::{Api, ApiError};
use crate::intake::{IntakeError, Submission};
use crate::job::{JobId, Limits, Tenant};
use crate::notifier::TargetRules;
use crate::store::IdempotencyKey;
use crate::workflow::{Pair, ParamError, RESERVED, RawGraph};
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long an idempotency key is remembered.
const KEY_LIFE: Duration = Duration::from_hours(24);

/// The field that is nobody's to see.
const PARTNER_KEY: &str = "api_key_comfy_org";

/// Finds a workflow by its name.
pub type FindWorkflow<'a> = dyn Fn(Option<&str>) -> Result<Arc<Pair>, IntakeError> + 'a;

/// What a request is checked against before it is taken in.
pub struct Rules<'a> {
    /// Which webhook URLs are taken.
    pub targets: &'a TargetRules,
    /// The longest limits that a request may set.
    pub most: Limits,
    /// The most runs that a request may wish for.
    pub max_runs: u32,
    /// What holds where a request does not say it.
    pub defaults: Defaults,
    /// Finds a workflow by its name, the default one where there is none.
    pub workflow: &'a FindWorkflow<'a>,
    /// Knows the node definitions of backends; absent where requests may not bring a graph of their own.
    pub graphs: Option<&'a Known<'a>>,
}

/// What a request wants to be run.
pub(super) enum Asked {
    /// A workflow of the catalogue.
    Workflow(Arc<Pair>),
    /// The graph that came with it.
    Graph(RawGraph),
}

pub(super) async fn generate(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if api.is_draining() {
        return Err(ApiError::unavailable("shutting_down", "the gateway is stopping: send the request again soon"));
    }
    let body = read(&api, &request, payload).await?;
    let key = idempotency_key(&api, &caller, &request, &body)?;
    if let Some(key) = &key
        && let Some(id) = api.intake.repeated(key).await?
    {
        return waited(&api, &request, id, accepted(id, true, &[])).await;
    }
    let fields = parse_object(&body)?;
    let top_level: BTreeSet<String> = fields.keys().cloned().collect();
    let (ready, mut submission) =
        taken_apart(&api, &caller, body, fields, key).await?.map_err(|error| name_fields(error, &top_level))?;
    submission.tenant = caller.tenant.clone();
    let place = api.throttle.job(&caller.tenant, &caller.limits).await??;
    let (taken_in, warnings) = match ready {
        Ready::Workflow(workflow) => (api.intake.accept(&workflow, submission).await, Vec::new()),
        Ready::Graph(graph, warnings) => (api.intake.accept_graph(*graph, submission).await, warnings),
    };
    let taken_in = taken_in.map_err(|error| name_fields(error, &top_level))?;
    if !taken_in.is_repeat {
        place.keep();
    }
    caller.note("job taken in", taken_in.id);
    let warnings = if taken_in.is_repeat { Vec::new() } else { warnings };
    waited(&api, &request, taken_in.id, accepted(taken_in.id, taken_in.is_repeat, &warnings)).await
}

/// Answers with the end of the job, where the caller would rather wait and it comes in time. What goes wrong meanwhile does not
/// undo that the job is taken in.
async fn waited(api: &Api, request: &HttpRequest, id: JobId, accepted: HttpResponse) -> Result<HttpResponse, ApiError> {
    let Some(seconds) = preferred(request.headers()) else { return Ok(accepted) };
    Ok(ended(api, id, seconds).await.ok().flatten().unwrap_or(accepted))
}

/// The body is the same for a repeat, but for what was odd about a graph; a header tells the difference.
fn accepted(id: JobId, is_repeat: bool, warnings: &[String]) -> HttpResponse {
    let status_url = format!("/jobs/{id}");
    let mut answer = HttpResponse::Accepted();
    answer.insert_header((LOCATION, status_url.as_str()));
    if is_repeat {
        answer.insert_header(("idempotent-replayed", "true"));
    }
    let events_url = format!("/jobs/{id}/events");
    let mut told = json!({ "prompt_id": id.to_string(), "status_url": status_url, "events_url": events_url });
    if !warnings.is_empty() {
        told["warnings"] = json!(warnings);
    }
    answer.json(told)
}

/// Takes the body of a request for a workflow apart without taking the job in; one that brings a graph is refused.
pub fn read_submission(body: &[u8], rules: &Rules<'_>) -> Result<(Arc<Pair>, Submission), ApiError> {
    let rules = Rules { graphs: None, ..*rules };
    match submission(&rules, body, &mut parse_object(body)?, None)? {
        (Asked::Workflow(workflow), submission) => Ok((workflow, submission)),
        (Asked::Graph(_), _) => Err(ApiError::internal()),
    }
}

pub(super) fn submission(
    rules: &Rules<'_>,
    body: &[u8],
    fields: &mut Map<String, Value>,
    idempotency: Option<IdempotencyKey>,
) -> Result<(Asked, Submission), ApiError> {
    if fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)) {
        return Err(ApiError::bad_request(
            "invalid_string",
            "the body contains the character U+0000, which is not text",
        ));
    }
    let graph = raw_graph(rules.graphs, body, fields)?;
    let workflow = optional_text(fields, "workflow")?;
    let webhook_url = optional_text(fields, "webhook_url")?.filter(|url| !url.is_empty());
    if let Some(url) = &webhook_url {
        rules.targets.check(url).map_err(|error| ApiError::bad_request(error.code(), error.to_string()))?;
    }
    let webhook_events = webhook_events(fields.remove("webhook_events"), webhook_url.is_some())?;
    let metadata = fields.remove("metadata").filter(|value| !value.is_null());
    if let Some(metadata) = &metadata {
        check_metadata(metadata)?;
    }
    let id = optional_text(fields, "prompt_id")?.as_deref().map(chosen_id).transpose()?;
    let priority = priority(fields.remove("priority"))?;
    let placement = placement(fields.remove("placement"))?;
    let max_runs = max_runs(fields.remove("max_runs"), rules.max_runs)?;
    let variants = variants(fields.remove("variants"), graph.is_some())?;
    let timeouts = timeouts(&rules.most, fields.remove("timeouts"))?;
    let Wishes { delivery, strip_metadata, conversion } = wishes(fields, rules.defaults)?;
    let partner_key = partner_key(fields)?;
    let (params, images) = params(fields)?;
    let asked = if let Some(graph) = graph {
        Asked::Graph(graph)
    } else {
        let workflow = (rules.workflow)(workflow.as_deref());
        require_prompt(workflow.as_deref().ok(), &params)?;
        Asked::Workflow(workflow?)
    };
    let other = |name: &String| (rules.workflow)(Some(name));
    let variants = variants.iter().map(other).collect::<Result<Vec<_>, _>>()?;
    Ok((
        asked,
        Submission {
            id,
            params,
            images,
            webhook_url,
            webhook_events,
            delivery,
            strip_metadata,
            conversion,
            metadata,
            priority,
            placement,
            variants,
            max_runs,
            timeouts,
            idempotency,
            partner_key,
            tenant: Tenant::default(),
        },
    ))
}

/// Puts what stands under `params` and under `images` beside what stands at top level; a name in two places is refused. Returns
/// the names under `images` too.
fn params(fields: &mut Map<String, Value>) -> Result<(Map<String, Value>, BTreeSet<String>), ApiError> {
    let under = object("params", fields.remove("params"))?;
    let images = object("images", fields.remove("images"))?;
    let names = images.keys().cloned().collect();
    let mut params = std::mem::take(fields);
    for (field, under) in [("params", under), ("images", images)] {
        for (name, value) in under {
            if params.insert(name.clone(), value).is_some() {
                let message = format!("parameter `{name}` stands under `{field}` and in another place: give it once");
                return Err(ApiError::bad_request("duplicate_param", message));
            }
        }
    }
    Ok((params, names))
}

fn object(name: &str, value: Option<Value>) -> Result<Map<String, Value>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(other) => Err(invalid_type(name, "an object", &other)),
    }
}

/// Refuses an empty prompt in `ComfyLite`'s words, wherever the workflow takes a prompt.
fn require_prompt(workflow: Option<&Pair>, params: &Map<String, Value>) -> Result<(), ApiError> {
    let takes_prompt = workflow.is_some_and(|workflow| workflow.parameter("prompt").is_some());
    let empty = || Err(ApiError::bad_request("empty_prompt", "prompt cannot be empty"));
    match params.get("prompt") {
        None if takes_prompt => empty(),
        Some(Value::String(text)) if text.trim().is_empty() => empty(),
        Some(Value::String(_)) | None => Ok(()),
        Some(other) => Err(invalid_type("prompt", "a string", other)),
    }
}

fn idempotency_key(
    api: &Api,
    caller: &Caller,
    request: &HttpRequest,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = request.headers().get_all("idempotency-key");
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    let Some(key) = key.filter(|_| values.next().is_none()) else {
        let message = "there must be one idempotency-key header, of 1 to 255 visible ASCII characters";
        return Err(ApiError::bad_request("invalid_idempotency_key", message));
    };
    Ok(Some(IdempotencyKey {
        tenant: caller.tenant.clone(),
        key: key.to_owned(),
        body_sha256: Sha256::digest(body).into(),
        expires_at: api.clock.now() + KEY_LIFE,
    }))
}

/// Returns what of a request's fields is meant for parameters, whatever may be wrong with the others.
pub(super) fn given_params(fields: &Map<String, Value>) -> Map<String, Value> {
    let under = ["params", "images"].into_iter().filter_map(|name| fields.get(name).and_then(Value::as_object));
    let mut given: Map<String, Value> = under.flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
    let others = fields.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()) && *name != PARTNER_KEY);
    given.extend(others.map(|(name, value)| (name.clone(), value.clone())));
    given
}

/// The same for one fault.
pub(super) fn name_fault(fault: ParamError, top_level: &BTreeSet<String>) -> ParamError {
    let is_field = fault.code == "unknown_param" && top_level.contains(&fault.parameter);
    ParamError { code: if is_field { "unknown_field" } else { fault.code }, ..fault }
}

/// A name that no parameter has is a field where it stood at top level.
fn name_fields(mut error: IntakeError, top_level: &BTreeSet<String>) -> ApiError {
    if let IntakeError::Params(errors) = &mut error {
        for error in errors {
            *error = name_fault(error.clone(), top_level);
        }
    }
    error.into()
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
