//! Which URLs and addresses may be called on a caller's word. The parsed host counts and never its spelling; a name
//! counts twice, as a name here and by each address that it leads to.

use super::address::{Kind, kind, meant};
use super::refusal::{Blocked, Refusal, Way};
use crate::settings::{EgressMode, EgressSettings, HostPattern};
use core::net::IpAddr;
use ipnet::IpNet;
use url::{Host, Url};

/// The longest URL in bytes.
const LONGEST: usize = 2048;

/// The longest name of a host, and of one part of it.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Names under which clouds give out a machine's credentials.
const METADATA_NAMES: [&str; 7] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "instance-data",
    "instance-data.ec2.internal",
];

const CREDENTIALS_NAME: &str = "the name of a service that gives out credentials";

/// Endings of names that only this machine or its own network can know.
const HOUSE_ENDINGS: [&str; 6] = ["localhost", "local", "localdomain", "internal", "lan", "home.arpa"];

/// What may be called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    is_private: bool,
    allow: Vec<IpNet>,
    allow_hosts: Vec<HostPattern>,
    deny: Vec<IpNet>,
}

impl Rules {
    /// Makes the rules of these settings for a gateway that only this machine reaches, or others too.
    pub fn new(settings: &EgressSettings, is_loopback: bool) -> Self {
        let is_private = match settings.mode {
            EgressMode::Auto => is_loopback,
            EgressMode::Public => false,
            EgressMode::Private => true,
        };
        let (allow, allow_hosts) = (settings.allow.clone(), settings.allow_hosts.clone());
        Self { is_private, allow, allow_hosts, deny: settings.deny.clone() }
    }

    /// Returns the mode as the settings call it; `auto` is decided.
    pub fn mode(&self) -> &'static str {
        if self.is_private { "private" } else { "public" }
    }

    /// Reads a URL and says whether it may be called, as far as the URL tells.
    pub fn check(&self, text: &str) -> Result<Url, Refusal> {
        let url = read(text)?;
        match url.host() {
            None => return Err(Refusal::invalid("it has no host")),
            Some(Host::Ipv4(address)) => self.literal(IpAddr::V4(address))?,
            Some(Host::Ipv6(address)) => self.literal(IpAddr::V6(address))?,
            Some(Host::Domain(name)) => self.name(plain(name))?,
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Userinfo);
        }
        if url.port() == Some(0) {
            return Err(Refusal::invalid("nothing listens on port 0"));
        }
        if url.fragment().is_some() {
            return Err(Refusal::invalid("it has a fragment, the part behind `#`, which is never sent"));
        }
        Ok(url)
    }

    /// Says whether an address may be called to which a name has led.
    pub fn resolved(&self, name: &str, address: IpAddr) -> Result<(), Blocked> {
        let name = name.to_ascii_lowercase();
        self.judge(address, self.is_private || self.is_allowed_host(plain(&name)))
    }

    fn literal(&self, address: IpAddr) -> Result<(), Refusal> {
        self.judge(address, self.is_private).map_err(|blocked| Refusal::Address(address, blocked))
    }

    /// What is denied is not called; what is never called is not either; the rest is a matter of mode and exceptions.
    fn judge(&self, address: IpAddr, is_private: bool) -> Result<(), Blocked> {
        let meant = meant(address);
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&meant));
        if is_in(&self.deny) || self.deny.iter().any(|network| network.contains(&address)) {
            return Err(Blocked { what: "an address that COMFYGATE_EGRESS_DENY names", way: Way::None });
        }
        let (what, way) = match kind(address) {
            Kind::Never(what) => return Err(Blocked { what, way: Way::None }),
            Kind::Public => return Ok(()),
            Kind::Loopback => ("an address of this machine", Way::Mode),
            Kind::Private => ("an address of a private network", Way::Mode),
            Kind::Shared => ("an address of a provider's or virtual network", Way::Mode),
            Kind::Reserved => ("a reserved address", Way::Allow),
        };
        if is_in(&self.allow) || (is_private && way == Way::Mode) {
            return Ok(());
        }
        Err(Blocked { what, way })
    }

    fn name(&self, name: &str) -> Result<(), Refusal> {
        let is_label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len());
        if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
            return Err(Refusal::invalid("its host is not a name"));
        }
        if METADATA_NAMES.contains(&name) {
            let blocked = Blocked { what: CREDENTIALS_NAME, way: Way::None };
            return Err(Refusal::Host(name.to_owned(), blocked));
        }
        if self.is_private || !is_of_the_house(name) || self.is_allowed_host(name) {
            return Ok(());
        }
        let blocked = Blocked { what: "a name that only this machine or its network knows", way: Way::Host };
        Err(Refusal::Host(name.to_owned(), blocked))
    }

    fn is_allowed_host(&self, name: &str) -> bool {
        self.allow_hosts.iter().any(|pattern| pattern.matches(name))
    }
}

/// Says what a URL leads to that is never called, whoever asks for it, as far as the URL tells; none where it may be called.
pub fn never_called(url: &Url) -> Option<&'static str> {
    let of = |address| match kind(address) {
        Kind::Never(what) => Some(what),
        Kind::Public | Kind::Loopback | Kind::Private | Kind::Shared | Kind::Reserved => None,
    };
    match url.host()? {
        Host::Ipv4(address) => of(IpAddr::V4(address)),
        Host::Ipv6(address) => of(IpAddr::V6(address)),
        Host::Domain(name) => METADATA_NAMES.contains(&plain(name)).then_some(CREDENTIALS_NAME),
    }
}

/// Reads a URL as far as every guard agrees.
fn read(text: &str) -> Result<Url, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::Invalid(format!("it has {} bytes, and {LONGEST} are allowed", text.len())));
    }
    // The parser would drop these silently, and another parser might not.
    if text.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\\') {
        return Err(Refusal::invalid("it contains a space, a control character or a backslash"));
    }
    let url = Url::parse(text).map_err(|error| Refusal::Invalid(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::Scheme(url.scheme().into()));
    }
    Ok(url)
}

/// Returns a name without the dot that says that nothing comes behind it.
fn plain(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A name without a dot leads wherever the network's own resolver says.
fn is_of_the_house(name: &str) -> bool {
    let ends_so = |ending: &str| name.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || HOUSE_ENDINGS.iter().any(|ending| ends_so(ending))
}

#[cfg(test)]
mod tests;
