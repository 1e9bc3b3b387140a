//! The simulated ComfyUI held against sessions recorded with a real one, and each of its faults shown to be one.

#![expect(clippy::unwrap_used, reason = "what cannot go on in a test panics, in its helpers too")]

mod client;
mod conformity;
mod faults;
mod journeys;
mod recordings;
mod shape;
mod trace;
