//! A text that must not be seen: it prints `***`, whoever prints it, and its memory is wiped when it is dropped. And the
//! hash by which one that a stranger shows is compared.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// A key, a password or a token.
#[derive(Clone, Default)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Gives the text out, for the place that needs it. What is returned must not be kept or printed.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// For settings, which are compared as a whole. Secrets of strangers are compared by their hashes, in constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

/// The SHA-256 of a secret. There is no `==` for it: the one comparison takes the same time wherever two differ.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// What is compared with where there is nothing to compare with: no text is known that has this hash.
    pub const NOBODYS: Self = Self([0; 32]);

    /// Takes the hash of a text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Reads back what [`SecretHash::bytes`] gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns its bytes, for the store.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Says whether both are of the same text.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_match_where_the_texts_do_and_print_three_stars() {
        let hash = SecretHash::of("hunter2");
        assert!(hash.matches(&SecretHash::from_bytes(*SecretHash::of("hunter2").bytes())));
        for other in ["hunter3", "iunter2", "", "hunter22"] {
            assert!(!hash.matches(&SecretHash::of(other)), "{other}");
        }
        assert!(!SecretHash::NOBODYS.matches(&SecretHash::of("")));
        assert_eq!(format!("{hash:?}"), "***");
    }

    #[test]
    fn a_secret_prints_three_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
