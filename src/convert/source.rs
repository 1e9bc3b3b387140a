//! What a file that shall hold a workflow is: its text, or a picture that ComfyUI has saved and that carries the graph which
//! made it. Says of everything else what it is instead; what the text means is left to others.

use super::carried::carried;

/// The longest text that is taken out of a picture where nothing else is said, in bytes.
const MOST_CARRIED: usize = 32 << 20;

/// What every PNG begins with.
pub(super) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What other files begin with, from which byte on, and what they are.
const OTHERS: [(usize, &[u8], &str); 10] = [
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"GIF8", "a GIF picture"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"%PDF", "a PDF"),
    (0, b"SQLite format 3", "a database"),
    (0, b"\x7fELF", "a program"),
];

/// The text of a workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The text, without a byte order mark.
    pub text: String,
    /// Whether a picture carried it.
    pub is_carried: bool,
}

/// Why a file is no workflow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    /// There is nothing in it.
    #[error("it is empty; save the workflow again")]
    Empty,
    /// It is text of another encoding.
    #[error(
        "it is UTF-16 text, as PowerShell's `>` writes it; save it as UTF-8 (in PowerShell: `| Set-Content -Encoding utf8`)"
    )]
    Utf16,
    /// It is text of no known encoding.
    #[error("it is not UTF-8 text: line {line} has a byte that UTF-8 does not have there; save it as UTF-8")]
    NotUtf8 {
        /// Where, from 1.
        line: usize,
    },
    /// It is a web page.
    #[error("it is a web page, not JSON; download the file itself (on GitHub: Raw)")]
    WebPage,
    /// It is a file of another kind.
    #[error(
        "it is {0}, not a workflow; what is taken is a .json that ComfyUI has saved or exported, or a PNG that it has saved"
    )]
    Other(&'static str),
    /// It has bytes that no text has.
    #[error("it is not text; what is taken is a .json that ComfyUI has saved or exported, or a PNG that it has saved")]
    Binary,
    /// It is a PNG, broken before its pixels.
    #[error("it is a PNG that cannot be read ({0}); is the file complete?")]
    BrokenPicture(String),
    /// It is a PNG whose text cannot be unfolded.
    #[error(
        "the text `{name}` that this PNG carries is damaged, or unfolds to more than {most} bytes, which are not read; use the .json"
    )]
    NotUnfolded {
        /// Its name.
        name: &'static str,
        /// The most that is read.
        most: usize,
    },
    /// It is a PNG with more text than is read.
    #[error("this PNG carries more than {0} bytes of text, which are not read; use the .json")]
    CarriesTooMuch(usize),
    /// It is a PNG without a workflow.
    #[error(
        "this PNG carries no workflow: ComfyUI did not save it, was started with --disable-metadata, or an editor or a messenger \
         has taken it out; use the .json"
    )]
    CarriesNothing,
}

impl Source {
    /// Reads the bytes of a file. Of what a picture carries the graph is taken, which says what was executed, seeds and all;
    /// the workflow as it was drawn only where there is no graph.
    pub fn read(bytes: Vec<u8>) -> Result<Self, SourceError> {
        Self::read_within(bytes, MOST_CARRIED)
    }

    /// The same, where a text that a picture carries has `most` bytes at most. No more than that is ever unfolded.
    pub fn read_within(bytes: Vec<u8>, most: usize) -> Result<Self, SourceError> {
        if bytes.starts_with(PNG) {
            return carried(&bytes, most).map(|text| Self { text, is_carried: true });
        }
        let text = text(bytes)?;
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let begin = text.trim_start();
        if begin.is_empty() {
            return Err(SourceError::Empty);
        }
        if begin.starts_with('<') {
            return Err(SourceError::WebPage);
        }
        Ok(Self { text, is_carried: false })
    }
}

fn text(bytes: Vec<u8>) -> Result<String, SourceError> {
    let is = |(from, begin, _): &&(usize, &[u8], &str)| bytes.get(*from..).is_some_and(|rest| rest.starts_with(begin));
    if let Some((.., what)) = OTHERS.iter().find(is) {
        return Err(SourceError::Other(what));
    }
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{', ..] | [b'{', 0, ..] = bytes.as_slice() {
        return Err(SourceError::Utf16);
    }
    if bytes.contains(&0) {
        return Err(SourceError::Binary);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        SourceError::NotUtf8 { line: 1 + good.filter(|byte| **byte == b'\n').count() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> Result<String, SourceError> {
        Source::read(bytes).map(|source| source.text)
    }

    #[test]
    fn what_is_no_text_is_told_by_what_it_is() {
        let utf16: Vec<u8> = "\u{feff}{\"1\": {}}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bare: Vec<u8> = "{\"1\": {}}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let cases: [(&[u8], SourceError); 14] = [
            (b"", SourceError::Empty),
            (b" \r\n", SourceError::Empty),
            (b"\xef\xbb\xbf", SourceError::Empty),
            (&utf16, SourceError::Utf16),
            (&bare, SourceError::Utf16),
            (b"{\n\"a\": \"\xe9\"}", SourceError::NotUtf8 { line: 2 }),
            (b"\n<!DOCTYPE html>", SourceError::WebPage),
            (b"\xff\xd8\xff\xe0abc", SourceError::Other("a JPEG picture")),
            (b"RIFF1234WEBPVP8 ", SourceError::Other("a WebP picture")),
            (b"GIF89a", SourceError::Other("a GIF picture")),
            (b"\0\0\0\x20ftypisom", SourceError::Other("a video")),
            (b"PK\x03\x04", SourceError::Other("a ZIP archive")),
            (b"abc\0def", SourceError::Binary),
            (b"\0\0\0\0", SourceError::Binary),
        ];
        for (bytes, error) in cases {
            assert_eq!(Source::read(bytes.to_vec()), Err(error), "{bytes:?}");
        }
        assert_eq!(read(b"\xef\xbb\xbf{}".to_vec()).unwrap(), "{}");
        assert_eq!(read(b"[1]".to_vec()).unwrap(), "[1]", "what JSON means is left to others");
    }
}
