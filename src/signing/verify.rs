//! What a receiver checks, for the command that checks a recorded webhook and for the demo: says what is wrong, not only
//! that something is.

use super::secret::{HmacKey, PublicKey, SecretError};
use super::sign::{begin, head};
use crate::clock::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signature;
use hmac::Mac;
use serde_json::Value;
use std::time::Duration;

/// What a signature is held against.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// The secret that both sides have; checks `v1`.
    Hmac(HmacKey),
    /// The sender's public key; checks `v1a`.
    Ed25519(PublicKey),
}

impl Verifier {
    fn version(&self) -> &'static str {
        match self {
            Self::Hmac(_) => "v1",
            Self::Ed25519(_) => "v1a",
        }
    }
}

/// The headers of a webhook, as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

/// Why a webhook is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// The id cannot be one.
    #[error("webhook-id is empty")]
    NoId,
    /// The time is none.
    #[error("webhook-timestamp is `{0}`, not a whole number of seconds since 1970")]
    Timestamp(String),
    /// The message is old, or the receiver's clock goes ahead.
    #[error("webhook-timestamp is {} old, more than the {} that are allowed; it may be a repetition by a stranger", seconds(.by), seconds(.tolerance))]
    TooOld {
        /// How old.
        by: Duration,
        /// How old it may be.
        tolerance: Duration,
    },
    /// The receiver's clock goes behind.
    #[error("webhook-timestamp is {} in the future, more than the {} that are allowed; is this machine's clock right?", seconds(.by), seconds(.tolerance))]
    TooNew {
        /// How far.
        by: Duration,
        /// How far it may be.
        tolerance: Duration,
    },
    /// Nothing is there that the key could have made.
    #[error("webhook-signature has no signature of the version that the key checks ({wanted}); it has {found}")]
    Version {
        /// The versions that the keys check.
        wanted: String,
        /// Those that are there.
        found: String,
    },
    /// Not one fits.
    #[error(
        "none of the {tried} signatures fits: the body, the id or the time was changed, or it was signed with another secret"
    )]
    NoMatch {
        /// How many were of the right version.
        tried: usize,
    },
}

/// Says whether one of `keys` has signed this, not longer ago than `tolerance`.
pub fn verify(
    keys: &[Verifier],
    shown: Shown<'_>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    if shown.id.is_empty() {
        return Err(VerifyError::NoId);
    }
    check_time(shown.timestamp, now, tolerance)?;
    let mut tried = 0;
    let mut found = Vec::new();
    for word in shown.signature.split(' ').filter(|word| !word.is_empty()) {
        let (version, text) = word.split_once(',').unwrap_or((word, ""));
        found.push(format!("`{}`", version.escape_debug()));
        let mut fitting = keys.iter().filter(|key| key.version() == version).peekable();
        tried += usize::from(fitting.peek().is_some());
        let Ok(signature) = STANDARD.decode(text) else { continue };
        if fitting.any(|key| fits(key, shown, body, &signature)) {
            return Ok(());
        }
    }
    if tried > 0 {
        return Err(VerifyError::NoMatch { tried });
    }
    let mut wanted: Vec<_> = keys.iter().map(Verifier::version).collect();
    wanted.dedup();
    let found = if found.is_empty() { "none at all".into() } else { found.join(", ") };
    Err(VerifyError::Version { wanted: wanted.join(", "), found })
}

/// Reads the public keys of a JSON Web Key Set; keys of other kinds are passed over.
pub fn public_keys_of_jwks(set: &Value) -> Result<Vec<PublicKey>, SecretError> {
    let keys = set["keys"].as_array().ok_or_else(|| SecretError::NoKey("a key set has a list `keys`".into()))?;
    let ours = keys.iter().filter(|key| key["kty"] == "OKP" && key["crv"] == "Ed25519");
    ours.map(|key| PublicKey::from_jwk_x(key["x"].as_str().unwrap_or_default())).collect()
}

fn check_time(text: &str, now: Timestamp, tolerance: Duration) -> Result<(), VerifyError> {
    let no_time = || VerifyError::Timestamp(text.escape_debug().to_string());
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let told: u64 = text.parse().ok().filter(|_| is_number).ok_or_else(no_time)?;
    let now = u64::try_from(now.millis().div_euclid(1000)).unwrap_or(0);
    let (age, ahead) = (Duration::from_secs(now.saturating_sub(told)), Duration::from_secs(told.saturating_sub(now)));
    if age > tolerance {
        return Err(VerifyError::TooOld { by: age, tolerance });
    }
    if ahead > tolerance {
        return Err(VerifyError::TooNew { by: ahead, tolerance });
    }
    Ok(())
}

/// Takes the same time whatever differs.
fn fits(key: &Verifier, shown: Shown<'_>, body: &[u8], signature: &[u8]) -> bool {
    let head = head(shown.id, shown.timestamp);
    match key {
        Verifier::Hmac(key) => begin(key, &head).chain_update(body).verify_slice(signature).is_ok(),
        Verifier::Ed25519(key) => Signature::from_slice(signature)
            .is_ok_and(|signature| key.key().verify_strict(&[head.as_bytes(), body].concat(), &signature).is_ok()),
    }
}

fn seconds(duration: &Duration) -> String {
    humantime::format_duration(*duration).to_string()
}

#[cfg(test)]
mod tests;
