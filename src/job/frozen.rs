//! A body that is settled to the byte: text with holes, and each hole is a blob that is written as base64 when the body is
//! sent. Blobs are named by their content and never change, so every sending gives the same bytes.

use super::BlobId;
use serde::{Deserialize, Serialize};

/// A piece of a frozen body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Bytes as they are.
    Text(String),
    /// A blob of this many bytes, sent as padded base64.
    Base64(BlobId, u64),
}

impl Segment {
    fn sent_bytes(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Base64(_, bytes) => bytes.div_ceil(3) * 4,
        }
    }
}

/// A body whose bytes are settled, though the images in it are only named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrozenBody {
    /// The pieces in order.
    pub segments: Vec<Segment>,
}

impl FrozenBody {
    /// Returns the exact `content-length` of the body.
    pub fn content_length(&self) -> u64 {
        self.segments.iter().map(Segment::sent_bytes).sum()
    }

    /// Returns how many bytes of text the body has: what it takes in memory while it is not sent.
    pub fn text_bytes(&self) -> u64 {
        let text = |segment: &Segment| match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::Base64(..) => 0,
        };
        self.segments.iter().map(text).sum()
    }

    /// Returns the blobs that the body needs.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobId> {
        self.blobs_with_sizes().map(|(blob, _)| blob)
    }

    /// Returns the blobs that the body needs, and how many bytes of each.
    pub fn blobs_with_sizes(&self) -> impl Iterator<Item = (&BlobId, u64)> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Text(_) => None,
            Segment::Base64(blob, bytes) => Some((blob, *bytes)),
        })
    }
}
