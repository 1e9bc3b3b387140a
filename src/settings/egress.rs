//! What can be said about where calls may go that a caller asked for, and the addresses that nothing said can allow.
//! Which calls are let through is decided by the guard itself.

use super::parse::parts;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where calls may go whose URL came from a caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EgressSettings {
    /// Which kinds of addresses are called.
    pub mode: EgressMode,
    /// Addresses that are called besides; none of them overlaps what is never called.
    pub allow: Vec<IpNet>,
    /// Hosts that may stand in the house.
    pub allow_hosts: Vec<HostPattern>,
    /// Addresses that are not called, whatever else is said.
    pub deny: Vec<IpNet>,
}

/// Which kinds of addresses are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EgressMode {
    /// `Private` while only this machine reaches the gateway, else `Public`.
    #[default]
    Auto,
    /// Only public addresses.
    Public,
    /// This machine and private networks too.
    Private,
}

/// A host by its name, or every host below a name. In small letters, without a dot at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostPattern {
    /// `receiver.example`.
    Exact(String),
    /// `*.example`, kept as `.example`: every name that ends so, and not `example` itself.
    Below(String),
}

impl HostPattern {
    /// Says whether a host's name is meant, in small letters and without a dot at its end.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Below(ending) => name.len() > ending.len() && name.ends_with(ending.as_str()),
        }
    }
}

/// What no setting can allow, and why: addresses from which the machines of a cloud get their credentials, those that
/// every link has, and those that are no single machine's.
///
/// The credentials' addresses are those that the clouds document: AWS (also `fd00:ec2::/32`), Google (`fd20:ce::254`), Azure's
/// wire server (168.63.129.16), Alibaba (100.100.100.200), Oracle (192.0.0.192), Scaleway (`fd00:42::42`), Akamai
/// (`fd00:a9fe:a9fe::1`); most others are link-local. The other ranges are those of the IANA special-purpose registries.
pub const NEVER_CALLED: [(IpNet, &str); 13] = [
    (v4([169, 254, 0, 0], 16), LINK_LOCAL),
    (v4([168, 63, 129, 16], 32), CREDENTIALS),
    (v4([100, 100, 100, 200], 32), CREDENTIALS),
    (v4([192, 0, 0, 192], 32), CREDENTIALS),
    (v4([0, 0, 0, 0], 8), NOBODYS),
    (v4([224, 0, 0, 0], 4), NOBODYS),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0], 32), CREDENTIALS),
    (v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254], 128), CREDENTIALS),
    (v6([0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042], 128), CREDENTIALS),
    (v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0x0001], 128), CREDENTIALS),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), NOBODYS),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), NOBODYS),
];

const LINK_LOCAL: &str = "a link-local address, from which many clouds give out credentials";
const CREDENTIALS: &str = "an address from which a cloud gives out credentials";
const NOBODYS: &str = "an address that is no single machine's";

/// Reads addresses and ranges between commas; one address alone is a range of one.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    parts(text)?.map(network).collect()
}

/// Reads what may be called besides, and refuses what holds an address that is never called.
pub(super) fn allowed(text: &str) -> Result<Vec<IpNet>, String> {
    let networks = networks(text)?;
    for network in &networks {
        let overlaps = |never: &IpNet| never.contains(network) || network.contains(never);
        if let Some((never, what)) = NEVER_CALLED.iter().find(|(never, _)| overlaps(never)) {
            let never =
                if never.prefix_len() == never.max_prefix_len() { never.addr().to_string() } else { never.to_string() };
            return Err(format!(
                "{network} overlaps {never}, {what}, which is never called; write narrower ranges that leave it out"
            ));
        }
    }
    Ok(networks)
}

/// Reads hosts between commas.
pub(super) fn hosts(text: &str) -> Result<Vec<HostPattern>, String> {
    parts(text)?.map(host).collect()
}

pub(super) fn mode(text: &str) -> Result<EgressMode, String> {
    match text {
        "auto" => Ok(EgressMode::Auto),
        "public" => Ok(EgressMode::Public),
        "private" => Ok(EgressMode::Private),
        _ => Err("an unknown mode".into()),
    }
}

/// An IPv4 range that is written as IPv6 is the IPv4 range: that is how its addresses are judged.
fn network(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<IpAddr>().map(IpNet::from);
    let network: IpNet = text.parse().or_else(|_| alone()).map_err(|_| format!("`{text}` is no range of addresses"))?;
    if network.addr() != network.network() {
        return Err(format!("`{text}` has bits beyond its prefix; write {}", network.trunc()));
    }
    Ok(match network {
        IpNet::V6(wide) => match (wide.addr().to_ipv4_mapped(), wide.prefix_len().checked_sub(96)) {
            (Some(inside), Some(prefix)) => Ipv4Net::new(inside, prefix).map_or(network, IpNet::V4),
            (_, _) => network,
        },
        IpNet::V4(_) => network,
    })
}

/// The name is read as a URL's host is, so that both compare as letters.
fn host(text: &str) -> Result<HostPattern, String> {
    let (is_below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
    let is_plain = !name.is_empty() && !name.contains(['*', '/', ':', '@', '?', '#', '\\', '%', '[', ' ']);
    match url::Host::parse(name) {
        Ok(url::Host::Domain(name)) if is_plain => {
            let name = name.strip_suffix('.').unwrap_or(&name);
            Ok(if is_below { HostPattern::Below(format!(".{name}")) } else { HostPattern::Exact(name.to_owned()) })
        }
        Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => {
            Err(format!("`{text}` is an address; those stand in COMFYGATE_EGRESS_ALLOW"))
        }
        Ok(url::Host::Domain(_)) | Err(_) => Err(format!(
            "`{text}` is neither the name of a host nor one behind `*.`; ports and paths do not belong here"
        )),
    }
}

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(segments: [u16; 8], prefix: u8) -> IpNet {
    let [a, b, c, d, e, f, g, h] = segments;
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_addresses_are_read() {
        let texts = |text| networks(text).map(|networks| networks.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            texts("10.0.0.0/8, 192.168.1.7,fd00:1::/32").unwrap(),
            ["10.0.0.0/8", "192.168.1.7/32", "fd00:1::/32"]
        );
        assert_eq!(texts("::ffff:10.0.0.0/104").unwrap(), ["10.0.0.0/8"]);
        assert_eq!(texts("::ffff:10.0.0.5").unwrap(), ["10.0.0.5/32"]);
        assert!(networks("10.0.0.1/8").unwrap_err().ends_with("write 10.0.0.0/8"));
        for text in ["", ",", "10.0.0.0/33", "ten", "localhost", "10.0.0.0/8;", "10.0.0.0-10.0.0.9"] {
            assert!(networks(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_never_called_cannot_be_allowed() {
        for text in [
            "169.254.169.254",
            "169.254.170.0/24",
            "0.0.0.0/0",
            "168.63.129.0/24",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "::/0",
            "fe80::1",
            "fc00::/7",
            "fd00:ec2::254",
            "224.0.0.1",
            "::ffff:169.254.0.0/112",
            "10.0.0.0/8,169.254.169.254/32",
        ] {
            let reason = allowed(text).unwrap_err();
            assert!(reason.contains("which is never called"), "{text}: {reason}");
        }
        for text in ["10.0.0.0/8", "127.0.0.1", "100.64.0.0/11", "fd12::/16", "198.18.0.0/15", "240.0.0.0/4", "::1"] {
            assert!(allowed(text).is_ok(), "{text}: {:?}", allowed(text));
        }
        assert!(networks("0.0.0.0/0").is_ok(), "everything can be denied");
    }

    #[test]
    fn hosts_are_names_alone_or_everything_below_a_name() {
        assert_eq!(
            hosts("Receiver, *.Example.com,bücher.example.").unwrap(),
            [
                HostPattern::Exact("receiver".into()),
                HostPattern::Below(".example.com".into()),
                HostPattern::Exact("xn--bcher-kva.example".into()),
            ]
        );
        for text in
            ["", "*", "*.", "a.*", "*.*.a", "10.0.0.1", "[::1]", "0x7f.1", "http://a", "a:80", "a/b", "u@a", "a,,b"]
        {
            assert!(hosts(text).is_err(), "{text}: {:?}", hosts(text));
        }
    }

    #[test]
    fn a_star_stands_for_names_below_and_not_for_the_name_itself() {
        let below = &hosts("*.example.com").unwrap()[0];
        assert!(below.matches("a.example.com") && below.matches("a.b.example.com"));
        for name in ["example.com", "badexample.com", ".example.com", "a.example.com.evil"] {
            assert!(!below.matches(name), "{name}");
        }
    }
}
