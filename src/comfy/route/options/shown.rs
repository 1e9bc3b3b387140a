//! What is shown of a definition to people: everything but secrets, and what may be one.

use super::{AddressText, ProxyText, SecretText};
use serde::{Serialize, Serializer};
use std::fmt;
use url::Url;

/// What stands for a secret that is not shown.
pub(super) const MASK: &str = "***";

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = if self.is_here() { self.text() } else { MASK.to_owned() };
        serializer.serialize_str(&shown)
    }
}

impl Serialize for ProxyText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            SecretText::Given(address) => serializer.serialize_str(&masked(address.expose())),
            SecretText::Environment(_) | SecretText::File(_) => self.0.serialize(serializer),
        }
    }
}

impl Serialize for AddressText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&masked(&self.0))
    }
}

impl fmt::Debug for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

/// Returns an address without its user, its password, its query and its fragment.
fn masked(address: &str) -> String {
    // What stands before the first colon is a user where the scheme was forgotten.
    let url = Url::parse(address).ok().filter(|url| !url.cannot_be_a_base());
    let Some(mut url) = url else { return MASK.to_owned() };
    let user = if url.username().is_empty() { Ok(()) } else { url.set_username(MASK) };
    let password = if url.password().is_none() { Ok(()) } else { url.set_password(Some(MASK)) };
    if user.and(password).is_err() {
        return MASK.to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some(MASK));
    }
    if url.fragment().is_some() {
        url.set_fragment(Some(MASK));
    }
    url.to_string()
}
