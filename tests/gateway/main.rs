//! The whole gateway with real sockets, real SQLite and real PNGs, against the simulator.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

mod cancel;
mod comfylite;
mod faults;
mod hostile_http;
mod hostile_json;
mod lost_socket;
mod process;
#[path = "../support/proxy/mod.rs"]
mod proxy;
mod refusing;
mod restarts;
mod results;
mod storage;
mod support;
mod timeouts;
mod webhooks;
mod workflows;
