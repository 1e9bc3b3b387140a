//! What a server says of its node classes (`GET /object_info`), as types: the inputs of each class in their order, what
//! they take, and what comes out. Knows no graph and calls nobody.
//!
//! The shape is that of ComfyUI 0.3.64: `{class: {"input": {"required": {name: [type, options]}, ...}, "output": [type, ...], ...}}`.

mod input;
mod node;
mod read;

pub use input::{InputDefinition, InputKind, Presence};
pub use node::{NodeDefinition, OutputDefinition};
pub use read::DefinitionsError;

use indexmap::IndexMap;
use std::sync::Arc;

/// The node classes that a server has, by name, in its order. Cheap to clone.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Definitions {
    nodes: Arc<IndexMap<String, Arc<NodeDefinition>>>,
}

impl Definitions {
    /// Reads the answer of `GET /object_info`. Like every text of ComfyUI it may hold `NaN` and `Infinity`. A class that
    /// is not described as ComfyUI describes them is passed over: a broken custom node must not hide all others.
    pub fn parse(text: &str) -> Result<Self, DefinitionsError> {
        read::read(text).map(Self::of)
    }

    /// Makes definitions of classes that are known by other means, such as those of a test.
    pub fn of(nodes: impl IntoIterator<Item = NodeDefinition>) -> Self {
        Self { nodes: Arc::new(nodes.into_iter().map(|node| (node.class.clone(), Arc::new(node))).collect()) }
    }

    /// Returns the definitions with a class added, or put in the place of the one of that name.
    #[must_use]
    pub fn with(mut self, node: NodeDefinition) -> Self {
        Arc::make_mut(&mut self.nodes).insert(node.class.clone(), Arc::new(node));
        self
    }

    /// Finds a class by its name.
    pub fn node(&self, class: &str) -> Option<&NodeDefinition> {
        self.nodes.get(class).map(Arc::as_ref)
    }

    /// Returns all classes, in the server's order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeDefinition> + Clone {
        self.nodes.values().map(Arc::as_ref)
    }

    /// Says whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}
