//! comfygate: a webhook-delivery asynchronous generation gateway in front of ComfyUI.

pub mod clock;
pub mod comfy;
pub mod job;
pub mod lifecycle;
pub mod media;
pub mod notifier;
pub mod settings;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod tracker;
pub mod workflow;
