//! Graphs as ComfyUI executes them (API format): read, changed, compared, written. Knows no server and no workflow file.
//!
//! [`Graph`] is what is written. [`Workflow`] is a graph that is being edited: inputs set, nodes bypassed, seeds drawn,
//! outputs declared. [`PromptBuilder`] is a graph with named inputs and outputs, to be filled again and again. Both end in
//! [`Built`], what can be submitted, and say what is wrong by a [`PromptError`].

mod api;
mod builder;
mod bypass;
mod error;
mod fault;
mod hash;
#[cfg(test)]
mod laws;
mod links;
mod node;
mod not_json;
mod output;
mod path;
mod workflow;

pub use api::Graph;
pub use builder::PromptBuilder;
pub use error::PromptError;
pub use fault::GraphError;
pub use hash::is_model;
pub use links::Link;
pub use node::{Node, is_link, kind_of};
pub use output::{Built, Output, OutputName};
pub use path::Target;
pub use workflow::{DRAWN, SEEDS, Workflow, is_seed};
