//! The HTTP client of webhooks: no proxy, no redirects, no cookies, no address that is never called. What its errors
//! mean is said here too, since only here is known what can fail.

use super::schedule::Trouble;
use super::snippet::causes;
use super::target::is_never_called;
use crate::settings::WebhookSettings;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tracing::warn;

/// How long a connection may lie idle: shorter than servers commonly keep theirs, so that none closes under a request.
const IDLE_LIMIT: Duration = Duration::from_millis(1500);

const USER_AGENT: &str = concat!("comfygate/", env!("CARGO_PKG_VERSION"));

/// Why our own body did not reach the receiver.
#[derive(Debug, thiserror::Error)]
#[error("the body cannot be read: {0}")]
pub(super) struct Unreadable(pub(super) io::Error);

/// Makes the client. Without certificate authorities on this machine, it can only deliver to `http`.
pub(super) fn build(settings: &WebhookSettings) -> reqwest::Client {
    builder(settings).build().unwrap_or_else(|error| {
        warn!(error = causes(&error), "webhooks to https cannot be delivered; install this system's ca-certificates");
        let without_authorities = builder(settings).tls_certs_only([]).build();
        without_authorities.expect("nothing but the authorities is read from the system")
    })
}

/// Says why there was no answer.
pub(super) fn trouble(error: &reqwest::Error) -> Trouble {
    if let Some(lookup) = find::<LookupError>(error) {
        return match lookup {
            LookupError::Failed(_) | LookupError::Nothing => Trouble::Dns,
            LookupError::Blocked(_) => Trouble::BlockedAddress,
        };
    }
    if find::<Unreadable>(error).is_some() {
        return Trouble::BodyUnreadable;
    }
    if error.is_timeout() {
        return Trouble::Timeout;
    }
    let broken = find::<io::Error>(error);
    if error.is_connect() {
        let is_handshake = broken.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
        return if is_handshake { Trouble::Tls } else { Trouble::Connect };
    }
    let is_cut_off = broken.is_some() || causes(error).contains("connection closed");
    if is_cut_off { Trouble::ConnectionLost } else { Trouble::BadResponse }
}

/// Why a name did not become addresses.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error("the name cannot be resolved: {0}")]
    Failed(io::Error),
    #[error("the name has no address")]
    Nothing,
    #[error("the name leads to {0}, an address that is never called")]
    Blocked(SocketAddr),
}

/// Resolves names, and gives away no address that is never called.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(LookupError::Failed)?;
            let callable = callable(found)?;
            let addresses: Addrs = Box::new(callable.into_iter());
            Ok(addresses)
        })
    }
}

fn callable(found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, LookupError> {
    let (blocked, callable): (Vec<_>, Vec<_>) = found.partition(|address| is_never_called(address.ip()));
    match (callable.is_empty(), blocked.first()) {
        (false, _) => Ok(callable),
        (true, Some(blocked)) => Err(LookupError::Blocked(*blocked)),
        (true, None) => Err(LookupError::Nothing),
    }
}

fn builder(settings: &WebhookSettings) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .http1_only()
        .dns_resolver(Resolver)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(settings.per_host)
        .user_agent(USER_AGENT)
}

/// Finds a cause of this type.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_only_addresses_that_may_be_called() {
        let mixed = ["169.254.169.254:0", "127.0.0.1:0", "[fe80::1]:0", "[::1]:0"].map(|text| text.parse().unwrap());
        let given = callable(mixed.into_iter()).unwrap();
        assert_eq!(given, ["127.0.0.1:0", "[::1]:0"].map(|text| text.parse::<SocketAddr>().unwrap()));
    }

    #[test]
    fn a_name_that_gives_only_other_addresses_is_blocked() {
        let metadata = ["169.254.169.254:0".parse().unwrap()];
        assert!(matches!(callable(metadata.into_iter()), Err(LookupError::Blocked(_))));
        assert!(matches!(callable(std::iter::empty()), Err(LookupError::Nothing)));
    }
}
