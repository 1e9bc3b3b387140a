//! What bytes are, told by the bytes themselves: which kind of image, and how large it says it is. Nothing is decoded, so a
//! small file that would unfold to a huge picture costs nothing here.

use std::io::{self, Read, Seek, SeekFrom};

/// How many segments of a JPEG are looked at before its size must have come.
const MOST_SEGMENTS: u32 = 4096;

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
    #[error("is {width} by {height} pixels; at most {most} pixels are taken")]
    TooManyPixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The limit.
        most: u64,
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
            Self::TooManyPixels { .. } => "image_too_large",
        }
    }
}

/// Tells what an image is and how large; it may have `most` pixels.
pub fn measure(file: &mut (impl Read + Seek), most: u64) -> Result<Measured, NoImage> {
    let mut head = Vec::new();
    file.by_ref().take(64).read_to_end(&mut head).map_err(NoImage::Unreadable)?;
    let kind = Kind::of(&head).ok_or_else(|| NoImage::Other(what(&head)))?;
    let size = match kind {
        Kind::Png => png(&head),
        Kind::Gif => gif(&head),
        Kind::Webp => webp(&head),
        Kind::Jpeg => jpeg(file),
    };
    let (width, height) =
        size.filter(|(width, height)| *width > 0 && *height > 0).ok_or(NoImage::Broken(kind.noun()))?;
    if u64::from(width) * u64::from(height) > most {
        return Err(NoImage::TooManyPixels { width, height, most });
    }
    Ok(Measured { kind, width, height })
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

fn png(head: &[u8]) -> Option<(u32, u32)> {
    let is_header = head.get(12..16)? == b"IHDR";
    is_header.then_some(())?;
    Some((big32(head, 16)?, big32(head, 20)?))
}

fn gif(head: &[u8]) -> Option<(u32, u32)> {
    Some((little16(head, 6)?, little16(head, 8)?))
}

fn webp(head: &[u8]) -> Option<(u32, u32)> {
    match head.get(12..16)? {
        // One frame, lossy: behind the chunk's head and the frame's tag comes a start code.
        b"VP8 " if head.get(23..26)? == [0x9d, 0x01, 0x2a] => {
            Some((little16(head, 26)? & 0x3fff, little16(head, 28)? & 0x3fff))
        }
        // One frame, without loss: 14 bits each, less one.
        b"VP8L" if head.get(20)? == &0x2f => {
            let bits = u32::from_le_bytes(head.get(21..25)?.try_into().ok()?);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        // With more chunks: 24 bits each, less one.
        b"VP8X" => Some((little24(head, 24)? + 1, little24(head, 27)? + 1)),
        _ => None,
    }
}

/// Walks over the segments to the one that tells the size; before it may lie a colour profile, a preview and more.
fn jpeg(file: &mut (impl Read + Seek)) -> Option<(u32, u32)> {
    file.seek(SeekFrom::Start(2)).ok()?;
    for _ in 0..MOST_SEGMENTS {
        let mut head = [0; 2];
        file.read_exact(&mut head).ok()?;
        if head[0] != 0xff {
            return None;
        }
        let mut marker = head[1];
        while marker == 0xff {
            let mut next = [0; 1];
            file.read_exact(&mut next).ok()?;
            marker = next[0];
        }
        match marker {
            // Those that stand alone.
            0x01 | 0xd0..=0xd7 => continue,
            // A picture that begins again, ends, or is told before its size.
            0x00 | 0xd8 | 0xd9 | 0xda => return None,
            _ => {}
        }
        let mut length = [0; 2];
        file.read_exact(&mut length).ok()?;
        let rest = i64::from(u16::from_be_bytes(length)).checked_sub(2).filter(|rest| *rest >= 0)?;
        // The start of a frame, but for tables of Huffman codes, arithmetic codes and an extension.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let mut frame = [0; 5];
            file.read_exact(&mut frame).ok()?;
            return Some((big16(&frame, 3)?, big16(&frame, 1)?));
        }
        file.seek(SeekFrom::Current(rest)).ok()?;
    }
    None
}

fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn big16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn little16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn little24(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 3)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
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
            assert_eq!(of(&bytes).unwrap(), Measured { kind, width: 33, height: 13 });
        }
        let lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x30\x01\x00\x9d\x01\x2a\x21\x00\x0d\x00";
        assert_eq!(of(lossy).unwrap(), Measured { kind: Kind::Webp, width: 33, height: 13 });
        let extended = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x20\0\0\x0c\0\0";
        assert_eq!(of(extended).unwrap(), Measured { kind: Kind::Webp, width: 33, height: 13 });
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
        assert_eq!(of(&bytes).unwrap(), Measured { kind: Kind::Jpeg, width: 40, height: 20 });
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
                prop_assert!(u64::from(measured.width) * u64::from(measured.height) <= MOST);
            }
        }
    }
}
