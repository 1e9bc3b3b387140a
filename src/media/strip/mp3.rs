//! MP3, and other streams of frames behind an ID3 tag: the tags before and behind the frames go. `SaveAudioMP3` writes the graph
//! into `ID3v2`.

use super::flac;
use super::walk::{Fault, Walk};
use std::io::Write;

/// The head and the foot of an `ID3v2` tag.
const ID3: u64 = 10;
/// The whole of an `ID3v1` tag.
const ID3_V1: u64 = 128;
/// The head and the foot of an APE tag.
const APE: u64 = 32;

/// Says whether these bytes begin a frame of MPEG audio, layer 1 to 3, or of AAC.
pub(super) fn is_frame(start: &[u8]) -> bool {
    let [0xff, second, third, ..] = *start else { return false };
    let is_aac = second & 0xf6 == 0xf0;
    let (version, layer, rate, frequency) = ((second >> 3) & 3, (second >> 1) & 3, third >> 4, (third >> 2) & 3);
    let is_mpeg = second & 0xe0 == 0xe0 && version != 1 && layer != 0 && rate != 0xf && frequency != 3;
    is_aac || is_mpeg
}

/// Writes the frames alone.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    while walk.peek()?.starts_with(b"ID3") {
        let [_, _, _, _, _, flags, a, b, c, d] = walk.array()?;
        let has_foot = flags & 0x10 != 0;
        walk.skip(syncsafe([a, b, c, d])? + if has_foot { ID3 } else { 0 })?;
    }
    let start = walk.peek()?;
    if start.starts_with(b"fLaC") {
        return flac::strip(walk, clean);
    }
    if !is_frame(&start) {
        return Err(Fault::Unknown);
    }
    let first = walk.at();
    let mut end = first + walk.left();
    while let Some(before) = tag_before(walk, first, end)? {
        end = before;
    }
    walk.go_to(first)?;
    walk.copy(end - first, clean)
}

/// Finds where the tag begins that ends at `end`; none where there is none.
fn tag_before(walk: &mut Walk<'_>, first: u64, end: u64) -> Result<Option<u64>, Fault> {
    let mut at = |back: u64| -> Result<Vec<u8>, Fault> {
        let Some(place) = end.checked_sub(back).filter(|place| *place >= first) else { return Ok(Vec::new()) };
        walk.go_to(place)?;
        Ok(walk.peek()?)
    };
    let (v1, v2, ape) = (at(ID3_V1)?, at(ID3)?, at(APE)?);
    let length = if v1.starts_with(b"TAG") {
        ID3_V1
    } else if let [b'3', b'D', b'I', _, _, _, a, b, c, d, ..] = *v2 {
        syncsafe([a, b, c, d])? + 2 * ID3
    } else if ape.starts_with(b"APETAGEX") {
        walk.go_to(end - APE + 12)?;
        let size = u32::from_le_bytes(walk.array()?);
        walk.skip(4)?;
        let flags = u32::from_le_bytes(walk.array()?);
        u64::from(size).max(APE) + if flags & 0x8000_0000 != 0 { APE } else { 0 }
    } else {
        return Ok(None);
    };
    let before = end.checked_sub(length).filter(|before| *before >= first);
    before.map(Some).ok_or(Fault::Malformed("a tag at its end is longer than the file"))
}

/// Reads a number of which each byte holds seven bits.
fn syncsafe(bytes: [u8; 4]) -> Result<u64, Fault> {
    if bytes.iter().any(|byte| byte & 0x80 != 0) {
        return Err(Fault::Malformed("the length of its ID3 tag is none"));
    }
    Ok(bytes.iter().fold(0, |number, byte| (number << 7) | u64::from(*byte)))
}
