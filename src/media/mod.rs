//! The bytes of outputs: fetched from a backend, kept in a folder by their content, and streamed into the bodies that
//! need them.

mod blobs;
mod body;
mod checked;
mod convert;
mod folder;
mod holds;
mod keeping;
mod outputs;
mod removal;
mod shrink;
mod strip;
mod survey;
mod thumbnail;
mod treatment;

pub use blobs::{BlobError, Blobs, PutError, blocking};
pub use body::body_stream;
pub use checked::CheckedError;
pub use holds::Hold;
pub use outputs::{Fetched, fetch};
pub use removal::{Removed, Turn};
pub use survey::Survey;
pub use thumbnail::{Thumbnail, thumbnail};
pub use treatment::{Kept, Treatment};
