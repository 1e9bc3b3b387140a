//! What an address is: public, this machine's, a private network's, or one that is never called. Whether it may be
//! called is decided in `rules.rs`.
//!
//! The ranges are those of the IANA special-purpose address registries for IPv4 and IPv6.

use crate::settings::NEVER_CALLED;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ipnet::{Ipv4Net, Ipv6Net};

/// What an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Anybody's on the internet.
    Public,
    /// This machine's.
    Loopback,
    /// A private network's: RFC 1918, or unique local for IPv6.
    Private,
    /// Shared between a provider and its customers (RFC 6598), which some virtual networks use as their own.
    Shared,
    /// For documentation, measurements, protocols or times to come.
    Reserved,
    /// One that is never called, and what it is.
    Never(&'static str),
}

/// What is not public in IPv4, besides what is never called.
const SPECIAL_V4: [(Ipv4Net, Kind); 13] = [
    (v4([127, 0, 0, 0], 8), Kind::Loopback),
    (v4([10, 0, 0, 0], 8), Kind::Private),
    (v4([172, 16, 0, 0], 12), Kind::Private),
    (v4([192, 168, 0, 0], 16), Kind::Private),
    (v4([100, 64, 0, 0], 10), Kind::Shared),
    (v4([192, 0, 0, 0], 24), Kind::Reserved),
    (v4([192, 0, 2, 0], 24), Kind::Reserved),
    (v4([192, 88, 99, 0], 24), Kind::Reserved),
    (v4([198, 18, 0, 0], 15), Kind::Reserved),
    (v4([198, 51, 100, 0], 24), Kind::Reserved),
    (v4([203, 0, 113, 0], 24), Kind::Reserved),
    (v4([240, 0, 0, 0], 4), Kind::Reserved),
    (v4([255, 255, 255, 255], 32), Kind::Reserved),
];

/// What is not public although it lies within [`GLOBAL_V6`]: protocol assignments with Teredo, documentation, 6to4.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// The only part of IPv6 from which public addresses are given out.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const UNIQUE_LOCAL: Ipv6Net = v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7);

/// Says what an address is. An IPv4 address that is mapped into IPv6, or translated by NAT64, is what it is itself.
pub fn kind(address: IpAddr) -> Kind {
    let address = meant(address);
    let never = NEVER_CALLED.iter().find(|(network, _)| network.contains(&address));
    if let Some((_, what)) = never {
        return Kind::Never(what);
    }
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

/// Returns the address that a connection really goes to: the IPv4 address inside a mapped one or one of NAT64's.
pub(super) fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(outer) = address else { return address };
    match outer.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => IpAddr::V4(join(high, low)),
        [..] => address,
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let special = SPECIAL_V4.iter().find(|(network, _)| network.contains(&address));
    special.map_or(Kind::Public, |(_, kind)| *kind)
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    if address == Ipv6Addr::LOCALHOST {
        return Kind::Loopback;
    }
    if UNIQUE_LOCAL.contains(&address) {
        return Kind::Private;
    }
    if let Some(Kind::Never(what)) = carried(address).map(|inside| kind(IpAddr::V4(inside))) {
        return Kind::Never(what);
    }
    let is_public = GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|network| network.contains(&address));
    if is_public { Kind::Public } else { Kind::Reserved }
}

/// Returns the IPv4 address inside an IPv6 address of an old way across: compatible, SIIT, 6to4, Teredo.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] | [0x2002, high, low, ..] => {
            Some(join(high, low))
        }
        // Teredo keeps the client's address with every bit turned (RFC 4380).
        [0x2001, 0, .., high, low] => Some(join(!high, !low)),
        [..] => None,
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_what_the_registries_say() {
        let cases: [(Kind, &[&str]); 5] = [
            (
                Kind::Public,
                &[
                    "1.1.1.1",
                    "9.255.255.255",
                    "11.0.0.0",
                    "172.15.255.255",
                    "172.32.0.0",
                    "100.63.255.255",
                    "100.128.0.0",
                    "192.0.1.0",
                    "198.17.255.255",
                    "198.20.0.0",
                    "223.255.255.255",
                    "168.63.129.15",
                    "2000::1",
                    "2600:1f18::1",
                    "2001:200::1",
                    "2003::1",
                    "::ffff:1.1.1.1",
                    "64:ff9b::101:101",
                ],
            ),
            (Kind::Loopback, &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]),
            (
                Kind::Private,
                &[
                    "10.0.0.5",
                    "172.16.0.0",
                    "172.31.255.255",
                    "192.168.1.1",
                    "fc00::1",
                    "fd12:3456::1",
                    "::ffff:10.0.0.1",
                ],
            ),
            (Kind::Shared, &["100.64.0.1", "100.100.100.199", "100.127.255.255"]),
            (
                Kind::Reserved,
                &[
                    "192.0.0.1",
                    "192.0.2.1",
                    "198.18.0.1",
                    "198.19.255.255",
                    "198.51.100.7",
                    "203.0.113.9",
                    "192.88.99.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::127.0.0.1",
                    "::ffff:0:7f00:1",
                    "2002:7f00:1::",
                    "2001:0:4136:e378:8000:63bf:80ff:fffe",
                    "2001:db8::1",
                    "2001:1ff::1",
                    "3fff::1",
                    "fec0::1",
                    "100::1",
                    "64:ff9b:1::1",
                    "5f00::1",
                    "4000::1",
                    "1fff::1",
                ],
            ),
        ];
        for (expected, texts) in cases {
            for text in texts {
                assert_eq!(kind(text.parse().unwrap()), expected, "{text}");
            }
        }
    }

    #[test]
    fn what_gives_out_credentials_is_never_called_in_whatever_coat() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "::169.254.169.254",
            "::ffff:0:a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "2001:0:4136:e378:8000:63bf:5601:5601",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "::",
            "ff02::1",
        ] {
            assert!(matches!(kind(text.parse().unwrap()), Kind::Never(_)), "{text}");
        }
    }
}
