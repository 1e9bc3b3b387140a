//! Puts parameters into a workflow's template. Pure: the same workflow and parameters give the same graph.

use super::pair::Pair;
use super::parameter::Parameter;
use crate::graph::{Graph, GraphError};
use crate::job::{ParamValue, Params};
use serde_json::{Number, Value};
use std::collections::BTreeSet;

/// The class whose images come over the socket and lie in no file.
const SOCKET_CLASS: &str = "SaveImageWebsocket";

/// A graph ready to be submitted, and what is known about its outputs.
#[derive(Clone, PartialEq, Debug)]
pub struct Built {
    /// The graph.
    pub graph: Graph,
    /// The nodes whose outputs are the result; none: every output node.
    pub outputs: Option<Vec<String>>,
    /// The nodes whose images come over the socket.
    pub websocket_nodes: BTreeSet<String>,
}

/// Why a graph could not be built from parameters that were checked: they belong to another revision.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The workflow has no such parameter.
    #[error("workflow `{workflow}` has no parameter `{parameter}`")]
    UnknownParameter {
        /// The workflow.
        workflow: String,
        /// The parameter.
        parameter: String,
    },
    /// JSON cannot hold the number.
    #[error("parameter `{parameter}`: {value} is not a number that JSON can hold")]
    NotJson {
        /// The parameter.
        parameter: String,
        /// Its value.
        value: String,
    },
    /// The template has no such node.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Builds the graph of a job.
pub fn build(workflow: &Pair, params: &Params) -> Result<Built, BuildError> {
    let mut graph = workflow.graph.clone();
    for (name, value) in params {
        for target in &parameter(workflow, name)?.targets {
            graph.set(&target.node, &target.input, scalar(name, value)?)?;
        }
    }
    let is_socket = |class: &str| class == SOCKET_CLASS;
    let websocket_nodes =
        graph.nodes().filter(|(_, node)| is_socket(&node.class_type)).map(|(id, _)| id.to_owned()).collect();
    Ok(Built { graph, outputs: workflow.outputs.clone(), websocket_nodes })
}

/// Says whether [`build`] would succeed, without the work of copying the graph.
pub fn check(workflow: &Pair, params: &Params) -> Result<(), BuildError> {
    for (name, value) in params {
        for target in &parameter(workflow, name)?.targets {
            workflow.graph.require(&target.node)?;
            scalar(name, value)?;
        }
    }
    Ok(())
}

fn parameter<'a>(workflow: &'a Pair, name: &str) -> Result<&'a Parameter, BuildError> {
    workflow
        .parameter(name)
        .ok_or_else(|| BuildError::UnknownParameter { workflow: workflow.name().into(), parameter: name.into() })
}

fn scalar(name: &str, value: &ParamValue) -> Result<Value, BuildError> {
    let number = match value {
        ParamValue::Boolean(truth) => return Ok(Value::Bool(*truth)),
        ParamValue::Text(text) => return Ok(Value::String(text.clone())),
        ParamValue::Integer(whole) => Number::from_i128(*whole),
        ParamValue::Number(number) => Number::from_f64(*number),
    };
    number
        .map(Value::Number)
        .ok_or_else(|| BuildError::NotJson { parameter: name.to_owned(), value: value.to_string() })
}
