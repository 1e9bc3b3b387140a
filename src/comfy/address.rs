//! The address of one ComfyUI, checked once: from it come the URLs of all calls and of the WebSocket.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use url::Url;

/// The base URL of one ComfyUI, `http` or `https`; a path prefix is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ComfyUrl(Url);

/// Why a text is no address of a ComfyUI.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AddressError {
    /// It is no URL at all.
    #[error("`{0}` is not an address ({1}); write it like http://127.0.0.1:8188")]
    NotAnUrl(String, String),
    /// Its scheme is neither `http` nor `https`.
    #[error("the scheme `{0}` cannot reach a ComfyUI; use http:// or https://")]
    Scheme(String),
    /// It holds a user name or password; they are not repeated here.
    #[error("a ComfyUI address must not hold a user name or password; remove what stands before the `@`")]
    UserInfo,
    /// It has a query or a fragment.
    #[error("the ComfyUI address `{0}` must end there, before its `?` or `#`")]
    Query(String),
}

impl ComfyUrl {
    /// Returns the URL of a call; `segments` are percent-encoded.
    pub(super) fn call(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Returns the URL of the WebSocket for `client_id`.
    pub fn ws_url(&self, client_id: &str) -> Url {
        let mut url = self.call(&["ws"]);
        url.query_pairs_mut().append_pair("clientId", client_id);
        let scheme = if self.is_https() { "wss" } else { "ws" };
        url.set_scheme(scheme).expect("http and ws are both special schemes");
        url
    }

    /// Returns the base URL as it was read.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Says whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl FromStr for ComfyUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // A text that does not parse may still hold a password.
        let shown = || {
            let behind_user = text.rsplit('@').next().unwrap_or_default();
            behind_user.split(['?', '#']).next().unwrap_or_default().to_owned()
        };
        let url = Url::parse(&whole).map_err(|error| AddressError::NotAnUrl(shown(), error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(AddressError::Query(shown()));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for ComfyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ComfyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_prefix() {
        let cases = [
            ("http://127.0.0.1:8188", "http://127.0.0.1:8188", "ws://127.0.0.1:8188/ws?clientId=a+b%26c"),
            ("127.0.0.1:8188", "http://127.0.0.1:8188", "ws://127.0.0.1:8188/ws?clientId=a+b%26c"),
            (
                " https://gpu.example/comfy/ ",
                "https://gpu.example/comfy",
                "wss://gpu.example/comfy/ws?clientId=a+b%26c",
            ),
            ("http://[::1]:8188/a/b", "http://[::1]:8188/a/b", "ws://[::1]:8188/a/b/ws?clientId=a+b%26c"),
        ];
        for (text, shown, socket) in cases {
            let url: ComfyUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.ws_url("a b&c").as_str(), socket);
        }
    }

    #[test]
    fn path_segments_are_encoded() {
        let url: ComfyUrl = "http://h/p".parse().unwrap();
        assert_eq!(url.call(&["history", "a/b?c"]).as_str(), "http://h/p/history/a%2Fb%3Fc");
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_with_the_reason() {
        let cases = [
            ("ftp://h", AddressError::Scheme("ftp".into())),
            ("http://u:secret@h", AddressError::UserInfo),
            ("u@h:1", AddressError::UserInfo),
            ("http://h/?a=b", AddressError::Query("http://h/".into())),
            ("http://h/#x", AddressError::Query("http://h/".into())),
            ("http://", AddressError::NotAnUrl("http://".into(), "empty host".into())),
            ("", AddressError::NotAnUrl(String::new(), "empty host".into())),
            ("http://u:secret@h:99999", AddressError::NotAnUrl("h:99999".into(), "invalid port number".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<ComfyUrl>().unwrap_err(), expected, "{text}");
        }
    }
}
