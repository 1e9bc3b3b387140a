//! FLAC: what the sound is like and where it is stay. `SaveAudio` writes the graph as a Vorbis comment; pictures, cue sheets,
//! other programs' data and padding go with it. Places in a FLAC file are counted from its first frame, so nothing is misled.

use super::walk::{Fault, Walk};
use std::io::Write;

const MARK: u64 = 4;
const STREAM_INFO: u8 = 0;
const SEEK_TABLE: u8 = 3;
const LAST: u8 = 0x80;

struct Block {
    kind: u8,
    is_last: bool,
    length: u32,
}

/// Writes a FLAC file without what is not its content.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    let start = walk.at() + MARK;
    let kept = survey(walk, start)?;
    clean.write_all(b"fLaC")?;
    walk.go_to(start)?;
    let mut written = 0;
    loop {
        let block = block(walk)?;
        if is_content(&block) {
            written += 1;
            let head = block.length | u32::from(block.kind | if written == kept { LAST } else { 0 }) << 24;
            clean.write_all(&head.to_be_bytes())?;
            walk.copy(block.length.into(), clean)?;
        } else {
            walk.skip(block.length.into())?;
        }
        if block.is_last {
            return walk.copy(walk.left(), clean);
        }
    }
}

/// Counts the blocks that stay.
fn survey(walk: &mut Walk<'_>, start: u64) -> Result<u32, Fault> {
    walk.go_to(start)?;
    let mut kept = 0;
    loop {
        let is_first = walk.at() == start;
        let block = block(walk)?;
        if is_first != (block.kind == STREAM_INFO) {
            return Err(Fault::Malformed("it is no row of FLAC blocks"));
        }
        kept += u32::from(is_content(&block));
        walk.skip(block.length.into())?;
        if block.is_last {
            return Ok(kept);
        }
    }
}

fn is_content(block: &Block) -> bool {
    matches!(block.kind, STREAM_INFO | SEEK_TABLE)
}

fn block(walk: &mut Walk<'_>) -> Result<Block, Fault> {
    let [head, high, middle, low] = walk.array()?;
    let length = u32::from_be_bytes([0, high, middle, low]);
    Ok(Block { kind: head & !LAST, is_last: head & LAST != 0, length })
}
