//! Where the gateway listens, and whom it lets in.

use crate::secret::Secret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use url::Url;

/// The HTTP server.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Other machines may reach it although no key is asked for.
    pub allow_open: bool,
    /// What callers write before `/jobs/..`, without a slash at the end; none means `http://` and the address.
    pub public_url: Option<String>,
    /// The largest request body in bytes.
    pub max_body: u64,
    /// How many connections one address may have open; 0 for any number.
    pub connections_per_address: usize,
    /// How many may listen to events at once.
    pub max_listeners: usize,
    /// The dashboard is served.
    pub dashboard: bool,
}

impl ServerSettings {
    /// Returns the start of every link that the gateway hands out, given where the server really listens.
    pub fn link_base(&self, bound: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{bound}"))
    }

    /// Returns the origin of the pages that the gateway serves, where its URL was said.
    pub fn origin(&self) -> Option<String> {
        let url = Url::parse(self.public_url.as_deref()?).ok()?;
        Some(url.origin().ascii_serialization())
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8083),
            allow_open: false,
            public_url: None,
            max_body: 1 << 20,
            connections_per_address: 256,
            max_listeners: 5000,
            dashboard: true,
        }
    }
}

/// Who may call the gateway.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AccessSettings {
    /// Whether callers must show a key.
    pub keys: KeyMode,
    /// A key of the operator's that is not in the store.
    pub admin_key: Option<Secret>,
    /// The same, as it stood in a file.
    pub admin_key_file: Option<Secret>,
    /// What commands that ask a running gateway show it.
    pub key: Option<Secret>,
}

impl AccessSettings {
    /// Returns the operator's key, wherever it was said.
    pub fn operators_key(&self) -> Option<&Secret> {
        self.admin_key.as_ref().or(self.admin_key_file.as_ref())
    }

    /// Says whether callers must show a key where the gateway listens at `bound`.
    pub fn require_keys(&self, bound: SocketAddr) -> bool {
        match self.keys {
            KeyMode::Auto => !bound.ip().is_loopback(),
            KeyMode::Required => true,
            KeyMode::Off => false,
        }
    }
}

/// Whether callers must show a key. One that is shown is checked in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyMode {
    /// Where other machines can reach the gateway.
    #[default]
    Auto,
    /// Always.
    Required,
    /// Never.
    Off,
}
