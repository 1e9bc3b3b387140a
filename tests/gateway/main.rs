//! The whole gateway with real sockets, real SQLite and real PNGs, against the simulator.

mod cancel;
mod comfylite;
mod faults;
mod hostile_http;
mod hostile_json;
mod lost_socket;
mod restarts;
mod results;
mod support;
mod timeouts;
mod webhooks;
