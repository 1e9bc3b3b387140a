//! Why a job failed: a stable code, whose fault it is, and whether another run may help.

use serde::{Deserialize, Serialize};

/// The stable word for a kind of failure, as callers see it in `code`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// ComfyUI, or our own check, refused the graph.
    Validation,
    /// A node raised while it ran.
    NodeError,
    /// It waited in queues for longer than its limit.
    TimeoutQueue,
    /// A free backend accepted it and did not begin.
    TimeoutStart,
    /// It began and then gave no sign of life.
    TimeoutSilence,
    /// It ran for longer than its limit.
    TimeoutRun,
    /// The backend went away, or restarted and forgot it.
    BackendLost,
    /// The run succeeded without the outputs that were expected.
    OutputMissing,
    /// An output is larger than the limit.
    OutputTooLarge,
    /// Somebody else interrupted or deleted the prompt on the backend.
    Interrupted,
    /// The caller cancelled it.
    Cancelled,
    /// The key that came with the request was in memory only, and is lost with the life of the gateway that had it.
    ApiKeyLost,
    /// A fault of the gateway's own.
    Internal,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The request or its workflow: the same request will fail again.
    Request,
    /// The backend: another run or another backend may do better.
    Backend,
    /// Whoever looks after the backend, or the caller, stopped it on purpose.
    Human,
    /// The gateway.
    Gateway,
}

impl FailureCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::Validation,
        Self::NodeError,
        Self::TimeoutQueue,
        Self::TimeoutStart,
        Self::TimeoutSilence,
        Self::TimeoutRun,
        Self::BackendLost,
        Self::OutputMissing,
        Self::OutputTooLarge,
        Self::Interrupted,
        Self::Cancelled,
        Self::ApiKeyLost,
        Self::Internal,
    ];

    /// Returns the word that callers see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::NodeError => "node_error",
            Self::TimeoutQueue => "timeout_queue",
            Self::TimeoutStart => "timeout_start",
            Self::TimeoutSilence => "timeout_silence",
            Self::TimeoutRun => "timeout_run",
            Self::BackendLost => "backend_lost",
            Self::OutputMissing => "output_missing",
            Self::OutputTooLarge => "output_too_large",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::ApiKeyLost => "api_key_lost",
            Self::Internal => "internal",
        }
    }

    /// Says whose fault it is.
    pub fn fault(self) -> Fault {
        match self {
            Self::Validation | Self::NodeError | Self::OutputMissing | Self::OutputTooLarge => Fault::Request,
            Self::TimeoutQueue | Self::TimeoutStart | Self::TimeoutSilence | Self::TimeoutRun | Self::BackendLost => {
                Fault::Backend
            }
            Self::Interrupted | Self::Cancelled => Fault::Human,
            Self::ApiKeyLost | Self::Internal => Fault::Gateway,
        }
    }
}

/// The node that failed, as callers may know it: no traceback, no paths.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailedNode {
    /// The node's id in the graph.
    pub id: String,
    /// Its `class_type`.
    pub class: String,
    /// What ComfyUI said about it, in one line.
    pub message: String,
}

/// Why a job failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The stable code.
    pub code: FailureCode,
    /// One line for a person: what happened, with the values that matter.
    pub message: String,
    /// The node at fault, where one is known.
    pub node: Option<FailedNode>,
}

impl Failure {
    /// Makes a failure without a node.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), node: None }
    }
}
