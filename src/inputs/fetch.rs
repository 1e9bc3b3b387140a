//! Fetches an image from an address that a caller gave: through the guard of what goes out, which judges the address and what its
//! name leads to; no redirects, a limit on time and size. How many at once is decided by who calls.

use super::source::Fault;
use crate::egress::{Guard, LookupError};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use std::error::Error;
use std::io;
use std::time::Duration;
use tracing::warn;
use url::Url;

/// A connection that does not stand within this time is none.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest silence within an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("comfygate/", env!("CARGO_PKG_VERSION"));

/// Fetches images.
pub(super) struct Fetcher {
    guard: Guard,
    http: reqwest::Client,
    limit: Duration,
}

/// An image on its way; ends with an error where the time is over.
pub(super) type Arriving = BoxStream<'static, Result<Bytes, Broken>>;

/// Why the bytes of an image ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection broke")]
    Connection,
    #[error("it took too long")]
    TimedOut,
}

impl Fetcher {
    /// Makes the client of the guard. `limit` is the time that one image may take.
    pub(super) fn new(guard: Guard, limit: Duration) -> Self {
        let http = builder(&guard).build().unwrap_or_else(|error| {
            warn!(%error, "images cannot be fetched from https; install this system's ca-certificates");
            let without_authorities = builder(&guard).tls_certs_only([]).build();
            without_authorities.expect("nothing but the authorities is read from the system")
        });
        Self { guard, http, limit }
    }

    /// Judges an address by what it says, without asking where its name leads.
    pub(super) fn check(&self, url: &str) -> Result<Url, Fault> {
        self.guard.check(url).map_err(|refusal| (refusal.code(), format!("its URL {refusal}")))
    }

    /// Asks for the image at `url` and returns it once its first bytes may come.
    pub(super) async fn fetch(&self, url: &str, most: u64) -> Result<Arriving, Fault> {
        let url = self.check(url)?;
        let mut over = Box::pin(tokio::time::sleep(self.limit));
        let asked =
            self.http.get(url).header(ACCEPT, HeaderValue::from_static("image/png, image/jpeg, image/webp, image/gif"));
        let asked = asked.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")).send();
        let answer = tokio::select! {
            answer = asked => answer.map_err(|error| failed(&error))?,
            () = &mut over => return Err(broken(&Broken::TimedOut)),
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
            return Err(too_large(most));
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
        Ok(stream.boxed())
    }
}

/// Says that an image has more bytes than are taken.
pub(super) fn too_large(most: u64) -> Fault {
    ("image_too_large", format!("has more than {most} bytes; COMFYGATE_MAX_UPLOAD is the limit"))
}

/// Says why the bytes of an image did not come.
pub(super) fn broken(why: &Broken) -> Fault {
    fault(&why.to_string())
}

/// Says that the images of a request together were not there in time.
pub(super) fn took_too_long_together(limit: Duration) -> Fault {
    let limit = humantime::format_duration(limit);
    fault(&format!(
        "the images of a request together may take {limit}, twice COMFYGATE_FETCH_TIMEOUT; upload some before"
    ))
}

fn fault(what: &str) -> Fault {
    ("image_fetch_failed", format!("could not be fetched: {what}"))
}

/// Says why there was no answer, without an address: who gave a name is not told what it leads to.
fn failed(error: &reqwest::Error) -> Fault {
    let lookup = chain(error).find_map(|cause| cause.downcast_ref::<LookupError>());
    match lookup {
        Some(LookupError::Blocked(reason)) => ("blocked_address", format!("its URL's name leads to {reason}")),
        Some(LookupError::Failed(_) | LookupError::Nothing) => fault("its URL's name is not known"),
        None if error.is_timeout() => broken(&Broken::TimedOut),
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
