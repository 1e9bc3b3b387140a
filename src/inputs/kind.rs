//! What bytes are, told by the bytes themselves: which kind of image (here), how large it says it is (`size.rs`, `jpeg.rs`), and in
//! how many frames (`frames.rs`). Nothing is decoded, so a small file that would unfold to a huge picture costs nothing here.

use super::frames::{self, Ambiguous, Unfolded};
use super::{jpeg, size};
use std::io::{self, Read, Seek};

/// The most frames of an image, however small they are: each costs whoever decodes it some work.
pub(super) const MOST_FRAMES: u64 = 10_000;

/// A kind of image that is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// PNG, animated ones too.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
    /// GIF.
    Gif,
}

/// An image by its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// Its kind.
    pub kind: Kind,
    /// How many pixels it is wide; at least one.
    pub width: u32,
    /// How many pixels it is high; at least one.
    pub height: u32,
    /// How many frames, or pictures, it has; one where it does not move.
    pub frames: u64,
}

/// Why bytes are no image that is taken.
#[derive(Debug, thiserror::Error)]
pub enum NoImage {
    /// They are something else.
    #[error("is {0}, and no PNG, JPEG, WebP or GIF")]
    Other(&'static str),
    /// They begin as an image and go on as none.
    #[error("begins as {0}, and its header is broken or cut short")]
    Broken(&'static str),
    /// It has more pixels than are taken.
    #[error("is {width} by {height} pixels; at most {most} pixels are taken (COMFYGATE_MAX_PIXELS)")]
    TooManyPixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The limit.
        most: u64,
    },
    /// It moves, and all of its frames together have more pixels than are taken.
    #[error(
        "has {frames} frames of {width} by {height} pixels, which are {} pixels together; at most {most} pixels are taken (COMFYGATE_MAX_PIXELS)",
        .width.saturating_mul(*.height).saturating_mul(*.frames)
    )]
    TooManyInAll {
        /// How many frames it has.
        frames: u64,
        /// The width of the largest.
        width: u64,
        /// The height of the largest.
        height: u64,
        /// The limit.
        most: u64,
    },
    /// It has further pictures, and all of them together have more pixels than are taken.
    #[error(
        "has {pictures} pictures, which have {together} pixels together; at most {most} pixels are taken (COMFYGATE_MAX_PIXELS)"
    )]
    TooManyInPictures {
        /// How many pictures it has.
        pictures: u64,
        /// How many pixels they have.
        together: u64,
        /// The limit.
        most: u64,
    },
    /// It has more frames than are taken, however small they are.
    #[error("has {frames} frames; at most {MOST_FRAMES} frames are taken")]
    TooManyFrames {
        /// How many frames it has.
        frames: u64,
    },
    /// They could not be read.
    #[error("could not be read: {0}")]
    Unreadable(io::Error),
}

impl Kind {
    /// Tells the kind by the first bytes.
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if head.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
            Some(Self::Gif)
        } else {
            None
        }
    }

    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Png => "a PNG",
            Self::Jpeg => "a JPEG",
            Self::Webp => "a WebP",
            Self::Gif => "a GIF",
        }
    }
}

impl NoImage {
    /// Returns the stable word for answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Other(_) | Self::Broken(_) | Self::Unreadable(_) => "invalid_image",
            Self::TooManyPixels { .. }
            | Self::TooManyInAll { .. }
            | Self::TooManyInPictures { .. }
            | Self::TooManyFrames { .. } => "image_too_large",
        }
    }
}

/// Tells what an image is and how large; it may have `most` pixels, those of all its frames together.
pub fn measure(file: &mut (impl Read + Seek), most: u64) -> Result<Measured, NoImage> {
    let mut head = Vec::new();
    file.by_ref().take(64).read_to_end(&mut head).map_err(NoImage::Unreadable)?;
    let kind = Kind::of(&head).ok_or_else(|| NoImage::Other(what(&head)))?;
    let of_kind = |error| match error {
        Ambiguous::Blocks => NoImage::Broken(kind.noun()),
        Ambiguous::Unreadable(cause) => NoImage::Unreadable(cause),
    };
    let size = match kind {
        Kind::Png => size::png(&head),
        Kind::Gif => size::gif(&head),
        Kind::Webp => size::webp(&head),
        Kind::Jpeg => jpeg::first(file).map_err(of_kind)?.size,
    };
    let (width, height) =
        size.filter(|(width, height)| *width > 0 && *height > 0).ok_or(NoImage::Broken(kind.noun()))?;
    if u64::from(width) * u64::from(height) > most {
        return Err(NoImage::TooManyPixels { width, height, most });
    }
    let Unfolded { first, largest: (wide, high), frames: alike, others, pixels_of_others } =
        frames::count(kind, file, (width, height)).map_err(of_kind)?;
    let frames = alike.saturating_add(others);
    if frames > MOST_FRAMES {
        return Err(NoImage::TooManyFrames { frames });
    }
    let together = wide.saturating_mul(high).saturating_mul(alike).saturating_add(pixels_of_others);
    if together > most && others > 0 {
        return Err(NoImage::TooManyInPictures { pictures: frames, together, most });
    }
    if together > most {
        return Err(NoImage::TooManyInAll { frames, width: wide, height: high, most });
    }
    Ok(Measured { kind, width: first.0, height: first.1, frames })
}

/// Names what else the bytes may be, so that a caller sees its mistake.
fn what(head: &[u8]) -> &'static str {
    let text = head.trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    match head {
        [] => "empty",
        [b'B', b'M', ..] => "a BMP",
        [b'I', b'I', 0x2a, 0, ..] | [b'M', b'M', 0, 0x2a, ..] => "a TIFF",
        [b'%', b'P', b'D', b'F', ..] => "a PDF",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive",
        [0x1f, 0x8b, ..] => "compressed with gzip",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "a Matroska or WebM video",
        _ if head.get(4..8) == Some(b"ftyp") => "an MP4, AVIF or HEIC file",
        _ if begins(b"<!doctype") || begins(b"<html") => "a page in HTML",
        _ if begins(b"<svg") || begins(b"<?xml") => "SVG or XML",
        _ if begins(b"{") || begins(b"[") => "JSON",
        _ if head.is_ascii() => "text",
        _ => "of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    const MOST: u64 = 1_000_000;

    fn of(bytes: &[u8]) -> Result<Measured, NoImage> {
        measure(&mut Cursor::new(bytes), MOST)
    }

    fn real_png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&vec![7; (width * height) as usize]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn real_jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels = vec![9; usize::from(width) * usize::from(height) * 3];
        jpeg_encoder::Encoder::new(&mut bytes, 80)
            .encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        bytes
    }

    fn real_webp(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels = vec![3; (width * height * 3) as usize];
        image_webp::WebPEncoder::new(&mut bytes).encode(&pixels, width, height, image_webp::ColorType::Rgb8).unwrap();
        bytes
    }

    #[test]
    fn images_are_told_and_measured_by_their_headers() {
        let gif = b"GIF89a\x21\x00\x0d\x00\x80\x00\x00";
        for (bytes, kind) in [
            (real_png(33, 13), Kind::Png),
            (real_jpeg(33, 13), Kind::Jpeg),
            (real_webp(33, 13), Kind::Webp),
            (gif.to_vec(), Kind::Gif),
        ] {
            assert_eq!(of(&bytes).unwrap(), Measured { kind, width: 33, height: 13, frames: 1 });
        }
        let lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x30\x01\x00\x9d\x01\x2a\x21\x00\x0d\x00";
        assert_eq!(of(lossy).unwrap(), Measured { kind: Kind::Webp, width: 33, height: 13, frames: 1 });
        let extended = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x20\0\0\x0c\0\0";
        assert_eq!(of(extended).unwrap(), Measured { kind: Kind::Webp, width: 33, height: 13, frames: 1 });
    }

    #[test]
    fn the_size_of_a_jpeg_is_found_behind_large_segments() {
        let real = real_jpeg(40, 20);
        let mut bytes = vec![0xff, 0xd8];
        for _ in 0..30 {
            bytes.extend([0xff, 0xff, 0xe1, 0xff, 0xff]);
            bytes.extend(vec![0xc0; 65_533]);
        }
        bytes.extend(&real[2..]);
        assert_eq!(of(&bytes).unwrap(), Measured { kind: Kind::Jpeg, width: 40, height: 20, frames: 1 });
    }

    #[test]
    fn a_header_that_tells_of_a_huge_picture_is_refused_unread() {
        let mut bomb = real_png(1, 1);
        bomb[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let error = of(&bomb).unwrap_err();
        assert_eq!(error.code(), "image_too_large");
        assert!(matches!(error, NoImage::TooManyPixels { width: 0x7fff_ffff, .. }), "{error}");
        assert!(of(&real_png(1000, 1000)).is_ok());
        assert_eq!(of(&real_png(1000, 1001)).unwrap_err().code(), "image_too_large");
    }

    #[test]
    fn what_is_no_image_is_called_what_it_is() {
        for (bytes, what) in [
            (&b""[..], "empty"),
            (b"BM1234", "a BMP"),
            (b"II*\0....", "a TIFF"),
            (b"%PDF-1.7", "a PDF"),
            (b"PK\x03\x04", "a ZIP"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\0\0\0\x20ftypavif", "AVIF"),
            (b" \n<!DOCTYPE html>", "HTML"),
            (b"<svg xmlns", "SVG"),
            (b"{\"error\": 1}", "JSON"),
            (b"hello", "text"),
            (b"\x80\x81\x82", "unknown"),
        ] {
            let error = of(bytes).unwrap_err();
            assert_eq!(error.code(), "invalid_image");
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn an_image_that_is_cut_within_its_header_is_broken() {
        for whole in [real_png(4, 4), real_jpeg(4, 4), real_webp(4, 4), b"GIF89a\x21\x00\x0d\x00".to_vec()] {
            let error = of(&whole[..whole.len().min(14).min(9 + whole.len() % 2)]).unwrap_err();
            assert_eq!(error.code(), "invalid_image", "{error}");
        }
        let mut empty = real_png(4, 4);
        empty[16..20].fill(0);
        assert!(matches!(of(&empty), Err(NoImage::Broken("a PNG"))));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(which in 0..5_usize, rest in proptest::collection::vec(any::<u8>(), 0..400)) {
            let starts: [&[u8]; 5] =
                [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF....WEBP", b"GIF89a"];
            let bytes = [starts[which], &rest].concat();
            if let Ok(measured) = of(&bytes) {
                prop_assert!(u64::from(measured.width) * u64::from(measured.height) * measured.frames <= MOST);
            }
        }
    }
}
