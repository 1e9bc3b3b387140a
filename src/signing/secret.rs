//! Secrets as types: what they look like as text, and how new ones are made of random bytes.

use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{SigningKey, VerifyingKey};
use secrecy::{ExposeSecret, SecretSlice};
use std::fmt;
use std::str::FromStr;

/// What a secret begins with that both sides have.
const SHARED: &str = "whsec_";
/// What the private and the public half of a pair begin with.
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

/// How many bytes a shared secret has; the specification asks for 24 to 64.
const LEAST: usize = 24;
const MOST: usize = 64;

/// Why a text is no secret. The text is never repeated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// It begins with something else.
    #[error("it does not begin with `{0}`; write `{0}` and then the base64 of the bytes")]
    Prefix(&'static str),
    /// What follows is not base64.
    #[error(
        "what follows `{prefix}` is not base64: {reason}; only A-Z, a-z, 0-9, `+`, `/` and the padding `=` stand there"
    )]
    Base64 {
        /// What it begins with.
        prefix: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing after the prefix.
    #[error("nothing follows `{0}`; an empty secret protects nothing")]
    Empty(&'static str),
    /// It is too short or too long.
    #[error("it has {found} bytes; 24 to 64 are allowed, `comfygate webhook secret rotate` makes one of 32")]
    Length {
        /// How many bytes it has.
        found: usize,
    },
    /// It is no key of Ed25519.
    #[error("it is no Ed25519 key: {0}")]
    NoKey(String),
}

/// A secret for HMAC-SHA256 of 24 to 64 bytes, written as `whsec_` and base64.
#[derive(Clone)]
pub struct HmacKey(SecretSlice<u8>);

impl HmacKey {
    /// Makes a new one of 32 bytes.
    pub fn generate(random: fn(&mut [u8])) -> Self {
        let mut bytes = vec![0; 32];
        random(&mut bytes);
        Self(bytes.into())
    }

    /// Writes it as people do.
    pub fn to_secret(&self) -> Secret {
        Secret::new(format!("{SHARED}{}", STANDARD.encode(self.bytes())))
    }

    /// Gives the bytes out, for the signature.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl FromStr for HmacKey {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let bytes: SecretSlice<u8> = decode(text, SHARED)?.into();
        let found = bytes.expose_secret().len();
        if (LEAST..=MOST).contains(&found) { Ok(Self(bytes)) } else { Err(SecretError::Length { found }) }
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The private half of a pair for Ed25519, written as `whsk_` and the base64 of its 32 bytes.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Makes a new one.
    pub fn generate(random: fn(&mut [u8])) -> Self {
        let mut seed = [0; 32];
        random(&mut seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Writes it as people do.
    pub fn to_secret(&self) -> Secret {
        Secret::new(format!("{PRIVATE}{}", STANDARD.encode(self.0.as_bytes())))
    }

    /// Returns the half that receivers have.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Gives the key out, for the signature.
    pub(super) fn key(&self) -> &SigningKey {
        &self.0
    }
}

impl FromStr for PrivateKey {
    type Err = SecretError;

    /// Takes the 32 bytes alone, and also those followed by the public key, as some libraries write it.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let bytes: SecretSlice<u8> = decode(text, PRIVATE)?.into();
        let bytes = bytes.expose_secret();
        if let Ok(seed) = <&[u8; 32]>::try_from(bytes) {
            return Ok(Self(SigningKey::from_bytes(seed)));
        }
        let both: &[u8; 64] = bytes.try_into().map_err(|_| no_key(&format!("{} bytes instead of 32", bytes.len())))?;
        let key = SigningKey::from_keypair_bytes(both).map_err(|_| no_key("its halves do not belong together"))?;
        Ok(Self(key))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The public half of a pair for Ed25519, written as `whpk_` and the base64 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Writes its bytes as a JSON Web Key has them.
    pub fn to_jwk_x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.as_bytes())
    }

    /// Reads the bytes of a JSON Web Key.
    pub fn from_jwk_x(text: &str) -> Result<Self, SecretError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| no_key(&error.to_string()))?;
        Self::from_bytes(&bytes)
    }

    /// Gives the key out, for the check.
    pub(super) fn key(&self) -> &VerifyingKey {
        &self.0
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        let array = bytes.try_into().map_err(|_| no_key(&format!("{} bytes instead of 32", bytes.len())))?;
        VerifyingKey::from_bytes(array).map(Self).map_err(|_| no_key("its bytes are no point of the curve"))
    }
}

impl FromStr for PublicKey {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::from_bytes(&decode(text, PUBLIC)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0.as_bytes()))
    }
}

fn decode(text: &str, prefix: &'static str) -> Result<Vec<u8>, SecretError> {
    let rest = text.strip_prefix(prefix).ok_or(SecretError::Prefix(prefix))?;
    if rest.is_empty() {
        return Err(SecretError::Empty(prefix));
    }
    // The decoder's own words would repeat a letter of the secret.
    STANDARD.decode(rest).map_err(|error| {
        let reason = match error {
            base64::DecodeError::InvalidByte(place, _) => format!("letter {} cannot stand there", place + 1),
            base64::DecodeError::InvalidLength(found) => format!("{found} letters cannot be all of it"),
            base64::DecodeError::InvalidLastSymbol(..) => "its last letter is not one that encoding gives".into(),
            base64::DecodeError::InvalidPadding => "its padding is missing or wrong".into(),
        };
        SecretError::Base64 { prefix, reason }
    })
}

fn no_key(why: &str) -> SecretError {
    SecretError::NoKey(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![7; bytes]))
    }

    #[test]
    fn a_secret_of_24_to_64_bytes_is_read_and_written_again() {
        for bytes in [24, 32, 33, 64] {
            let key: HmacKey = text(bytes).parse().unwrap();
            assert_eq!((key.bytes().len(), key.to_secret().expose()), (bytes, text(bytes).as_str()));
        }
    }

    #[test]
    fn short_long_empty_and_broken_secrets_are_refused_without_repeating_them() {
        for (text, says) in [
            (String::new(), "does not begin with `whsec_`"),
            ("whsec_".into(), "an empty secret protects nothing"),
            (text(1), "it has 1 bytes; 24 to 64"),
            (text(23), "it has 23 bytes"),
            (text(65), "it has 65 bytes"),
            (text(24).to_uppercase(), "does not begin with"),
            (STANDARD.encode([7; 32]), "does not begin with"),
            (format!("{}!", text(24)), "is not base64"),
            (text(32).trim_end_matches('=').into(), "is not base64"),
            (format!(" {}", text(24)), "does not begin with"),
            (format!("{} ", text(24)), "is not base64"),
            (format!("whsec_{}", "-_".repeat(20)), "letter 1 cannot stand there"),
            ("whsec_geheim wie nie".into(), "is not base64"),
        ] {
            let error = text.parse::<HmacKey>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_new_secret_has_32_bytes_and_prints_three_stars() {
        let key = HmacKey::generate(|bytes| bytes.fill(1));
        assert_eq!(key.to_secret().expose(), "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        assert_eq!(format!("{key:?} {:?}", PrivateKey::generate(|bytes| bytes.fill(1))), "*** ***");
    }

    #[test]
    fn a_pair_is_written_and_read_again() {
        let pair = PrivateKey::generate(|bytes| bytes.fill(9));
        let again: PrivateKey = pair.to_secret().expose().parse().unwrap();
        assert_eq!(again.public(), pair.public());
        assert_eq!(pair.public().to_string().parse::<PublicKey>().unwrap(), pair.public());
        assert_eq!(PublicKey::from_jwk_x(&pair.public().to_jwk_x()).unwrap(), pair.public());
        let both = format!("whsk_{}", STANDARD.encode(pair.key().to_keypair_bytes()));
        assert_eq!(both.parse::<PrivateKey>().unwrap().public(), pair.public());
        let mixed = [[9; 32], [3; 32]].concat();
        for (text, says) in [
            (format!("whsk_{}", STANDARD.encode(&mixed)), "its halves do not belong together"),
            (format!("whsk_{}", STANDARD.encode([1; 31])), "31 bytes instead of 32"),
            ("whsk_".into(), "nothing follows"),
            ("whpk_AAAA".into(), "does not begin with `whsk_`"),
        ] {
            let error = text.parse::<PrivateKey>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!("whpk_AAAA".parse::<PublicKey>().unwrap_err().to_string().contains("3 bytes instead of 32"));
    }
}
