//! `POST /workflows/{name}/check`: what would become of a request, without taking it in.

use super::body::{parse_object, read};
use super::caller::Caller;
use super::submit::{Rules, given_params, name_fault, submission};
use super::verdicts::{Verdict, may_have_changed, without};
use super::workflows::{away, find};
use super::{Api, ApiError};
use crate::check::{Problem, check};
use crate::definitions::Definitions;
use crate::graph::Graph;
use crate::inputs::{Picked, pick_images};
use crate::job::{Params, describe_inputs};
use crate::workflow::{Pair, ParamError, Target, attempt, build};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How old what is known of a backend may be before it is asked again, where its models do not suffice.
const FRESH: Duration = Duration::from_secs(5);

/// Says everything that is wrong with a request for a workflow, and what it would execute.
pub(super) async fn dry_run(
    api: web::Data<Api>,
    caller: Caller,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let workflow = find(&api, &name)?;
    let body = read(&api, &request, payload).await?;
    let mut fields = parse_object(&body)?;
    let top_level: BTreeSet<String> = fields.keys().cloned().collect();
    let given = given_params(&fields);
    let mut problems = Vec::new();
    let find = |_: Option<&str>| Ok(Arc::clone(&workflow));
    let (most, max_runs, defaults) = (api.intake.most, api.intake.max_runs, api.defaults);
    let rules = Rules { targets: &api.targets, most, max_runs, defaults, workflow: &find, graphs: None };
    let (mut given, images) = match submission(&rules, &body, &mut fields, None) {
        Ok((_, submission)) => (submission.params, submission.images),
        Err(error) => {
            problems.push(json!({ "severity": "error", "type": error.code(), "message": error.to_string() }));
            (given, BTreeSet::new())
        }
    };
    let Picked { images, names: brought, faults: of_images } = pick_images(&workflow, &mut given, &images);
    let looked = api.inputs.look(&caller.tenant, images).await.map_err(crate::intake::IntakeError::from)?;
    let (mut resolved, faults) = attempt(&workflow, &given, || api.intake.draw_number());
    let faults = of_images.into_iter().chain(looked.faults.iter().cloned()).chain(faults);
    problems.extend(faults.map(|fault| fault_view(name_fault(fault, &top_level))));
    let is_good_request = problems.is_empty();
    resolved.params.retain(|name, _| !brought.contains(name));
    let params = looked.placed().joined(&resolved.params);
    let graph = build(&workflow, &params).map_err(crate::intake::IntakeError::from)?.graph;
    let verdicts = verdicts(&api, &graph, &targets_of(&workflow, &brought)).await?;
    problems.extend(together(&verdicts, &caller));
    let may_run = verdicts.is_empty() || verdicts.iter().any(|verdict| verdict.is_ok() != Some(false));
    let backends: Vec<Value> = verdicts.iter().map(|verdict| verdict.view(&caller)).collect();
    Ok(HttpResponse::Ok().json(json!({
        "ok": is_good_request && may_run,
        "workflow": workflow.name(),
        "revision": workflow.revision(),
        "params": params_view(&resolved.params),
        "seed": resolved.seed,
        "inputs": describe_inputs(&looked.images),
        "graph": graph,
        "problems": problems,
        "checks": backends,
    })))
}

/// Returns the inputs of nodes that these parameters set.
fn targets_of(workflow: &Pair, names: &BTreeSet<String>) -> Vec<Target> {
    let meant = workflow.parameters().filter(|parameter| names.contains(&parameter.name));
    meant.flat_map(|parameter| parameter.targets.clone()).collect()
}

/// Checks a graph on every backend; where one lacks something, it is asked whether it still does. What is wrong with what is
/// brought before the graph is passed over: those files are not there yet.
async fn verdicts(api: &web::Data<Api>, graph: &Graph, brought: &[Target]) -> Result<Vec<Verdict>, ApiError> {
    let inventory = Arc::clone(api.verdicts.inventory());
    let first = judged(api, graph, brought).await?;
    let is_connected = |name: &str| api.pool.get(name).is_some_and(|backend| backend.desk.is_connected());
    let doubtful = |verdict: &&Verdict| {
        let lacks = verdict.problems.as_deref().is_none_or(|problems| may_have_changed(problems));
        lacks && is_connected(&verdict.backend)
    };
    let doubted: Vec<&str> = first.iter().filter(doubtful).map(|verdict| verdict.backend.as_str()).collect();
    if doubted.is_empty() {
        return Ok(first);
    }
    let before = *inventory.changes().borrow();
    join_all(doubted.iter().map(|backend| inventory.refresh(backend, FRESH))).await;
    if *inventory.changes().borrow() == before { Ok(first) } else { judged(api, graph, brought).await }
}

async fn judged(api: &web::Data<Api>, graph: &Graph, brought: &[Target]) -> Result<Vec<Verdict>, ApiError> {
    let (inventory, graph, brought) = (Arc::clone(api.verdicts.inventory()), graph.clone(), brought.to_vec());
    away(move || {
        let problems = |definitions: &Definitions| without(check(&graph, definitions), &brought);
        let verdict = |(place, backend): (usize, &String)| Verdict {
            backend: backend.clone(),
            place: place + 1,
            problems: inventory.of(backend).map(|definitions| Arc::new(problems(&definitions))),
        };
        inventory.backends().iter().enumerate().map(verdict).collect()
    })
    .await
}

/// Lists the problems of all backends, each once with the backends that have it.
fn together(verdicts: &[Verdict], caller: &Caller) -> Vec<Value> {
    let mut all: Vec<(&Problem, Vec<String>)> = Vec::new();
    for verdict in verdicts {
        let name = verdict.name_for(caller);
        for problem in verdict.problems.as_deref().into_iter().flatten() {
            match all.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, backends)) => backends.push(name.clone()),
                None => all.push((problem, vec![name.clone()])),
            }
        }
    }
    let view = |(problem, backends): (&Problem, Vec<String>)| {
        let mut view = json!(problem);
        view["backends"] = json!(backends);
        view
    };
    all.into_iter().map(view).collect()
}

fn fault_view(fault: ParamError) -> Value {
    let ParamError { code, parameter, message } = fault;
    json!({ "severity": "error", "type": code, "parameter": parameter, "message": message })
}

fn params_view(params: &Params) -> Map<String, Value> {
    params.iter().filter_map(|(name, value)| Some((name.clone(), value.to_json()?))).collect()
}
