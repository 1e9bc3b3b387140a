//! Replays recorded sessions of a real ComfyUI: every frame has a meaning, every prompt ends as its scenario says, and
//! nothing of the server's disk gets out. What the recordings are is told in `tests/fixtures/traces/README.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

mod answers;
mod damage;
mod frames;
mod noise;
mod profiles;
mod recording;
mod refusals;
mod replay;
mod tracked;
