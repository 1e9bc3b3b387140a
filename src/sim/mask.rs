//! Joins a picture and a mask as `/upload/mask` does: the picture's colours with the mask's alpha channel, as a PNG.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};

/// A picture in 8 bits of red, green, blue and alpha.
struct Rgba {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 4]>,
}

/// Returns the PNG of both; nothing where one of them is no PNG or they differ in size, at which ComfyUI's handler raises.
pub(super) fn joined(original: &[u8], mask: &[u8]) -> Option<Vec<u8>> {
    let (mut original, mask) = (read(original)?, read(mask)?);
    if (original.width, original.height) != (mask.width, mask.height) {
        return None;
    }
    for (pixel, [.., alpha]) in original.pixels.iter_mut().zip(&mask.pixels) {
        pixel[3] = *alpha;
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, original.width, original.height);
    encoder.set_color(ColorType::Rgba);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&original.pixels.concat()).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}

/// Returns the size of a PNG.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let reader = Decoder::new(Cursor::new(bytes)).read_info().ok()?;
    Some(reader.info().size())
}

fn read(bytes: &[u8]) -> Option<Rgba> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let mut buffer = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut buffer).ok()?;
    let pixels = buffer.chunks_exact(frame.color_type.samples()).map(|pixel| match *pixel {
        [red, green, blue, alpha] => [red, green, blue, alpha],
        [red, green, blue] => [red, green, blue, u8::MAX],
        [grey, alpha] => [grey, grey, grey, alpha],
        [grey] => [grey, grey, grey, u8::MAX],
        _ => [0, 0, 0, u8::MAX],
    });
    Some(Rgba { width: frame.width, height: frame.height, pixels: pixels.collect() })
}
