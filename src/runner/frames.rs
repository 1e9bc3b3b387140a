//! Frame ranges, and texts that hold a frame's number: `1-100`, `1-100:2`, `shot_####.png`, `{frame:04}`. Pure.

use std::str::FromStr;

/// The most frames of one range.
const MOST: u64 = 100_000;

/// The most digits that a number is filled up to.
const MOST_DIGITS: usize = 16;

/// The most that stands between `{frame` and its `}`, such as `:04`, and that sign.
const MOST_FORMAT: usize = 24;

/// Frames from the first to the last, every so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRange {
    first: u64,
    last: u64,
    step: u64,
}

impl FrameRange {
    /// Returns how many frames there are.
    pub fn count(&self) -> usize {
        // At most 100000, as it is read.
        usize::try_from((self.last - self.first) / self.step + 1).unwrap_or(usize::MAX)
    }

    /// Returns the number of a frame; `place` counts from 0. None beyond the last.
    pub fn frame(&self, place: usize) -> Option<u64> {
        let frame = self.step.checked_mul(u64::try_from(place).ok()?)?.checked_add(self.first)?;
        (frame <= self.last).then_some(frame)
    }

    /// Returns the largest number that a frame may have.
    pub fn last(&self) -> u64 {
        self.last
    }
}

impl FromStr for FrameRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (range, step) = text.split_once(':').unwrap_or((text, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |part: &str| part.trim().parse::<u64>().ok().filter(|number| *number <= 1_000_000_000);
        let (Some(first), Some(last), Some(step)) = (number(first), number(last), number(step)) else {
            return Err(format!("`{text}` is no range of frames; write 1-100, or 1-100:2 for every second"));
        };
        if first > last {
            return Err(format!("`{text}` ends before it begins; write the smaller number first"));
        }
        if step == 0 {
            return Err(format!("`{text}` has a step of 0; 1 is every frame, 2 every second"));
        }
        let count = (last - first) / step + 1;
        if count > MOST {
            return Err(format!("`{text}` has {count} frames, at most {MOST} are run at once"));
        }
        Ok(Self { first, last, step })
    }
}

/// Says whether a text holds a place for a frame's number.
pub(super) fn has_mark(text: &str) -> bool {
    filled(text, 0) != text
}

/// Puts a frame's number into a text: for `####`, filled up with zeros to as many digits, for `{frame}` as it is, for
/// `{frame:04}` filled up to four digits. A single `#` stays.
pub(super) fn filled(text: &str, frame: u64) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter == '#' {
            let after = rest.trim_start_matches('#');
            let marks = rest.len() - after.len();
            if marks == 1 {
                result.push('#');
            } else {
                result.push_str(&padded(frame, marks.min(MOST_DIGITS)));
            }
            rest = after;
        } else if let Some((digits, after)) = braced(rest) {
            result.push_str(&padded(frame, digits));
            rest = after;
        } else {
            result.push(letter);
            rest = rest.strip_prefix(letter).unwrap_or_default();
        }
    }
    result
}

/// Writes a number with at least so many digits.
pub(super) fn padded(number: u64, digits: usize) -> String {
    format!("{number:0digits$}")
}

/// Takes `{frame}` or `{frame:04}` off the start of a text.
fn braced(text: &str) -> Option<(usize, &str)> {
    let rest = text.strip_prefix("{frame")?;
    let end = rest.bytes().take(MOST_FORMAT).position(|byte| byte == b'}')?;
    let (format, after) = rest.split_at_checked(end)?;
    let after = after.strip_prefix('}')?;
    if format.is_empty() {
        return Some((1, after));
    }
    let digits: usize = format.strip_prefix(":0")?.parse().ok()?;
    (1..=MOST_DIGITS).contains(&digits).then_some((digits, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_every_wrong_one_says_why() {
        let each = |range: FrameRange| (0..=range.count()).map_while(|place| range.frame(place)).collect::<Vec<_>>();
        let frames = |text: &str| text.parse::<FrameRange>().map(each);
        assert_eq!(frames("1-4"), Ok(vec![1, 2, 3, 4]));
        assert_eq!(frames("0-9:4"), Ok(vec![0, 4, 8]));
        assert_eq!(frames("7"), Ok(vec![7]));
        for (text, reason) in [
            ("4-1", "ends before it begins"),
            ("1-4:0", "step of 0"),
            ("a-b", "is no range of frames"),
            ("-3", "is no range of frames"),
            ("1-99999999999999999999", "is no range of frames"),
            ("1-900000000", "at most 100000 are run at once"),
        ] {
            assert!(frames(text).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn a_frames_number_goes_into_its_marks_and_nowhere_else() {
        for (text, expected) in [
            ("in/shot_####.png", "in/shot_0012.png"),
            ("{frame}/{frame:04}", "12/0012"),
            ("##########", "0000000012"),
            ("take #1 of {frames} {frame:x} {frame", "take #1 of {frames} {frame:x} {frame"),
            ("größe ##", "größe 12"),
        ] {
            assert_eq!(filled(text, 12), expected);
        }
        assert_eq!(filled("##", 1234), "1234");
        assert!(has_mark("a##") && has_mark("{frame}") && has_mark("{frame:01}") && !has_mark("a # {frames}"));
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_its_length() {
        assert_eq!(filled(&"#".repeat(100_000), 1).len(), MOST_DIGITS);
        assert_eq!(filled("{frame:0999999999}", 1), "{frame:0999999999}");
        let (done, heard) = std::sync::mpsc::channel();
        let work = move || done.send(filled(&"{frame".repeat(400_000), 1).len());
        std::thread::spawn(work);
        let length = heard.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(length, Ok(2_400_000), "it takes no longer than a text of its length may");
    }
}
