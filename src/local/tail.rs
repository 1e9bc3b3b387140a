//! The last lines that a process wrote, bounded in number and length, without what moves a terminal's cursor and what is nobody's
//! to see.

use super::redact::redact;
use std::collections::VecDeque;

/// How many lines are kept.
const LINES: usize = 200;
/// How many bytes of a line are kept; the rest of it is passed over.
const LINE_BYTES: usize = 1000;

/// The last lines of all streams of a process.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    /// Returns the lines, the last one last.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// Returns the last line.
    pub(super) fn last(&self) -> Option<&str> {
        self.lines.back().map(String::as_str)
    }

    fn push(&mut self, bytes: &[u8]) {
        let line = redact(&plain(&String::from_utf8_lossy(bytes)));
        if line.is_empty() {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// Cuts one stream into lines.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    line: Vec<u8>,
    /// The last byte went back to the line's beginning, as progress bars do.
    went_back: bool,
}

impl Cutter {
    /// Takes in what came.
    pub(super) fn feed(&mut self, bytes: &[u8], tail: &mut Tail) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end(tail),
                b'\r' => self.went_back = true,
                _ => {
                    if std::mem::take(&mut self.went_back) {
                        self.line.clear();
                    }
                    if self.line.len() < LINE_BYTES {
                        self.line.push(byte);
                    }
                }
            }
        }
    }

    /// Ends the line that is begun.
    pub(super) fn end(&mut self, tail: &mut Tail) {
        tail.push(&self.line);
        self.line.clear();
        self.went_back = false;
    }
}

/// Takes out control characters, and the sequences with which a terminal is told colours and places.
fn plain(text: &str) -> String {
    let mut letters = text.chars().peekable();
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            if letters.next_if_eq(&'[').is_some() {
                while letters.next_if(|letter| !('@'..='~').contains(letter)).is_some() {}
                letters.next();
            }
        } else if letter == '\t' {
            plain.push(' ');
        } else if !letter.is_control() {
            plain.push(letter);
        }
    }
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let (mut cutter, mut tail) = (Cutter::default(), Tail::default());
        for piece in pieces {
            cutter.feed(piece, &mut tail);
        }
        cutter.end(&mut tail);
        tail.lines()
    }

    #[test]
    fn lines_are_cut_wherever_the_pieces_end() {
        assert_eq!(cut(&[b"on", b"e\ntw", b"o\r", b"\nthree"]), ["one", "two", "three"]);
        assert_eq!(cut(&[b"\n\n  \n"]), Vec::<String>::new());
        assert_eq!(cut(&[b"bad \xff\n"]), ["bad \u{fffd}"]);
    }

    #[test]
    fn of_a_progress_bar_the_last_state_is_kept() {
        assert_eq!(cut(&[b"\r10%\r", b"50%\r100%\ndone\n"]), ["100%", "done"]);
    }

    #[test]
    fn colours_and_bells_are_taken_out() {
        assert_eq!(cut(&[b"\x1b[1;31mERROR\x1b[0m\x07 \x1bM a\tb\x1b[\n"]), ["ERROR M a b"]);
    }

    #[test]
    fn secrets_are_taken_out_before_a_line_is_kept() {
        assert_eq!(
            cut(&[b"GET http://a/?to", b"ken=abc\n\x1b[1mtoken\x1b[0m: abc\n"]),
            ["GET http://a/?***", "token: ***"]
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut cutter, mut tail) = (Cutter::default(), Tail::default());
        for number in 0..10 * LINES {
            cutter.feed(format!("{number} {}\n", "x".repeat(5 * LINE_BYTES)).as_bytes(), &mut tail);
        }
        cutter.feed(&vec![b'y'; 50 * LINE_BYTES], &mut tail);
        assert_eq!(cutter.line.len(), LINE_BYTES);
        assert_eq!(tail.lines().len(), LINES);
        assert!(tail.lines().iter().all(|line| line.len() == LINE_BYTES));
        assert!(tail.last().is_some_and(|line| line.starts_with("1999 ")), "{:?}", tail.last().map(str::len));
    }
}
