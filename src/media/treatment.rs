//! What is done to an output before it is kept, and what became of it. Pure; the work itself is done in `keeping`.

use crate::job::{BlobId, Conversion, Request};

/// What a caller wants done to an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Treatment {
    /// Take out what is not its content.
    pub strip: bool,
    /// Turn it into another format.
    pub conversion: Option<Conversion>,
}

impl Treatment {
    /// Returns what a request asks for.
    pub fn of(request: &Request) -> Self {
        Self { strip: request.strip_metadata, conversion: request.conversion }
    }

    /// Says whether outputs are kept just as they come.
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// An output that is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The media type.
    pub content_type: String,
    /// The size in bytes.
    pub bytes: u64,
    /// The name of the blob.
    pub sha256: BlobId,
    /// How the name of the file ends now, where it was turned into another format.
    pub ending: Option<&'static str>,
    /// Where that was asked: whether it holds nothing but its content.
    pub metadata_stripped: Option<bool>,
}

impl Kept {
    /// An output that was kept as it came.
    pub fn as_it_came(content_type: impl Into<String>, bytes: u64, sha256: BlobId) -> Self {
        Self { content_type: content_type.into(), bytes, sha256, ending: None, metadata_stripped: None }
    }

    /// Returns the name that a file has now which came as `name`.
    pub fn renamed(&self, name: &str) -> String {
        let Some(ending) = self.ending else { return name.to_owned() };
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        format!("{stem}.{ending}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_another_format_ends_as_that_format_does() {
        let as_it_came = Kept::as_it_came("image/png", 1, BlobId(String::new()));
        assert_eq!(as_it_came.renamed("a.b.png"), "a.b.png");
        let converted = Kept { ending: Some("jpg"), ..as_it_came };
        for (name, expected) in [("a.b.png", "a.b.jpg"), ("a", "a.jpg"), (".png", ".jpg"), ("", ".jpg")] {
            assert_eq!(converted.renamed(name), expected);
        }
    }
}
