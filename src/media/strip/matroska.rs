//! Matroska and `WebM`: tags and titles become empty space of the same size, all zeros, since the file names places in itself.
//! `SaveWEBM` writes the graph as a tag.

use super::walk::{Fault, Walk};
use std::io::Write;

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const INFO: u32 = 0x1549_a966;
const TAGS: u32 = 0x1254_c367;
const TITLE: u32 = 0x7ba9;
const FILENAME: u32 = 0x7384;
/// The checksum of what it lies in, which may be changed here.
const CHECKSUM: u32 = 0xbf;
/// Empty space, which may still hold what stood there before.
const VOID: u32 = 0xec;

/// The head of an element.
struct Head {
    id: u32,
    /// How many bytes lie in it; none where it does not say.
    inner: Option<u64>,
    /// The head itself as it was written.
    bytes: Vec<u8>,
}

/// Writes a Matroska file in which metadata is blanked.
pub(super) fn strip(walk: &mut Walk<'_>, clean: &mut dyn Write) -> Result<(), Fault> {
    let mut has_segment = false;
    // Elements that hold others are entered by going on behind their head: where they end does not matter.
    while walk.left() > 0 {
        let head = head(walk)?;
        if head.inner.is_some_and(|inner| inner > walk.left()) {
            return Err(Fault::Malformed("a Matroska element is longer than the file"));
        }
        match (head.id, head.inner) {
            (SEGMENT, _) | (INFO, Some(_)) | (CLUSTER, None) => {
                has_segment |= head.id == SEGMENT;
                clean.write_all(&head.bytes)?;
            }
            (TAGS | TITLE | FILENAME | CHECKSUM | VOID, Some(inner)) => {
                let hollow = hollow(head.bytes.len() as u64 + inner);
                clean.write_all(&hollow)?;
                let rest = (head.bytes.len() as u64 + inner).saturating_sub(hollow.len() as u64);
                // The new head may be longer than the old one or shorter.
                walk.skip(inner)?;
                std::io::copy(&mut std::io::Read::take(std::io::repeat(0), rest), clean)?;
            }
            (_, Some(inner)) => {
                clean.write_all(&head.bytes)?;
                walk.copy(inner, clean)?;
            }
            (_, None) => return Err(Fault::Malformed("a Matroska element does not say how long it is")),
        }
    }
    if has_segment { Ok(()) } else { Err(Fault::Malformed("it is a Matroska file without a segment")) }
}

/// Writes the head of empty space that has this many bytes with its head; at least two.
fn hollow(total: u64) -> Vec<u8> {
    const ID: u8 = 0xec;
    match total.checked_sub(9) {
        Some(inner) => {
            let mut head = vec![ID];
            // A length of eight bytes has fifty-six bits, more than any file.
            head.extend_from_slice(&(inner | 1 << 56).to_be_bytes());
            head
        }
        None => vec![ID, 0x80 | u8::try_from(total.saturating_sub(2)).unwrap_or(0)],
    }
}

fn head(walk: &mut Walk<'_>) -> Result<Head, Fault> {
    let [first] = walk.array()?;
    let more = usize::try_from(first.leading_zeros()).unwrap_or(8);
    if more > 3 {
        return Err(Fault::Malformed("it has something else where a Matroska element should be"));
    }
    let mut bytes = vec![first];
    bytes.extend(walk.bytes(more)?);
    let id = bytes.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte));
    let [first] = walk.array()?;
    let more = usize::try_from(first.leading_zeros()).unwrap_or(8);
    if more > 7 {
        return Err(Fault::Malformed("a Matroska element has no length"));
    }
    let rest = walk.bytes(more)?;
    let own = u64::from(first) & (0x7f >> more);
    let length = rest.iter().fold(own, |length, byte| (length << 8) | u64::from(*byte));
    let says_nothing = length == (1 << (7 * (more + 1))) - 1;
    bytes.push(first);
    bytes.extend(rest);
    Ok(Head { id, inner: (!says_nothing).then_some(length), bytes })
}
