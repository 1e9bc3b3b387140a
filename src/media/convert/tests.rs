//! What becomes of PNGs of every kind, and what stays as it is.

use super::*;
use image_webp::WebPDecoder;
use png::{BitDepth, Encoder as PngEncoder};
use std::io::Cursor;

const SIDE: u32 = 16;

#[test]
fn a_webp_has_the_very_pixels_of_the_png_whatever_its_kind() {
    for (color, depth) in kinds() {
        let file = png(color, depth);
        let expected = decode(Cursor::new(&file)).unwrap();
        let made = convert(Cursor::new(&file), Conversion::Webp).unwrap();
        let mut decoder = WebPDecoder::new(Cursor::new(&made)).unwrap();
        let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
        decoder.read_image(&mut pixels).unwrap();
        let channels = if decoder.has_alpha() { 4 } else { 3 };
        assert_eq!(decoder.dimensions(), (SIDE, SIDE));
        assert_eq!(pixels, in_colour(&expected, channels), "{color:?} {depth:?}");
    }
}

#[test]
fn a_jpeg_is_made_of_every_kind_and_better_quality_is_larger() {
    for (color, depth) in kinds() {
        let file = png(color, depth);
        let [low, high] = [5, 95].map(|quality| convert(Cursor::new(&file), Conversion::Jpeg { quality }).unwrap());
        for made in [&low, &high] {
            assert!(made.starts_with(b"\xff\xd8\xff") && made.ends_with(b"\xff\xd9"), "{color:?} {depth:?}");
        }
        assert!(low.len() < high.len(), "{color:?} {depth:?}");
    }
}

#[test]
fn what_shines_through_is_white_in_a_jpeg() {
    assert_eq!(
        on_white::<4>(vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128]),
        [10, 20, 30, 255, 255, 255, 127, 127, 127]
    );
    assert_eq!(on_white::<2>(vec![10, 255, 10, 0]), [10, 255]);
}

#[test]
fn a_colour_profile_goes_along() {
    let profile = vec![7; 300];
    let mut info = png::Info::with_size(SIDE, SIDE);
    info.color_type = ColorType::Rgb;
    info.bit_depth = BitDepth::Eight;
    info.icc_profile = Some(profile.clone().into());
    let mut file = Vec::new();
    let mut writer = PngEncoder::with_info(&mut file, info).unwrap().write_header().unwrap();
    writer.write_image_data(&vec![9; (SIDE * SIDE * 3) as usize]).unwrap();
    writer.finish().unwrap();
    let webp = convert(Cursor::new(&file), Conversion::Webp).unwrap();
    assert_eq!(WebPDecoder::new(Cursor::new(webp)).unwrap().icc_profile().unwrap(), Some(profile.clone()));
    let jpeg = convert(Cursor::new(&file), Conversion::Jpeg { quality: 80 }).unwrap();
    assert!(jpeg.windows(profile.len()).any(|part| part == profile));
}

#[test]
fn a_header_that_claims_too_much_costs_nothing() {
    for (width, height) in [(100_000, 100_000), (u32::MAX >> 1, u32::MAX >> 1), (1 << 25, 2), (1, (1 << 25) + 1)] {
        let reason = convert(Cursor::new(claiming(width, height)), Conversion::Webp).unwrap_err();
        assert!(reason.contains("pixels, more than"), "{reason}");
    }
    assert!(convert(Cursor::new(claiming(0, 0)), Conversion::Webp).is_err());
}

#[test]
fn an_animation_and_what_is_no_png_stay_as_they_are() {
    let animation = include_bytes!("../../../tests/fixtures/media/animation.png");
    let mut file = Vec::new();
    let mut encoder = PngEncoder::new(&mut file, SIDE, SIDE);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for shade in [1, 2] {
        writer.write_image_data(&vec![shade; (SIDE * SIDE) as usize]).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(convert(Cursor::new(&file), Conversion::Webp).unwrap_err(), "it is an animation");
    for file in [&file[..100], b"no png", b"", &animation[..60]] {
        assert!(convert(Cursor::new(file), Conversion::Jpeg { quality: 85 }).is_err());
    }
}

fn kinds() -> [(ColorType, BitDepth); 8] {
    [
        (ColorType::Grayscale, BitDepth::One),
        (ColorType::Grayscale, BitDepth::Eight),
        (ColorType::Grayscale, BitDepth::Sixteen),
        (ColorType::GrayscaleAlpha, BitDepth::Eight),
        (ColorType::Rgb, BitDepth::Eight),
        (ColorType::Rgb, BitDepth::Sixteen),
        (ColorType::Rgba, BitDepth::Eight),
        (ColorType::Indexed, BitDepth::Four),
    ]
}

fn png(color: ColorType, depth: BitDepth) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = PngEncoder::new(&mut file, SIDE, SIDE);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == ColorType::Indexed {
        encoder.set_palette((0..48).map(|value: u8| value.wrapping_mul(37)).collect::<Vec<_>>());
        encoder.set_trns((0..16).map(|value: u8| value * 16).collect::<Vec<_>>());
    }
    let mut writer = encoder.write_header().unwrap();
    let row = color.samples() * SIDE as usize * depth as usize / 8;
    let data: Vec<u8> = (0..row * SIDE as usize).map(|place| u8::try_from(place * 73 % 251).unwrap()).collect();
    writer.write_image_data(&data).unwrap();
    writer.finish().unwrap();
    file
}

/// Spreads grey over the colours, and covers where the other side has no transparency.
fn in_colour(picture: &Picture, channels: usize) -> Vec<u8> {
    let samples = picture.color.samples();
    let pixel = |pixel: &[u8]| {
        let mut pixel = match *pixel {
            [grey] => vec![grey, grey, grey, 255],
            [grey, cover] => vec![grey, grey, grey, cover],
            [red, green, blue] => vec![red, green, blue, 255],
            _ => pixel.to_vec(),
        };
        pixel.truncate(channels);
        pixel
    };
    picture.pixels.chunks_exact(samples).flat_map(pixel).collect()
}

/// A PNG whose header is right in form and says this size.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend_from_slice(&width.to_be_bytes());
    chunk.extend_from_slice(&height.to_be_bytes());
    chunk.extend_from_slice(&[8, 6, 0, 0, 0]);
    let sum = chunk.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    });
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend_from_slice(&chunk);
    file.extend_from_slice(&(!sum).to_be_bytes());
    file.extend_from_slice(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    file
}
