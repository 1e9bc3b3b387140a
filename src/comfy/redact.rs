//! Makes what a backend says fit for callers: one line, of bounded length, without the paths of its disk (T36).

/// The most characters that are left of a message.
const LONGEST: usize = 500;

/// Returns `message` as one line of at most 500 characters in which absolute paths are cut to their file name.
pub fn redact(message: &str) -> String {
    // Nothing beyond this can still be within the limit, unless paths of kilobytes come first.
    let start: String = message.chars().take(64 * LONGEST).collect();
    shortened(&without_paths(&one_line(&start)))
}

fn one_line(message: &str) -> String {
    let words = message.split(|character: char| character.is_whitespace() || character.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn without_paths(line: &str) -> String {
    let characters: Vec<char> = line.chars().collect();
    let mut out = String::with_capacity(line.len());
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let end = if starts_path(&characters, at) { path_end(&characters, at) } else { at };
        if end == at {
            out.push(character);
            at += 1;
        } else {
            out.extend(file_name(characters.get(at..end).unwrap_or_default()));
            at = end;
        }
    }
    out
}

/// Says whether an absolute path begins here: `/x`, `C:\x`, `C:/x` or `\\server\x`.
fn starts_path(line: &[char], at: usize) -> bool {
    let here = |offset: usize| line.get(at + offset).copied().unwrap_or(' ');
    let before = at.checked_sub(1).and_then(|before| line.get(before)).copied();
    let at_boundary = before.is_none_or(|before| !before.is_alphanumeric() && !is_separator(before) && before != '.');
    let is_web_address = here(0) == '/' && here(1) == '/' && before == Some(':');
    let is_unix = here(0) == '/' && !ends_path(here(1));
    let is_drive = here(0).is_ascii_alphabetic() && here(1) == ':' && is_separator(here(2));
    let is_share = here(0) == '\\' && here(1) == '\\' && here(2).is_alphanumeric();
    at_boundary && !is_web_address && (is_unix || is_drive || is_share) || is_file_address(line, at)
}

/// Says whether this is the first slash of `file:///x`.
fn is_file_address(line: &[char], at: usize) -> bool {
    let scheme = at.checked_sub(5).and_then(|start| line.get(start..at));
    scheme == Some(&['f', 'i', 'l', 'e', ':']) && line.get(at) == Some(&'/')
}

/// Finds where the path ends that begins at `start`: at the closing quote, or at the end of the word.
fn path_end(line: &[char], start: usize) -> usize {
    let quote = start.checked_sub(1).and_then(|before| line.get(before)).filter(|before| matches!(before, '\'' | '"'));
    let closing = |quote: &char| line.iter().skip(start).position(|character| character == quote);
    if let Some(length) = quote.and_then(closing) {
        return start + length;
    }
    // The colon behind a drive's letter does not end the path.
    let mut end = word_end(line, (start + 2).min(line.len()));
    // A folder with a space in its name: the path goes on if a separator follows inside the next word.
    while line.get(end) == Some(&' ') {
        let next = word_end(line, end + 1);
        let goes_on = line.get(end + 2..next).is_some_and(|word| word.iter().copied().any(is_separator));
        if !goes_on || line.get(end + 1).copied().is_some_and(is_separator) {
            break;
        }
        end = next;
    }
    end
}

fn word_end(line: &[char], start: usize) -> usize {
    let length = line.iter().skip(start).position(|character| ends_path(*character));
    length.map_or(line.len(), |length| start + length)
}

fn file_name(path: &[char]) -> &[char] {
    path.rsplit(|character| is_separator(*character)).find(|part| !part.is_empty()).unwrap_or_default()
}

fn is_separator(character: char) -> bool {
    matches!(character, '/' | '\\')
}

fn ends_path(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '\'' | '"' | '`' | ',' | ';' | ':' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '|')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_cut_to_the_file_name() {
        let cases = [
            ("boom\n", "boom"),
            ("no such file: '/home/u/my models/x.safetensors'", "no such file: 'x.safetensors'"),
            ("cannot open /srv/comfy/input/a.png: denied", "cannot open a.png: denied"),
            ("at /home/my user/comfy/x.py is an error", "at x.py is an error"),
            (r"File C:\Users\me\ComfyUI\nodes.py failed", "File nodes.py failed"),
            (r#"File "C:\Program Files\ComfyUI\nodes.py", line 3"#, r#"File "nodes.py", line 3"#),
            (r"repr 'D:\\a\\b.png'", "repr 'b.png'"),
            ("D:/models/flux/x.gguf missing", "x.gguf missing"),
            (r"share \\nas\models\x.ckpt is gone", "share x.ckpt is gone"),
            ("path=/a/b, other=(/c/d)", "path=b, other=(d)"),
            ("file:///home/me/x.png", "file:x.png"),
            ("and/or, 3 / 4, 2 it/s, models/x.pt", "and/or, 3 / 4, 2 it/s, models/x.pt"),
            ("see https://example.com/a/b for more", "see https://example.com/a/b for more"),
            ("value:1 ratio 16:9 C: alone", "value:1 ratio 16:9 C: alone"),
            ("two\r\n\tlines \u{1b}[31mred", "two lines [31mred"),
            ("", ""),
            ("/", "/"),
        ];
        for (message, expected) in cases {
            assert_eq!(redact(message), expected, "{message}");
        }
    }

    #[test]
    fn long_messages_are_cut() {
        let redacted = redact(&"é".repeat(10_000));
        assert_eq!(redacted.chars().count(), LONGEST);
        assert!(redacted.ends_with('…'));
    }

    proptest! {
        #[test]
        fn every_message_becomes_one_short_line(message in "(\\PC|[\\n/ '\":C\\\\])*") {
            let redacted = redact(&message);
            prop_assert!(redacted.chars().count() <= LONGEST);
            prop_assert!(!redacted.contains('\n'));
        }

        #[test]
        fn no_folder_of_an_absolute_path_is_left(folders in prop::collection::vec("secret[a-z]{0,5}", 1..6)) {
            let message = format!("cannot open /{}/x.png", folders.join("/"));
            prop_assert_eq!(redact(&message), "cannot open x.png");
        }
    }
}
