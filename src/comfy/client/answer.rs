//! An answer of the server: its status judged, its body read whole within a bound, and why there was none.

use super::{Client, ClientError, PROXY_REFUSED};
use crate::comfy::{redact, route};
use reqwest::Response;
use std::error::Error;

/// The largest JSON answer that is read: a queue or a history holds whole graphs, of up to 100 MiB each.
pub(super) const ANSWER_LIMIT: u64 = 256 << 20;
/// How much is read of an answer that is an error.
const ERROR_LIMIT: usize = 4 << 10;

impl Client {
    /// Judges the status. What an error says is told without what the backend was shown.
    pub(super) async fn checked(&self, call: &str, response: Response) -> Result<Response, ClientError> {
        let status = response.status().as_u16();
        match status {
            200..=299 => Ok(response),
            404 => Err(ClientError::NotFound),
            407 => Err(ClientError::Unreachable(PROXY_REFUSED.to_owned())),
            _ => {
                let body = redact(&self.route.without_secrets(&beginning(response).await));
                Err(ClientError::Status { call: call.to_owned(), status, body })
            }
        }
    }
}

pub(super) async fn whole(response: Response) -> Result<String, ClientError> {
    whole_within(response, ANSWER_LIMIT).await
}

/// Reads an answer of at most `limit` bytes.
pub(super) async fn whole_within(mut response: Response, limit: u64) -> Result<String, ClientError> {
    let too_large = ClientError::TooLarge { limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > limit {
            return Err(too_large);
        }
    }
    Ok(String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Reads what an error begins with, and what of it comes before the connection breaks.
async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= ERROR_LIMIT {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

pub(super) fn failed(error: &reqwest::Error) -> ClientError {
    let reason = cause(error);
    // Without a connection the server is away, however long that took to find out.
    if error.is_timeout() && !error.is_connect() {
        ClientError::TimedOut(reason)
    } else {
        ClientError::Unreachable(reason)
    }
}

/// Returns the innermost reason, which is the one that tells something.
pub(in crate::comfy) fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    route::mended(innermost.to_string())
}
