//! The simulated ComfyUI held against sessions recorded with a real one, and each of its faults shown to be one.

mod client;
mod conformity;
mod faults;
mod journeys;
mod shape;
mod trace;
