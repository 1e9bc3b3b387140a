//! What a key is called, what it allows, and how much. How a key is made and checked is left to `access`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The name of a key, which is no secret: lists and logs have it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyId(String);

/// One thing that a key may allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// To make jobs, to cancel them, and to have their webhooks sent again.
    Submit,
    /// To read jobs, their outputs and their webhooks.
    Read,
    /// To read what is counted of all tenants together, and nothing else: Prometheus's.
    Metrics,
    /// Everything, for the jobs of all tenants: an operator's.
    Admin,
}

/// Everything that a key allows.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

/// How much a key allows; none for what the settings say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyLimits {
    /// How many requests a minute, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// How many requests at once, after a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// How many jobs of the tenant may wait at the same time; those that run do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued: Option<u32>,
    /// How many jobs a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
}

/// Why a text names no scopes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScopeError {
    /// There is no such scope.
    #[error("there is no scope `{0}`; there are submit, read, metrics, admin")]
    Unknown(String),
    /// There is none at all.
    #[error("a key needs a scope at least: submit, read, metrics, admin")]
    None,
}

/// Why a text is not the name of a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not the id of a key: {len} letters a to z and digits 2 to 7", len = KeyId::LENGTH)]
pub struct KeyIdError(String);

impl KeyId {
    /// How many letters it has.
    pub const LENGTH: usize = 12;
    /// What it is made of.
    pub const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

    /// Makes an id of chance.
    pub fn new(random: [u8; Self::LENGTH]) -> Self {
        Self(random.iter().map(|byte| char::from(Self::LETTERS[usize::from(byte % 32)])).collect())
    }

    /// The name of the key that the settings hold. No key in the store can be called so.
    pub fn of_settings() -> Self {
        Self("settings".into())
    }

    /// Returns its letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_good = text.len() == Self::LENGTH && text.bytes().all(|byte| Self::LETTERS.contains(&byte));
        // A whole key may stand here by a slip: it must not be repeated.
        if is_good {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyIdError(text.chars().take(4).chain(['.', '.']).collect()))
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Submit, Self::Read, Self::Metrics, Self::Admin];

    /// Returns the word used in answers, on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Submit => 1,
            Self::Read => 2,
            Self::Metrics => 8,
            Self::Admin => 4,
        }
    }
}

impl Scopes {
    /// All of them.
    pub const ALL: Self = Self(15);

    /// Says whether they allow what `scope` allows; an operator may do everything.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// Returns the words, one after the other.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0).map(Scope::as_str)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// Reads words with commas or spaces between.
impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let scope = |word: &str| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
        let scopes: Self = words
            .map(|word| scope(word).ok_or_else(|| ScopeError::Unknown(word.escape_debug().to_string())))
            .collect::<Result<_, _>>()?;
        if scopes == Self::default() { Err(ScopeError::None) } else { Ok(scopes) }
    }
}

/// The words with spaces between, as they are stored.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words_in_any_order_and_are_written_in_one() {
        let scopes: Scopes = "read, submit".parse().unwrap();
        assert_eq!(scopes.to_string(), "submit read");
        assert_eq!("submit read".parse(), Ok(scopes));
        assert!(scopes.allow(Scope::Submit) && scopes.allow(Scope::Read) && !scopes.allow(Scope::Admin));
        assert_eq!("read,write".parse::<Scopes>(), Err(ScopeError::Unknown("write".into())));
        assert_eq!(" , ".parse::<Scopes>(), Err(ScopeError::None));
    }

    #[test]
    fn an_operator_may_do_everything_and_nobody_else_may() {
        let only = |scope: Scope| Scopes::from_iter([scope]);
        for wanted in Scope::ALL {
            assert!(only(Scope::Admin).allow(wanted));
            assert!(!Scopes::default().allow(wanted));
            assert_eq!(only(Scope::Read).allow(wanted), wanted == Scope::Read);
            assert_eq!(only(Scope::Submit).allow(wanted), wanted == Scope::Submit);
        }
    }

    #[test]
    fn an_id_is_twelve_letters_and_a_key_in_its_place_is_not_repeated() {
        let id = KeyId::new([0, 25, 26, 31, 32, 255, 7, 8, 9, 10, 11, 12]);
        assert_eq!(id.as_str(), "az27a7hijklm");
        assert_eq!(id.as_str().parse(), Ok(id));
        for text in ["", "az27a7hijkl", "az27a7hijklmn", "AZ27a7hijklm", "az17a7hijklm", "settings"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
        assert!(!"cg_az27a7hijklm_hunter2".parse::<KeyId>().unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn limits_that_are_not_set_are_not_written() {
        assert_eq!(serde_json::to_string(&KeyLimits::default()).unwrap(), "{}");
        let some = KeyLimits { per_minute: Some(60), per_day: Some(5), ..KeyLimits::default() };
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(text, r#"{"per_minute":60,"per_day":5}"#);
        assert_eq!(serde_json::from_str::<KeyLimits>(&text).unwrap(), some);
    }
}
