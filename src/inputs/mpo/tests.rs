//! JPEGs with further pictures, as cameras and others make them, and what is counted in them.

use super::*;
use crate::inputs::jpeg::{APPLICATION_2, LIST};
use crate::inputs::kind::{Measured, NoImage, measure};
use std::io::Cursor;
use std::time::Duration;

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

#[test]
fn lists_without_end_are_read_in_no_time() {
    // Each says that its directory has 65535 entries, and has none.
    let mut empty = [&[0xff, APPLICATION_2, 0, 16][..], LIST, b"MM\0\x2a\0\0\0\0\xff\xff"].concat();
    empty[12..16].copy_from_slice(&8_u32.to_be_bytes());
    let plain = jpeg(16);
    let at = plain.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
    let bytes = [&plain[..at], &empty.repeat(200_000), &plain[at..]].concat();
    assert_eq!(in_time(bytes).unwrap().frames, 1);
}

fn in_time(bytes: Vec<u8>) -> Result<Measured, NoImage> {
    let (done, when_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(of(&bytes)));
    when_done.recv_timeout(Duration::from_secs(20)).expect("it is done in time")
}

/// A JPEG of so many pictures, laid out as cameras do: the list, and the others behind the first.
fn album(sides: &[u16], is_big: bool) -> Vec<u8> {
    let pictures: Vec<Vec<u8>> = sides.iter().map(|side| jpeg(*side)).collect();
    with_places(&pictures, |start, list_at| u32::try_from(start - list_at).unwrap(), is_big)
}

/// The same, with the place of each told by where it is and where the list is.
fn with_places(pictures: &[Vec<u8>], place: impl Fn(usize, usize) -> u32, is_big: bool) -> Vec<u8> {
    let short = |number: u16| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
    let long = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
    let count = u32::try_from(pictures.len()).unwrap();
    let mut content = LIST.to_vec();
    content.extend(if is_big { b"MM\0\x2a" } else { b"II\x2a\0" });
    content.extend(long(8));
    content.extend(short(2));
    for (tag, kind, count, value) in [(NUMBER, 4, 1, count), (0xb002, 7, count * 16, 38)] {
        content.extend(short(tag));
        content.extend(short(kind));
        content.extend(long(count));
        content.extend(long(value));
    }
    content.extend(long(0));
    // Behind the first marker and the segment's head, and its name.
    let list_at = 2 + 4 + LIST.len();
    let mut at = content.len() + 4 + 16 * pictures.len();
    for (number, picture) in pictures.iter().enumerate() {
        content.extend(long(0));
        content.extend(long(u32::try_from(picture.len()).unwrap()));
        content.extend(long(if number == 0 { 0 } else { place(at, list_at) }));
        content.extend([0; 4]);
        at += picture.len();
    }
    let length = u16::try_from(content.len() + 2).unwrap();
    let segment = [&[0xff, APPLICATION_2][..], &length.to_be_bytes(), &content].concat();
    let (first, others) = pictures.split_first().unwrap();
    [&first[..2], &segment, &first[2..], &others.concat()].concat()
}

#[test]
fn further_pictures_count_as_large_as_they_are() {
    for is_big in [true, false] {
        let measured = of(&album(&[900, 400], is_big)).unwrap();
        assert_eq!((measured.width, measured.frames), (900, 2));
        for (sides, told) in [(&[16, 1001][..], "2 pictures"), (&[900, 400, 400][..], "3 pictures")] {
            let error = of(&album(sides, is_big)).unwrap_err();
            assert_eq!(error.code(), "image_too_large");
            let all: u32 = sides.iter().map(|side| u32::from(*side) * u32::from(*side)).sum();
            for part in [told, &all.to_string(), "1000000", "COMFYGATE_MAX_PIXELS"] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
    }
}

#[test]
fn a_picture_that_is_listed_again_and_again_counts_each_time() {
    let pictures: Vec<_> = std::iter::once(jpeg(16)).chain((0..11).map(|_| jpeg(300))).collect();
    let second = pictures[0].len() + 4 + LIST.len() + 38 + 16 * pictures.len();
    let bytes = with_places(&pictures, |_, list_at| u32::try_from(second - list_at).unwrap(), true);
    assert!(of(&bytes).is_ok_and(|measured| measured.frames == 12), "{:?}", of(&bytes));
    let pictures: Vec<_> = std::iter::once(jpeg(16)).chain((0..12).map(|_| jpeg(300))).collect();
    let second = second + 16;
    let bytes = with_places(&pictures, |_, list_at| u32::try_from(second - list_at).unwrap(), true);
    assert_eq!(of(&bytes).unwrap_err().code(), "image_too_large");
}

#[test]
fn where_no_picture_is_a_camera_has_put_none() {
    let pictures = [jpeg(900), jpeg(900)];
    for place in [1, u32::MAX] {
        assert_eq!(of(&with_places(&pictures, |_, _| place, false)).unwrap().frames, 1, "an editor cut it off");
    }
    let many = vec![jpeg(500); 5];
    assert!(of(&with_places(&many, |_, _| 1, false)).is_err(), "so many are as large as the first");
}

#[test]
fn further_pictures_that_cannot_be_measured_are_refused() {
    let mut sizeless = jpeg(16);
    let at = sizeless.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    sizeless[at + 1] = 0xef;
    let twice = twice_sized(16, 5000);
    for second in [sizeless, twice] {
        let bytes = with_places(&[jpeg(16), second], |at, list_at| u32::try_from(at - list_at).unwrap(), false);
        assert!(matches!(of(&bytes), Err(NoImage::Broken("a JPEG"))), "{:?}", of(&bytes));
    }
}

#[test]
fn pictures_that_lie_within_each_other_are_not_followed_for_long() {
    // From each of these on it is far to the size that all of them have.
    let size = b"\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0";
    let junk = [&b"\xff\xd8\xff".repeat(100_000)[..], &b"\x07".repeat(400_000), size].concat();
    let pictures: Vec<_> = [jpeg(16), junk].into_iter().chain(vec![Vec::new(); 2000]).collect();
    let next = std::cell::Cell::new(0);
    let places = |_, _| {
        next.set(next.get() + 3);
        u32::try_from(pictures[0].len() + 38 + 16 * pictures.len()).unwrap() - 5 + next.get()
    };
    let bytes = with_places(&pictures, places, false);
    assert!(matches!(in_time(bytes), Err(NoImage::Broken("a JPEG"))), "it is given up");
}

#[test]
fn a_list_that_readers_read_differently_is_refused() {
    let whole = album(&[16, 300], true);
    let at = whole.windows(4).position(|part| part == b"MM\0\x2a").unwrap();
    let with = |place: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at + place..at + place + bytes.len()].copy_from_slice(bytes);
        changed
    };
    for (place, bytes) in [
        // The order of bytes of another system.
        (2, &b"\x2a\0"[..]),
        // Two or none for one number, and a number that is not whole.
        (14, &[0, 0, 0, 2]),
        (14, &[0, 0, 0, 0]),
        (12, &[0, 16]),
        // The places are texts, or the number stands there twice.
        (24, &[0, 2]),
        (22, &[0xb0, 1]),
    ] {
        assert!(matches!(of(&with(place, bytes)), Err(NoImage::Broken("a JPEG"))), "{place} {bytes:?}");
    }
}

/// A JPEG that says its size twice.
fn twice_sized(first: u16, second: u16) -> Vec<u8> {
    let plain = jpeg(first);
    let at = plain.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let mut frame = plain[at..at + 19].to_vec();
    frame[5..7].copy_from_slice(&second.to_be_bytes());
    frame[7..9].copy_from_slice(&second.to_be_bytes());
    [&plain[..at + 19], &frame, &plain[at + 19..]].concat()
}

#[test]
fn a_jpeg_that_says_its_size_twice_is_refused() {
    assert!(matches!(of(&twice_sized(16, 5000)), Err(NoImage::Broken("a JPEG"))));
    let mut hierarchical = twice_sized(16, 5000);
    let at = hierarchical.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    hierarchical[at + 1] = 0xde;
    assert!(matches!(of(&hierarchical), Err(NoImage::Broken("a JPEG"))), "a size to Pillow too");
}

#[test]
fn junk_before_the_size_of_a_jpeg_is_passed_over_as_decoders_do() {
    let plain = jpeg(16);
    for junk in [&b"junk"[..], b"\xff\xff\xff", b"\xff\0", b"\xff\xd9", b"\xff\xe1\0\0", b"\xff\xc8"] {
        let bytes = [&plain[..2], &b"\xff\xfe\0\x02"[..], junk, &plain[2..]].concat();
        assert_eq!(of(&bytes).unwrap().width, 16, "{junk:?}");
    }
}
