//! What becomes of pictures of every kind, what stays as it is, and what claims more than it has.

use super::*;
use crate::clock::Stopwatch;
use png::BitDepth;
use std::io::{Cursor, Write};

const MANY: u64 = 100_000_000;

#[test]
fn a_picture_of_every_kind_becomes_a_small_one_that_looks_the_same() {
    for (kind, file) in [
        ("png", png(ColorType::Rgb, BitDepth::Eight, 600, 300, &[200, 40, 90])),
        ("grey png", png(ColorType::Grayscale, BitDepth::Eight, 600, 300, &[99])),
        ("deep png", png(ColorType::Rgb, BitDepth::Sixteen, 600, 300, &[200, 0, 40, 0, 90, 0])),
        ("jpeg", jpeg(600, 300, [200, 40, 90])),
        ("webp", webp(600, 300, [200, 40, 90])),
    ] {
        let small = made(&file, 64, MANY).unwrap_or_else(|| panic!("{kind}"));
        assert_eq!(small.content_type, "image/jpeg", "{kind}");
        let (size, pixels) = decoded(&small.bytes);
        assert_eq!(size, (64, 32), "{kind}");
        let expected = if kind == "grey png" { [99, 99, 99] } else { [200, 40, 90] };
        for (found, expected) in pixels.chunks_exact(3).flat_map(|pixel| pixel.iter().zip(expected)) {
            assert!(found.abs_diff(expected) <= 6, "{kind}: {found} is not {expected}");
        }
    }
}

#[test]
fn what_shines_through_still_does() {
    let file = png(ColorType::Rgba, BitDepth::Eight, 300, 300, &[200, 40, 90, 100]);
    let small = made(&file, 100, MANY).unwrap();
    assert_eq!(small.content_type, "image/png");
    let mut reader = Decoder::new(Cursor::new(&small.bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width, frame.height, frame.color_type), (100, 100, ColorType::Rgba));
    assert!(pixels.chunks_exact(4).all(|pixel| pixel == [200, 40, 90, 100]));
    // A channel for it in which nothing shines through is none.
    let opaque = png(ColorType::Rgba, BitDepth::Eight, 300, 300, &[200, 40, 90, 255]);
    assert_eq!(made(&opaque, 100, MANY).unwrap().content_type, "image/jpeg");
}

#[test]
fn what_fits_already_stays_as_it_is_and_so_does_what_cannot_be_read() {
    let fits = png(ColorType::Rgb, BitDepth::Eight, 64, 64, &[1, 2, 3]);
    assert_eq!(made(&fits, 64, MANY), None);
    let file = png(ColorType::Rgb, BitDepth::Eight, 600, 300, &[1, 2, 3]);
    assert!(made(&file, 64, 600 * 300).is_some());
    assert_eq!(made(&file, 64, 600 * 300 - 1), None, "more pixels than may be");
    let half = file.len() / 2;
    for broken in [&file[..half], &file[..8], b"", b"GIF89a", b"<svg/>", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 "] {
        assert_eq!(made(broken, 64, MANY), None, "{broken:?}");
    }
    for (name, file) in [("jpeg", jpeg(600, 300, [1, 2, 3])), ("webp", webp(600, 300, [1, 2, 3]))] {
        assert_eq!(made(&file, 64, 600 * 300 - 1), None, "{name}");
        assert_eq!(made(&file[..20], 64, MANY), None, "{name}");
    }
    assert_eq!(thumbnail(Path::new("/nowhere/at/all"), 64, MANY), None);
}

#[test]
fn of_a_picture_that_moves_it_is_the_first_frame() {
    for (name, file) in [
        ("png", &include_bytes!("../../../tests/fixtures/media/animation.png")[..]),
        ("webp", &include_bytes!("../../../tests/fixtures/media/animation.webp")[..]),
    ] {
        assert!(made(file, 4, MANY).is_some(), "{name}");
    }
}

#[test]
fn a_header_that_claims_too_much_costs_nothing_and_a_bomb_little() {
    let watch = Stopwatch::start();
    for (width, height, interlaced) in [
        (100_000, 100_000, false),
        (u32::MAX >> 1, u32::MAX >> 1, false),
        (1 << 17, 1, false),
        (1 << 13, 1 << 13, true),
    ] {
        assert_eq!(made(&claiming(width, height, interlaced), 64, u64::MAX), None, "{width} x {height}");
    }
    // 2500 million bytes when unfolded: it is let go at its header.
    let bomb = claiming(50_000, 50_000, false);
    assert_eq!(made(&bomb, 64, MANY), None);
    assert!(watch.elapsed().as_secs() < 5, "{:?}", watch.elapsed());
}

/// Makes a thumbnail of a file with these bytes.
fn made(bytes: &[u8], side: u32, most_pixels: u64) -> Option<Thumbnail> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    thumbnail(file.path(), side, most_pixels)
}

fn decoded(jpeg: &[u8]) -> ((usize, usize), Vec<u8>) {
    let mut decoder = JpegDecoder::new(ZCursor::new(jpeg));
    let pixels = decoder.decode().unwrap();
    (decoder.dimensions().unwrap(), pixels)
}

/// A PNG of one colour.
fn png(color: ColorType, depth: BitDepth, width: u32, height: u32, pixel: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixel.repeat((width * height) as usize)).unwrap();
    writer.finish().unwrap();
    file
}

fn jpeg(width: u16, height: u16, pixel: [u8; 3]) -> Vec<u8> {
    let mut file = Vec::new();
    let pixels = pixel.repeat(usize::from(width) * usize::from(height));
    Encoder::new(&mut file, 95).encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    file
}

fn webp(width: u32, height: u32, pixel: [u8; 3]) -> Vec<u8> {
    let mut file = Vec::new();
    let pixels = pixel.repeat((width * height) as usize);
    image_webp::WebPEncoder::new(&mut file).encode(&pixels, width, height, image_webp::ColorType::Rgb8).unwrap();
    file
}

/// A PNG that says it is so large, with the data of a small one.
fn claiming(width: u32, height: u32, is_interlaced: bool) -> Vec<u8> {
    let mut file = png(ColorType::Grayscale, BitDepth::Eight, 16, 16, &[7]);
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    file[28] = u8::from(is_interlaced);
    let mut sum = !0_u32;
    for byte in &file[12..29] {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    file[29..33].copy_from_slice(&(!sum).to_be_bytes());
    file
}
