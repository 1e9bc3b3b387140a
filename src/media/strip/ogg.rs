//! Ogg with Opus or Vorbis: the comments, the second packet of each stream, are overwritten in their place, and the checksums of the
//! pages in which they stand are made anew. `SaveAudioOpus` writes the graph there.

use super::walk::{Fault, Walk};
use std::collections::HashMap;
use std::io::Write;

/// The head of a page without the lengths of its segments, and where in it the checksum stands.
const HEAD: usize = 27;
const SUM: std::ops::Range<usize> = 22..26;
/// The page begins a stream.
const BEGINS: u8 = 2;
/// A segment of this length is not the last of its packet.
const GOES_ON: u8 = 255;
/// More streams in a file are not followed.
const MOST_STREAMS: usize = 16;

/// Comments that say nothing: no vendor, no comments; what follows them in the packet is padding.
const OPUS: &[u8] = b"OpusTags\0\0\0\0\0\0\0\0";
const VORBIS: &[u8] = b"\x03vorbis\0\0\0\0\0\0\0\0\x01";

struct Stream {
    /// What its comments become.
    comments: &'static [u8],
    /// The number of the packet that its next segment belongs to.
    packet: u32,
    /// How much of that packet has come.
    within: usize,
}

/// Writes an Ogg file whose comments say nothing.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    let mut streams: HashMap<u32, Stream> = HashMap::new();
    while walk.left() > 0 {
        let mut head: [u8; HEAD] = walk.array()?;
        let [b'O', b'g', b'g', b'S', 0, flags, _, _, _, _, _, _, _, _, s0, s1, s2, s3, .., segments] = head else {
            return Err(Fault::Malformed("it is no row of Ogg pages"));
        };
        let serial = u32::from_le_bytes([s0, s1, s2, s3]);
        let lengths = walk.bytes(segments.into())?;
        let mut body = walk.bytes(lengths.iter().map(|length| usize::from(*length)).sum())?;
        if flags & BEGINS != 0 {
            streams.insert(serial, begin(&body)?);
            if streams.len() > MOST_STREAMS {
                return Err(Fault::Malformed("it has too many Ogg streams"));
            }
        }
        let stream = streams.get_mut(&serial).ok_or(Fault::Malformed("an Ogg page belongs to no stream"))?;
        if take_page(stream, &lengths, &mut body)? {
            head[SUM].fill(0);
            let sum = [head.as_slice(), &lengths, &body].into_iter().fold(0, checksum);
            head[SUM].copy_from_slice(&sum.to_le_bytes());
        }
        for part in [head.as_slice(), &lengths, &body] {
            clean.write_all(part)?;
        }
    }
    let is_whole = streams.values().all(|stream| stream.packet > 1);
    if is_whole { Ok(()) } else { Err(Fault::Malformed("an Ogg stream ends before its comments do")) }
}

fn begin(body: &[u8]) -> Result<Stream, Fault> {
    let comments = if body.starts_with(b"OpusHead") {
        OPUS
    } else if body.starts_with(b"\x01vorbis") {
        VORBIS
    } else {
        return Err(Fault::Unknown);
    };
    Ok(Stream { comments, packet: 0, within: 0 })
}

/// Overwrites what a page has of a stream's comments. Returns whether there was any.
fn take_page(stream: &mut Stream, lengths: &[u8], body: &mut [u8]) -> Result<bool, Fault> {
    let mut rest = body;
    let mut is_changed = false;
    for length in lengths {
        let (segment, after) = rest.split_at_mut(usize::from(*length).min(rest.len()));
        rest = after;
        if stream.packet == 1 {
            overwrite(stream, segment)?;
            is_changed = true;
        }
        stream.within = stream.within.saturating_add(segment.len());
        if *length != GOES_ON {
            if stream.packet == 1 && stream.within < stream.comments.len() {
                return Err(Fault::Malformed("its Ogg comments are too short"));
            }
            stream.packet = stream.packet.saturating_add(1);
            stream.within = 0;
        }
    }
    Ok(is_changed)
}

fn overwrite(stream: &Stream, segment: &mut [u8]) -> Result<(), Fault> {
    let mark = stream.comments.get(..7).unwrap_or_default();
    if stream.within == 0 && !segment.starts_with(mark) {
        return Err(Fault::Malformed("its Ogg comments are not where they should be"));
    }
    for (place, byte) in (stream.within..).zip(segment.iter_mut()) {
        *byte = stream.comments.get(place).copied().unwrap_or(0);
    }
    Ok(())
}

/// Goes on with the checksum of a page: CRC-32 with the highest bit first, beginning with 0.
fn checksum(sum: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(sum, |sum, byte| {
        let [high, ..] = sum.to_be_bytes();
        (sum << 8) ^ TABLE[usize::from(high ^ byte)]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut sum = byte << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum << 1) ^ if sum & 0x8000_0000 == 0 { 0 } else { 0x04c1_1db7 };
            bit += 1;
        }
        table[byte as usize] = sum;
        byte += 1;
    }
    table
}

#[cfg(test)]
pub(super) fn page_checksum(page: &[u8]) -> u32 {
    checksum(0, page)
}
