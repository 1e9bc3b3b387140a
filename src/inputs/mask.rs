//! From a mask as people draw it to one as ComfyUI takes it, which looks at its alpha channel alone: transparent is masked.
//!
//! A PNG in which something is transparent is one already. In any other, white is masked and black is not, and grey is in
//! between: it is turned row by row into a PNG whose alpha says so. Blocks.

use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};
use std::io::{BufRead, Seek, Write};

/// The most bytes of one row as it is read, and of what a PNG may hold besides its picture.
const MOST_MEMORY: usize = 8 << 20;

/// Why a PNG is no mask.
#[derive(Debug, thiserror::Error)]
pub enum NoMask {
    /// It cannot be read as a PNG.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] png::DecodingError),
    /// Its rows do not come in their order, and it is not held whole in memory.
    #[error("is an interlaced PNG; save it without interlacing")]
    Interlaced,
    /// What it becomes cannot be written.
    #[error("cannot be written: {0}")]
    Unwritten(png::EncodingError),
}

/// Says whether anything in a PNG is transparent, if only a little.
pub(super) fn has_transparency(file: impl BufRead + Seek) -> Result<bool, NoMask> {
    let mut reader = rows(file)?;
    let alpha = match reader.output_color_type().0 {
        ColorType::GrayscaleAlpha => 1,
        ColorType::Rgba => 3,
        ColorType::Grayscale | ColorType::Rgb | ColorType::Indexed => return Ok(false),
    };
    while let Some(row) = reader.next_row()? {
        if row.data().chunks_exact(alpha + 1).any(|pixel| pixel.get(alpha) != Some(&u8::MAX)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes the mask that a PNG means in which nothing is transparent.
pub(super) fn to_alpha(file: impl BufRead + Seek, into: impl Write) -> Result<(), NoMask> {
    let mut reader = rows(file)?;
    let (width, height) = (reader.info().width, reader.info().height);
    let (color, _) = reader.output_color_type();
    let mut encoder = Encoder::new(into, width, height);
    encoder.set_color(ColorType::GrayscaleAlpha);
    encoder.set_depth(BitDepth::Eight);
    let mut header = encoder.write_header().map_err(NoMask::Unwritten)?;
    let mut writer = header.stream_writer().map_err(NoMask::Unwritten)?;
    while let Some(row) = reader.next_row()? {
        let lights = row.data().chunks_exact(color.samples()).map(luminance);
        let pixels: Vec<u8> = lights.flat_map(|light| [light, u8::MAX - light]).collect();
        writer.write_all(&pixels).map_err(|error| NoMask::Unwritten(error.into()))?;
    }
    writer.finish().map_err(NoMask::Unwritten)?;
    header.finish().map_err(NoMask::Unwritten)
}

/// Opens a PNG to be read row by row, 8 bits for each sample.
fn rows<R: BufRead + Seek>(file: R) -> Result<png::Reader<R>, NoMask> {
    let mut decoder = Decoder::new_with_limits(file, png::Limits { bytes: MOST_MEMORY });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let reader = decoder.read_info()?;
    if reader.info().interlaced { Err(NoMask::Interlaced) } else { Ok(reader) }
}

/// How light a pixel is, by the weights of ITU-R BT.601, as most programs turn colours to grey.
fn luminance(pixel: &[u8]) -> u8 {
    match pixel {
        [red, green, blue, ..] => {
            let sum = u32::from(*red) * 299 + u32::from(*green) * 587 + u32::from(*blue) * 114;
            u8::try_from((sum + 500) / 1000).unwrap_or(u8::MAX)
        }
        [grey, ..] => *grey,
        [] => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A picture of one row.
    fn png_of(
        color: ColorType,
        depth: BitDepth,
        width: u32,
        row: &[u8],
        change: impl FnOnce(&mut png::Info<'_>),
    ) -> Vec<u8> {
        let mut info = png::Info::with_size(width, 1);
        (info.color_type, info.bit_depth) = (color, depth);
        change(&mut info);
        let mut bytes = Vec::new();
        let mut writer = Encoder::with_info(&mut bytes, info).unwrap().write_header().unwrap();
        writer.write_image_data(row).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn plain(color: ColorType, width: u32, row: &[u8]) -> Vec<u8> {
        png_of(color, BitDepth::Eight, width, row, |_| {})
    }

    fn alpha_of(bytes: &[u8]) -> Vec<u8> {
        let mut made = Vec::new();
        to_alpha(Cursor::new(bytes), &mut made).unwrap();
        assert!(has_transparency(Cursor::new(&made)).unwrap() || made.is_empty());
        let mut reader = Decoder::new(Cursor::new(made)).read_info().unwrap();
        assert_eq!(reader.output_color_type(), (ColorType::GrayscaleAlpha, BitDepth::Eight));
        let mut row = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut row).unwrap();
        row.chunks_exact(2).map(|pixel| pixel[1]).collect()
    }

    #[test]
    fn white_becomes_transparent_black_opaque_and_grey_in_between() {
        assert_eq!(alpha_of(&plain(ColorType::Grayscale, 3, &[255, 0, 64])), [0, 255, 191]);
        assert_eq!(alpha_of(&plain(ColorType::Rgb, 2, &[255, 255, 255, 0, 0, 0])), [0, 255]);
        // Opaque everywhere, as many programs save what was drawn in black and white.
        assert_eq!(alpha_of(&plain(ColorType::Rgba, 2, &[255, 255, 255, 255, 0, 0, 0, 255])), [0, 255]);
        assert_eq!(alpha_of(&png_of(ColorType::Grayscale, BitDepth::One, 8, &[0b1010_0000], |_| {}))[..3], [0, 255, 0]);
        let palette = |info: &mut png::Info<'_>| info.palette = Some(vec![0, 0, 0, 255, 255, 255].into());
        assert_eq!(alpha_of(&png_of(ColorType::Indexed, BitDepth::Eight, 2, &[1, 0], palette)), [0, 255]);
    }

    #[test]
    fn a_mask_is_transparent_only_where_some_of_it_is() {
        let is = |bytes: &[u8]| has_transparency(Cursor::new(bytes)).unwrap();
        assert!(is(&plain(ColorType::Rgba, 2, &[1, 1, 1, 255, 1, 1, 1, 254])));
        assert!(is(&plain(ColorType::GrayscaleAlpha, 1, &[0, 0])));
        assert!(!is(&plain(ColorType::Rgba, 2, &[1, 1, 1, 255, 1, 1, 1, 255])));
        assert!(!is(&plain(ColorType::Grayscale, 2, &[0, 255])));
        let transparent = |info: &mut png::Info<'_>| info.trns = Some(vec![0, 7].into());
        assert!(is(&png_of(ColorType::Grayscale, BitDepth::Eight, 2, &[7, 8], transparent)));
    }

    #[test]
    fn what_cannot_be_read_row_by_row_is_no_mask() {
        let whole = plain(ColorType::Grayscale, 3, &[255, 0, 64]);
        let cut = &whole[..whole.len() - 20];
        assert!(matches!(to_alpha(Cursor::new(cut), Vec::new()), Err(NoMask::Unreadable(_))));
        let mut interlaced = whole.clone();
        interlaced[28] = 1;
        let sum = crc(&interlaced[12..29]);
        interlaced[29..33].copy_from_slice(&sum.to_be_bytes());
        assert!(matches!(has_transparency(Cursor::new(&interlaced)), Err(NoMask::Interlaced)));
        // One whose single row alone would take gigabytes.
        let mut wide = whole;
        wide[16..20].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
        let sum = crc(&wide[12..29]);
        wide[29..33].copy_from_slice(&sum.to_be_bytes());
        assert!(matches!(has_transparency(Cursor::new(&wide)), Err(NoMask::Unreadable(_)) | Ok(false)));
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
        })
    }
}
