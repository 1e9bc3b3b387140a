//! One run to be made, with everything that an executor must know of it.

use super::error::{Fault, RunError, SubmissionError, ValidationError};
use crate::graph::Graph;
use crate::workflow::{Pair, build, resolve};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One run to be made.
#[derive(Clone, PartialEq, Debug)]
pub struct Order {
    /// Which of the runs it is, from 1.
    pub number: usize,
    /// The frame that it makes, where it is one of a range.
    pub frame: Option<u64>,
    /// What it is called in lines and in the names of its files: the workflow and a number, `starter-0001`.
    pub name: String,
    /// The workflow.
    pub pair: Arc<Pair>,
    /// The parameters, seeds included, by their names.
    pub params: Map<String, Value>,
    /// The parameters that are pictures of this machine. An executor brings them to where it runs.
    pub images: BTreeMap<String, PathBuf>,
    /// The seeds in force, by the parameter's name, or by `node.input`.
    pub seeds: BTreeMap<String, u64>,
    /// The names that were given to the outputs of nodes, by the node's id.
    pub aliases: BTreeMap<String, String>,
    /// How long it may take from its beginning; none for the limit of the settings.
    pub limit: Option<Duration>,
}

impl Order {
    /// Returns the graph with all parameters put in. Those that are pictures of this machine have their file's name.
    pub fn graph(&self) -> Result<Graph, RunError> {
        let mut params = self.params.clone();
        for (name, path) in &self.images {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
            params.insert(name.clone(), Value::String(file.unwrap_or_default()));
        }
        let resolved = resolve(&self.pair, &params, || 0).map_err(|faults| {
            let faults = faults.into_iter().map(|fault| Fault::new(fault.code, fault.parameter, fault.message));
            ValidationError { faults: faults.collect() }
        })?;
        let built = build(&self.pair, &resolved.params);
        let failed = |error: crate::workflow::BuildError| SubmissionError { message: error.to_string(), node: None };
        Ok(built.map_err(failed)?.graph)
    }
}
