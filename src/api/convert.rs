//! `POST /convert`: a workflow as ComfyUI saves it, or a picture that carries one, into the graph that it executes.

use super::body::read_up_to;
use super::caller::Caller;
use super::{Api, ApiError};
use crate::convert::{ConvertError, Converted, Format, Source, read};
use crate::definitions::Definitions;
use crate::graph::GraphError;
use crate::names::{shown, there_are};
use crate::workflow::duplicates;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Display;

/// The largest file that is read, the same as of a template, and the longest text that is taken out of a picture.
const LARGEST: usize = 8 << 20;

/// What a body may be. What it is, is told by its first bytes.
const TYPES: [&str; 2] = ["application/json", "image/png"];

/// Converts the body, which is the file.
pub(super) async fn post(
    api: web::Data<Api>,
    caller: Caller,
    query: web::Query<HashMap<String, String>>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let definitions = definitions(&api, &caller, query.get("backend").map(String::as_str))?;
    let body = read_up_to(&api, &request, payload, &TYPES, LARGEST.max(api.max_body)).await?;
    let done = api.bench.work(&caller.tenant, move || converted(body.into(), &definitions)).await??;
    Ok(HttpResponse::Ok().json(done))
}

/// Finds the definitions to convert with: those of one backend, or of all together.
fn definitions(api: &Api, caller: &Caller, backend: Option<&str>) -> Result<Definitions, ApiError> {
    let inventory = api.verdicts.inventory();
    let found = match backend {
        None => inventory.known(),
        Some(asked) => {
            // Where backends are is the operator's: others name them by their place.
            let shown_as = |(place, name): (usize, &String)| {
                if caller.sees_all { name.clone() } else { (place + 1).to_string() }
            };
            let names = inventory.backends();
            let known: Vec<String> = names.iter().enumerate().map(shown_as).collect();
            let Some((_, name)) = known.iter().zip(&names).find(|(known, _)| *known == asked) else {
                let there_are = there_are(known.iter().map(String::as_str));
                let message = format!("backend: there is no `{}`{there_are}", shown(asked));
                return Err(ApiError::bad_request("not_allowed", message));
            };
            inventory.of(name).unwrap_or_default()
        }
    };
    if found.is_empty() {
        let message =
            "no ComfyUI has said yet which nodes it has, and without that nothing can be converted; is it running?";
        return Err(ApiError::unavailable("nodes_unknown", message));
    }
    Ok(found)
}

fn converted(body: Vec<u8>, definitions: &Definitions) -> Result<Value, ApiError> {
    let no_workflow = |error: &dyn Display| invalid_json(&format!("the body is no workflow: {error}"));
    let Source { text, is_carried } = Source::read_within(body, LARGEST).map_err(|error| no_workflow(&error))?;
    let is_no_object =
        |error: &GraphError| matches!(error, GraphError::NotJson { .. } | GraphError::NotAnObject { .. });
    match read(&text) {
        Ok(Format::Saved(saved)) => {
            let Converted { graph, warnings } = saved.convert(definitions).map_err(|error| refusal(&error))?;
            Ok(json!({ "graph": graph, "warnings": warnings }))
        }
        Ok(Format::Executed(graph)) => {
            if let Some(twice) = duplicates(&text, "the body").first() {
                return Err(invalid_json(&twice.to_string()));
            }
            let warning = if is_carried {
                "this is the graph that made the picture, which it carries"
            } else {
                "the file is in API format already, and is given back as it is"
            };
            Ok(json!({ "graph": graph, "warnings": [warning] }))
        }
        Err(error) if is_no_object(&error) => Err(no_workflow(&error)),
        Err(error) => Err(refusal(&ConvertError::Graph(error))),
    }
}

fn refusal(error: &ConvertError) -> ApiError {
    let details = json!({ "reason": error.code(), "node": error.node() });
    ApiError::bad_request("cannot_convert", error.to_string()).with_details(details)
}

fn invalid_json(reason: &str) -> ApiError {
    ApiError::bad_request("invalid_json", reason)
}
