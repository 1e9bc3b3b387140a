//! How much callers may ask for, and which names and pages may reach the gateway: the settings and how they are read.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;
use url::{Host, Url};

/// The most requests that a rate may name.
const MOST_REQUESTS: u32 = 1_000_000;

/// How much callers may ask for. What a key's own limits say goes before these.
#[derive(Clone, PartialEq, Debug)]
pub struct CallerSettings {
    /// How many requests a caller may send.
    pub rate: RateChoice,
    /// How many requests without a good key are told so, from one client address. Only tests change it.
    pub guesses: Rate,
    /// How many jobs may wait, of all tenants together; no more are taken in above it.
    pub max_queued: u64,
    /// How many jobs of one tenant may wait.
    pub max_queued_per_tenant: Option<u64>,
    /// How many jobs of one tenant are taken in on one day, in UTC.
    pub jobs_per_day: Option<u64>,
    /// The pages that may send requests from a browser: scheme, host and port.
    pub allowed_origins: Vec<String>,
    /// The names that requests may call the gateway by, with a port or for any.
    pub allowed_hosts: Vec<String>,
}

impl Default for CallerSettings {
    fn default() -> Self {
        Self {
            rate: RateChoice::Usual,
            guesses: Rate::GUESSES,
            max_queued: 100_000,
            max_queued_per_tenant: Some(10_000),
            jobs_per_day: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

/// How many requests callers may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RateChoice {
    /// Nothing was said: keys have the usual rate, and callers without a key no limit.
    Usual,
    /// Nobody has a limit.
    Off,
    /// Each key has this one, and each client address where no key is shown.
    Each(Rate),
}

/// How many requests may come in how long, and how many of them at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// So many requests..
    pub requests: NonZeroU32,
    /// ..in so long, on average.
    pub per: Duration,
    /// So many at once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The rate of keys where the settings say nothing: ten a second, far more than a backend works off and far less than
    /// would be felt.
    pub const USUAL: Self = Self::per_minute(NonZeroU32::new(600).expect("not zero"));

    /// The rate of requests without a good key: enough for a client with an old key to be told so, and little work.
    pub(super) const GUESSES: Self = Self::per_minute(NonZeroU32::new(30).expect("not zero"));

    /// So many requests a minute, all of them at once if need be.
    pub const fn per_minute(requests: NonZeroU32) -> Self {
        Self { requests, per: Duration::from_mins(1), burst: requests }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests in {}", self.requests, humantime::format_duration(self.per))
    }
}

pub(super) fn rate(text: &str) -> Result<RateChoice, String> {
    if text == "off" {
        return Ok(RateChoice::Off);
    }
    let (requests, unit) = text.split_once('/').ok_or("no unit of time; write 600/m for 600 a minute")?;
    let requests: u32 = requests.trim().parse().map_err(|_| "not a whole number before the `/`")?;
    let requests = NonZeroU32::new(requests)
        .filter(|requests| requests.get() <= MOST_REQUESTS)
        .ok_or_else(|| format!("{requests} is outside 1..={MOST_REQUESTS}"))?;
    let per = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        other => return Err(format!("unknown unit of time `{other}`; there are s, m, h")),
    };
    Ok(RateChoice::Each(Rate { requests, per, burst: requests }))
}

/// Reads a number above 0, or `off`.
pub(super) fn number_or_off(text: &str) -> Result<Option<u64>, String> {
    if text == "off" { Ok(None) } else { super::parse::whole(text, 1, 1_000_000_000).map(Some) }
}

/// Reads pages' origins, as browsers write them: `https://app.example`, with a port where it is not the usual one.
pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    super::parse::parts(text)?.map(origin).collect()
}

fn origin(text: &str) -> Result<String, String> {
    if text == "*" || text == "null" {
        return Err(format!("`{text}` would let every page in; name those that may"));
    }
    let url = Url::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !is_bare || text.ends_with('/') {
        return Err(format!("`{text}` is no origin: scheme, host and perhaps a port, and nothing behind"));
    }
    Ok(url.origin().ascii_serialization())
}

/// Reads names of this gateway, with a port or without.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    super::parse::parts(text)?.map(host).collect()
}

fn host(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no host: a name or an address, and perhaps a port");
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !port.starts_with('+') => name,
        Some(_) | None => text,
    };
    let host = Host::parse(name).map_err(|_| wrong())?;
    let is_as_written = host.to_string().eq_ignore_ascii_case(name);
    // The parser takes a `*` for a part of a name; here somebody would mean any name by it, which is not what would happen.
    if is_as_written && !name.contains('*') { Ok(text.to_ascii_lowercase()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit_of_time() {
        let rate_of = |requests, per| {
            let requests = NonZeroU32::new(requests).unwrap();
            Ok(RateChoice::Each(Rate { requests, per, burst: requests }))
        };
        assert_eq!(rate("600/m"), rate_of(600, Duration::from_mins(1)));
        assert_eq!(rate("5/s"), rate_of(5, Duration::from_secs(1)));
        assert_eq!(rate("1000000/h"), rate_of(1_000_000, Duration::from_hours(1)));
        assert_eq!(rate("off"), Ok(RateChoice::Off));
        for text in ["", "600", "0/m", "-1/m", "1.5/m", "600/", "/m", "600/d", "600/min", "1000001/s", "on", "600/m/m"]
        {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let read = origins("https://App.example:443, http://localhost:3000").unwrap();
        assert_eq!(read, ["https://app.example", "http://localhost:3000"]);
        for text in
            ["*", "null", "app.example", "https://app.example/", "https://app.example/x", "ftp://a", "https://u@a"]
        {
            assert!(origins(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        let read = hosts("Gate.example, gate.example:8443, 10.0.0.5, [fd00::1]:8083").unwrap();
        assert_eq!(read, ["gate.example", "gate.example:8443", "10.0.0.5", "[fd00::1]:8083"]);
        for text in ["", "*", "a b", "http://a", "a/b", "a:99999", "0x7f.1", "fd00::1"] {
            assert!(hosts(text).is_err(), "{text}");
        }
    }
}
