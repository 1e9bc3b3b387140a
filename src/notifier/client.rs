//! The HTTP client of webhooks: the guard's, with a webhook's limits. What its errors mean is said here too, since only
//! here is known what can fail.

use super::schedule::Trouble;
use super::snippet::causes;
use crate::egress::{Guard, LookupError};
use crate::settings::WebhookSettings;
use std::error::Error;
use std::io;
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
pub(super) fn build(guard: &Guard, settings: &WebhookSettings) -> reqwest::Client {
    builder(guard, settings).build().unwrap_or_else(|error| {
        warn!(error = causes(&error), "webhooks to https cannot be delivered; install this system's ca-certificates");
        let without_authorities = builder(guard, settings).tls_certs_only([]).build();
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
    if error.is_connect() {
        let is_handshake = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
        let is_tls = chain(error).filter_map(|cause| cause.downcast_ref()).any(is_handshake);
        return if is_tls { Trouble::Tls } else { Trouble::Connect };
    }
    let is_cut_off = find::<io::Error>(error).is_some() || causes(error).contains("connection closed");
    if is_cut_off { Trouble::ConnectionLost } else { Trouble::BadResponse }
}

fn builder(guard: &Guard, settings: &WebhookSettings) -> reqwest::ClientBuilder {
    guard
        .client()
        .retry(reqwest::retry::never())
        .http1_only()
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(settings.per_host)
        .user_agent(USER_AGENT)
}

/// Finds a cause of this type.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// Lists an error and its causes. What an I/O error was made of is one too, though it does not call it so.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map(|inside| inside as &'a (dyn Error + 'static)).or_else(|| error.source())
    })
}
