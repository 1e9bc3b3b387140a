//! PNG and animated PNG: only the chunks stay that say how the picture looks. `SaveImage` writes the graph into `tEXt`,
//! `SaveAnimatedPNG` into a chunk of its own, `comf`, so what is not known to be needed goes.

use super::exif;
use super::walk::{Fault, Walk};
use std::io::Write;

/// What every PNG begins with.
pub(super) const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// The longest chunk that the format allows.
const MOST: u32 = 0x7fff_ffff;

/// The header, the pixels and the end; how colours are meant; how large a pixel is; the frames of an animation.
const CONTENT: [&[u8; 4]; 18] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI",
    b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

/// Writes a PNG without what is not its content.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    walk.copy(SIGNATURE.len() as u64, clean)?;
    let mut is_first = true;
    loop {
        let length = u32::from_be_bytes(walk.array()?);
        let kind: [u8; 4] = walk.array()?;
        if length > MOST || (is_first && &kind != b"IHDR") {
            return Err(Fault::Malformed("it is no row of PNG chunks"));
        }
        is_first = false;
        let sum = 4;
        if CONTENT.contains(&&kind) {
            clean.write_all(&length.to_be_bytes())?;
            clean.write_all(&kind)?;
            walk.copy(u64::from(length) + sum, clean)?;
        } else if &kind == b"eXIf" && u64::from(length) <= exif::MOST_READ {
            let turned = exif::orientation(&walk.bytes(usize::try_from(length).unwrap_or(0))?);
            walk.skip(sum)?;
            if let Some(turned) = turned {
                write_exif(turned, clean)?;
            }
        } else {
            walk.skip(u64::from(length) + sum)?;
        }
        if &kind == b"IEND" {
            return Ok(());
        }
    }
}

fn write_exif(turned: u8, clean: &mut dyn Write) -> Result<(), Fault> {
    let mut chunk = b"eXIf".to_vec();
    chunk.extend_from_slice(&exif::only(turned));
    clean.write_all(&exif::ONLY_BYTES.to_be_bytes())?;
    clean.write_all(&chunk)?;
    clean.write_all(&checksum(&chunk).to_be_bytes())?;
    Ok(())
}

/// The CRC-32 of a chunk's kind and data.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_png() {
        assert_eq!(checksum(b"IEND"), 0xae42_6082);
    }
}
