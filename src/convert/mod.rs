//! Workflows as ComfyUI saves them (UI format), converted into graphs as it executes them (API format): just what the
//! frontend itself makes of them before it queues. Knows the node classes of a server, and calls nobody.
//!
//! The frontend is `comfyui-frontend-package` 1.27.10. It opens the file in its editor and then writes what the editor
//! holds, and so does this: `file` reads, `load` opens, `settle` and `primitive` put right what comes after,
//! `prompt` writes.

mod carried;
mod error;
mod file;
mod furnish;
mod group;
mod group_class;
mod load;
mod order;
mod picture;
mod plan;
mod primitive;
mod prompt;
mod read;
mod reroute;
mod resolve;
mod scene;
mod settle;
mod source;
mod subgraph;
mod text;
mod value;
mod widget;
mod workflow;

pub use error::ConvertError;
pub use picture::{take, taken};
pub use read::{Format, Saved, is_ui_format, read};
pub use source::{Source, SourceError};

use crate::definitions::Definitions;
use crate::graph::Graph;
use serde_json::Value;

/// What came of a conversion.
#[derive(Clone, PartialEq, Debug)]
pub struct Converted {
    /// The graph, its nodes in the order in which the frontend writes them.
    pub graph: Graph,
    /// What a person should know of it, a sentence each: what could not be taken over as it was.
    pub warnings: Vec<String>,
}

/// Converts a workflow as ComfyUI saves it into a graph as it executes it.
pub fn convert(workflow: &Value, definitions: &Definitions) -> Result<Converted, ConvertError> {
    let saved = file::read(workflow)?;
    let (groups, known) = group_class::read(workflow, definitions)?;
    let mut scene = scene::Scene::new(&known);
    load::load(&mut scene, saved)?;
    settle::settle(&mut scene)?;
    primitive::equip(&mut scene)?;
    settle::rename_samplers(&mut scene);
    reroute::tidy(&mut scene)?;
    settle::show_last_models(&mut scene);
    primitive::apply_all(&mut scene)?;
    group::expand(&mut scene, &groups)?;
    subgraph::sync(&mut scene)?;
    prompt::write(&scene)
}

/// How much a file may ask for. Real ones stay far below.
mod limits {
    /// Nodes, those of all instances of subgraphs together; the frontend has the same bound for one graph.
    pub(super) const NODES: usize = 10_000;
    /// Widgets of all nodes.
    pub(super) const WIDGETS: usize = 400_000;
    /// Definitions of subgraphs.
    pub(super) const SUBGRAPHS: usize = 1_000;
    /// Subgraphs inside each other.
    pub(super) const DEPTH: usize = 64;
    /// Steps of the conversion.
    pub(super) const STEPS: usize = 2_000_000;
    /// Bytes of all values in the result.
    pub(super) const BYTES: usize = 64 * 1024 * 1024;
    /// Bytes of a text with references.
    pub(super) const TEXT: usize = 1024 * 1024;
    /// Choices inside each other.
    pub(super) const CHOICES: usize = 64;
    /// Warnings.
    pub(super) const WARNINGS: usize = 100;
}
