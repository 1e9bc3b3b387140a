//! Reads one value from its text. The answers say what is wrong; which setting it was and what is allowed is told by
//! the caller.

use super::{KeyMode, LogFormat};
use crate::job::DeliveryMode;
use crate::secret::Secret;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::Url;

const A_YEAR: Duration = Duration::from_hours(365 * 24);

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let loopback = |port: &str| port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let port = text.strip_prefix(':').or_else(|| text.strip_prefix("localhost:"));
    port.and_then(loopback).ok_or_else(|| {
        if loopback(text).is_some() {
            format!("a port alone; write :{text}")
        } else {
            "not an address with a port".into()
        }
    })
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("neither true nor false".into()),
    }
}

pub(super) fn delivery(text: &str) -> Result<DeliveryMode, String> {
    DeliveryMode::parse(text).ok_or_else(|| "none of the three words".into())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("an unknown format".into()),
    }
}

pub(super) fn key_mode(text: &str) -> Result<KeyMode, String> {
    match text {
        "auto" => Ok(KeyMode::Auto),
        "required" => Ok(KeyMode::Required),
        "off" => Ok(KeyMode::Off),
        _ => Err("an unknown word".into()),
    }
}

/// Reads a key that the operator drew. What is wrong with it is said without it.
pub(super) fn admin_key(text: &str) -> Result<Secret, String> {
    if !(32..=200).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("not 32 to 200 visible ASCII characters".into());
    }
    let different = text.bytes().collect::<BTreeSet<_>>().len();
    if different < 10 {
        return Err(format!("made of {different} different characters only, so it can be guessed"));
    }
    Ok(Secret::new(text))
}

pub(super) fn key(text: &str) -> Result<Secret, String> {
    let is_one_word = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one_word { Ok(Secret::new(text)) } else { Err("not one word of visible ASCII characters".into()) }
}

pub(super) fn admin_key_file(path: &str) -> Result<Secret, String> {
    of_file(path, admin_key)
}

/// Reads a bearer token, which must be able to stand in a header.
pub(super) fn token(text: &str) -> Result<Secret, String> {
    visible(text, 4096)
}

pub(super) fn token_file(path: &str) -> Result<Secret, String> {
    of_file(path, token)
}

/// Reads a key for partner nodes.
pub(super) fn partner_key(text: &str) -> Result<Secret, String> {
    visible(text, 512)
}

/// Reads what stands in a file as `read` reads it where it stands in a setting.
fn of_file(path: &str, read: fn(&str) -> Result<Secret, String>) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))?;
    read(text.trim_end_matches(['\n', '\r'])).map_err(|reason| format!("what stands in it is {reason}"))
}

fn visible(text: &str, longest: usize) -> Result<Secret, String> {
    if !(1..=longest).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("not 1 to {longest} visible ASCII characters"));
    }
    Ok(Secret::new(text))
}

pub(super) fn public_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment, behind which nothing can be appended".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Reads the URL of a service that is called as it stands.
pub(super) fn service(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    if url.fragment().is_some() {
        return Err("it has a fragment, the part behind `#`, which is never sent".into());
    }
    Ok(url)
}

pub(super) fn backends(text: &str) -> Result<Vec<Url>, String> {
    let mut backends: Vec<Url> = Vec::new();
    for part in parts(text)? {
        let url = backend(part)?;
        if backends.contains(&url) {
            return Err(format!("{url} is in it twice"));
        }
        backends.push(url);
    }
    Ok(backends)
}

/// Reads the base URL of one ComfyUI; `127.0.0.1:8188` without `http://` is enough.
pub(super) fn backend(text: &str) -> Result<Url, String> {
    let mut url = if text.contains("://") { http_url(text)? } else { http_url(&format!("http://{text}"))? };
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment".into());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

pub(super) fn whole<N: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<N, String> {
    let number: u64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if !(least..=most).contains(&number) {
        return Err(format!("outside {least}..={most}"));
    }
    N::try_from(number).map_err(|_| "too large".into())
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default().trim();
    let number: u64 = digits.parse().map_err(|_| "not a whole number with a unit".to_owned())?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "" => return Err(format!("no unit; write {number}B for bytes")),
        _ => return Err(format!("unknown unit `{unit}`")),
    };
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= 1 << 50);
    match bytes {
        Some(0) => Err("nothing would fit".into()),
        Some(bytes) => Ok(bytes),
        None => Err("larger than 1048576GiB".into()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text.parse::<u64>().is_ok() {
        return Err(format!("no unit; write {text}s for seconds"));
    }
    let duration = humantime::parse_duration(text).map_err(|_| "not a duration".to_owned())?;
    if duration < Duration::from_millis(1) {
        return Err("shorter than 1ms".into());
    }
    if duration > A_YEAR {
        return Err("longer than a year".into());
    }
    Ok(duration)
}

pub(super) fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

pub(super) fn retention(text: &str) -> Result<Option<Duration>, String> {
    if text == "forever" { Ok(None) } else { duration(text).map(Some) }
}

/// Reads how often somebody else is asked something: never so often that it is a burden.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_secs(1) {
        return Err("shorter than 1s".into());
    }
    Ok(interval)
}

pub(super) fn pace(text: &str) -> Result<Option<Duration>, String> {
    if matches!(text, "0" | "off") { Ok(None) } else { interval(text).map(Some) }
}

pub(super) fn schedule(text: &str) -> Result<Vec<Duration>, String> {
    let steps: Vec<Duration> = parts(text)?.map(duration).collect::<Result<_, _>>()?;
    if steps.len() > 100 {
        return Err(format!("{} durations", steps.len()));
    }
    Ok(steps)
}

#[expect(clippy::unnecessary_wraps, reason = "every reader of a value has this shape")]
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

pub(super) fn workflow(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.' | '@' | ' ');
    if text.starts_with('.') || !text.chars().all(plain) {
        return Err("not a name: letters, digits, `-`, `_`, `.`, `@` and spaces, not beginning with a dot".into());
    }
    Ok(text.to_owned())
}

/// A word alone is a level here: as the name of a target it would silence everything else.
pub(super) fn filter(text: &str) -> Result<String, String> {
    let is_level = |part: &str| part.parse::<LevelFilter>().is_ok();
    let is_word = |part: &&str| part.chars().all(|letter| letter.is_ascii_alphanumeric());
    if let Some(word) = text.split(',').map(str::trim).find(|part| is_word(part) && !is_level(part)) {
        return Err(format!("`{word}` is no level: error, warn, info, debug, trace or off"));
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("its scheme is `{}`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it carries a user or a password".into());
    }
    Ok(url)
}

/// Splits at the commas; an empty part is a mistake.
pub(super) fn parts(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    if text.split(',').any(|part| part.trim().is_empty()) {
        return Err("an empty part between commas".into());
    }
    Ok(text.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_a_colon_means_loopback() {
        for text in [":8083", "localhost:8083", "127.0.0.1:8083"] {
            assert_eq!(address(text).unwrap().to_string(), "127.0.0.1:8083");
        }
        assert_eq!(address("[::1]:1").unwrap().to_string(), "[::1]:1");
        assert_eq!(address("8083").unwrap_err(), "a port alone; write :8083");
        for text in ["", ":", ":x", ":70000", "127.0.0.1", "gpu:80"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("256MiB"), Ok(268_435_456));
        assert_eq!(size("1 GiB"), Ok(1 << 30));
        assert_eq!(size("7B"), Ok(7));
        for text in ["", "MiB", "5", "5MB", "5 mib", "-1MiB", "0MiB", "1.5MiB", "99999999999999999999GiB", "9999999GiB"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_done_now_and_then_may_be_off() {
        assert_eq!(pace("15s"), Ok(Some(Duration::from_secs(15))));
        assert_eq!((pace("0"), pace("off")), (Ok(None), Ok(None)));
        assert!(pace("15").is_err() && pace("never").is_err());
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("999ms").unwrap_err(), "shorter than 1s");
        assert_eq!(pace("1ms").unwrap_err(), "shorter than 1s");
    }

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("30").unwrap_err(), "no unit; write 30s for seconds");
        for text in ["", "0s", "abc", "-5s", "1ns", "2years", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn backends_are_base_urls_without_credentials() {
        let urls = backends("127.0.0.1:8188, https://gpu.example/comfy").unwrap();
        let texts: Vec<_> = urls.iter().map(Url::as_str).collect();
        assert_eq!(texts, ["http://127.0.0.1:8188/", "https://gpu.example/comfy/"]);
        for text in ["", ",", "a,,b", "http://a,a", "ftp://a", "http://u:p@a", "http://a/?x", "http://"] {
            assert!(backends(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_url_loses_its_last_slash() {
        assert_eq!(public_url("https://gw.example/").as_deref(), Ok("https://gw.example"));
        assert_eq!(public_url("https://gw.example/a/").as_deref(), Ok("https://gw.example/a"));
        assert!(public_url("gw.example").is_err());
        assert!(public_url("https://gw.example/?a").is_err());
    }

    #[test]
    fn a_workflow_is_named_without_folders() {
        assert!(workflow("flux-dev 1.0").is_ok());
        for text in ["../x", "a/b", "a\\b", ".hidden", "..", "a:b"] {
            assert!(workflow(text).is_err(), "{text}");
        }
    }
}
