//! Parses the command line and runs the command.

use clap::Parser;
use comfygate::cli::Cli;
use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "the last word of a program that could not do its work belongs to stderr")]
fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
