//! Which URLs may be told of a job's end, judged by the URL alone; what a name resolves to is judged by `client.rs`.
//!
//! Loopback and private addresses are allowed: the gateway listens on loopback unless told otherwise. Addresses that hand
//! out a machine's credentials, or that are no receiver's, are never called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// The longest URL in bytes.
const LONGEST: usize = 2048;

/// The longest name of a host, and of one part of it.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Names of metadata services in clouds.
const METADATA_NAMES: [&str; 4] = ["metadata", "metadata.google.internal", "metadata.goog", "instance-data"];

/// Why a URL is not called.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// It cannot be read as a URL that leads to a receiver. The text is not repeated: it may carry a secret.
    #[error("webhook_url is not a URL that can be called: {0}; write http(s)://host/path")]
    Invalid(String),
    /// It is neither `http` nor `https`.
    #[error("webhook_url has the scheme `{0}`; only http and https are called")]
    Scheme(String),
    /// It carries a user or a password.
    #[error("webhook_url carries a user or a password; put a token into the path or the query")]
    Userinfo,
    /// It leads to an address that is never called.
    #[error("webhook_url leads to `{0}`, an address that is never called")]
    Blocked(String),
    /// It is not `https`, and the settings demand it.
    #[error("webhook_url is not https, and COMFYGATE_WEBHOOK_HTTPS_ONLY=true demands it")]
    HttpsRequired,
}

impl TargetError {
    /// Returns the stable word for answers and the log of attempts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_url",
            Self::Scheme(_) => "unsupported_scheme",
            Self::Userinfo => "userinfo_not_allowed",
            Self::Blocked(_) => "blocked_address",
            Self::HttpsRequired => "https_required",
        }
    }
}

/// What the settings demand of a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TargetRules {
    /// Only `https` will do.
    pub https_only: bool,
}

impl TargetRules {
    /// Reads a webhook's URL and says whether it may be called.
    pub fn check(self, text: &str) -> Result<Url, TargetError> {
        let url = parse(text)?;
        if self.https_only && url.scheme() != "https" {
            return Err(TargetError::HttpsRequired);
        }
        Ok(url)
    }
}

/// Reads a webhook's URL and says whether it may be called, whatever the settings demand besides.
pub fn check_target(text: &str) -> Result<Url, TargetError> {
    TargetRules::default().check(text)
}

/// Returns a URL as answers show it: without user, password, query and fragment, where secrets often are.
pub fn without_query(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return String::new() };
    url.set_query(None);
    url.set_fragment(None);
    // An error means that such a URL cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Returns the lane of a URL: its host and port.
pub(super) fn lane_of(text: &str) -> String {
    let Ok(url) = Url::parse(text) else { return String::new() };
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (_, _) => String::new(),
    }
}

/// Says whether an address is never called: link-local and metadata addresses, and those that are no single machine's.
/// An IPv4 address inside an IPv6 address is judged as itself.
pub(super) fn is_never_called(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_never_called_v4(address),
        IpAddr::V6(address) => is_never_called_v6(address),
    }
}

fn parse(text: &str) -> Result<Url, TargetError> {
    let invalid = |why: &str| TargetError::Invalid(why.into());
    if text.len() > LONGEST {
        return Err(TargetError::Invalid(format!("it has {} bytes, and {LONGEST} are allowed", text.len())));
    }
    // The parser would drop these silently, and another parser might not.
    if text.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\\') {
        return Err(invalid("it contains a space, a control character or a backslash"));
    }
    let url = Url::parse(text).map_err(|error| TargetError::Invalid(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetError::Scheme(url.scheme().into()));
    }
    let host = url.host().ok_or_else(|| invalid("it has no host"))?;
    check_host(&host)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Userinfo);
    }
    if url.port() == Some(0) {
        return Err(invalid("nothing listens on port 0"));
    }
    if url.fragment().is_some() {
        return Err(invalid("it has a fragment, the part behind `#`, which is never sent"));
    }
    Ok(url)
}

fn check_host(host: &Host<&str>) -> Result<(), TargetError> {
    let is_blocked = match host {
        Host::Ipv4(address) => is_never_called_v4(*address),
        Host::Ipv6(address) => is_never_called_v6(*address),
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let is_label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len());
            if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
                return Err(TargetError::Invalid("its host is not a name".into()));
            }
            METADATA_NAMES.contains(&name)
        }
    };
    if is_blocked { Err(TargetError::Blocked(host.to_string())) } else { Ok(()) }
}

fn is_never_called_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let metadata = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    address.is_link_local()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || (first == 192 && second == 88 && address.octets()[2] == 99)
        || metadata.contains(&address)
}

fn is_never_called_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let is_metadata = matches!(segments, [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254]);
    let is_link_local = segments[0] & 0xffc0 == 0xfe80;
    let is_site_local = segments[0] & 0xffc0 == 0xfec0;
    let is_teredo = segments[0] == 0x2001 && segments[1] == 0;
    let inside = embedded(segments);
    address.is_unspecified()
        || address.is_multicast()
        || is_metadata
        || is_link_local
        || is_site_local
        || is_teredo
        || inside.is_some_and(is_never_called_v4)
}

/// Returns the IPv4 address inside an IPv6 address: mapped, compatible, translated, NAT64 or 6to4.
fn embedded(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        // The loopback address looks like a compatible one, and is not.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        [..] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_on_the_internet_in_the_house_and_on_this_machine_are_called() {
        for text in [
            "http://example.com",
            "https://example.com:8443/hook?token=x",
            "http://127.0.0.1:9000/",
            "http://localhost:3000/api/webhook",
            "http://10.0.0.5/",
            "http://192.168.1.1/",
            "http://[::1]:8080/",
            "http://[::ffff:127.0.0.1]/",
            "http://[fd00::1]/",
            "http://example.com./",
            "HTTP://EXAMPLE.COM/",
            "http://bücher.example/",
            "http://receiver/",
        ] {
            assert!(check_target(text).is_ok(), "{text}: {:?}", check_target(text));
        }
    }

    #[test]
    fn metadata_addresses_are_never_called_whatever_their_spelling() {
        for text in [
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
            "http://[fe80::1]/",
            "http://[fec0::1]/",
            "http://[ff02::1]/",
            "http://[::]/",
            "http://[fd00:ec2::254]/",
            "http://168.63.129.16/",
            "http://100.100.100.200/",
            "http://192.0.0.192/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "http://METADATA.google.internal./",
            "http://metadata/",
            "http://0.0.0.0/",
            "http://0.1.2.3/",
            "http://224.0.0.1/",
            "http://240.0.0.1/",
            "http://255.255.255.255/",
            "http://example.com@169.254.169.254/",
        ] {
            assert_eq!(code(text), "blocked_address", "{text}");
        }
    }

    #[test]
    fn only_http_and_https_are_called() {
        for text in [
            "gopher://a/",
            "ftp://a/",
            "data:text/plain,x",
            "javascript:1",
            "unix:/var/run/docker.sock",
            "ws://a/",
            "file:///etc/passwd",
        ] {
            assert_eq!(code(text), "unsupported_scheme", "{text}");
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
            assert_eq!(code(text), "invalid_url", "{text}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for text in ["http://u:secret@example.com/", "http://secret@example.com/", "http://:secret@example.com/"] {
            let error = check_target(text).unwrap_err();
            assert_eq!(error.code(), "userinfo_not_allowed");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn https_is_demanded_only_where_the_settings_say_so() {
        let strict = TargetRules { https_only: true };
        assert_eq!(strict.check("http://example.com/").unwrap_err().code(), "https_required");
        assert!(strict.check("https://example.com/").is_ok());
        assert!(TargetRules::default().check("http://example.com/").is_ok());
    }

    #[test]
    fn a_url_is_shown_without_what_is_often_secret() {
        for (text, shown) in [
            ("http://example.com/hook?token=x#y", "http://example.com/hook"),
            ("https://u:p@example.com:8443/a/b?", "https://example.com:8443/a/b"),
            ("mailto:a@b?subject=x", "mailto:a@b"),
            ("no url?token=x", ""),
        ] {
            assert_eq!(without_query(text), shown);
        }
    }

    fn code(text: &str) -> &'static str {
        match check_target(text) {
            Ok(url) => panic!("{url} is called"),
            Err(error) => error.code(),
        }
    }
}
