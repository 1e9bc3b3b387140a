//! The HTTP proxy on the way to a backend: for HTTP calls it is handed to the client library, for sockets a tunnel is asked for
//! here (RFC 9110, 9.3.6). Nothing that the proxy says is believed beyond its first line.

use super::{RouteError, headers};
use crate::secret::Secret;
use reqwest::header::HeaderValue;
use std::fmt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Url, form_urlencoded};

/// The longest head of a proxy's answer, in bytes.
const LONGEST_HEAD: usize = 16 << 10;
const PART: &str = "proxy";

/// A proxy that speaks HTTP.
#[derive(Clone)]
pub(super) struct HttpProxy {
    /// Without a user and password.
    url: Url,
    authorization: Option<HeaderValue>,
}

impl HttpProxy {
    /// Reads `http://[user:password@]host[:port]`.
    pub(super) fn parse(text: &Secret) -> Result<Self, RouteError> {
        let how = "write it like http://user:password@proxy.example:3128";
        let refused = |reason: String| RouteError::new(PART, format!("{reason}; {how}"));
        let mut url = Url::parse(text.expose()).map_err(|error| refused(format!("it is not an address ({error})")))?;
        if url.scheme() != "http" {
            // What stands before the first colon is a user where the scheme was forgotten.
            let known =
                ["https", "socks4", "socks4a", "socks5", "socks5h"].into_iter().find(|known| *known == url.scheme());
            let named = known.map_or_else(|| "it is of another kind".to_owned(), |scheme| format!("it is {scheme}://"));
            return Err(refused(format!("{named}, and only http:// proxies are supported")));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("it goes on behind the port".to_owned()));
        }
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        let is_named = !user.is_empty() || url.password().is_some();
        let authorization = is_named.then(|| headers::basic_value(PART, &user, &password)).transpose()?;
        if url.set_username("").and(url.set_password(None)).is_err() {
            return Err(refused("it has no host".to_owned()));
        }
        Ok(Self { url, authorization })
    }

    /// Returns its address, without a user and password.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns what it is shown.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Returns it as the client library takes it.
    pub(super) fn of_http(&self) -> Result<reqwest::Proxy, RouteError> {
        let unfit = |error: reqwest::Error| RouteError::new(PART, error.to_string());
        let proxy = reqwest::Proxy::all(self.url.as_str()).map_err(unfit)?;
        Ok(match &self.authorization {
            Some(authorization) => proxy.custom_http_auth(authorization.clone()),
            None => proxy,
        })
    }

    /// Asks for a tunnel to `host:port`.
    async fn tunnel(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let unreached = |error: std::io::Error| format!("the proxy {self} cannot be reached: {error}");
        let mut stream = straight(&self.url).await.map_err(unreached)?;
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(unreached)?;
        let mut head = Vec::with_capacity(1 << 10);
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= LONGEST_HEAD {
                return Err(format!("the answer of the proxy {self} is longer than {LONGEST_HEAD} bytes"));
            }
            // One byte at a time, since whatever follows the head is the backend's.
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(format!("the proxy {self} ended the connection without an answer"));
                }
                Err(error) => return Err(unreached(error)),
            }
        }
        match status(&head) {
            Some(200..=299) => Ok(stream),
            Some(407) => Err(format!(
                "the proxy {self} asks for other credentials (status 407); mend the user and password of `proxy`"
            )),
            Some(status) => Err(format!("the proxy {self} does not connect to {host}:{port}: status {status}")),
            None => Err(format!("what answers at {self} is no HTTP proxy; mend `proxy`")),
        }
    }
}

impl fmt::Display for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Connects to what an address names, through the proxy if there is one.
pub(super) async fn connect(proxy: Option<&HttpProxy>, url: &Url) -> Result<TcpStream, String> {
    match proxy {
        Some(proxy) => proxy.tunnel(url.host_str().unwrap_or_default(), port(url)).await,
        None => straight(url).await.map_err(|error| error.to_string()),
    }
}

async fn straight(url: &Url) -> std::io::Result<TcpStream> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    TcpStream::connect((host, port(url))).await
}

fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(80)
}

/// Reads the status of an answer's first line.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let is_http = words.next()?.starts_with("HTTP/1.");
    words.next().filter(|word| is_http && word.len() == 3)?.parse().ok()
}

/// Undoes the percent-encoding of a user or password.
fn decoded(text: &str) -> String {
    let plain = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(plain.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
