//! For which receivers a secret of its own is meant: all at a host, or those at one port of it.

use std::fmt;
use std::str::FromStr;
use url::Url;

/// A host, or a host and its port, in the spelling in which URLs are compared: lower case, no dot at the end, no Unicode.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Destination(String);

/// Why a text names no destination.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no host; write a host such as `example.com`, or a host and its port such as `example.com:8443`")]
pub struct DestinationError(String);

impl Destination {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let refused = || DestinationError(text.escape_debug().to_string());
        if text.contains(['/', '\\', '?', '#', '@']) || text.chars().any(|letter| letter.is_control() || letter == ' ')
        {
            return Err(refused());
        }
        // A scheme's own port is dropped when a URL is read, and no port is that of both.
        let read = |scheme: &str| Url::parse(&format!("{scheme}://{text}/")).ok();
        let (Some(http), Some(https)) = (read("http"), read("https")) else { return Err(refused()) };
        let host = plain_host(&http).ok_or_else(refused)?;
        match http.port().or(https.port()) {
            Some(0) => Err(refused()),
            Some(port) => Ok(Self(format!("{host}:{port}"))),
            None if text.ends_with(':') => Err(refused()),
            None => Ok(Self(host)),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the destinations that a URL belongs to, the narrower one first.
pub(super) fn destinations_of(url: &Url) -> Vec<String> {
    let Some(host) = plain_host(url) else { return Vec::new() };
    let with_port = url.port_or_known_default().map(|port| format!("{host}:{port}"));
    with_port.into_iter().chain([host]).collect()
}

fn plain_host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(host.strip_suffix('.').unwrap_or(host).to_owned()).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_host_or_a_host_and_its_port() {
        for (text, read) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("example.com:80", "example.com:80"),
            ("example.com:443", "example.com:443"),
            ("example.com.:8443", "example.com:8443"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("0x7f.1", "127.0.0.1"),
            ("[::1]:8080", "[::1]:8080"),
            ("[0::1]", "[::1]"),
        ] {
            assert_eq!(text.parse::<Destination>().map(|found| found.0), Ok(read.to_owned()), "{text}");
        }
        for text in [
            "",
            ".",
            ":",
            "example.com:",
            "example.com:0",
            "example.com:99999",
            "http://example.com",
            "example.com/x",
            "a b",
            "u@h",
            "h?x",
            "h#x",
            "::1",
            "a\nb",
            "[::1",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_belongs_to_its_port_and_then_to_its_host() {
        for (url, found) in [
            ("https://example.com/x", ["example.com:443", "example.com"]),
            ("http://EXAMPLE.com./x", ["example.com:80", "example.com"]),
            ("http://[::1]:8080/", ["[::1]:8080", "[::1]"]),
        ] {
            assert_eq!(destinations_of(&url.parse().unwrap()), found);
        }
    }
}
