//! The whole gateway with real sockets, real SQLite and real PNGs, against the simulator.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

mod agent;
mod backend_health;
mod backends;
mod backends_broken;
mod backends_command;
mod backends_passed;
mod canary;
mod cancel;
mod catalogue;
mod choosing;
mod clocks;
mod comfylite;
mod command_line;
mod convert_command;
#[cfg(target_os = "linux")]
mod crowds;
mod cut_off;
mod dashboard;
mod deaf;
mod deliveries;
mod delivery_modes;
mod dry_run_images;
mod elsewhere;
mod events;
#[path = "../support/exposition.rs"]
mod exposition;
mod faults;
mod fitness;
mod folder;
mod forgetful;
#[cfg(target_os = "linux")]
mod full_disk;
mod hostile_http;
mod hostile_json;
mod hostile_receivers;
mod hostile_urls;
mod hostile_values;
mod idempotency;
mod image_hosts;
mod input_images;
mod isolation;
mod keys;
mod keys_command;
mod limits;
mod links;
mod live;
#[cfg(unix)]
mod local;
mod lost_answers;
mod lost_backend;
mod lost_socket;
mod metrics;
mod other_hands;
mod outputs;
#[cfg(target_os = "linux")]
mod overload;
#[path = "../support/own_folder.rs"]
mod own_folder;
mod panics;
mod partner_keys;
mod process;
mod profiles;
#[path = "../support/proxy/mod.rs"]
mod proxy;
mod queue;
mod raw_graphs;
mod readiness;
mod receiver_cuts;
mod refusing;
mod reloads;
mod remote;
mod restarts;
mod results;
mod retention;
mod routes;
mod run_command;
#[cfg(unix)]
mod serve_local;
mod session;
mod signing;
mod slow_backend;
mod slow_ways;
mod stopping;
mod storage;
mod stuck;
mod summary;
mod support;
mod tap;
mod tenants;
mod thumbnails;
mod timeouts;
mod tokens;
mod upgrade;
mod upload_space;
mod uploads;
mod variants;
mod webhooks;
mod workflow_commands;
mod workflows;
