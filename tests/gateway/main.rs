//! The whole gateway with real sockets, real SQLite and real PNGs, against the simulator.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

mod cancel;
mod comfylite;
mod command_line;
mod deliveries;
mod faults;
mod hostile_http;
mod hostile_json;
mod lost_socket;
mod process;
mod refusing;
mod restarts;
mod results;
mod stopping;
mod storage;
mod support;
mod timeouts;
mod webhooks;
mod workflows;
