//! The whole gateway with real sockets, real SQLite and real PNGs, against the simulator.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

mod cancel;
mod comfylite;
mod cut_off;
mod deaf;
mod faults;
mod forgetful;
mod hostile_http;
mod hostile_json;
mod lost_answers;
mod lost_socket;
mod other_hands;
mod process;
#[path = "../support/proxy/mod.rs"]
mod proxy;
mod receiver_cuts;
mod refusing;
mod restarts;
mod results;
mod slow_backend;
mod storage;
mod stuck;
mod support;
mod timeouts;
mod webhooks;
mod workflows;
