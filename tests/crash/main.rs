//! Nothing is lost, whatever dies: gateway, ComfyUI, receiver and loader are processes of their own, some of them are
//! killed at named points and at random moments, and in the end three independent records are compared.
//!
//! `cargo test` runs a short form of it; `cargo test --release --test crash -- --kills 200 --jobs 5000` a long one, and with
//! `--farm --jobs 5000` the one with many backends.

#![expect(clippy::disallowed_methods, reason = "a test of processes reads the clock and spawns its own tasks")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it has its own harness and prints what that found")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "this whole program is a test")]

mod arguments;
mod campaign;
mod cases;
mod checker;
mod farm;
mod gateway;
mod history;
mod loader;
mod long;
mod ports;
mod roles;
mod run;
mod sink;

use arguments::Wish;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments.first().filter(|first| first.starts_with("play-")) {
        return match roles::play(role, &arguments[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{role}: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    match arguments::read(&arguments) {
        Ok(Wish::List) => {
            cases::list();
            ExitCode::SUCCESS
        }
        Ok(Wish::Tests(choice)) => run::run(&choice),
        Ok(Wish::Long(plan)) => long::run(plan),
        Ok(Wish::Farm(jobs)) => long::run_farm(jobs),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The time in milliseconds since 1970, as all the processes write it.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
