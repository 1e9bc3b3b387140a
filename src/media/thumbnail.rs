//! A small picture of a stored one: PNG, JPEG and `WebP` are read, and what cannot be made smaller stays what it is. How much memory
//! that takes is settled by the header, before anything is decoded. Blocks.

use super::shrink::{Shrinker, fit};
use image_webp::WebPDecoder;
use jpeg_encoder::Encoder;
use png::{ColorType, Decoder, Transformations};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A picture that must be held whole has no more pixels than this: decoded they are 128 MiB at most.
const MOST_WHOLE: u64 = 1 << 25;
/// What comes row by row is no wider and no higher, so that a row is 512 KiB at most.
const MOST_SIDE: u32 = 1 << 16;
/// A JPEG is read whole; one of more bytes stays as it is.
const MOST_BYTES: u64 = 64 << 20;
/// A JPEG may be built up in so many passes, each of which costs as much as all of it.
const MOST_PASSES: usize = 64;
const QUALITY: u8 = 82;

/// A small picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thumbnail {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its media type: a JPEG, or a PNG where something shines through.
    pub content_type: &'static str,
}

/// Makes a picture that fits into a square of `side`; none where the file fits already, has more than `most_pixels`, is broken, or
/// is of a kind that is not read. Of a picture that moves it is the first frame.
pub fn thumbnail(path: &Path, side: u32, most_pixels: u64) -> Option<Thumbnail> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let head = file.fill_buf().ok()?;
    let small = if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        of_png(file, side, most_pixels)
    } else if head.starts_with(b"\xff\xd8\xff") {
        of_jpeg(file, side, most_pixels)
    } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        of_webp(file, side, most_pixels)
    } else {
        None
    };
    small.and_then(Small::file)
}

/// A picture in red, green, blue and cover.
struct Small {
    size: (u32, u32),
    pixels: Vec<u8>,
}

impl Small {
    /// Writes it: a JPEG is a tenth of a PNG, but knows no cover.
    fn file(self) -> Option<Thumbnail> {
        let is_opaque = self.pixels.chunks_exact(4).all(|pixel| pixel.last() == Some(&u8::MAX));
        let mut bytes = Vec::new();
        if is_opaque {
            let (width, height) = (u16::try_from(self.size.0).ok()?, u16::try_from(self.size.1).ok()?);
            let encoder = Encoder::new(&mut bytes, QUALITY);
            encoder.encode(&self.pixels, width, height, jpeg_encoder::ColorType::Rgba).ok()?;
            return Some(Thumbnail { bytes, content_type: "image/jpeg" });
        }
        let mut encoder = png::Encoder::new(&mut bytes, self.size.0, self.size.1);
        encoder.set_color(ColorType::Rgba);
        let mut writer = encoder.write_header().ok()?;
        writer.write_image_data(&self.pixels).ok()?;
        writer.finish().ok()?;
        Some(Thumbnail { bytes, content_type: "image/png" })
    }
}

fn of_png<R: BufRead + Seek>(file: R, side: u32, most_pixels: u64) -> Option<Small> {
    let mut decoder = Decoder::new(file);
    decoder.set_transformations(Transformations::normalize_to_color8());
    // A whole graph may stand there.
    decoder.set_ignore_text_chunk(true);
    let header = decoder.read_header_info().ok()?;
    let (from, is_interlaced) = ((header.width, header.height), header.interlaced);
    let most = if is_interlaced { most_pixels.min(MOST_WHOLE) } else { most_pixels };
    let to = fit(from.0, from.1, side).filter(|_| count(from) <= most && from.0.max(from.1) <= MOST_SIDE)?;
    let mut reader = decoder.read_info().ok()?;
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return None,
    };
    if is_interlaced {
        let mut pixels = vec![0; reader.output_buffer_size()?];
        reader.next_frame(&mut pixels).ok()?;
        return whole(&pixels, channels, from, to);
    }
    let mut shrinker = Shrinker::new(channels, from, to);
    for _ in 0..from.1 {
        shrinker.push(reader.next_row().ok()??.data());
    }
    Some(Small { size: to, pixels: shrinker.end()? })
}

fn of_webp<R: BufRead + Seek>(file: R, side: u32, most_pixels: u64) -> Option<Small> {
    let mut decoder = WebPDecoder::new(file).ok()?;
    let from = decoder.dimensions();
    let to = fit(from.0, from.1, side).filter(|_| count(from) <= most_pixels.min(MOST_WHOLE))?;
    let mut pixels = vec![0; decoder.output_buffer_size()?];
    decoder.set_memory_limit(pixels.len().saturating_mul(2));
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    decoder.read_image(&mut pixels).ok()?;
    whole(&pixels, channels, from, to)
}

fn of_jpeg<R: Read>(file: R, side: u32, most_pixels: u64) -> Option<Small> {
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes).ok()?;
    if read as u64 > MOST_BYTES {
        return None;
    }
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB).jpeg_set_max_scans(MOST_PASSES);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions()?;
    let from = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let to = fit(from.0, from.1, side).filter(|_| count(from) <= most_pixels.min(MOST_WHOLE))?;
    whole(&decoder.decode().ok()?, 3, from, to)
}

fn whole(pixels: &[u8], channels: usize, from: (u32, u32), to: (u32, u32)) -> Option<Small> {
    let mut shrinker = Shrinker::new(channels, from, to);
    for row in pixels.chunks_exact(channels * from.0 as usize).take(from.1 as usize) {
        shrinker.push(row);
    }
    Some(Small { size: to, pixels: shrinker.end()? })
}

fn count((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

#[cfg(test)]
mod tests;
