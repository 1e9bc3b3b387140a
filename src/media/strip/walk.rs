//! Reads a file of a stranger in small pieces: no more than is there, and no more at once than is asked for.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

/// How many of a file's first bytes tell what it is.
const START: usize = 12;

/// Why a file was not walked to its end.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is of a kind that nobody here knows.
    Unknown,
    /// It is not built as it should be.
    Malformed(&'static str),
    /// It could not be read, or what it becomes could not be written.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const CUT_SHORT: Fault = Fault::Malformed("it ends too early");

/// What can be read from any place.
pub(super) trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// A file and the place in it.
pub(super) struct Walk<'a> {
    file: BufReader<&'a mut dyn Source>,
    at: u64,
    length: u64,
}

impl<'a> Walk<'a> {
    /// Begins at the first byte.
    pub(super) fn new(file: &'a mut dyn Source) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        Ok(Self { file: BufReader::with_capacity(64 * 1024, file), at: 0, length })
    }

    /// Returns the place.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Returns how many bytes there are from here to the end.
    pub(super) fn left(&self) -> u64 {
        self.length.saturating_sub(self.at)
    }

    /// Returns the first bytes from here without going on.
    pub(super) fn peek(&mut self) -> io::Result<Vec<u8>> {
        let from = self.at;
        let mut start = Vec::new();
        self.file.by_ref().take(START as u64).read_to_end(&mut start)?;
        self.at += start.len() as u64;
        self.go_to(from)?;
        Ok(start)
    }

    /// Goes to a place.
    pub(super) fn go_to(&mut self, place: u64) -> io::Result<()> {
        match i64::try_from(i128::from(place) - i128::from(self.at)) {
            Ok(way) => self.file.seek_relative(way)?,
            Err(_) => {
                self.file.seek(SeekFrom::Start(place))?;
            }
        }
        self.at = place;
        Ok(())
    }

    /// Reads exactly `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.must_have(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Reads `count` bytes, which the caller knows to be few.
    pub(super) fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        self.must_have(count as u64)?;
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes)?;
        self.at += count as u64;
        Ok(bytes)
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), Fault> {
        self.must_have(count)?;
        Ok(self.go_to(self.at + count)?)
    }

    /// Writes `count` bytes as they are.
    pub(super) fn copy(&mut self, count: u64, to: &mut dyn Write) -> Result<(), Fault> {
        self.must_have(count)?;
        let copied = io::copy(&mut self.file.by_ref().take(count), to)?;
        self.at += copied;
        if copied == count { Ok(()) } else { Err(CUT_SHORT) }
    }

    /// Passes over `count` bytes and writes as many zeros.
    pub(super) fn blank(&mut self, count: u64, to: &mut dyn Write) -> Result<(), Fault> {
        self.skip(count)?;
        io::copy(&mut io::repeat(0).take(count), to)?;
        Ok(())
    }

    /// Writes what comes until a JPEG marker that ends it, which is passed over. Returns the marker's code.
    pub(super) fn copy_until_marker(&mut self, to: &mut dyn Write) -> Result<u8, Fault> {
        let mut after_ff = false;
        loop {
            let buffer = self.file.fill_buf()?;
            let Some(first) = buffer.first().copied() else { return Err(CUT_SHORT) };
            let used = if after_ff {
                match first {
                    // More of them before a code mean nothing.
                    0xff => {}
                    // A stuffed byte of the picture, and the marks between its stretches.
                    0 | 0xd0..=0xd7 => {
                        to.write_all(&[0xff, first])?;
                        after_ff = false;
                    }
                    code => {
                        self.file.consume(1);
                        self.at += 1;
                        return Ok(code);
                    }
                }
                1
            } else {
                let run = buffer.iter().position(|byte| *byte == 0xff);
                to.write_all(buffer.get(..run.unwrap_or(buffer.len())).unwrap_or_default())?;
                after_ff = run.is_some();
                run.map_or(buffer.len(), |run| run + 1)
            };
            self.file.consume(used);
            self.at += used as u64;
        }
    }

    fn must_have(&self, count: u64) -> Result<(), Fault> {
        if count <= self.left() { Ok(()) } else { Err(CUT_SHORT) }
    }
}
