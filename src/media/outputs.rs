//! From a file on a backend to stored bytes.

use super::blobs::{BlobError, Blobs, PutError};
use super::treatment::{Kept, Treatment};
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
pub async fn fetch(blobs: &Blobs, client: &Client, file: &FileRef, limit: u64, treatment: Treatment) -> Fetched {
    let view = match client.view(file).await {
        Ok(view) => view,
        Err(ClientError::NotFound) => return Fetched::NotFound,
        Err(error) => return Fetched::Unavailable(error.to_string()),
    };
    if view.content_length.is_some_and(|length| length > limit) {
        return Fetched::TooLarge;
    }
    match blobs.keep_stream(view.content_type, view.stream, limit, treatment).await {
        Ok(kept) => Fetched::Stored(kept),
        Err(PutError::TooLarge { .. }) => Fetched::TooLarge,
        Err(PutError::Blob(error)) => Fetched::NotStored(error),
        Err(error @ PutError::Stream(_)) => Fetched::Unavailable(error.to_string()),
    }
}
