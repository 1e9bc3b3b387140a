//! MP4 and its like: boxes of metadata become free space of the same size, all zeros, since tables in the file name the places of
//! the frames. `SaveVideo` writes the graph into `moov/udta/meta`.

use super::walk::{Fault, Walk};
use std::io::Write;

/// Boxes that hold boxes, as far as metadata can stand in them.
const HOLDERS: [&[u8; 4]; 6] = [b"moov", b"trak", b"mdia", b"minf", b"moof", b"traf"];

/// Boxes of metadata, and free space that may still hold what stood there before.
const METADATA: [&[u8; 4]; 5] = [b"udta", b"meta", b"uuid", b"free", b"skip"];

/// Files that begin like an MP4 and are pictures, whose `meta` box is what they are made of.
const PICTURES: [&[u8; 4]; 9] = [b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"];

/// How deep boxes lie in boxes at most: `moov/trak/mdia/minf`.
const DEEPEST: u32 = 4;

/// Writes an MP4 in which metadata is blanked.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    walk.skip(8)?;
    let brand: [u8; 4] = walk.array()?;
    if PICTURES.contains(&&brand) {
        return Err(Fault::Unknown);
    }
    walk.go_to(0)?;
    let end = walk.left();
    let mut has_movie = false;
    boxes(walk, clean, end, 0, &mut has_movie)?;
    if has_movie { Ok(()) } else { Err(Fault::Malformed("it is an MP4 without a `moov` box")) }
}

fn boxes(walk: &mut Walk<'_>, clean: &mut dyn Write, end: u64, depth: u32, has_movie: &mut bool) -> Result<(), Fault> {
    while walk.at() < end {
        let start = walk.at();
        let (short, kind): (u32, [u8; 4]) = (u32::from_be_bytes(walk.array()?), walk.array()?);
        let long = if short == 1 { Some(u64::from_be_bytes(walk.array()?)) } else { None };
        let size = match (short, long) {
            (0, _) => end - start,
            (_, Some(long)) => long,
            (short, None) => short.into(),
        };
        let inner =
            start.checked_add(size).filter(|after| *after <= end).and_then(|after| after.checked_sub(walk.at()));
        let inner = inner.ok_or(Fault::Malformed("an MP4 box is longer than what it lies in"))?;
        let is_metadata = METADATA.contains(&&kind);
        clean.write_all(&short.to_be_bytes())?;
        clean.write_all(if is_metadata { b"free" } else { &kind })?;
        if let Some(long) = long {
            clean.write_all(&long.to_be_bytes())?;
        }
        if is_metadata {
            walk.blank(inner, clean)?;
        } else if HOLDERS.contains(&&kind) {
            if depth == DEEPEST {
                return Err(Fault::Malformed("its MP4 boxes lie too deep in each other"));
            }
            *has_movie |= &kind == b"moov";
            boxes(walk, clean, walk.at() + inner, depth + 1, has_movie)?;
        } else {
            walk.copy(inner, clean)?;
        }
    }
    Ok(())
}
