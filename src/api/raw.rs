//! The part of `POST /generate` that is about a graph which comes with the request: whether that is allowed, the graph, its
//! outputs, and that nothing else of a workflow stands beside it.

use super::ApiError;
use super::body::invalid_type;
use crate::convert::is_ui_format;
use crate::definitions::Definitions;
use crate::intake::IntakeError;
use crate::names::shown;
use crate::workflow::{ParamError, RawGraph, duplicate_within};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The most parameters that are refused by name at once.
const MAX_REFUSED: usize = 32;

/// What backends say of their node classes, for a graph in UI format.
pub type Known<'a> = dyn Fn() -> Definitions + 'a;

/// The graph with its nodes in the order in which they were written, which is that in which ComfyUI runs them.
#[derive(Deserialize)]
struct Ordered {
    graph: IndexMap<String, Value>,
}

/// Takes the graph out of a request's fields; none where there is none. `known` is absent where graphs are not allowed.
pub(super) fn raw_graph(
    known: Option<&Known<'_>>,
    body: &[u8],
    fields: &mut Map<String, Value>,
) -> Result<Option<RawGraph>, ApiError> {
    let Some(graph) = fields.remove("graph").filter(|graph| !graph.is_null()) else { return Ok(None) };
    let Some(known) = known else {
        let message =
            "this gateway takes no graphs, only the names of workflows: COMFYGATE_RAW_GRAPHS=true allows them";
        return Err(ApiError::forbidden("raw_graphs_off", message));
    };
    if fields.get("workflow").is_some_and(|workflow| !workflow.is_null()) {
        let message = "`graph` and `workflow` are both given: a request has one of the two";
        return Err(ApiError::bad_request("duplicate_param", message));
    }
    if !graph.is_object() {
        return Err(invalid_type("graph", "an object of nodes by id", &graph));
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    if !is_ui_format(&graph)
        && let Some(twice) = duplicate_within("graph", text)
    {
        return Err(ApiError::bad_request("invalid_graph", twice));
    }
    let ordered = serde_json::from_slice(body).and_then(|Ordered { graph }| serde_json::to_string(&graph));
    let mut graph = RawGraph::read(&ordered.unwrap_or_else(|_| graph.to_string()), &known())?;
    for output in outputs(fields.remove("outputs"))? {
        graph.output(&output)?;
    }
    Ok(Some(graph))
}

/// Refuses every parameter by its name: they belong into the graph.
pub(super) fn refuse_params(params: &Map<String, Value>) -> Result<(), IntakeError> {
    let refuse = |name: &String| ParamError {
        code: "unknown_param",
        parameter: name.chars().take(64).collect(),
        message: format!("a request with `graph` has no parameter `{}`: put the value into the graph", shown(name)),
    };
    let refused: Vec<ParamError> = params.keys().take(MAX_REFUSED).map(refuse).collect();
    if refused.is_empty() { Ok(()) } else { Err(IntakeError::Params(refused)) }
}

fn outputs(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    let items = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(invalid_type("outputs", "a list such as [\"9\", \"images:12\"]", &other)),
    };
    let text = |item: &Value| {
        let wrong = || invalid_type("each of outputs", "a text such as \"9\" or \"images:9\"", item);
        item.as_str().map(str::to_owned).ok_or_else(wrong)
    };
    items.iter().map(text).collect()
}
