//! `WebP`, animated or not: the pictures, the colour profile and how the picture is to be turned stay. `SaveAnimatedWEBP` writes
//! the graph as Exif.

use super::exif;
use super::walk::{Fault, Walk};
use std::io::Write;

const CONTENT: [&[u8; 4]; 7] = [b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"];

/// The bits of the chunk `VP8X` that say whether there are Exif and XMP.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;

/// Where the first chunk begins, and how large a chunk's head is.
const FIRST: u64 = 12;
const HEAD: u64 = 8;

struct Chunk {
    kind: [u8; 4],
    size: u32,
    /// With the byte that makes it even.
    padded: u64,
}

/// Writes a `WebP` without what is not its content.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    walk.skip(4)?;
    let end = u64::from(u32::from_le_bytes(walk.array()?)) + 8;
    if end < FIRST || end > walk.at() + walk.left() {
        return Err(Fault::Malformed("it is shorter than it says"));
    }
    let (size, turned) = survey(walk, end)?;
    clean.write_all(b"RIFF")?;
    clean.write_all(&size.to_le_bytes())?;
    clean.write_all(b"WEBP")?;
    walk.go_to(FIRST)?;
    while let Some(chunk) = next(walk, end)? {
        if !CONTENT.contains(&&chunk.kind) {
            walk.skip(chunk.padded)?;
            continue;
        }
        clean.write_all(&chunk.kind)?;
        clean.write_all(&chunk.size.to_le_bytes())?;
        if &chunk.kind == b"VP8X" && chunk.size > 0 {
            let [flags] = walk.array()?;
            let kept = flags & !(HAS_EXIF | HAS_XMP);
            clean.write_all(&[kept | if turned.is_some() { HAS_EXIF } else { 0 }])?;
            walk.copy(chunk.padded - 1, clean)?;
        } else {
            walk.copy(chunk.padded, clean)?;
        }
    }
    if let Some(turned) = turned {
        clean.write_all(b"EXIF")?;
        clean.write_all(&exif::ONLY_BYTES.to_le_bytes())?;
        clean.write_all(&exif::only(turned))?;
    }
    Ok(())
}

/// Reads the heads of all chunks; returns the size that the file will say it has, and how the picture is to be turned.
fn survey(walk: &mut Walk<'_>, end: u64) -> Result<(u32, Option<u8>), Fault> {
    walk.go_to(FIRST)?;
    let mut size = 4_u64;
    let (mut turned, mut has_picture) = (None, false);
    while let Some(chunk) = next(walk, end)? {
        if CONTENT.contains(&&chunk.kind) {
            size += HEAD + chunk.padded;
            has_picture |= matches!(&chunk.kind, b"VP8 " | b"VP8L" | b"ANMF");
            walk.skip(chunk.padded)?;
        } else if &chunk.kind == b"EXIF" && chunk.padded <= exif::MOST_READ && turned.is_none() {
            let data = walk.bytes(usize::try_from(chunk.padded).unwrap_or(0))?;
            turned = exif::orientation(data.strip_prefix(b"Exif\0\0").unwrap_or(&data));
        } else {
            walk.skip(chunk.padded)?;
        }
    }
    if !has_picture {
        return Err(Fault::Malformed("it is a WebP without a picture"));
    }
    if turned.is_some() {
        size += HEAD + u64::from(exif::ONLY_BYTES);
    }
    let size = u32::try_from(size).map_err(|_| Fault::Malformed("it is too large for a WebP"))?;
    Ok((size, turned))
}

/// Reads the head of the next chunk; none at the end.
fn next(walk: &mut Walk<'_>, end: u64) -> Result<Option<Chunk>, Fault> {
    if walk.at() >= end {
        return Ok(None);
    }
    let (kind, size) = (walk.array()?, u32::from_le_bytes(walk.array()?));
    let padded = u64::from(size) + u64::from(size & 1);
    if walk.at() + padded > end {
        return Err(Fault::Malformed("a WebP chunk is longer than the file"));
    }
    Ok(Some(Chunk { kind, size, padded }))
}
