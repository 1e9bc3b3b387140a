//! What a job produced: one entry per file, image frame or text.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of stored bytes: the SHA-256 of their content, as 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(pub String);

impl BlobId {
    /// Returns the 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of thing an output is, from its content type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputKind {
    /// `image/*`: goes into the webhook's `images`.
    Image,
    /// `video/*`
    Video,
    /// `audio/*`
    Audio,
    /// `text/*`
    Text,
    /// Anything else.
    File,
}

/// One output of a job, its bytes safely in the blob folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The node that made it.
    pub node_id: String,
    /// Its place among that node's outputs, from 0.
    pub index: u32,
    /// The media type, such as `image/png`.
    pub content_type: String,
    /// The file name that ComfyUI gave it; none for images that only went over the wire.
    pub filename: Option<String>,
    /// The size in bytes.
    pub bytes: u64,
    /// The SHA-256 of the bytes, by which they are stored.
    pub sha256: BlobId,
    /// Where its caller wanted everything but the content taken out: whether nothing of that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_stripped: Option<bool>,
    /// Where its backend had it; none for images that only went over the wire, and for texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<FileRef>,
}

impl Output {
    /// Says what kind of thing it is.
    pub fn kind(&self) -> OutputKind {
        match self.content_type.split('/').next() {
            Some("image") => OutputKind::Image,
            Some("video") => OutputKind::Video,
            Some("audio") => OutputKind::Audio,
            Some("text") => OutputKind::Text,
            Some(_) | None => OutputKind::File,
        }
    }
}

/// A file on a backend, as `executed` events, the history and `GET /view` name it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FileRef {
    /// The file name, without folders.
    pub filename: String,
    /// The folder below the backend's output, input or temp folder.
    #[serde(default)]
    pub subfolder: String,
    /// `output`, `temp` or `input`.
    #[serde(rename = "type", default)]
    pub folder: String,
}
