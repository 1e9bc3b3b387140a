//! Turns a PNG into a JPEG or a `WebP`. How much memory that takes is settled by the PNG's header, before anything is decoded.

use crate::job::Conversion;
use image_webp::WebPEncoder;
use jpeg_encoder::Encoder;
use png::{ColorType, Decoder, Transformations};
use std::io::{BufRead, Seek};

/// A picture of more pixels stays as it is: decoded they are 128 MiB at most. As many as 8192 x 4096.
const MOST_PIXELS: u64 = 1 << 25;

/// A picture, eight bits a channel.
struct Picture {
    width: u32,
    height: u32,
    color: ColorType,
    pixels: Vec<u8>,
    profile: Option<Vec<u8>>,
}

/// Returns the file that a PNG becomes, or why it stays as it is. `JPEG` knows no transparency: what shines through is white.
pub(super) fn convert<R: BufRead + Seek>(file: R, conversion: Conversion) -> Result<Vec<u8>, String> {
    let picture = decode(file)?;
    match conversion {
        Conversion::Jpeg { quality } => jpeg(picture, quality),
        Conversion::Webp => webp(&picture),
    }
}

/// Returns the media type of what a conversion makes, and how its files end.
pub(super) fn format(conversion: Conversion) -> (&'static str, &'static str) {
    match conversion {
        Conversion::Jpeg { .. } => ("image/jpeg", "jpg"),
        Conversion::Webp => ("image/webp", "webp"),
    }
}

fn decode<R: BufRead + Seek>(file: R) -> Result<Picture, String> {
    let mut decoder = Decoder::new(file);
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let header = decoder.read_header_info().map_err(|error| error.to_string())?;
    let (width, height) = (header.width, header.height);
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("it has {width} x {height} pixels, more than {MOST_PIXELS}"));
    }
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    if reader.info().is_animated() {
        return Err("it is an animation".into());
    }
    let profile = reader.info().icc_profile.as_deref().map(<[u8]>::to_vec);
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let frame = reader.next_frame(&mut pixels).map_err(|error| error.to_string())?;
    pixels.truncate(frame.buffer_size());
    Ok(Picture { width, height, color: frame.color_type, pixels, profile })
}

fn jpeg(picture: Picture, quality: u8) -> Result<Vec<u8>, String> {
    let too_large = |_| "it is too large for a JPEG".to_owned();
    let (width, height) =
        (u16::try_from(picture.width).map_err(too_large)?, u16::try_from(picture.height).map_err(too_large)?);
    let (color, pixels) = match picture.color {
        ColorType::Grayscale => (jpeg_encoder::ColorType::Luma, picture.pixels),
        ColorType::GrayscaleAlpha => (jpeg_encoder::ColorType::Luma, on_white::<2>(picture.pixels)),
        ColorType::Rgb => (jpeg_encoder::ColorType::Rgb, picture.pixels),
        ColorType::Rgba => (jpeg_encoder::ColorType::Rgb, on_white::<4>(picture.pixels)),
        ColorType::Indexed => return Err("its palette cannot be resolved".into()),
    };
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, quality);
    if let Some(profile) = &picture.profile {
        encoder.add_icc_profile(profile).map_err(|error| error.to_string())?;
    }
    encoder.encode(&pixels, width, height, color).map_err(|error| error.to_string())?;
    Ok(file)
}

fn webp(picture: &Picture) -> Result<Vec<u8>, String> {
    let color = match picture.color {
        ColorType::Grayscale => image_webp::ColorType::L8,
        ColorType::GrayscaleAlpha => image_webp::ColorType::La8,
        ColorType::Rgb => image_webp::ColorType::Rgb8,
        ColorType::Rgba => image_webp::ColorType::Rgba8,
        ColorType::Indexed => return Err("its palette cannot be resolved".into()),
    };
    let mut file = Vec::new();
    let mut encoder = WebPEncoder::new(&mut file);
    if let Some(profile) = &picture.profile {
        encoder.set_icc_profile(profile.clone());
    }
    encoder.encode(&picture.pixels, picture.width, picture.height, color).map_err(|error| error.to_string())?;
    Ok(file)
}

/// Lays pixels of `CHANNELS` channels, of which the last says how much they cover, on white, in place.
fn on_white<const CHANNELS: usize>(mut pixels: Vec<u8>) -> Vec<u8> {
    let count = pixels.len() / CHANNELS;
    let mut to = 0;
    for pixel in 0..count {
        let from = pixel * CHANNELS;
        let cover = u32::from(pixels[from + CHANNELS - 1]);
        for channel in from..from + CHANNELS - 1 {
            let mixed = (u32::from(pixels[channel]) * cover + 255 * (255 - cover) + 127) / 255;
            pixels[to] = u8::try_from(mixed).unwrap_or(u8::MAX);
            to += 1;
        }
    }
    pixels.truncate(to);
    pixels
}

#[cfg(test)]
mod tests;
