//! Takes out of a file what is not its content: the graph and the prompt that ComfyUI's nodes write into it, and whatever else
//! stands there for people and programs. Nothing is encoded anew.
//!
//! Each format has a walker that reads the file from its beginning to its end in small pieces, believes no length before it
//! has held it against what is left, and writes the same file without those parts. Where parts are named by their place in
//! the file, they are overwritten instead, so that nothing moves. Everything here blocks.

mod exif;
mod flac;
mod jpeg;
mod matroska;
mod mp3;
mod mp4;
mod ogg;
mod png;
mod walk;
mod webp;

use std::io::{self, Read, Seek, Write};
use walk::{Fault, Walk};

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stripped {
    /// What was written is the same without what is not its content.
    Clean,
    /// Nobody here knows how such a file is built; what was written is to be thrown away.
    Unknown,
    /// It is not built as its beginning says; what was written is to be thrown away.
    Malformed(&'static str),
}

/// Writes `file` to `clean` without what is not its content. What it is, its first bytes say.
pub(super) fn strip<R: Read + Seek, W: Write>(file: &mut R, clean: &mut W) -> io::Result<Stripped> {
    let mut walk = Walk::new(file)?;
    let start = walk.peek()?;
    let walked = match walker(&start) {
        Some(walker) => walker(&mut walk, clean),
        None => Err(Fault::Unknown),
    };
    match walked {
        Ok(()) => Ok(Stripped::Clean),
        Err(Fault::Unknown) => Ok(Stripped::Unknown),
        Err(Fault::Malformed(why)) => Ok(Stripped::Malformed(why)),
        Err(Fault::Io(error)) => Err(error),
    }
}

type Walker = fn(&mut Walk<'_>, &mut dyn Write) -> Result<(), Fault>;

/// Knows a format by the first bytes of a file.
fn walker(start: &[u8]) -> Option<Walker> {
    let at = |place: usize, word: &[u8]| start.get(place..).is_some_and(|rest| rest.starts_with(word));
    if at(0, png::SIGNATURE) {
        Some(png::strip)
    } else if at(0, b"\xff\xd8\xff") {
        Some(jpeg::strip)
    } else if at(0, b"RIFF") && at(8, b"WEBP") {
        Some(webp::strip)
    } else if at(0, b"fLaC") {
        Some(flac::strip)
    } else if at(4, b"ftyp") {
        Some(mp4::strip)
    } else if at(0, b"\x1a\x45\xdf\xa3") {
        Some(matroska::strip)
    } else if at(0, b"OggS") {
        Some(ogg::strip)
    } else if at(0, b"ID3") || mp3::is_frame(start) {
        Some(mp3::strip)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
