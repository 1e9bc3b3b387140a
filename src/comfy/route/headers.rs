//! The headers that a backend is shown: checked once, printed by nobody. Access tokens are `tokens`'.

use super::{RouteError, SecretText};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// The most headers of a definition.
const MOST_HEADERS: usize = 32;
/// The longest value, in bytes.
const LONGEST_VALUE: usize = 8 << 10;
/// What belongs to one connection (RFC 9110, 7.6.1), to HTTP itself, or to a browser: a ComfyUI on a loopback address refuses
/// calls with an `Origin` of others (T28).
const NOT_OURS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Writes a bearer token as the header that shows it.
pub(super) fn bearer(token: &Secret) -> Result<HeaderMap, RouteError> {
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value("auth.bearer", &format!("Bearer {}", token.expose()))?)]))
}

/// Writes a user and a password as the header that shows them.
pub(super) fn basic(user: &str, password: &Secret) -> Result<HeaderMap, RouteError> {
    if user.contains(':') || user.chars().any(char::is_control) {
        return Err(RouteError::new(
            "auth.basic.user",
            "a user has no colon and no control characters; take them away",
        ));
    }
    Ok(HeaderMap::from_iter([(AUTHORIZATION, basic_value("auth.basic.password", user, password.expose())?)]))
}

/// Writes a user and a password as Basic authorization (RFC 7617), for whoever asks for it.
pub(super) fn basic_value(part: &'static str, user: &str, password: &str) -> Result<HeaderValue, RouteError> {
    value(part, &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// Writes the headers of a definition.
pub(super) fn custom(
    headers: &BTreeMap<String, SecretText>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<HeaderMap, RouteError> {
    const PART: &str = "auth.headers";
    if headers.is_empty() || headers.len() > MOST_HEADERS {
        let reason = format!("{} headers are named; name 1 to {MOST_HEADERS}", headers.len());
        return Err(RouteError::new(PART, reason));
    }
    let mut written = HeaderMap::new();
    for (name, secret) in headers {
        let shown = name.chars().take(100).collect::<String>().escape_debug().to_string();
        let refused = |reason: &str| RouteError::new(PART, format!("`{shown}` {reason}"));
        let unnamed = |_| refused("is not a header's name; use letters, digits and dashes");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(unnamed)?;
        if NOT_OURS.contains(&header.as_str()) || header.as_str().starts_with("sec-websocket-") {
            return Err(refused("is not for a definition: it belongs to the connection; take it away"));
        }
        if written.contains_key(&header) {
            return Err(refused("is named twice, as names differ in more than capitals; take one away"));
        }
        let secret = secret.resolve(PART, environment)?;
        let value = value(PART, secret.expose()).map_err(|error| refused(&error.reason))?;
        written.insert(header, value);
    }
    Ok(written)
}

/// Makes a header's value that is printed by nobody.
pub(super) fn value(part: &'static str, text: &str) -> Result<HeaderValue, RouteError> {
    if text.len() > LONGEST_VALUE {
        return Err(RouteError::new(part, format!("is longer than {LONGEST_VALUE} bytes")));
    }
    let is_visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let unfit = || RouteError::new(part, "is not made of visible ASCII characters");
    let mut value = HeaderValue::from_str(text).ok().filter(|_| is_visible).ok_or_else(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}
