//! A frame of a ComfyUI's WebSocket as it was sent: for those who want to see just that.

use bytes::Bytes;

/// A frame that nobody has read anything into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RawFrame {
    /// JSON, as Python writes it.
    Text(Bytes),
    /// A number of four bytes that says what follows, and that.
    Binary(Bytes),
}

impl RawFrame {
    /// Returns how many bytes it has.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }
}
