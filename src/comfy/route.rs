//! How one backend is reached, on HTTP and on the WebSocket alike: what it is shown, through which proxy, and how its certificate
//! is judged.

mod options;

pub use options::{AuthOptions, BasicOptions, OAuthOptions, ProxyText, RouteOptions, SecretText, TlsOptions};

use thiserror::Error;

/// What is wrong with the way to a backend. No secret is in it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{part}: {reason}")]
pub struct RouteError {
    /// The part of the definition, such as `tls.ca_file`.
    pub part: &'static str,
    /// Why it is wrong, and how to mend it.
    pub reason: String,
}

impl RouteError {
    pub(super) fn new(part: &'static str, reason: impl Into<String>) -> Self {
        Self { part, reason: reason.into() }
    }
}
