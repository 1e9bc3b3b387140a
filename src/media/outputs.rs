//! From a file on a backend to stored bytes.

use super::blobs::{Blobs, PutError};
use crate::comfy::{Client, ClientError};
use crate::job::{BlobId, FileRef};

/// How many times a file is asked for before it counts as unavailable.
const TRIES: u32 = 3;

/// What became of fetching a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// It is on our disk.
    Stored {
        /// The media type that the backend gave it.
        content_type: String,
        /// The size in bytes.
        bytes: u64,
        /// The name of the blob.
        sha256: BlobId,
    },
    /// It is larger than the limit.
    TooLarge,
    /// The backend does not have it.
    NotFound,
    /// It could not be fetched or stored, for this reason.
    Unavailable(String),
}

/// Fetches a file through `GET /view` and stores it, at most `limit` bytes. A broken transfer is tried again.
pub async fn fetch(blobs: &Blobs, client: &Client, file: &FileRef, limit: u64) -> Fetched {
    let mut result = Fetched::Unavailable(String::new());
    for _ in 0..TRIES {
        result = fetch_once(blobs, client, file, limit).await;
        if !matches!(result, Fetched::Unavailable(_)) {
            break;
        }
    }
    result
}

async fn fetch_once(blobs: &Blobs, client: &Client, file: &FileRef, limit: u64) -> Fetched {
    let view = match client.view(file).await {
        Ok(view) => view,
        Err(ClientError::NotFound) => return Fetched::NotFound,
        Err(error) => return Fetched::Unavailable(error.to_string()),
    };
    if view.content_length.is_some_and(|length| length > limit) {
        return Fetched::TooLarge;
    }
    match blobs.put_stream(view.stream, limit).await {
        Ok((sha256, bytes)) => Fetched::Stored { content_type: view.content_type, bytes, sha256 },
        Err(PutError::TooLarge { .. }) => Fetched::TooLarge,
        Err(error) => Fetched::Unavailable(error.to_string()),
    }
}
