//! Sets a caption in small bitmap letters at the foot of a picture, as a map of coverage.

use font8x8::UnicodeFonts;

/// The letters of one pixel size are 8 wide and, with the space between lines, 11 high.
const LETTER: usize = 8;
const LINE: usize = 11;
const MOST_LINES: usize = 3;
const MOST_SCALE: usize = 6;
const INK: [u8; 3] = [248, 246, 240];

/// A caption that has been set.
#[derive(Debug)]
pub(super) struct Caption {
    lines: Vec<Vec<[u8; LETTER]>>,
    scale: usize,
    left: usize,
    top: usize,
    /// Where the darker strip behind the caption begins.
    pub(super) strip: usize,
}

impl Caption {
    /// Sets a text for a picture of this size; a picture that is too small gets none.
    pub(super) fn set(text: &str, width: usize, height: usize) -> Option<Self> {
        let scale = (width / 384).clamp(1, MOST_SCALE);
        let margin = LETTER * scale * 3 / 2;
        let columns = width.saturating_sub(2 * margin) / (LETTER * scale);
        let lines = wrapped(text, columns);
        let block = lines.len() * LINE * scale;
        if lines.is_empty() || columns < 8 || block + 2 * margin > height / 2 {
            return None;
        }
        let top = height - margin - block;
        let glyphs = lines.iter().map(|line| line.chars().map(glyph).collect()).collect();
        Some(Self { lines: glyphs, scale, left: margin, top, strip: top.saturating_sub(margin * 3) })
    }

    /// Sets the letters' share of one row of pixels, shadows first.
    pub(super) fn set_row(&self, y: usize, row: &mut [u8]) {
        let shadow = self.scale;
        if let Some(above) = y.checked_sub(shadow) {
            self.spans(above, |x| darken(row, (x + shadow) * 3, self.scale * 3));
        }
        self.spans(y, |x| {
            if let Some(span) = row.get_mut(x * 3..(x + self.scale) * 3) {
                span.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&INK));
            }
        });
    }

    /// Calls with the first column of each dot that a letter has in a row.
    fn spans(&self, y: usize, mut found: impl FnMut(usize)) {
        let Some(y) = y.checked_sub(self.top) else { return };
        let (line, row) = (y / (LINE * self.scale), y / self.scale % LINE);
        for (column, letter) in self.lines.get(line).into_iter().flatten().enumerate() {
            let bits = letter.get(row).copied().unwrap_or(0);
            for dot in (0..LETTER).filter(|dot| bits >> dot & 1 == 1) {
                found(self.left + (column * LETTER + dot) * self.scale);
            }
        }
    }
}

fn darken(row: &mut [u8], from: usize, count: usize) {
    if let Some(span) = row.get_mut(from..from + count) {
        for value in span {
            *value /= 4;
        }
    }
}

fn glyph(letter: char) -> [u8; LETTER] {
    font8x8::BASIC_FONTS
        .get(letter)
        .or_else(|| font8x8::LATIN_FONTS.get(letter))
        .or_else(|| font8x8::GREEK_FONTS.get(letter))
        .or_else(|| font8x8::HIRAGANA_FONTS.get(letter))
        .unwrap_or([0x00, 0x7e, 0x42, 0x42, 0x42, 0x42, 0x7e, 0x00])
}

/// Breaks a text into lines; what does not fit into the last one ends in dots.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if !line.is_empty() && line.chars().count() + 1 + word.len() > columns {
            lines.push(std::mem::take(&mut line));
        }
        while word.len() > columns.max(1) {
            let rest = word.split_off(columns.max(1));
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        if let Some(last) = lines.last_mut() {
            let kept: String = last.chars().take(columns.saturating_sub(3)).collect();
            *last = format!("{}...", kept.trim_end());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_and_cut() {
        assert_eq!(wrapped("a lake in fog", 7), ["a lake", "in fog"]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("aa bb cc dd ee", 5), ["aa bb", "cc dd", "ee"]);
        assert_eq!(wrapped("aaaa bbbb cccc dddd", 4), ["aaaa", "bbbb", "c..."]);
        assert!(wrapped("  ", 9).is_empty());
    }

    #[test]
    fn letters_lie_inside_the_picture_and_only_at_its_foot() {
        let caption = Caption::set("Hello", 256, 256).unwrap();
        let covered = |rows: std::ops::Range<usize>| {
            let count = |y| {
                let mut row = vec![0; 256 * 3];
                caption.set_row(y, &mut row);
                row.chunks(3).filter(|pixel| **pixel == INK).count()
            };
            rows.map(count).sum::<usize>()
        };
        assert_eq!(covered(0..128), 0);
        assert!(covered(128..256) > 50);
        assert!(Caption::set("Hello", 16, 16).is_none());
    }
}
