//! One node class: what goes in, what comes out, what kind of node it is.

use super::{InputDefinition, InputKind, Presence};

/// What a server says of a node class.
#[expect(clippy::struct_excessive_bools, reason = "each is a word of ComfyUI's own, and none excludes another")]
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeDefinition {
    /// The class's name, as `class_type` has it.
    pub class: String,
    /// The name that people see; empty where it has none.
    pub display_name: String,
    /// What it is for, in its author's words.
    pub description: String,
    /// Where the menu has it, such as `sampling/custom_sampling`.
    pub category: String,
    /// The inputs, required ones first, in the order in which the frontend shows them; hidden ones last.
    pub inputs: Vec<InputDefinition>,
    /// What comes out, by slot.
    pub outputs: Vec<OutputDefinition>,
    /// Whether a graph may end with it.
    pub is_output: bool,
    /// Whether it calls a partner's API, for which Comfy.org wants a key.
    pub is_api: bool,
    /// Whether its author advises against it.
    pub is_deprecated: bool,
    /// Whether it may change without notice.
    pub is_experimental: bool,
}

/// One output of a class.
#[derive(Clone, PartialEq, Debug)]
pub struct OutputDefinition {
    /// The type, such as `MODEL`, `INT` or `*`; `COMBO` where the server tells a list of choices.
    pub type_name: String,
    /// The name that people see.
    pub name: String,
    /// Whether a list of such things comes out.
    pub is_list: bool,
}

impl NodeDefinition {
    /// Finds an input that is not hidden.
    pub fn input(&self, name: &str) -> Option<&InputDefinition> {
        self.visible().find(|input| input.name == name)
    }

    /// Returns the inputs that are not hidden.
    pub fn visible(&self) -> impl Iterator<Item = &InputDefinition> + Clone {
        self.inputs.iter().filter(|input| input.presence != Presence::Hidden)
    }

    /// Returns the choices of an input; none where it is no combo, or where its choices are not told.
    pub fn choices(&self, input: &str) -> Option<&[serde_json::Value]> {
        match &self.input(input)?.kind {
            InputKind::Combo(choices) => Some(choices),
            InputKind::Type(_) => None,
        }
    }
}
