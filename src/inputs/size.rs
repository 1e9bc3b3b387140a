//! How wide and how high an image is, told by its header; none where the header is broken. Nothing is decoded.

use std::io::{Read, Seek, SeekFrom};

/// How many segments of a JPEG are looked at before its size must have come.
const MOST_SEGMENTS: u32 = 4096;

pub(super) fn png(head: &[u8]) -> Option<(u32, u32)> {
    let is_header = head.get(12..16)? == b"IHDR";
    is_header.then_some(())?;
    Some((big32(head, 16)?, big32(head, 20)?))
}

pub(super) fn gif(head: &[u8]) -> Option<(u32, u32)> {
    Some((little16(head, 6)?, little16(head, 8)?))
}

pub(super) fn webp(head: &[u8]) -> Option<(u32, u32)> {
    match head.get(12..16)? {
        // One frame, lossy: behind the chunk's head and the frame's tag comes a start code.
        b"VP8 " if head.get(23..26)? == [0x9d, 0x01, 0x2a] => {
            Some((little16(head, 26)? & 0x3fff, little16(head, 28)? & 0x3fff))
        }
        // One frame, without loss: 14 bits each, less one.
        b"VP8L" if head.get(20)? == &0x2f => {
            let bits = u32::from_le_bytes(head.get(21..25)?.try_into().ok()?);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        // With more chunks: 24 bits each, less one.
        b"VP8X" => Some((little24(head, 24)? + 1, little24(head, 27)? + 1)),
        _ => None,
    }
}

/// Walks over the segments to the one that tells the size; before it may lie a colour profile, a preview and more.
pub(super) fn jpeg(file: &mut (impl Read + Seek)) -> Option<(u32, u32)> {
    file.seek(SeekFrom::Start(2)).ok()?;
    for _ in 0..MOST_SEGMENTS {
        let mut head = [0; 2];
        file.read_exact(&mut head).ok()?;
        if head[0] != 0xff {
            return None;
        }
        let mut marker = head[1];
        while marker == 0xff {
            let mut next = [0; 1];
            file.read_exact(&mut next).ok()?;
            marker = next[0];
        }
        match marker {
            // Those that stand alone.
            0x01 | 0xd0..=0xd7 => continue,
            // A picture that begins again, ends, or is told before its size.
            0x00 | 0xd8 | 0xd9 | 0xda => return None,
            _ => {}
        }
        let mut length = [0; 2];
        file.read_exact(&mut length).ok()?;
        let rest = i64::from(u16::from_be_bytes(length)).checked_sub(2).filter(|rest| *rest >= 0)?;
        // The start of a frame, but for tables of Huffman codes, arithmetic codes and an extension.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let mut frame = [0; 5];
            file.read_exact(&mut frame).ok()?;
            return Some((big16(&frame, 3)?, big16(&frame, 1)?));
        }
        file.seek(SeekFrom::Current(rest)).ok()?;
    }
    None
}

pub(super) fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn big16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

pub(super) fn little16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn little24(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 3)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}
