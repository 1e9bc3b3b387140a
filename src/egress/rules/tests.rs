//! The rules by example and by chance: whatever the spelling of a blocked address, it is blocked.

use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const BLOCKED_EVERYWHERE: [&str; 36] = [
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://2852039166/",
    "http://169.254.43518/",
    "http://169.254.169.254./",
    "http://１６９.２５４.１６９.２５４/",
    "http://169。254。169。254/",
    "http://169.254.169.254%2e/",
    "http:169.254.169.254",
    "http:/169.254.169.254",
    "http:///169.254.169.254",
    "http://[::ffff:169.254.169.254]/",
    "http://[::169.254.169.254]/",
    "http://[::ffff:0:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://[2001:db8::1]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[::]/",
    "http://[fd00:ec2::254]/",
    "http://168.63.129.16/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://203.0.113.9/",
    "http://198.18.0.1/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://example.com@169.254.169.254/",
];

#[test]
fn receivers_on_the_internet_are_called_in_every_mode() {
    for text in [
        "http://example.com",
        "https://example.com:8443/hook?token=x",
        "http://example.com./",
        "HTTP://EXAMPLE.COM/",
        "http://bücher.example/",
        "http://1.1.1.1/",
        "http://[2606:4700::1111]/",
    ] {
        assert!(public().check(text).is_ok(), "{text}: {:?}", public().check(text));
        assert!(private().check(text).is_ok(), "{text}: {:?}", private().check(text));
    }
}

#[test]
fn receivers_in_the_house_and_on_this_machine_are_called_in_private_mode_only() {
    for (text, code) in [
        ("http://127.0.0.1:9000/", "blocked_address"),
        ("http://10.0.0.5/", "blocked_address"),
        ("http://192.168.1.1/", "blocked_address"),
        ("http://100.64.0.7/", "blocked_address"),
        ("http://[::1]:8080/", "blocked_address"),
        ("http://[::ffff:127.0.0.1]/", "blocked_address"),
        ("http://[fd00::1]/", "blocked_address"),
        ("http://localhost:3000/api/webhook", "blocked_host"),
        ("http://receiver/", "blocked_host"),
        ("http://receiver./", "blocked_host"),
        ("http://printer.local/", "blocked_host"),
        ("http://db.corp.internal/", "blocked_host"),
        ("http://nas.home.arpa/", "blocked_host"),
    ] {
        assert!(private().check(text).is_ok(), "{text}: {:?}", private().check(text));
        assert_eq!(code_of(&public(), text), code, "{text}");
        assert!(public().check(text).unwrap_err().to_string().contains("COMFYGATE_EGRESS=private"), "{text}");
    }
    for name in ["notlocalhost.example", "local.example", "internal.example", "home.arpa.example"] {
        assert!(public().check(&format!("http://{name}/")).is_ok(), "{name}");
    }
}

#[test]
fn what_gives_out_credentials_or_is_nobodys_is_called_in_no_mode() {
    for text in BLOCKED_EVERYWHERE {
        assert_eq!(code_of(&private(), text), "blocked_address", "{text}");
        assert_eq!(code_of(&public(), text), "blocked_address", "{text}");
    }
    for text in ["http://metadata.google.internal/computeMetadata/v1/", "http://METADATA.goog./", "http://metadata/"] {
        assert_eq!(code_of(&private(), text), "blocked_host", "{text}");
        assert_eq!(code_of(&public(), text), "blocked_host", "{text}");
    }
}

#[test]
fn only_http_and_https_are_called() {
    for text in [
        "gopher://a/",
        "ftp://a/",
        "data:text/plain,x",
        "javascript:1",
        "unix:/a.sock",
        "ws://a/",
        "file:///etc/passwd",
    ] {
        assert_eq!(code_of(&private(), text), "unsupported_scheme", "{text}");
    }
}

#[test]
fn what_is_not_a_url_of_a_receiver_is_refused() {
    let long = format!("http://example.com/{}", "a".repeat(LONGEST - 18));
    let long_label = format!("http://{}.example/", "a".repeat(64));
    for text in [
        "",
        "   ",
        "//host/",
        "/hook",
        "http://",
        "http://.",
        "http://a..b/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/\n",
        "http://exa\tmple.com/",
        " http://example.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:80:80/",
        "http://[fe80::1%25eth0]/",
        "http://xn--/",
        "http://example.com/#part",
        "http://example.com/#",
        &long,
        &long_label,
    ] {
        assert_eq!(code_of(&private(), text), "invalid_url", "{text}");
    }
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    for text in ["http://u:secret@example.com/", "http://secret@example.com/", "http://:secret@example.com/"] {
        let error = private().check(text).unwrap_err();
        assert_eq!(error.code(), "userinfo_not_allowed");
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn an_exception_lets_through_what_it_names_and_nothing_else() {
    let rules =
        with(EgressMode::Public, |settings| settings.allow = nets(&["10.1.0.0/16", "198.18.0.0/15", "::1/128"]));
    for text in ["http://10.1.2.3/", "http://[::ffff:10.1.2.3]/", "http://198.18.0.1/", "http://[::1]/"] {
        assert!(rules.check(text).is_ok(), "{text}: {:?}", rules.check(text));
    }
    for text in ["http://10.2.0.1/", "http://127.0.0.1/", "http://[::10.1.2.3]/", "http://169.254.169.254/"] {
        assert_eq!(code_of(&rules, text), "blocked_address", "{text}");
    }
    assert_eq!(rules.resolved("a.example", ip("10.1.2.3")), Ok(()));
    assert!(rules.resolved("a.example", ip("10.2.0.1")).is_err());
}

#[test]
fn an_allowed_host_may_stand_in_the_house_and_lead_to_no_credentials() {
    let hosts = vec![HostPattern::Exact("receiver".into()), HostPattern::Below(".corp.example".into())];
    let rules = with(EgressMode::Public, |settings| settings.allow_hosts = hosts);
    for name in ["receiver", "RECEIVER.", "a.corp.example"] {
        assert!(rules.check(&format!("http://{name}/")).is_ok(), "{name}");
        for address in ["127.0.0.1", "10.0.0.5", "::1", "fd00::1", "100.64.0.1"] {
            assert_eq!(rules.resolved(name, ip(address)), Ok(()), "{name} {address}");
        }
        for address in ["169.254.169.254", "100.100.100.200", "fe80::1", "fd00:ec2::254", "0.0.0.0", "203.0.113.1"] {
            assert!(rules.resolved(name, ip(address)).is_err(), "{name} {address}");
        }
    }
    assert!(rules.resolved("corp.example", ip("10.0.0.5")).is_err());
    assert_eq!(code_of(&rules, "http://localhost/"), "blocked_host");
    assert_eq!(code_of(&rules, "http://10.0.0.5/"), "blocked_address");
}

#[test]
fn auto_is_private_only_while_nobody_else_reaches_the_gateway() {
    let settings = EgressSettings::default();
    assert_eq!((Rules::new(&settings, true).mode(), Rules::new(&settings, false).mode()), ("private", "public"));
    let public = EgressSettings { mode: EgressMode::Public, ..settings };
    assert_eq!(Rules::new(&public, true).mode(), "public");
}

#[test]
fn an_answer_says_what_would_let_it_through() {
    let told = |text: &str| public().check(text).unwrap_err().to_string();
    assert_eq!(
        told("http://127.0.0.1:9/x?secret"),
        "leads to 127.0.0.1, an address of this machine; COMFYGATE_EGRESS=private or COMFYGATE_EGRESS_ALLOW=127.0.0.1 \
         would let it through"
    );
    assert_eq!(
        told("http://localhost/"),
        "names the host `localhost`, a name that only this machine or its network knows; COMFYGATE_EGRESS=private or \
         COMFYGATE_EGRESS_ALLOW_HOSTS=localhost would let it through"
    );
    assert_eq!(
        told("http://203.0.113.9/"),
        "leads to 203.0.113.9, a reserved address; COMFYGATE_EGRESS_ALLOW=203.0.113.9 would let it through"
    );
    assert!(told("http://169.254.169.254/").ends_with(", and is never called"));
    assert!(told("http://metadata.google.internal/").ends_with(", and is never called"));
}

proptest! {
    #[test]
    fn every_spelling_of_a_blocked_address_is_blocked(address in not_public(), spelling in spelling()) {
        let text = format!("http://{}/x", spelling.of(address));
        let refusal = public().check(&text);
        prop_assert_eq!(refusal.map_err(|error| error.code()), Err("blocked_address"), "{}", text);
    }

    #[test]
    fn every_spelling_of_a_public_address_is_the_same_address(address in any::<u32>(), spelling in plain_spelling()) {
        let address = Ipv4Addr::from(address);
        prop_assume!(kind(address.into()) == Kind::Public);
        let text = format!("http://{}/x", spelling.of(address));
        prop_assert!(public().check(&text).is_ok(), "{}", text);
        prop_assert_eq!(public().resolved("a.example", address.into()), Ok(()));
    }

    #[test]
    fn a_name_that_leads_to_a_blocked_address_is_blocked(address in not_public(), coat in 0..6_u8) {
        prop_assert!(public().resolved("a.example", coated(address, coat)).is_err(), "{}", coated(address, coat));
    }

    #[test]
    fn only_global_unicast_is_public_in_ipv6(address in any::<u128>()) {
        let address = Ipv6Addr::from(address);
        let is_global = address.segments()[0] & 0xe000 == 0x2000;
        let is_nat64 = address.segments().starts_with(&[0x64, 0xff9b]);
        let called = public().check(&format!("http://[{address}]/")).is_ok();
        prop_assert!(!called || is_global || is_nat64, "{}", address);
        prop_assert_eq!(called, public().resolved("a.example", address.into()).is_ok());
    }

    #[test]
    fn what_is_denied_is_not_called_whatever_else_is_said(
        address in any::<u32>(), prefix in 0..=32_u8, is_private in any::<bool>(), spelling in spelling(),
    ) {
        let address = Ipv4Addr::from(address);
        let denied = IpNet::new(address.into(), prefix).unwrap().trunc();
        let mode = if is_private { EgressMode::Private } else { EgressMode::Public };
        let rules = with(mode, |settings| {
            settings.deny = vec![denied];
            settings.allow = vec![IpNet::from(IpAddr::V4(address))];
            settings.allow_hosts = vec![HostPattern::Exact("a.example".into())];
        });
        let text = format!("http://{}/", spelling.of(address));
        prop_assert_eq!(rules.check(&text).map_err(|error| error.code()), Err("blocked_address"), "{}", text);
        prop_assert!(rules.resolved("a.example", address.into()).is_err());
        prop_assert!(rules.resolved("a.example", coated(address, 1)).is_err());
    }

    #[test]
    fn no_exception_lets_through_what_gives_out_credentials(place in 0..NEVER.len(), coat in 0..6_u8) {
        let address: Ipv4Addr = NEVER[place].parse().unwrap();
        let everything = nets(&["0.0.0.0/0", "::/0"]);
        let rules = with(EgressMode::Private, |settings| {
            settings.allow = everything;
            settings.allow_hosts = vec![HostPattern::Exact("a.example".into())];
        });
        prop_assert!(rules.resolved("a.example", coated(address, coat)).is_err());
        let text = format!("http://{address}/");
        prop_assert!(rules.check(&text).is_err());
    }
}

const NEVER: [&str; 6] =
    ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0"];

/// IPv4 addresses that are not public, from the edges of the ranges and from within.
fn not_public() -> impl Strategy<Value = Ipv4Addr> {
    let ranges = [
        ("0.0.0.0", 8),
        ("10.0.0.0", 8),
        ("100.64.0.0", 10),
        ("127.0.0.0", 8),
        ("168.63.129.16", 32),
        ("169.254.0.0", 16),
        ("172.16.0.0", 12),
        ("192.0.0.0", 24),
        ("192.0.2.0", 24),
        ("192.88.99.0", 24),
        ("192.168.0.0", 16),
        ("198.18.0.0", 15),
        ("198.51.100.0", 24),
        ("203.0.113.0", 24),
        ("224.0.0.0", 4),
        ("240.0.0.0", 4),
    ];
    (0..ranges.len(), prop_oneof![Just(0), Just(u32::MAX), any::<u32>()]).prop_map(move |(place, bits)| {
        let (first, prefix): (&str, u32) = ranges[place];
        let first = u32::from(first.parse::<Ipv4Addr>().unwrap());
        let host_bits = u32::MAX.checked_shr(prefix).unwrap_or(0);
        Ipv4Addr::from(first | (bits & host_bits))
    })
}

/// One way to write an IPv4 address in a URL.
#[derive(Clone, Debug)]
struct Spelling {
    /// How each part is written: decimal, octal or hexadecimal.
    radixes: [u8; 4],
    /// How many parts there are, from 1 to 4; the last one holds what is left.
    parts: usize,
    /// Which sign stands between parts.
    dot: &'static str,
    /// Zeros in front of the digits.
    zeros: usize,
    /// Letters as full-width ones.
    is_wide: bool,
    /// Which letter is percent-encoded, if any.
    encoded: Option<usize>,
    /// A dot at the end.
    has_end: bool,
    /// Within which IPv6 address it stands, if any.
    coat: Option<u8>,
}

fn plain_spelling() -> impl Strategy<Value = Spelling> {
    (
        any::<[u8; 4]>(),
        1..=4_usize,
        prop::sample::select(vec![".", "。", "．", "｡", "%2e", "%2E"]),
        0..4_usize,
        any::<bool>(),
        prop::option::of(0..20_usize),
        any::<bool>(),
    )
        .prop_map(|(radixes, parts, dot, zeros, is_wide, encoded, has_end)| Spelling {
            radixes,
            parts,
            dot,
            zeros,
            is_wide,
            encoded,
            has_end,
            coat: None,
        })
}

fn spelling() -> impl Strategy<Value = Spelling> {
    (plain_spelling(), prop::option::of(0..6_u8)).prop_map(|(spelling, coat)| Spelling { coat, ..spelling })
}

impl Spelling {
    fn of(&self, address: Ipv4Addr) -> String {
        if let Some(coat) = self.coat {
            return match coated(address, coat) {
                IpAddr::V6(address) => format!("[{address}]"),
                IpAddr::V4(address) => address.to_string(),
            };
        }
        let octets = address.octets();
        let mut numbers: Vec<u64> = octets[..self.parts - 1].iter().map(|octet| u64::from(*octet)).collect();
        numbers.push(octets[self.parts - 1..].iter().fold(0, |sum, octet| (sum << 8) | u64::from(*octet)));
        let written: Vec<String> =
            numbers.iter().zip(self.radixes).map(|(number, radix)| self.write(*number, radix)).collect();
        let end = if self.has_end { self.dot } else { "" };
        format!("{}{end}", written.join(self.dot))
    }

    fn write(&self, number: u64, radix: u8) -> String {
        let zeros = "0".repeat(self.zeros);
        let text = match radix % 4 {
            0 => format!("0x{zeros}{number:x}"),
            1 => format!("0{zeros}{number:o}"),
            2 => format!("0X{zeros}{number:X}"),
            _ => number.to_string(),
        };
        let place = self.encoded.map(|place| place % text.len());
        let wide = |letter: char| char::from_u32(u32::from(letter) + 0xfee0).unwrap();
        let letter = |(at, letter): (usize, char)| match (Some(at) == place, self.is_wide) {
            (true, _) => format!("%{:02x}", u32::from(letter)),
            (false, true) => wide(letter).to_string(),
            (false, false) => letter.to_string(),
        };
        text.chars().enumerate().map(letter).collect()
    }
}

/// Puts an IPv4 address into an IPv6 one: 0 mapped, 1 NAT64, 2 compatible, 3 SIIT, 4 6to4, 5 Teredo.
fn coated(address: Ipv4Addr, coat: u8) -> IpAddr {
    let [a, b, c, d] = address.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let segments = match coat {
        0 => [0, 0, 0, 0, 0, 0xffff, high, low],
        1 => [0x64, 0xff9b, 0, 0, 0, 0, high, low],
        2 => [0, 0, 0, 0, 0, 0, high, low],
        3 => [0, 0, 0, 0, 0xffff, 0, high, low],
        4 => [0x2002, high, low, 0, 0, 0, 0, 1],
        _ => [0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low],
    };
    IpAddr::V6(Ipv6Addr::from(segments))
}

fn public() -> Rules {
    with(EgressMode::Public, |_| {})
}

fn private() -> Rules {
    with(EgressMode::Private, |_| {})
}

fn with(mode: EgressMode, change: impl FnOnce(&mut EgressSettings)) -> Rules {
    let mut settings = EgressSettings { mode, ..EgressSettings::default() };
    change(&mut settings);
    Rules::new(&settings, false)
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn code_of(rules: &Rules, text: &str) -> &'static str {
    match rules.check(text) {
        Ok(url) => panic!("{url} is called"),
        Err(error) => error.code(),
    }
}
