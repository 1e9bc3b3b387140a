//! JPEG: the segments stay from which the picture is decoded, the colour profile, and how the picture is to be turned. Exif, XMP,
//! comments, thumbnails of other programs, and what stands behind the end go.

use super::exif;
use super::walk::{Fault, Walk};
use std::io::Write;

const EXIF: &[u8] = b"Exif\0\0";

/// Writes a JPEG without what is not its content.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    walk.copy(2, clean)?;
    let mut code = marker(walk)?;
    loop {
        match code {
            // The end of the picture.
            0xd9 => return Ok(clean.write_all(&[0xff, 0xd9])?),
            // The beginning of a scan: what follows it has no length.
            0xda => {
                let header = segment(walk)?;
                write(code, &header, clean)?;
                code = walk.copy_until_marker(clean)?;
                continue;
            }
            0xe1 => {
                let data = segment(walk)?;
                if let Some(turned) = data.strip_prefix(EXIF).and_then(exif::orientation) {
                    write(code, &[EXIF, &exif::only(turned)].concat(), clean)?;
                }
            }
            // Tables, frames, restart intervals; and the application segments that say how colours are meant.
            0xc0..=0xcf | 0xdb..=0xdf | 0xe0 | 0xe2 | 0xee => {
                let data = segment(walk)?;
                let is_content = match code {
                    0xe0 => data.starts_with(b"JFIF\0"),
                    0xe2 => data.starts_with(b"ICC_PROFILE\0"),
                    0xee => data.starts_with(b"Adobe"),
                    _ => true,
                };
                if is_content {
                    write(code, &data, clean)?;
                }
            }
            // Other application segments, comments, extensions.
            0xe3..=0xed | 0xef..=0xfe => drop(segment(walk)?),
            _ => return Err(Fault::Malformed("it has a JPEG marker where none can be")),
        }
        code = marker(walk)?;
    }
}

fn marker(walk: &mut Walk<'_>) -> Result<u8, Fault> {
    let [first] = walk.array()?;
    if first != 0xff {
        return Err(Fault::Malformed("it has something else where a JPEG marker should be"));
    }
    loop {
        let [code] = walk.array()?;
        if code != 0xff {
            return Ok(code);
        }
    }
}

fn segment(walk: &mut Walk<'_>) -> Result<Vec<u8>, Fault> {
    let length = u16::from_be_bytes(walk.array()?);
    let length = length.checked_sub(2).ok_or(Fault::Malformed("it has a JPEG segment of less than nothing"))?;
    walk.bytes(length.into())
}

fn write(code: u8, data: &[u8], clean: &mut dyn Write) -> Result<(), Fault> {
    let length =
        u16::try_from(data.len() + 2).map_err(|_| Fault::Malformed("it has a JPEG segment that is too long"))?;
    clean.write_all(&[0xff, code])?;
    clean.write_all(&length.to_be_bytes())?;
    clean.write_all(data)?;
    Ok(())
}
