//! comfygate: a webhook-delivery asynchronous generation gateway in front of ComfyUI.

pub mod clock;
pub mod comfy;
pub mod job;
pub mod lifecycle;
pub mod workflow;
