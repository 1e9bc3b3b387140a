//! How many frames an image has, and how large they are on its canvas: a small file may hold thousands that each unfold to the
//! whole. Chunks and blocks are stepped over once and nothing is decoded; a file that is cut short has the frames up to there.

use super::kind::Kind;
use super::size::{big32, little16};
use super::{jpeg, mpo};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

/// What an image unfolds to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unfolded {
    /// Width and height of the first frame as a decoder makes it.
    pub(super) first: (u32, u32),
    /// The width and the height of the canvas on which the largest frames lie.
    pub(super) largest: (u64, u64),
    /// How many frames there are, or are said to be; at least one. Each is as large as the largest.
    pub(super) frames: u64,
    /// How many pictures of other sizes there are besides.
    pub(super) others: u64,
    /// How many pixels those have together.
    pub(super) pixels_of_others: u64,
}

/// Why frames cannot be counted.
#[derive(Debug)]
pub(super) enum Ambiguous {
    /// Decoders do not agree on where the next block begins, so frames could be hidden.
    Blocks,
    /// The bytes could not be read.
    Unreadable(io::Error),
}

/// Counts the frames of an image whose header tells this size.
pub(super) fn count(
    kind: Kind,
    file: &mut (impl Read + Seek),
    (width, height): (u32, u32),
) -> Result<Unfolded, Ambiguous> {
    let canvas = (u64::from(width), u64::from(height));
    let mut found = Unfolded { first: (width, height), largest: canvas, frames: 0, others: 0, pixels_of_others: 0 };
    let walked = match kind {
        Kind::Png => png(file, &mut found),
        Kind::Gif => gif(file, &mut found),
        Kind::Webp => webp(file, &mut found),
        Kind::Jpeg => jpeg(file, &mut found),
    };
    match walked {
        Err(Ambiguous::Unreadable(error)) if error.kind() != ErrorKind::UnexpectedEof => {
            return Err(Ambiguous::Unreadable(error));
        }
        Err(Ambiguous::Blocks) => return Err(Ambiguous::Blocks),
        Ok(()) | Err(Ambiguous::Unreadable(_)) => {}
    }
    found.frames = found.frames.max(1);
    Ok(found)
}

/// Walks over the chunks of a PNG. What `acTL` says counts too, since there are decoders that believe it; a picture before the
/// first `fcTL` is no part of the animation and one more. Where a second header comes, decoders differ on which one counts.
fn png(file: &mut (impl Read + Seek), found: &mut Unfolded) -> Result<(), Ambiguous> {
    file.seek(SeekFrom::Start(8))?;
    let (mut told, mut seen, mut outside) = (0_u64, 0_u64, 0_u64);
    let mut has_header = false;
    loop {
        let head: [u8; 8] = exactly(file)?;
        let [_, _, _, _, name @ ..] = head;
        // With the sum behind the chunk.
        let mut rest = i64::from(big32(&head, 0).unwrap_or_default()) + 4;
        match &name {
            b"IHDR" if has_header => return Err(Ambiguous::Blocks),
            b"IHDR" => has_header = true,
            b"acTL" if rest >= 8 => {
                told = u32::from_be_bytes(exactly(file)?).into();
                rest -= 4;
            }
            b"fcTL" => seen += 1,
            b"IDAT" if seen == 0 => outside = 1,
            b"IEND" => return Ok(()),
            _ => {}
        }
        found.frames = told.max(seen) + outside;
        file.seek_relative(rest)?;
    }
}

fn jpeg(file: &mut (impl Read + Seek), found: &mut Unfolded) -> Result<(), Ambiguous> {
    let Some(list) = jpeg::first(file)?.list else { return Ok(()) };
    let further = mpo::further(file, &list)?;
    found.frames = further.alike.saturating_add(1);
    (found.others, found.pixels_of_others) = (further.others, further.pixels);
    Ok(())
}

/// Walks over the blocks of a GIF. A frame that reaches beyond the screen widens it for itself and for all that follow. Bytes
/// between blocks that begin none are passed over, as Pillow does.
fn gif(file: &mut (impl Read + Seek), found: &mut Unfolded) -> Result<(), Ambiguous> {
    file.seek(SeekFrom::Start(10))?;
    let [flags, _, _] = exactly(file)?;
    file.seek_relative(colours(flags))?;
    loop {
        match exactly(file)? {
            [b';'] => return Ok(()),
            [b'!'] => extension(file)?,
            [b','] => {
                let place: [u8; 9] = exactly(file)?;
                let at = |at| u64::from(little16(&place, at).unwrap_or_default());
                let (wide, high) = found.largest;
                found.largest = (wide.max(at(0) + at(4)), high.max(at(2) + at(6)));
                if found.frames == 0 {
                    let within = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
                    found.first = (within(found.largest.0), within(found.largest.1));
                }
                found.frames += 1;
                let [.., flags] = place;
                // With the size of the first codes.
                file.seek_relative(colours(flags) + 1)?;
                while piece(file)?.is_some() {}
            }
            _ => {}
        }
    }
}

/// Steps over an extension of a GIF. Where its first piece is empty, or that of the loop's, Pillow takes what follows for its
/// pieces, and others do not; comments are taken alike by all.
fn extension(file: &mut (impl Read + Seek)) -> Result<(), Ambiguous> {
    const COMMENT: u8 = 0xfe;
    const LOOP: &[u8] = b"NETSCAPE2.0";
    let [label, length] = exactly(file)?;
    if length == 0 {
        return if label == COMMENT { Ok(()) } else { Err(Ambiguous::Blocks) };
    }
    let mut first = vec![0; length.into()];
    file.read_exact(&mut first)?;
    let is_ambiguous = first.starts_with(LOOP) && label != COMMENT;
    if piece(file)?.is_none() {
        return if is_ambiguous { Err(Ambiguous::Blocks) } else { Ok(()) };
    }
    while piece(file)?.is_some() {}
    Ok(())
}

/// Steps over one piece of data; none where it is the empty one that ends them.
fn piece(file: &mut (impl Read + Seek)) -> Result<Option<()>, Ambiguous> {
    let [length] = exactly(file)?;
    file.seek_relative(length.into())?;
    Ok((length > 0).then_some(()))
}

/// Returns how many bytes the table of colours takes that these flags announce.
fn colours(flags: u8) -> i64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Walks over the chunks of a WebP; each `ANMF` is a frame, and a decoder makes the whole canvas of it.
fn webp(file: &mut (impl Read + Seek), found: &mut Unfolded) -> Result<(), Ambiguous> {
    file.seek(SeekFrom::Start(12))?;
    loop {
        let [name @ .., a, b, c, d]: [u8; 8] = exactly(file)?;
        if name == *b"ANMF" {
            found.frames += 1;
        }
        let length = i64::from(u32::from_le_bytes([a, b, c, d]));
        file.seek_relative(length + (length & 1))?;
    }
}

fn exactly<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl From<io::Error> for Ambiguous {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::{MOST_FRAMES, Measured, NoImage, measure};
    use std::io::Cursor;

    const MOST: u64 = 1_000_000;

    fn of(bytes: &[u8]) -> Result<Measured, NoImage> {
        measure(&mut Cursor::new(bytes), MOST)
    }

    fn refused(bytes: &[u8]) -> String {
        let error = of(bytes).unwrap_err();
        assert_eq!(error.code(), "image_too_large", "{error}");
        error.to_string()
    }

    /// A real APNG of grey frames; with a picture of its own before them where that is wished for.
    fn apng(side: u32, frames: u32, has_outside: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_animated(frames, 0).unwrap();
        encoder.set_sep_def_img(has_outside).unwrap();
        let mut writer = encoder.write_header().unwrap();
        for _ in 0..frames + u32::from(has_outside) {
            writer.write_image_data(&vec![7; (side * side) as usize]).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    /// A GIF with this screen and frames of these places: left, top, width, height. Their data is not looked at.
    fn gif(screen: (u16, u16), frames: &[[u16; 4]]) -> Vec<u8> {
        let mut bytes = b"GIF89a".to_vec();
        bytes.extend(screen.0.to_le_bytes());
        bytes.extend(screen.1.to_le_bytes());
        bytes.extend([0x80, 0, 0]);
        bytes.extend([0; 6]);
        bytes.extend(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0!\xfe\0");
        for place in frames {
            bytes.extend(b"!\xf9\x04\0\x05\0\0\0,");
            bytes.extend(place.iter().flat_map(|number| number.to_le_bytes()));
            bytes.extend([0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            // Pieces that hold what looks like blocks.
            bytes.extend(b"\x02\x03,;!\x02,,\0");
        }
        bytes.push(b';');
        bytes
    }

    /// An animated WebP with this canvas; the frames' data is not looked at.
    fn webp(width: u32, height: u32, frames: usize) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0".to_vec();
        bytes.extend(&(width - 1).to_le_bytes()[..3]);
        bytes.extend(&(height - 1).to_le_bytes()[..3]);
        bytes.extend(b"ANIM\x06\0\0\0\0\0\0\0\0\0");
        for _ in 0..frames {
            bytes.extend(b"ANMF\x05\0\0\0ANMF!\0");
        }
        bytes
    }

    #[test]
    fn the_frames_of_animated_images_are_counted() {
        for (bytes, frames) in [
            (apng(10, 1, false), 1),
            (apng(10, 7, false), 7),
            (apng(10, 7, true), 8),
            (gif((10, 10), &[]), 1),
            (gif((10, 10), &[[0, 0, 10, 10]; 7]), 7),
            (webp(10, 10, 0), 1),
            (webp(10, 10, 7), 7),
        ] {
            let measured = of(&bytes).unwrap();
            assert_eq!((measured.width, measured.height, measured.frames), (10, 10, frames), "{:?}", measured.kind);
        }
    }

    #[test]
    fn all_frames_together_may_have_so_many_pixels_as_one_image() {
        // A thousand by a thousand are as many as are taken.
        let all = |frames: u8| {
            let places = vec![[0, 0, 1, 1]; frames.into()];
            [apng(100, frames.into(), false), gif((100, 100), &places), webp(100, 100, frames.into())]
        };
        for bytes in all(100) {
            assert_eq!(of(&bytes).unwrap().frames, 100);
        }
        for bytes in all(101) {
            let told = refused(&bytes);
            for part in ["101 frames", "100 by 100", "1010000 pixels", "1000000", "COMFYGATE_MAX_PIXELS"] {
                assert!(told.contains(part), "{told}");
            }
        }
    }

    #[test]
    fn a_frame_of_a_gif_that_is_larger_than_the_screen_counts_as_large_as_it_is() {
        let wide = gif((10, 10), &[[0, 0, 10, 10], [500, 0, 500, 10], [0, 0, 10, 1000]]);
        assert!(refused(&wide).contains("3 frames of 1000 by 1000"));
        let first = of(&gif((10, 10), &[[2, 3, 20, 30]])).unwrap();
        assert_eq!((first.width, first.height), (22, 33), "it is what is made of it");
        assert!(refused(&gif((1, 1), &[[0, 0, u16::MAX, u16::MAX]])).contains("65535 by 65535"));
    }

    #[test]
    fn frames_that_are_only_announced_count_as_those_that_are_there() {
        let mut bytes = apng(100, 2, false);
        let at = bytes.windows(4).position(|name| name == b"acTL").unwrap() + 4;
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(refused(&bytes).contains("4294967295 frames"));
        bytes[at..at + 4].copy_from_slice(&1_u32.to_be_bytes());
        assert_eq!(of(&bytes).unwrap().frames, 2, "what is there counts too");
    }

    #[test]
    fn many_frames_are_refused_however_small_they_are() {
        let frames = usize::try_from(MOST_FRAMES).unwrap();
        assert_eq!(of(&webp(1, 1, frames)).unwrap().frames, MOST_FRAMES);
        assert!(refused(&webp(1, 1, frames + 1)).contains("10001 frames"));
    }

    #[test]
    fn a_gif_that_decoders_read_differently_hides_no_frames() {
        let ambiguous: [&[u8]; 3] = [b"!\xf9\0", b"!\xff\0", b"!\xff\x0bNETSCAPE2.0\0"];
        for hides in ambiguous {
            // To Pillow the semicolon is within a piece, and a frame comes after it.
            let bytes = [&gif((10, 10), &[[0, 0, 1, 1]])[..19], hides, b"\x01;\0", &gif((1, 1), &[[0, 0, 1, 1]])[19..]]
                .concat();
            assert!(matches!(of(&bytes), Err(NoImage::Broken("a GIF"))), "{hides:?}");
        }
        // A comment without a word is a comment.
        assert!(of(&gif((10, 10), &[[0, 0, 1, 1]])).is_ok());
        let strays = [&gif((10, 10), &[])[..19], b"\0\x01\0", &gif((1, 1), &[[0, 0, 1, 1]; 2])[19..]].concat();
        assert_eq!(of(&strays).unwrap().frames, 2, "bytes that begin no block are passed over");
    }

    #[test]
    fn a_png_that_says_its_size_twice_is_refused() {
        let whole = apng(10, 1, false);
        let mut header = whole[8..33].to_vec();
        header[8..12].copy_from_slice(&30_000_u32.to_be_bytes());
        for at in [33, whole.len() - 12] {
            let bytes = [&whole[..at], &header, &whole[at..]].concat();
            assert!(matches!(of(&bytes), Err(NoImage::Broken("a PNG"))), "at {at}: {:?}", of(&bytes));
        }
    }

    #[test]
    fn an_animation_that_is_cut_short_has_the_frames_up_to_there() {
        for whole in [apng(10, 5, false), gif((10, 10), &[[0, 0, 9, 9]; 5]), webp(10, 10, 5)] {
            for end in 64..whole.len() {
                let frames = of(&whole[..end]).unwrap().frames;
                assert!((1..=5).contains(&frames), "{frames}");
            }
        }
    }
}
