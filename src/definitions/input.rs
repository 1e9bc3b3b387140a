//! One input of a node class: what it takes, and whether it may be absent.

use serde_json::{Map, Value};

/// One input of a class.
#[derive(Clone, PartialEq, Debug)]
pub struct InputDefinition {
    /// Its name.
    pub name: String,
    /// Whether it may be absent.
    pub presence: Presence,
    /// What it takes.
    pub kind: InputKind,
    /// What the server says besides: `default`, `min`, `max`, `step`, `multiline`, `forceInput`, `control_after_generate`,
    /// `image_upload` and whatever a node's author has added.
    pub options: Map<String, Value>,
}

/// Whether an input may be absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It may be absent.
    Optional,
    /// The server fills it in itself.
    Hidden,
}

/// What an input takes.
#[derive(Clone, PartialEq, Debug)]
pub enum InputKind {
    /// One of these values. Empty where the server tells them elsewhere (`remote`), or has none, such as a folder
    /// without models.
    Combo(Vec<Value>),
    /// A value of this type: `INT`, `FLOAT`, `STRING`, `BOOLEAN`, `MODEL`, several as `IMAGE,MASK`, any as `*`.
    Type(String),
}

impl InputDefinition {
    /// Returns the type's name; `COMBO` for one of several values.
    pub fn type_name(&self) -> &str {
        match &self.kind {
            InputKind::Combo(_) => "COMBO",
            InputKind::Type(name) => name,
        }
    }

    /// Returns the value that the server would take where none is written.
    pub fn default(&self) -> Option<&Value> {
        self.options.get("default")
    }

    /// Says whether an option is set to true.
    pub fn is(&self, option: &str) -> bool {
        self.options.get(option).and_then(Value::as_bool).unwrap_or_default()
    }
}
