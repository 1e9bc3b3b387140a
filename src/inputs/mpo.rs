//! The further pictures of a JPEG: cameras put previews and maps of brightness behind the first one, and a segment that lists them.
//! `ComfyUI` decodes each that is listed, as often as it is, so each is measured where it lies.

use super::frames::Ambiguous;
use super::jpeg::{self, List};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

/// The tags of the number of pictures and of what is told of each, in the list's directory.
const NUMBER: u16 = 0xb001;
const ENTRIES: u16 = 0xb002;

/// How many bytes the list has for each picture, and from which on its place is told.
const ENTRY: usize = 16;
const PLACE: usize = 8;

/// So many pictures are what cameras make; where they cannot be found, an editor has cut them off.
const USUAL: u64 = 4;

/// How many segments and bytes of junk are looked at in all the further pictures together.
const MOST_STEPS: u64 = 1 << 18;

/// What is behind the first picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Further {
    /// How many pictures cannot be found, and count as large as the first.
    pub(super) alike: u64,
    /// How many others there are.
    pub(super) others: u64,
    /// How many pixels those have together.
    pub(super) pixels: u64,
}

/// Finds the pictures of a list. One that lies where no JPEG is decodes to nothing; one that has no size, or more than one, could
/// be of any.
pub(super) fn further(file: &mut (impl Read + Seek), list: &List) -> Result<Further, Ambiguous> {
    let mut found = Further::default();
    let Some(directory) = Directory::of(&list.content)? else { return Ok(found) };
    let Some(number) = directory.number()? else { return Ok(found) };
    let (mut steps, mut known) = (MOST_STEPS, HashMap::new());
    let mut missing = 0;
    match directory.places(number)? {
        None => missing = number.saturating_sub(1),
        Some(places) => {
            for place in places {
                let size = match known.get(&place) {
                    Some(size) => *size,
                    None => measured(file, list.at + u64::from(place), &mut steps)?,
                };
                known.insert(place, size);
                match size {
                    None => missing += 1,
                    Some((wide, high)) => {
                        found.others += 1;
                        found.pixels += u64::from(wide) * u64::from(high);
                    }
                }
            }
        }
    }
    found.alike = if number > USUAL { missing } else { 0 };
    Ok(found)
}

/// Returns the size of the JPEG that begins at a place; none where there is none.
fn measured(file: &mut (impl Read + Seek), at: u64, steps: &mut u64) -> Result<Option<(u32, u32)>, Ambiguous> {
    file.seek(SeekFrom::Start(at))?;
    let mut start = [0; 3];
    match file.read_exact(&mut start) {
        Ok(()) if start == [0xff, 0xd8, 0xff] => {}
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    file.seek_relative(-1)?;
    jpeg::head(file, steps)?.size.map(Some).ok_or(Ambiguous::Blocks)
}

/// The directory of a list, which is laid out as a TIFF, in either order of bytes.
struct Directory<'a> {
    list: &'a [u8],
    is_big: bool,
    entries: Vec<Entry>,
}

/// One entry of a directory; its value, or where that lies, is at `at`.
#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    at: usize,
}

impl<'a> Directory<'a> {
    /// Reads as much of it as there is; none where there is none.
    fn of(list: &'a [u8]) -> Result<Option<Self>, Ambiguous> {
        let is_big = match list.get(..4) {
            Some(b"MM\0\x2a") => true,
            Some(b"II\x2a\0") => false,
            // A TIFF to some, with numbers in either order.
            Some([b'M', b'M', ..] | [b'I', b'I', ..]) => return Err(Ambiguous::Blocks),
            Some(_) | None => return Ok(None),
        };
        let mut directory = Self { list, is_big, entries: Vec::new() };
        let start = directory.long(4).and_then(|start| usize::try_from(start).ok());
        let Some((start, told)) = start.and_then(|start| Some((start, directory.short(start)?))) else {
            return Ok(None);
        };
        // It has no more than there are bytes for, whatever it says.
        let there = list.len().saturating_sub(start) / 12;
        let entries = (0..usize::from(told).min(there)).filter_map(|number| directory.entry(start + 2 + 12 * number));
        directory.entries = entries.collect();
        Ok(Some(directory))
    }

    /// Returns how many pictures there are.
    fn number(&self) -> Result<Option<u64>, Ambiguous> {
        let Some(entry) = self.the(NUMBER)? else { return Ok(None) };
        match (entry.kind, entry.count) {
            (3, 1) => Ok(self.short(entry.at).map(u64::from)),
            (4, 1) => Ok(self.long(entry.at).map(u64::from)),
            // It lies elsewhere, or is none.
            _ => Err(Ambiguous::Blocks),
        }
    }

    /// Returns where the pictures are, but for the first, which is the file; none where that is not told of each.
    fn places(&self, number: u64) -> Result<Option<Vec<u32>>, Ambiguous> {
        let Some(entry) = self.the(ENTRIES)? else { return Ok(None) };
        if !matches!(entry.kind, 1 | 7) {
            return Err(Ambiguous::Blocks);
        }
        let start = self.long(entry.at).and_then(|start| usize::try_from(start).ok());
        let told = start.and_then(|start| self.list.get(start..start.checked_add(usize::try_from(entry.count).ok()?)?));
        let Some((start, told)) = start.zip(told) else { return Ok(None) };
        let Ok(number) = usize::try_from(number) else { return Ok(None) };
        if told.len() / ENTRY < number {
            return Ok(None);
        }
        Ok((1..number).map(|number| self.long(start + ENTRY * number + PLACE)).collect())
    }

    /// Returns the entry of a tag; one that is there twice may be either.
    fn the(&self, tag: u16) -> Result<Option<Entry>, Ambiguous> {
        let mut all = self.entries.iter().filter(|entry| entry.tag == tag);
        let first = all.next();
        if all.next().is_some() { Err(Ambiguous::Blocks) } else { Ok(first.copied()) }
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        // The last four bytes are read where they are wanted, and are there.
        let _ = self.long(at + 8)?;
        Some(Entry { tag: self.short(at)?, kind: self.short(at + 2)?, count: self.long(at + 4)?, at: at + 8 })
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes = self.list.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = self.list.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests;
