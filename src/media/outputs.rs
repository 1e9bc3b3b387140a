//! From a file on a backend to stored bytes.

use super::blobs::{BlobError, Blobs, PutError};
use super::treatment::Kept;
use crate::comfy::{Client, ClientError};
use crate::job::FileRef;

/// What became of fetching a file.
#[derive(Debug)]
pub enum Fetched {
    /// It is on our disk.
    Stored(Kept),
    /// It is larger than the limit.
    TooLarge,
    /// The backend does not have it.
    NotFound,
    /// The backend did not give it, for this reason; asked again it may.
    Unavailable(String),
    /// Our disk did not take it.
    NotStored(BlobError),
}

/// Fetches a file through `GET /view` and stores it, at most `limit` bytes.
pub async fn fetch(blobs: &Blobs, client: &Client, file: &FileRef, limit: u64) -> Fetched {
    let view = match client.view(file).await {
        Ok(view) => view,
        Err(ClientError::NotFound) => return Fetched::NotFound,
        Err(error) => return Fetched::Unavailable(error.to_string()),
    };
    if view.content_length.is_some_and(|length| length > limit) {
        return Fetched::TooLarge;
    }
    match blobs.put_stream(view.stream, limit).await {
        Ok((sha256, bytes)) => Fetched::Stored(Kept::as_it_came(view.content_type, bytes, sha256)),
        Err(PutError::TooLarge { .. }) => Fetched::TooLarge,
        Err(PutError::Blob(error)) => Fetched::NotStored(error),
        Err(error @ PutError::Stream(_)) => Fetched::Unavailable(error.to_string()),
    }
}
