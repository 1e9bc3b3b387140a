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
use std::collections::BTreeSet;
use std::sync::Arc;

/// The node classes that a server has, by name, in its order. Cheap to clone.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Definitions {
    nodes: Arc<IndexMap<String, Arc<NodeDefinition>>>,
    /// Classes that are there, and described as nobody else describes them.
    unread: Arc<BTreeSet<String>>,
}

impl Definitions {
    /// Reads the answer of `GET /object_info`. Like every text of ComfyUI it may hold `NaN` and `Infinity`. A class that
    /// is not described as ComfyUI describes them is passed over: a broken custom node must not hide all others.
    pub fn parse(text: &str) -> Result<Self, DefinitionsError> {
        let (nodes, unread) = read::read(text)?;
        Ok(Self { unread: Arc::new(unread), ..Self::of(nodes) })
    }

    /// Makes definitions of classes that are known by other means, such as those of a test.
    pub fn of(nodes: impl IntoIterator<Item = NodeDefinition>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.class.clone(), Arc::new(node))).collect();
        Self { nodes: Arc::new(nodes), unread: Arc::default() }
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

    /// Says whether the server has a class, be it one whose description cannot be read.
    pub fn has(&self, class: &str) -> bool {
        self.nodes.contains_key(class) || self.unread.contains(class)
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
