//! The bytes of outputs: kept in a folder by their content, and streamed into the bodies that need them.

mod blobs;
mod body;
mod folder;

pub use blobs::{BlobError, Blobs, PutError};
pub use body::body_stream;
