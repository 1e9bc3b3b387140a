//! `comfygate webhook`: the secrets that sign webhooks, in the data folder itself, and the check of a recorded webhook.

mod secret;
mod verify;

use crate::secret::Secret;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand, Debug)]
pub(super) enum WebhookCommand {
    /// Show, list and change the secrets that sign webhooks; a running gateway sees it within five seconds.
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Check a recorded webhook as its receiver would: 0 where it is good, 1 where it is not, with the reason.
    Verify(Box<verify::VerifyArgs>),
}

/// Runs one of the commands.
pub(super) fn run(command: WebhookCommand) -> anyhow::Result<ExitCode> {
    match command {
        WebhookCommand::Secret(command) => secret::run(command),
        WebhookCommand::Verify(args) => verify::run(*args),
    }
}

/// Takes a secret as it is: clap would repeat a value that it refuses, so that it is only looked at later.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn unread(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}
