//! What a ComfyUI socket says, as types.
//!
//! Every frame has an answer: what is unknown, short or malformed becomes [`Event::Noise`] and changes nothing.

use crate::job::FileRef;
use bytes::Bytes;

/// One frame of a ComfyUI WebSocket.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// `status`: the length of the whole server's queue, the running prompt included. Only the first one has a `sid`.
    Status { queue_remaining: Option<u64>, sid: Option<String> },
    /// `feature_flags`: the server's answer to the handshake.
    FeatureFlags { previews_have_metadata: bool },
    /// `execution_start`
    Started { prompt: String },
    /// `execution_cached`: nodes that will not run, because their results are kept.
    Cached { prompt: String, nodes: Vec<String> },
    /// `progress_state`: all nodes that have begun.
    ProgressState { prompt: String, nodes: Vec<NodeProgress> },
    /// `executing` with a node; the frame replayed to a late socket has no prompt.
    Executing { prompt: Option<String>, node: String, display_node: String },
    /// `executing` with `node: null`: the prompt has ended somehow, and its history entry is there.
    Idle { prompt: Option<String> },
    /// `progress`: a node's progress bar moved.
    Progress { prompt: Option<String>, node: Option<String>, value: f64, max: f64 },
    /// `executed`: a node's output, possibly from the cache, possibly empty.
    Executed { prompt: String, node: String, display_node: String, output: NodeOutput },
    /// `execution_success`
    Succeeded { prompt: String },
    /// `execution_error`; not always the end (see [`NodeError::is_block`]).
    Failed { prompt: String, error: NodeError },
    /// `execution_interrupted`
    Interrupted { prompt: String, node: Option<String> },
    /// A binary image: a preview or a result of `SaveImageWebsocket`.
    Image(ImageFrame),
    /// A binary text (type 3): progress text of a node, without a prompt id.
    Text { node: String, text: String },
    /// Anything else; `what` names it for a trace log.
    Noise { what: String },
}

/// A binary image frame (type 1 or 4).
#[derive(Clone, PartialEq, Debug)]
pub struct ImageFrame {
    /// Which node of which prompt made it: type 4 frames say so, type 1 frames do not.
    pub origin: Option<ImageOrigin>,
    /// `image/png` or `image/jpeg`.
    pub content_type: String,
    /// The image file.
    pub bytes: Bytes,
}

/// The metadata of a type 4 frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageOrigin {
    /// The prompt.
    pub prompt: String,
    /// The node that made it; inside an expanded subgraph an id such as `5.0.0.2`.
    pub node: String,
    /// The node of the submitted graph that it belongs to.
    pub display_node: String,
}

/// One node's entry in `progress_state`.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeProgress {
    /// The node.
    pub node: String,
    /// The node of the submitted graph that it belongs to.
    pub display_node: String,
    /// How far it is, in its own units.
    pub value: f64,
    /// What `value` runs to; may change during a node.
    pub max: f64,
    /// It has ended.
    pub finished: bool,
}

/// What a node gave to the user interface: files to fetch and texts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeOutput {
    /// Files in batch order, whatever key they stood under (`images`, `gifs`, `audio`, ...).
    pub files: Vec<FileRef>,
    /// The texts of `text`.
    pub texts: Vec<String>,
}

/// What ComfyUI says of a node that raised: no traceback, no tensors.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeError {
    /// The node's id.
    pub node: String,
    /// Its `class_type`.
    pub class: String,
    /// The exception's class, such as `ValueError` or `torch.OutOfMemoryError`.
    pub exception: String,
    /// The exception's text.
    pub message: String,
}

impl NodeError {
    /// Says whether this is only an output that was blocked on purpose: the prompt goes on and succeeds.
    pub fn is_block(&self) -> bool {
        self.exception == "ExecutionBlocked"
    }

    /// Says whether memory ran out, which on a server with more of it may not: `PyTorch`'s `torch.OutOfMemoryError` and
    /// `torch.cuda.OutOfMemoryError`, Python's own `MemoryError`.
    pub fn is_out_of_memory(&self) -> bool {
        self.exception.contains("OutOfMemory") || self.exception.ends_with("MemoryError")
    }
}

impl Event {
    /// Returns the prompt that the event says it belongs to.
    pub fn prompt(&self) -> Option<&str> {
        match self {
            Self::Started { prompt }
            | Self::Cached { prompt, .. }
            | Self::ProgressState { prompt, .. }
            | Self::Executed { prompt, .. }
            | Self::Succeeded { prompt }
            | Self::Failed { prompt, .. }
            | Self::Interrupted { prompt, .. } => Some(prompt),
            Self::Executing { prompt, .. } | Self::Idle { prompt } | Self::Progress { prompt, .. } => prompt.as_deref(),
            Self::Image(frame) => frame.origin.as_ref().map(|origin| origin.prompt.as_str()),
            Self::Status { .. } | Self::FeatureFlags { .. } | Self::Text { .. } | Self::Noise { .. } => None,
        }
    }
}
