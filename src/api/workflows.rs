//! `GET /workflows` and `GET /workflows/{name}`: what there is, what it takes, and where it would run.

use super::caller::Caller;
use super::jobs::names;
use super::schema::schema;
use super::verdicts::Verdict;
use super::{Api, ApiError};
use crate::hex;
use crate::names::{hint, shown};
use crate::workflow::{Pair, Problem};
use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Lists all workflows, and what is wrong with the files of those that are not there.
pub(super) async fn list(api: web::Data<Api>, caller: Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let found = away(move || {
        let workflows: Vec<Arc<Pair>> =
            api.catalog.names().iter().filter_map(|name| api.catalog.workflow(name)).collect();
        let problems = api.catalog.problems();
        let broken = problems.iter().filter(|(name, _)| !workflows.iter().any(|workflow| workflow.name() == **name));
        // A folder that cannot be read stands under its path, which is the operator's alone.
        let may_be_told = |name: &str| caller.sees_all || !name.contains(['/', '\\']);
        let broken: Vec<Value> = broken
            .filter(|(name, _)| may_be_told(name))
            .map(|(name, problems)| json!({ "name": name, "problems": texts(&caller, problems) }))
            .collect();
        let workflows: Vec<Value> = workflows.iter().map(|workflow| summary(&api, &caller, workflow)).collect();
        json!({ "workflows": workflows, "broken": broken })
    });
    Ok(tagged(&request, &found.await?))
}

/// Tells everything of one workflow, by any of its names.
pub(super) async fn get(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let workflow = find(&api, &name)?;
    let told = away(move || {
        let mut told = summary(&api, &caller, &workflow);
        let verdicts = api.verdicts.of(&workflow);
        told["schema"] = schema(&workflow, &api.verdicts.inventory().known());
        told["checks"] = verdicts.iter().map(|verdict| in_full(verdict, &caller)).collect();
        told
    });
    Ok(tagged(&request, &told.await?))
}

/// Finds a workflow by any of its names, or says which is near.
pub(super) fn find(api: &Api, name: &str) -> Result<Arc<Pair>, ApiError> {
    api.catalog.workflow(name).ok_or_else(|| {
        let (own, others) = (api.catalog.names(), api.catalog.other_names());
        let known = own.iter().chain(others.keys()).map(String::as_str);
        ApiError::not_found(format!("there is no workflow `{}`{}", shown(name), hint(name, known)))
    })
}

/// Works where nobody waits for the thread.
pub(super) async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    // A panic in there was told by the runtime already.
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::internal())
}

fn summary(api: &Api, caller: &Caller, workflow: &Pair) -> Value {
    let name = workflow.name();
    let other_names: Vec<String> =
        api.catalog.other_names().into_iter().filter(|(_, own)| own == name).map(|(other, _)| other).collect();
    let is_default = api.catalog.workflow(&api.intake.default_workflow).is_some_and(|default| default.name() == name);
    let problems = api.catalog.problems().get(name).map(|problems| texts(caller, problems)).unwrap_or_default();
    let checks: Vec<Value> = api.verdicts.of(workflow).iter().map(|verdict| verdict.view(caller)).collect();
    json!({
        "name": name,
        "version": workflow.version(),
        "other_names": other_names,
        "default": is_default,
        "description": workflow.description(),
        "revision": workflow.revision(),
        "parameters": workflow.parameters().map(|parameter| parameter.name.as_str()).collect::<Vec<_>>(),
        "outputs": outputs(workflow),
        "timeouts": workflow.timeouts(),
        "tags": workflow.required_tags(),
        "problems": problems,
        "warnings": workflow.warnings(),
        "checks": checks,
    })
}

/// Tells the nodes whose outputs are the result; `null` where every output node's are.
fn outputs(workflow: &Pair) -> Option<Vec<Value>> {
    let output = |id: &String| {
        let node = workflow.template().node(id);
        json!({
            "node": id,
            "name": workflow.output_names().get(id),
            "class_type": node.map(|node| node.class_type.as_str()),
            "title": node.and_then(|node| node.title.as_deref()),
        })
    };
    Some(workflow.outputs()?.iter().map(output).collect())
}

fn in_full(verdict: &Verdict, caller: &Caller) -> Value {
    let mut view = verdict.view(caller);
    view["problems"] = json!(verdict.problems.as_deref().map(Vec::as_slice).unwrap_or_default());
    view
}

/// Tells what is wrong with files. What it says of the gateway's disk is the operator's.
fn texts(caller: &Caller, problems: &[Problem]) -> Vec<String> {
    if caller.sees_all {
        return problems.iter().map(ToString::to_string).collect();
    }
    let is_good = problems.is_empty();
    if is_good { Vec::new() } else { vec!["its files have faults; the operator is told which".to_owned()] }
}

/// Answers with a tag, by which a caller that has the same already is spared it.
fn tagged(request: &HttpRequest, body: &Value) -> HttpResponse {
    let text = body.to_string();
    let hash = hex::of(&Sha256::digest(&text)[..16]);
    let tag = format!("\"{hash}\"");
    let is_known = names(request.headers().get(IF_NONE_MATCH), &tag);
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, "private, no-cache"));
    if is_known { answer.finish() } else { answer.content_type("application/json").body(text) }
}
