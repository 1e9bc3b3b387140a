//! How wide and how high an image is, told by its header; none where the header is broken. Nothing is decoded.
//! What a JPEG says of it stands anywhere before its data (`jpeg.rs`).

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

pub(super) fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn little16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn little24(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 3)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}
