//! How many pictures a JPEG has: cameras put previews and maps of brightness behind the first one, and a segment that lists them.
//! A list may name the same picture thousands of times, and `ComfyUI` decodes each.

use std::io::{self, Read, Seek};

/// The segment's marker, and how it begins.
const APPLICATION_2: u8 = 0xe2;
const LIST: &[u8] = b"MPF\0";

/// The tag of the number of pictures, in the list's directory.
const NUMBER: u16 = 0xb001;

/// So many pictures are what cameras make, and count as one.
const USUAL: u64 = 4;

/// Counts the pictures of a JPEG, read from behind its first marker, up to where the first picture's data begin. Steps over junk
/// between segments, and into those that have no length to Pillow, so that none is hidden.
pub(super) fn pictures(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let mut most = 1;
    loop {
        let found = segment(file, &mut most);
        match found {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(if most > USUAL { most } else { 1 })
}

/// Reads up to the end of a segment; says whether there may be more.
fn segment(file: &mut (impl Read + Seek), most: &mut u64) -> io::Result<bool> {
    if byte(file)? != 0xff {
        return Ok(true);
    }
    let mut marker = byte(file)?;
    while marker == 0xff {
        marker = byte(file)?;
    }
    match marker {
        0x00 | 0x01 | 0xc8 | 0xd0..=0xd9 | 0xf0..=0xfd => return Ok(true),
        0xda => return Ok(false),
        _ => {}
    }
    let length = u16::from_be_bytes([byte(file)?, byte(file)?]);
    let Some(rest) = length.checked_sub(2) else { return Ok(true) };
    if marker != APPLICATION_2 {
        file.seek_relative(rest.into())?;
        return Ok(true);
    }
    let mut content = vec![0; rest.into()];
    file.read_exact(&mut content)?;
    if let Some(list) = content.strip_prefix(LIST) {
        *most = (*most).max(listed(list).unwrap_or(1));
    }
    Ok(true)
}

/// Returns how many pictures a list has: it is laid out as a TIFF, in either order of bytes.
fn listed(list: &[u8]) -> Option<u64> {
    let is_big = list.starts_with(b"MM");
    let short = |at: usize| {
        let bytes = list.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = list.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let entries = (0..short(directory)?).filter_map(|entry| directory.checked_add(2 + 12 * usize::from(entry)));
    let numbers = entries.filter(|at| short(*at) == Some(NUMBER)).filter_map(|at| {
        let is_short = short(at + 2)? == 3;
        if is_short { short(at + 8).map(u64::from) } else { long(at + 8).map(u64::from) }
    });
    numbers.max()
}

fn byte(file: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0; 1];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::super::kind::{Measured, NoImage, measure};
    use super::*;
    use std::io::Cursor;

    fn jpeg(side: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels = vec![9; usize::from(side) * usize::from(side) * 3];
        jpeg_encoder::Encoder::new(&mut bytes, 80).encode(&pixels, side, side, jpeg_encoder::ColorType::Rgb).unwrap();
        bytes
    }

    /// A list that says that there are so many pictures.
    fn list(number: u32, is_big: bool) -> Vec<u8> {
        let short = |number: u16| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
        let long = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut content = LIST.to_vec();
        content.extend(if is_big { b"MM\0\x2a" } else { b"II\x2a\0" });
        content.extend(long(8));
        content.extend(short(2));
        for (tag, value) in [(0xb000, 0), (NUMBER, number)] {
            content.extend(short(tag));
            content.extend(short(4));
            content.extend(long(1));
            content.extend(long(value));
        }
        let length = u16::try_from(content.len() + 2).unwrap();
        [&[0xff, APPLICATION_2][..], &length.to_be_bytes(), &content].concat()
    }

    fn of(bytes: &[u8]) -> Result<Measured, NoImage> {
        measure(&mut Cursor::new(bytes), 1_000_000)
    }

    #[test]
    fn a_jpeg_that_lists_one_picture_many_times_is_as_large_as_they_are_together() {
        let plain = jpeg(100);
        for is_big in [true, false] {
            for hidden_in in [&b""[..], b"junk", b"\xff\xd9", b"\xff\xc8\0\x60", b"\xff\xfd\0\x60"] {
                let with = |number| {
                    let start = plain.len().min(2);
                    let at = plain.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
                    [&plain[..start], &plain[start..at], hidden_in, &list(number, is_big), &plain[at..]].concat()
                };
                assert_eq!(of(&with(2)).unwrap().frames, 1, "as cameras make them");
                assert_eq!(of(&with(100)).unwrap().frames, 100);
                let error = of(&with(101)).unwrap_err();
                assert_eq!(error.code(), "image_too_large");
                assert!(error.to_string().contains("101 frames of 100 by 100"), "{error}");
            }
        }
    }

    #[test]
    fn a_list_that_is_cut_or_leads_nowhere_lists_nothing() {
        let (plain, whole) = (jpeg(100), list(5000, true));
        for end in 0..whole.len() - 1 {
            let cut = &whole[4.min(end)..end];
            let length = u16::try_from(cut.len() + 2).unwrap();
            let segment = [&[0xff, APPLICATION_2][..], &length.to_be_bytes(), cut].concat();
            assert_eq!(of(&[&plain[..2], &segment, &plain[2..]].concat()).unwrap().frames, 1, "{end}");
        }
        let mut nowhere = whole;
        nowhere[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(of(&[&plain[..2], &nowhere, &plain[2..]].concat()).unwrap().frames, 1);
    }
}
