//! The wire to one ComfyUI: HTTP calls, the WebSocket, and what both say. Knows nothing of a job's fate.

pub mod event;
