//! Fetches an image from an address that a caller gave: through the guard of what goes out, which judges the address and what its
//! name leads to; no redirects, a limit on time and size, and only so many at once.

use super::source::Fault;
use crate::egress::{Guard, LookupError};
use crate::job::Tenant;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// A connection that does not stand within this time is none.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest silence within an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// How many images are fetched at once, and for one tenant.
const AT_ONCE: usize = 32;
const OF_A_TENANT: usize = 16;

const USER_AGENT: &str = concat!("comfygate/", env!("CARGO_PKG_VERSION"));

/// Fetches images.
pub(super) struct Fetcher {
    guard: Guard,
    http: reqwest::Client,
    limit: Duration,
    places: Arc<Semaphore>,
    busy: Arc<Mutex<HashMap<Tenant, usize>>>,
}

/// An image on its way. Its place is free again when this is dropped.
pub(super) struct Arriving {
    /// The bytes; ends with an error where the time is over.
    pub(super) stream: BoxStream<'static, Result<Bytes, Broken>>,
    _place: Place,
}

/// Why the bytes of an image ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection broke")]
    Connection,
    #[error("it took too long")]
    TimedOut,
}

/// Why an image is not fetched.
#[derive(Debug)]
pub(super) enum Unfetched {
    /// It is the caller's matter.
    Fault(Fault),
    /// Too many are being fetched.
    Busy,
}

/// One of the places for fetching.
struct Place {
    tenant: Tenant,
    busy: Arc<Mutex<HashMap<Tenant, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Fetcher {
    /// Makes the client of the guard. `limit` is the time that one image may take.
    pub(super) fn new(guard: Guard, limit: Duration) -> Self {
        let http = builder(&guard).build().unwrap_or_else(|error| {
            warn!(%error, "images cannot be fetched from https; install this system's ca-certificates");
            let without_authorities = builder(&guard).tls_certs_only([]).build();
            without_authorities.expect("nothing but the authorities is read from the system")
        });
        Self { guard, http, limit, places: Arc::new(Semaphore::new(AT_ONCE)), busy: Arc::default() }
    }

    /// Asks for the image at `url` and returns it once its first bytes may come.
    pub(super) async fn fetch(&self, tenant: &Tenant, url: &str, most: u64) -> Result<Arriving, Unfetched> {
        let url = self
            .guard
            .check(url)
            .map_err(|refusal| Unfetched::Fault((refusal.code(), format!("its URL {refusal}"))))?;
        let place = self.place(tenant).ok_or(Unfetched::Busy)?;
        let mut over = Box::pin(tokio::time::sleep(self.limit));
        let asked =
            self.http.get(url).header(ACCEPT, HeaderValue::from_static("image/png, image/jpeg, image/webp, image/gif"));
        let asked = asked.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")).send();
        let answer = tokio::select! {
            answer = asked => answer.map_err(|error| failed(&error))?,
            () = &mut over => return Err(fault(&Broken::TimedOut.to_string())),
        };
        let status = answer.status();
        if status.is_redirection() {
            return Err(fault(&format!(
                "its URL answers {}: redirects are not followed; give the final URL",
                status.as_u16()
            )));
        }
        if status.as_u16() != 200 {
            return Err(fault(&format!("its URL answers with status {} instead of 200", status.as_u16())));
        }
        let encoding = answer.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity") {
            return Err(fault("its URL answers with a content-encoding, though none was asked for"));
        }
        if answer.content_length().is_some_and(|length| length > most) {
            return Err(Unfetched::Fault(too_large(most)));
        }
        let stream = stream::unfold(Some((answer.bytes_stream(), over)), |arriving| async move {
            let (mut chunks, mut over) = arriving?;
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk?,
                () = &mut over => return Some((Err(Broken::TimedOut), None)),
            };
            match chunk {
                Ok(chunk) => Some((Ok(chunk), Some((chunks, over)))),
                Err(error) if error.is_timeout() => Some((Err(Broken::TimedOut), None)),
                Err(_) => Some((Err(Broken::Connection), None)),
            }
        });
        Ok(Arriving { stream: stream.boxed(), _place: place })
    }

    fn place(&self, tenant: &Tenant) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let own = busy.entry(tenant.clone()).or_default();
        if *own >= OF_A_TENANT {
            return None;
        }
        *own += 1;
        Some(Place { tenant: tenant.clone(), busy: Arc::clone(&self.busy), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = busy.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                busy.remove(&self.tenant);
            }
        }
    }
}

/// Says that an image has more bytes than are taken.
pub(super) fn too_large(most: u64) -> Fault {
    ("image_too_large", format!("has more than {most} bytes; COMFYGATE_MAX_UPLOAD is the limit"))
}

/// Says why the bytes of an image did not come.
pub(super) fn broken(why: &Broken) -> Fault {
    ("image_fetch_failed", format!("could not be fetched: {why}"))
}

fn fault(what: &str) -> Unfetched {
    Unfetched::Fault(("image_fetch_failed", format!("could not be fetched: {what}")))
}

/// Says why there was no answer, without an address: who gave a name is not told what it leads to.
fn failed(error: &reqwest::Error) -> Unfetched {
    let lookup = chain(error).find_map(|cause| cause.downcast_ref::<LookupError>());
    match lookup {
        Some(LookupError::Blocked(reason)) => {
            Unfetched::Fault(("blocked_address", format!("its URL's name leads to {reason}")))
        }
        Some(LookupError::Failed(_) | LookupError::Nothing) => fault("its URL's name is not known"),
        None if error.is_timeout() => fault(&Broken::TimedOut.to_string()),
        None if error.is_connect() => fault("no connection could be made"),
        None => fault("the answer is not HTTP's"),
    }
}

fn builder(guard: &Guard) -> reqwest::ClientBuilder {
    guard
        .client()
        .retry(reqwest::retry::never())
        .http1_only()
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(SILENCE_LIMIT)
        // Each fetch is one of its own: nothing is kept open to hosts that callers name.
        .pool_max_idle_per_host(0)
        .user_agent(USER_AGENT)
}

/// Lists an error and its causes. What an I/O error was made of is one too, though it does not call it so.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map(|inside| inside as &'a (dyn Error + 'static)).or_else(|| error.source())
    })
}
