//! The segments of a JPEG before its data: one walk tells its size and the list of further pictures (`mpo.rs` reads it). It steps
//! as Pillow does, over junk between segments and into those that have no length to it, so nothing is hidden from us that it sees.

use super::frames::Ambiguous;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

/// How the content of a list of pictures begins, in an application segment.
pub(super) const LIST: &[u8] = b"MPF\0";
pub(super) const APPLICATION_2: u8 = 0xe2;

/// What a JPEG tells before its data.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Width and height; none where the file ends, or the data begin, before they are told.
    pub(super) size: Option<(u32, u32)>,
    /// The last list of pictures, the one that counts.
    pub(super) list: Option<List>,
}

/// A list of pictures.
#[derive(Debug)]
pub(super) struct List {
    /// Where in the file its content begins, from which it counts.
    pub(super) at: u64,
    /// It, without its name.
    pub(super) content: Vec<u8>,
}

/// Reads what the picture at the start of a file tells, however long that takes: each byte is passed once.
pub(super) fn first(file: &mut (impl Read + Seek)) -> Result<Head, Ambiguous> {
    file.seek(SeekFrom::Start(2))?;
    let mut steps = u64::MAX;
    head(file, &mut steps)
}

/// Walks from behind the first marker up to the data, in at most `steps`, of which it takes its own: a segment or a byte of junk
/// is one. A size that is told twice is none: decoders differ on which it is.
pub(super) fn head(file: &mut (impl Read + Seek), steps: &mut u64) -> Result<Head, Ambiguous> {
    let mut head = Head::default();
    loop {
        *steps = steps.checked_sub(1).ok_or(Ambiguous::Blocks)?;
        match segment(file, &mut head) {
            Ok(true) => {}
            Ok(false) => return Ok(head),
            Err(Ambiguous::Unreadable(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(head),
            Err(error) => return Err(error),
        }
    }
}

/// Reads up to the end of a segment; says whether there may be more.
fn segment(file: &mut (impl Read + Seek), head: &mut Head) -> Result<bool, Ambiguous> {
    if byte(file)? != 0xff {
        return Ok(true);
    }
    let mut marker = byte(file)?;
    while marker == 0xff {
        marker = byte(file)?;
    }
    match marker {
        // Those that stand alone, to Pillow at least.
        0x00 | 0x01 | 0xc8 | 0xd0..=0xd9 | 0xf0..=0xfd => return Ok(true),
        // The data begin.
        0xda => return Ok(false),
        _ => {}
    }
    let length = u16::from_be_bytes([byte(file)?, byte(file)?]);
    let rest = length.saturating_sub(2);
    match marker {
        // Tables of codes are no frames.
        0xc4 | 0xcc => file.seek_relative(rest.into())?,
        // A frame, or a row of them.
        0xc0..=0xcf | 0xde => {
            let after = rest.checked_sub(5).filter(|_| head.size.is_none()).ok_or(Ambiguous::Blocks)?;
            let [_, high @ .., wide, narrow] = exactly::<5>(file)?;
            head.size = Some((u16::from_be_bytes([wide, narrow]).into(), u16::from_be_bytes(high).into()));
            file.seek_relative(after.into())?;
        }
        APPLICATION_2 => {
            let mut content = vec![0; rest.into()];
            file.read_exact(&mut content)?;
            if let Some(list) = content.strip_prefix(LIST) {
                let at = file.stream_position()?.saturating_sub(list.len() as u64);
                head.list = Some(List { at, content: list.to_vec() });
            }
        }
        _ => file.seek_relative(rest.into())?,
    }
    Ok(true)
}

fn byte(file: &mut impl Read) -> io::Result<u8> {
    exactly::<1>(file).map(|[byte]| byte)
}

fn exactly<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
