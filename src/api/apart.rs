//! Takes the body of `POST /generate` apart, where nobody waits for it: a graph that comes with it is read, converted and drawn away
//! from the threads that serve.

use super::caller::Caller;
use super::raw::{Known, refuse_params};
use super::submit::{Asked, Rules, submission};
use super::{Api, ApiError};
use crate::intake::{DrawnGraph, IntakeError, Submission};
use crate::store::IdempotencyKey;
use crate::workflow::Pair;
use actix_web::web;
use bytes::BytesMut;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A job that can be stored.
pub(super) enum Ready {
    Workflow(Arc<Pair>),
    /// With what the caller should know of the graph's conversion.
    Graph(Box<DrawnGraph>, Vec<String>),
}

/// Takes a request apart. A graph is read, converted and drawn where nobody waits for the thread.
pub(super) async fn taken_apart(
    api: &web::Data<Api>,
    caller: &Caller,
    body: BytesMut,
    mut fields: Map<String, Value>,
    key: Option<IdempotencyKey>,
) -> Result<Result<(Ready, Submission), IntakeError>, ApiError> {
    let brings_graph = api.raw_graphs && fields.get("graph").is_some_and(|graph| !graph.is_null());
    let own = api.clone();
    let take_apart = move || {
        let api = own;
        let workflow = |name: Option<&str>| api.intake.workflow(name);
        let known = || api.catalog.definitions();
        let graphs: Option<&Known<'_>> = if api.raw_graphs { Some(&known) } else { None };
        let (most, max_runs, defaults) = (api.intake.most, api.intake.max_runs, api.defaults);
        let rules = Rules { targets: &api.targets, most, max_runs, defaults, workflow: &workflow, graphs };
        let (asked, mut submission) = submission(&rules, &body, &mut fields, key)?;
        let graph = match asked {
            Asked::Workflow(workflow) => return Ok(Ok((Ready::Workflow(workflow), submission))),
            Asked::Graph(graph) => graph,
        };
        let warnings = graph.warnings().to_vec();
        // What is left over besides belongs to no workflow.
        let params = std::mem::take(&mut submission.params);
        let drawn = refuse_params(&params).and_then(|()| api.intake.draw(graph, &submission));
        Ok(drawn.map(|drawn| (Ready::Graph(Box::new(drawn), warnings), submission)))
    };
    if brings_graph { api.bench.work(&caller.tenant, take_apart).await? } else { take_apart() }
}
