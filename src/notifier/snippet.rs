//! What is kept of a receiver's answer: its beginning, as text that cannot disturb a terminal or a page.

/// How much of an answer is kept, in bytes.
pub(super) const KEPT: usize = 1024;

/// Makes text of the beginning of an answer. What is no text, controls and changes of direction become `�`.
pub(super) fn snippet(answer: &[u8]) -> String {
    let kept = answer.get(..KEPT).unwrap_or(answer);
    let text = String::from_utf8_lossy(kept);
    // A letter that the end has cut in two is left out.
    let text = if kept.len() < answer.len() { text.trim_end_matches('\u{fffd}') } else { &text };
    tame(text)
}

/// Makes text of an error and its causes, without the URL and no longer than a snippet.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    snippet(text.as_bytes())
}

fn tame(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' | '\t' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            letter if letter.is_control() => '\u{fffd}',
            letter => letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_harmless_text() {
        assert_eq!(snippet(b"ok"), "ok");
        assert_eq!(snippet(b"two\nlines\tand a tab"), "two lines and a tab");
        assert_eq!(snippet(b"\x1b[31mred\x07\0"), "\u{fffd}[31mred\u{fffd}\u{fffd}");
        assert_eq!(snippet("a\u{202e}b".as_bytes()), "a\u{fffd}b");
        assert_eq!(snippet(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn only_the_beginning_is_kept_and_no_letter_is_cut_in_two() {
        assert_eq!(snippet(&[b'a'; 5000]), "a".repeat(KEPT));
        let long = "ü".repeat(2000);
        let shifted = format!("a{long}");
        assert_eq!(snippet(shifted.as_bytes()), format!("a{}", "ü".repeat(511)));
    }

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot send")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(causes(&Outer(std::io::Error::other("reset\r\n"))), "cannot send: reset\u{fffd} ");
    }
}
