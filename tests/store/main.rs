//! What the store promises, held against real files in folders of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

mod arrivals;
mod clearing;
mod crash;
mod deliveries;
mod elsewhere;
mod estimates;
mod fitness;
mod fsck;
mod jobs;
mod lists;
mod model;
mod opening;
#[path = "../support/own_folder.rs"]
mod own_folder;
mod replays;
mod summaries;
mod support;
mod tenants;
