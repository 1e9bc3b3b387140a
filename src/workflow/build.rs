//! Puts parameters into a workflow's template. Pure: the same workflow and parameters give the same graph.

use super::pair::Pair;
use super::parameter::Parameter;
use crate::graph::{Built, PromptError, Workflow};
use crate::job::{ParamValue, Params};
use serde_json::Value;

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
    /// The template does not take the value there.
    #[error(transparent)]
    Prompt(#[from] PromptError),
}

/// Builds the graph of a job.
pub fn build(workflow: &Pair, params: &Params) -> Result<Built, BuildError> {
    let mut edited = Workflow::of(workflow.graph.clone());
    for (name, value) in params {
        for target in &parameter(workflow, name)?.targets {
            edited.input(&target.node, &target.input, scalar(name, value)?)?;
        }
    }
    let (outputs, aliases) = (workflow.outputs.clone(), workflow.output_names().clone());
    Ok(Built { outputs, aliases, ..edited.into_built() })
}

/// Says whether [`build`] would succeed, without the work of copying the graph.
pub fn check(workflow: &Pair, params: &Params) -> Result<(), BuildError> {
    for (name, value) in params {
        for target in &parameter(workflow, name)?.targets {
            workflow.graph.require(&target.node).map_err(PromptError::from)?;
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
    value.to_json().ok_or_else(|| BuildError::NotJson { parameter: name.to_owned(), value: value.to_string() })
}
