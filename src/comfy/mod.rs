//! The wire to one ComfyUI: HTTP calls, the WebSocket, and what both say. Knows nothing of a job's fate.

mod address;
mod client;
mod decode;
pub mod event;
mod heard;
mod held;
#[cfg(test)]
mod hostile;

mod redact;
mod refusal;
mod route;
pub mod socket;
pub mod wire;

pub use address::{AddressError, ComfyUrl};
pub use client::{Client, ClientError, Question, SubmitError, Upload, View};
pub use decode::{decode_binary, decode_text};
pub use event::{Event, ImageFrame, ImageOrigin, NodeError, NodeOutput, NodeProgress};
pub use redact::redact;
pub use refusal::{NodeProblem, Refusal};
pub use route::{
    AddressText, AuthOptions, BasicOptions, OAuthOptions, ProxyText, Route, RouteError, RouteOptions, SecretText,
    TlsOptions,
};
pub use socket::{SocketEvent, SocketOptions};
pub use wire::{Accepted, Device, ExtraData, HistoryEnd, HistoryEntry, Queue, SystemStats, Timeline};
