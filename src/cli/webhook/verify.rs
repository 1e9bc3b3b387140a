//! `comfygate webhook verify`: checks a recorded webhook as its receiver would, and says what is wrong with it.

use crate::clock::{Clock, SystemClock};
use crate::secret::Secret;
use crate::signing::{PublicKey, Shown, Verifier, public_keys_of_jwks, verify};
use anyhow::{Context, ensure};
use clap::Args;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The exit code where it cannot be checked, as for a wrong command line.
const CANNOT_CHECK: u8 = 2;

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The body, byte for byte as it came; - for what comes on stdin.
    file: PathBuf,
    /// The secret. Others on this machine can see it while the command runs.
    #[arg(long, value_name = "WHSEC", env = "WEBHOOK_SECRET", hide_env_values = true, value_parser = super::unread)]
    secret: Option<Secret>,
    /// A file with the secret, instead of the secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The sender's public key, for signatures of the version v1a.
    #[arg(long, value_name = "WHPK")]
    public_key: Option<PublicKey>,
    /// A file with the answer of GET /.well-known/jwks.json, instead of a public key.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// What came as webhook-id.
    #[arg(long, required_unless_present = "headers")]
    id: Option<String>,
    /// What came as webhook-timestamp.
    #[arg(long, value_name = "SECONDS", required_unless_present = "headers")]
    timestamp: Option<String>,
    /// What came as webhook-signature.
    #[arg(long, required_unless_present = "headers")]
    signature: Option<String>,
    /// A file with the headers as they came, one a line, instead of the three.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "timestamp", "signature"])]
    headers: Option<PathBuf>,
    /// How far the time may be off; an old recording needs more.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    tolerance: Duration,
}

/// Checks it.
pub(super) fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    match checked(args) {
        Ok(Ok(())) => {
            writeln!(std::io::stdout(), "good: it comes from who has the key, and nothing was changed")?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(reason)) => {
            writeln!(std::io::stderr(), "not good: {reason}")?;
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error:#}")?;
            Ok(ExitCode::from(CANNOT_CHECK))
        }
    }
}

/// Returns the verdict; an error means that there is none.
fn checked(args: VerifyArgs) -> anyhow::Result<Result<(), String>> {
    let mut keys = Vec::new();
    let given = match &args.secret_file {
        Some(path) => Some(Secret::new(text(path)?.trim())),
        // What stands in the environment for another time must not be in the way of a public key.
        None if args.public_key.is_some() || args.jwks.is_some() => None,
        None => args.secret,
    };
    if let Some(secret) = given {
        keys.push(Verifier::Hmac(secret.expose().parse().context("that is no secret")?));
    }
    keys.extend(args.public_key.map(Verifier::Ed25519));
    if let Some(path) = &args.jwks {
        let set = serde_json::from_str(&text(path)?).with_context(|| format!("{} is not JSON", path.display()))?;
        keys.extend(public_keys_of_jwks(&set)?.into_iter().map(Verifier::Ed25519));
    }
    ensure!(
        !keys.is_empty(),
        "nothing to check it with: give --secret-file, --public-key or --jwks, or set WEBHOOK_SECRET"
    );
    let headers = args.headers.as_deref().map(text).transpose()?;
    let header = |name: &str, given: Option<String>| match (&headers, given) {
        (Some(headers), _) => find(headers, name),
        (None, given) => Ok(given.unwrap_or_default()),
    };
    let three = [("webhook-id", args.id), ("webhook-timestamp", args.timestamp), ("webhook-signature", args.signature)];
    let three: Result<Vec<String>, String> = three.into_iter().map(|(name, given)| header(name, given)).collect();
    let three = match three {
        Ok(three) => three,
        Err(reason) => return Ok(Err(reason)),
    };
    let [id, timestamp, signature] = three.as_slice() else { anyhow::bail!("three headers are needed") };
    let body = body(&args.file)?;
    let now = SystemClock::start().wall();
    Ok(verify(&keys, Shown { id, timestamp, signature }, &body, now, args.tolerance).map_err(|error| error.to_string()))
}

/// Finds a header among lines as they came; a request line before them and a body behind them are passed over.
fn find(headers: &str, name: &str) -> Result<String, String> {
    let lines = headers.lines().skip_while(|line| line.trim().is_empty()).take_while(|line| !line.trim().is_empty());
    let mut found = lines.filter_map(|line| {
        let (head, value) = line.trim_start_matches(['<', '>', ' ']).split_once(':')?;
        head.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(format!("the header {name} is there more than once")),
        (None, _) => Err(format!("there is no header {name}")),
    }
}

fn body(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body).context("cannot read stdin")?;
    Ok(body)
}

fn text(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_as_tools_write_them() {
        let saved =
            "POST /hook HTTP/1.1\r\nHost: a\r\nWebhook-Id: msg_1\r\n> webhook-timestamp: 5\r\n\r\nwebhook-signature: x";
        assert_eq!(find(saved, "webhook-id").as_deref(), Ok("msg_1"));
        assert_eq!(find(saved, "webhook-timestamp").as_deref(), Ok("5"));
        assert_eq!(find(saved, "webhook-signature"), Err("there is no header webhook-signature".into()));
        assert!(find("a: 1\nA: 2", "a").unwrap_err().contains("more than once"));
    }
}
