//! What is wrong with a graph: which node, which input, ComfyUI's word for it, and how to mend it.

use crate::graph::Node;
use crate::names::{cut, shown};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;

/// How many problems of one graph are told.
const MOST: usize = 1000;

/// How many letters of a value are shown.
pub(super) const SHOWN: usize = 100;

/// What kind of problem it is: ComfyUI's word where it has one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The server has no such class. ComfyUI 0.3.64 says `invalid_prompt`, later ones say this.
    MissingNodeType,
    /// No node is an output.
    PromptNoOutputs,
    /// Nodes need each other in a circle. ComfyUI 0.3.64 refuses them without a word, later ones say this.
    DependencyCycle,
    /// An input that must be there is not.
    RequiredInputMissing,
    /// A link that is none, or leads to a node or an output that is not there. For the latter ComfyUI says
    /// `exception_during_validation` or `exception_during_inner_validation`.
    BadLinkedInput,
    /// A link brings something else than the input takes.
    ReturnTypeMismatch,
    /// A value that cannot become the input's type.
    InvalidInputType,
    /// A number below the least one.
    ValueSmallerThanMin,
    /// A number above the largest one.
    ValueBiggerThanMax,
    /// None of the choices: a wrong word, or a model file that the server does not have.
    ValueNotInList,
    /// A class would refuse the value itself: a file that is not in the server's input folder, as far as is known.
    CustomValidationFailed,
    /// A value stands where only a link makes sense. ComfyUI takes it, and fails when it runs.
    LinkExpected,
    /// The class does not declare such an input. ComfyUI takes no notice of it.
    UnknownInput,
    /// A text stands for a truth value. ComfyUI takes every text for true, `"false"` too.
    TextForBoolean,
    /// No output needs the node.
    UnusedNode,
    /// The class's author advises against it.
    DeprecatedNode,
    /// There is more than is told.
    More,
}

/// Whether ComfyUI would refuse it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The graph, or the part that needs this node, cannot run.
    Error,
    /// It can run, but perhaps not as it is meant.
    Warning,
}

/// One thing that is wrong with a graph.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Problem {
    /// Whether ComfyUI would refuse it.
    pub severity: Severity,
    /// What kind of problem it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The node's id; none where the whole graph is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_type: Option<String>,
    /// The title that its author gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The input at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// What is wrong, in one line.
    pub message: String,
    /// What the input takes, or what else there is to know, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The value at fault, cut where it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Value>,
    /// What would be right and is nearest to what stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Value>,
    /// How to mend it, in one line.
    pub mend: String,
}

impl Kind {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingNodeType => "missing_node_type",
            Self::PromptNoOutputs => "prompt_no_outputs",
            Self::DependencyCycle => "dependency_cycle",
            Self::RequiredInputMissing => "required_input_missing",
            Self::BadLinkedInput => "bad_linked_input",
            Self::ReturnTypeMismatch => "return_type_mismatch",
            Self::InvalidInputType => "invalid_input_type",
            Self::ValueSmallerThanMin => "value_smaller_than_min",
            Self::ValueBiggerThanMax => "value_bigger_than_max",
            Self::ValueNotInList => "value_not_in_list",
            Self::CustomValidationFailed => "custom_validation_failed",
            Self::LinkExpected => "link_expected",
            Self::UnknownInput => "unknown_input",
            Self::TextForBoolean => "text_for_boolean",
            Self::UnusedNode => "unused_node",
            Self::DeprecatedNode => "deprecated_node",
            Self::More => "more",
        }
    }

    /// Says whether it keeps the graph from running, where it stands at a node that runs.
    fn severity(self) -> Severity {
        match self {
            Self::MissingNodeType
            | Self::PromptNoOutputs
            | Self::DependencyCycle
            | Self::RequiredInputMissing
            | Self::BadLinkedInput
            | Self::ReturnTypeMismatch
            | Self::InvalidInputType
            | Self::ValueSmallerThanMin
            | Self::ValueBiggerThanMax
            | Self::ValueNotInList => Severity::Error,
            Self::CustomValidationFailed
            | Self::LinkExpected
            | Self::UnknownInput
            | Self::TextForBoolean
            | Self::UnusedNode
            | Self::DeprecatedNode
            | Self::More => Severity::Warning,
        }
    }
}

impl Problem {
    pub(super) fn new(kind: Kind, message: String, mend: impl Into<String>) -> Self {
        Self {
            severity: kind.severity(),
            kind,
            node: None,
            class_type: None,
            title: None,
            input: None,
            message,
            details: None,
            received: None,
            suggestion: None,
            mend: mend.into(),
        }
    }

    pub(super) fn at(mut self, id: &str, node: &Node) -> Self {
        self.node = Some(id.to_owned());
        self.class_type = Some(node.class_type.clone());
        self.title.clone_from(&node.title);
        self
    }

    pub(super) fn of_input(mut self, input: &str) -> Self {
        self.input = Some(input.to_owned());
        self
    }

    pub(super) fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    pub(super) fn received(mut self, value: &Value) -> Self {
        self.received = Some(shortened(value));
        self
    }

    pub(super) fn suggesting(mut self, suggestion: Option<Value>) -> Self {
        self.suggestion = suggestion;
        self
    }

    pub(super) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl fmt::Display for Problem {
    /// Writes all of it in one line: `node `3` (KSampler), input `steps`: ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "node `{}`", shown(node))?;
            if let Some(class) = &self.class_type {
                write!(f, " ({}", shown(class))?;
                if let Some(title) = self.title.as_ref().filter(|title| *title != class) {
                    write!(f, ", titled `{}`", shown(title))?;
                }
                f.write_str(")")?;
            }
            if let Some(input) = &self.input {
                write!(f, ", input `{}`", shown(input))?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if let Some(details) = &self.details {
            write!(f, " ({details})")?;
        }
        if let Some(suggestion) = &self.suggestion {
            match self.kind {
                Kind::RequiredInputMissing
                | Kind::InvalidInputType
                | Kind::ValueSmallerThanMin
                | Kind::ValueBiggerThanMax => write!(f, "; try {}", brief(suggestion))?,
                Kind::MissingNodeType
                | Kind::PromptNoOutputs
                | Kind::DependencyCycle
                | Kind::BadLinkedInput
                | Kind::ReturnTypeMismatch
                | Kind::ValueNotInList
                | Kind::CustomValidationFailed
                | Kind::LinkExpected
                | Kind::UnknownInput
                | Kind::TextForBoolean
                | Kind::UnusedNode
                | Kind::DeprecatedNode
                | Kind::More => write!(f, "; did you mean {}?", brief(suggestion))?,
            }
        }
        write!(f, " -> {}", self.mend)
    }
}

/// The problems that were found so far.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    untold: usize,
    untold_errors: usize,
    /// The nearest known class of each unknown one, since a graph may have many nodes of one class.
    pub(super) nearest: HashMap<String, Option<String>>,
}

impl Problems {
    pub(super) fn add(&mut self, problem: Problem) {
        if self.found.len() < MOST {
            self.found.push(problem);
            return;
        }
        self.untold += 1;
        self.untold_errors += usize::from(problem.severity == Severity::Error);
    }

    pub(super) fn told(mut self) -> Vec<Problem> {
        if self.untold > 0 {
            let message = format!("there is more: {} problems are not told here", self.untold);
            let mut more = Problem::new(Kind::More, message, "mend these first");
            if self.untold_errors > 0 {
                more.severity = Severity::Error;
            }
            self.found.push(more);
        }
        self.found
    }
}

/// Writes a value as it may stand in a message: as JSON, cut where it is long.
pub(super) fn brief(value: &Value) -> String {
    let text = match value {
        Value::String(text) => {
            let start: String = text.chars().take(SHOWN + 1).collect();
            Value::String(start).to_string()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    cut(&text, SHOWN)
}

/// Returns a value as it may be shown: itself where it is short, else the beginning of its text.
pub(super) fn shortened(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => Value::String(cut(text, SHOWN)),
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if text.chars().nth(SHOWN).is_none() { value.clone() } else { Value::String(cut(&text, SHOWN)) }
        }
    }
}
