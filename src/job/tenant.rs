//! Whose a job is.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The name of the tenant that owns what nobody else owns.
const DEFAULT: &str = "default";

/// The longest name of a tenant.
const LONGEST: usize = 64;

/// Who owns a job, its outputs and its webhook: a name that the operator gave. What was accepted without a key belongs to
/// the tenant `default`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(
    // Empty for `default`, as rows of the first schema have it.
    String,
);

/// Why a text is not the name of a tenant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is not the name of a tenant: 1 to 64 lower-case letters, digits, `-`, `_` and `.`, the first a letter or a digit"
)]
pub struct TenantError(String);

impl Tenant {
    /// Returns the name as people read it.
    pub fn name(&self) -> &str {
        if self.0.is_empty() { DEFAULT } else { &self.0 }
    }

    /// Returns the name as it is stored; empty for `default`.
    pub fn stored(&self) -> &str {
        &self.0
    }

    /// Reads back what [`Tenant::stored`] gave.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Tenant {
    type Err = TenantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_good = text.len() <= LONGEST
            && text.bytes().next().is_some_and(is_name)
            && text.bytes().all(|byte| is_name(byte) || matches!(byte, b'-' | b'_' | b'.'));
        match text {
            DEFAULT => Ok(Self::default()),
            _ if is_good => Ok(Self(text.to_owned())),
            _ => Err(TenantError(text.escape_debug().to_string())),
        }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for name in ["default", "shop", "shop-2", "a.b_c", "0"] {
            assert_eq!(name.parse::<Tenant>().unwrap().to_string(), name);
        }
        for name in ["", "-a", "A", "a b", "a/b", "ä", "a\u{0}", &"a".repeat(65)] {
            assert!(name.parse::<Tenant>().is_err(), "{name}");
        }
        assert_eq!("default".parse::<Tenant>().unwrap(), Tenant::default());
    }
}
