//! Plain tables for a terminal: columns as wide as their widest entry, and nothing that could disturb it.

use std::io::{self, Write};

/// A table that grows row by row.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Makes a table with these heads.
    pub(super) fn new(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.map(str::to_owned)] }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Writes it, columns two spaces apart.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, entry) in widths.iter_mut().zip(row) {
                *width = (*width).max(entry.chars().count());
            }
        }
        for row in &self.rows {
            let padded = row.iter().zip(widths).map(|(entry, width)| format!("{entry:<width$}"));
            let line = padded.collect::<Vec<_>>().join("  ");
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Makes text harmless for a terminal and keeps it on one line.
pub(super) fn tame(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let mut table = Table::new(["A", "LONG", "B"]);
        table.row(["ü".repeat(3), "x".into(), "y".into()]);
        table.row(["1".into(), "-".into(), String::new()]);
        let mut text = Vec::new();
        table.write(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "A    LONG  B\nüüü  x     y\n1    -\n");
    }

    #[test]
    fn nothing_that_a_stranger_wrote_moves_the_cursor() {
        assert_eq!(tame("a\x1b[2Jb\r\nc"), "a [2Jb  c");
    }
}
