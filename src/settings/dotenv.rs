//! Reads a `.env` file as dotenvy does, and knows the line of every entry.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// One assignment of a `.env` file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// The line in which it ends, from 1.
    pub(super) number: u64,
    /// The variable.
    pub(super) name: String,
    /// Its value, quotes and escapes resolved.
    pub(super) value: String,
}

/// Reads the text of a `.env` file: the assignments, and the lines that are none with what is wrong. Those texts do
/// not repeat the line, in which there may be a secret.
pub(super) fn read(text: &str) -> (Vec<Line>, Vec<(u64, String)>) {
    let lines_read = Rc::new(Cell::new(0));
    let reader =
        LineByLine { rest: text.trim_start_matches('\u{feff}').as_bytes(), lines_read: Rc::clone(&lines_read) };
    let mut entries = Vec::new();
    let mut mistakes = Vec::new();
    for entry in dotenvy::from_read_iter(reader) {
        let number = lines_read.get();
        match entry {
            Ok((name, value)) => entries.push(Line { number, name, value }),
            Err(dotenvy::Error::LineParse(raw, _)) => {
                let more_lines = raw.trim_end().matches('\n').count() as u64;
                let text = "cannot be read: neither NAME=value nor a comment, or a quote is left open";
                mistakes.push((number.saturating_sub(more_lines).max(1), text.to_owned()));
            }
            Err(error) => mistakes.push((number.max(1), format!("cannot be read: {error}"))),
        }
    }
    (entries, mistakes)
}

/// Hands out one line for each call, so that whoever buffers this is never ahead of the line that it works on.
struct LineByLine<'a> {
    rest: &'a [u8],
    lines_read: Rc<Cell<u64>>,
}

impl Read for LineByLine<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line_end = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |place| place + 1);
        let (now, later) = self.rest.split_at(line_end.min(buffer.len()));
        for (to, from) in buffer.iter_mut().zip(now) {
            *to = *from;
        }
        self.rest = later;
        if now.ends_with(b"\n") || (later.is_empty() && !now.is_empty()) {
            self.lines_read.set(self.lines_read.get() + 1);
        }
        Ok(now.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comfylites_own_file_is_read_with_its_lines() {
        let text = "# server\n\nCOMFYLITE_ADDRESS = \":8083\"\nexport COMFYUI_ADDRESS=127.0.0.1:8188 # gpu\n";
        let (entries, mistakes) = read(text);
        assert_eq!(mistakes, []);
        assert_eq!(entries, [line(3, "COMFYLITE_ADDRESS", ":8083"), line(4, "COMFYUI_ADDRESS", "127.0.0.1:8188")]);
    }

    #[test]
    fn values_over_several_lines_and_substitutions_work() {
        let (entries, mistakes) = read("A='one\ntwo'\nB=\"${A}!\"\nC=x");
        assert_eq!(mistakes, []);
        assert_eq!(entries, [line(2, "A", "one\ntwo"), line(3, "B", "one\ntwo!"), line(4, "C", "x")]);
    }

    #[test]
    fn every_bad_line_is_told_by_its_number_and_not_by_its_content() {
        let (entries, mistakes) = read("A=1\nsecret words\nB=2\n\nC='open\nD=3\n");
        assert_eq!(entries, [line(1, "A", "1"), line(3, "B", "2")]);
        assert_eq!(mistakes.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 5]);
        assert!(mistakes.iter().all(|(_, text)| !text.contains("secret")));
    }

    #[test]
    fn a_line_longer_than_any_buffer_is_one_line() {
        let long = "x".repeat(100_000);
        let (entries, _) = read(&format!("A={long}\nB=2"));
        assert_eq!(entries, [line(1, "A", &long), line(2, "B", "2")]);
    }

    #[test]
    fn an_empty_file_and_windows_line_ends_are_fine() {
        assert_eq!(read(""), (vec![], vec![]));
        assert_eq!(read("\u{feff}A=1\r\nB=2\r\n").0, [line(1, "A", "1"), line(2, "B", "2")]);
    }

    fn line(number: u64, name: &str, value: &str) -> Line {
        Line { number, name: name.into(), value: value.into() }
    }
}
