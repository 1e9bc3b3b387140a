//! What the frontend does to texts before it sends them: comments and choices in prompts, and references to other nodes
//! and to the date in the names of files.

use super::scene::Scene;
use super::value::spelled;
use super::{ConvertError, limits};
use serde_json::Value;

/// The property by which nodes are found in references.
pub(super) const NAME_PROPERTY: &str = "Node name for S&R";

/// What becomes of dates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dates {
    /// They become what the server itself replaces as it saves a file.
    Served,
    /// They stay as they are.
    Left,
}

/// Takes the comments out of a prompt, and the first of several choices. Says whether there was a choice.
pub(super) fn chosen(prompt: &str) -> (String, bool) {
    let mut had_choice = false;
    let text = choose(prompt, 0, &mut had_choice);
    (text, had_choice)
}

fn choose(prompt: &str, depth: usize, had_choice: &mut bool) -> String {
    if depth > limits::CHOICES {
        return prompt.to_owned();
    }
    let text = without_comments(prompt);
    let mut letters = text.chars();
    let mut result = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => escape(&mut result, letters.next()),
            '{' => {
                let options = options(&mut letters);
                *had_choice |= options.iter().any(|option| Some(option) != options.first());
                result.push_str(&choose(options.first().map_or("", String::as_str), depth + 1, had_choice));
            }
            other => result.push(other),
        }
    }
    unescaped(&result)
}

fn escape(result: &mut String, next: Option<char>) {
    result.push('\\');
    match next {
        Some(letter) => result.push(letter),
        // A browser spells what is not there.
        None => result.push_str("undefined"),
    }
}

/// Reads what stands between braces, up to and with the closing one.
fn options(letters: &mut std::str::Chars<'_>) -> Vec<String> {
    let mut options = Vec::new();
    let mut option = String::new();
    let mut depth = 0_usize;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                escape(&mut option, letters.next());
                continue;
            }
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '|' if depth == 0 => {
                options.push(std::mem::take(&mut option));
                continue;
            }
            _ => {}
        }
        option.push(letter);
    }
    options.push(option);
    options
}

fn without_comments(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once('/') else {
            result.push_str(rest);
            return result;
        };
        result.push_str(before);
        let ends_line = |letter: char| matches!(letter, '\n' | '\r' | '\u{2028}' | '\u{2029}');
        let block = after.strip_prefix('*').and_then(|block| block.split_once("*/"));
        rest = match (block, after.strip_prefix('/')) {
            (Some((_, after)), _) => after,
            (None, Some(line)) => line.find(ends_line).and_then(|end| line.get(end..)).unwrap_or_default(),
            (None, None) => {
                result.push('/');
                after
            }
        };
    }
}

fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some(next @ ('{' | '}' | '|')) if letter == '\\' => {
                result.push(*next);
                letters.next();
            }
            Some(_) | None => result.push(letter),
        }
    }
    result
}

/// Replaces `%Node.widget%` by the value of that widget, and dates. Tells in `left` which dates it could not replace.
pub(super) fn replaced(
    scene: &Scene<'_>,
    text: &str,
    dates: Dates,
    left: &mut Vec<String>,
) -> Result<String, ConvertError> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        result.push_str(before);
        let Some((reference, behind)) = after.split_once('%') else {
            rest = after;
            result.push('%');
            break;
        };
        if reference.is_empty() {
            // Two in a row: the second may open a reference.
            result.push('%');
            rest = after;
            continue;
        }
        if let Some(value) = value_of(scene, reference, dates, left)? {
            result.push_str(&value);
        } else {
            result.push('%');
            result.push_str(reference);
            result.push('%');
        }
        if result.len() > limits::TEXT {
            return Err(ConvertError::TooLarge { what: "bytes in one text", limit: limits::TEXT });
        }
        rest = behind;
    }
    result.push_str(rest);
    Ok(result)
}

fn value_of(
    scene: &Scene<'_>,
    reference: &str,
    dates: Dates,
    left: &mut Vec<String>,
) -> Result<Option<String>, ConvertError> {
    let parts: Vec<&str> = reference.split('.').collect();
    let [name, widget] = parts.as_slice() else {
        let Some(format) = parts.first().and_then(|first| first.strip_prefix("date:")) else { return Ok(None) };
        let date = served_date(format).filter(|date| dates == Dates::Served || !date.contains('%'));
        if date.is_none() {
            left.push(reference.to_owned());
        }
        return Ok(date);
    };
    scene.spend(scene.nodes.len())?;
    let all = scene.all_nodes();
    let nodes = || all.iter().map(|at| &scene.nodes[*at]);
    let named = nodes().find(|node| node.properties.get(NAME_PROPERTY).and_then(Value::as_str) == Some(name));
    let Some(node) = named.or_else(|| nodes().find(|node| node.title.as_str() == Some(name))) else { return Ok(None) };
    let Some(widget) = node.widget(widget) else { return Ok(None) };
    let value = scene.value(widget).filter(|value| !value.is_null());
    let text = value.as_deref().map(spelled).unwrap_or_default();
    let is_forbidden = |letter: char| {
        matches!(letter, '/' | '?' | '<' | '>' | '\\' | ':' | '*' | '|' | '"' | '\0'..='\u{1f}' | '\u{7f}')
    };
    Ok(Some(text.chars().map(|letter| if is_forbidden(letter) { '_' } else { letter }).collect()))
}

/// Writes a format of a date in the words that ComfyUI replaces as it saves a file; none where it has no word for a part.
fn served_date(format: &str) -> Option<String> {
    let words = [
        ("yyyy", "%year%"),
        ("MM", "%month%"),
        ("dd", "%day%"),
        ("hh", "%hour%"),
        ("mm", "%minute%"),
        ("ss", "%second%"),
    ];
    let mut result = String::new();
    let mut rest = format;
    while let Some(letter) = rest.chars().next() {
        if let Some((word, after)) = words.iter().find_map(|(part, word)| Some((word, rest.strip_prefix(part)?))) {
            result.push_str(word);
            rest = after;
            continue;
        }
        let is_part =
            matches!(letter, 'd' | 'M' | 'h' | 'm' | 's') || rest.starts_with("yy") && !rest.starts_with("yyy");
        if is_part {
            return None;
        }
        let taken = if rest.starts_with("yyy") { "yyy" } else { rest.get(..letter.len_utf8())? };
        result.push_str(taken);
        rest = rest.strip_prefix(taken)?;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_the_first_choice_stays() {
        let cases = [
            ("a // b\nc /* d\n*/ e", "a \nc  e", false),
            ("a {fox|hare} b", "a fox b", true),
            ("a {fox|fox}", "a fox", false),
            ("{a {b|c}|d}", "a b", true),
            ("open {a|b", "open a", true),
            (r"\{a\|b\} \n", r"{a|b} \n", false),
            ("end\\", "end\\undefined", false),
            ("http://x y", "http:", false),
            ("a /* b", "a /* b", false),
        ];
        for (prompt, text, choice) in cases {
            assert_eq!(chosen(prompt), (text.to_owned(), choice), "{prompt}");
        }
    }

    #[test]
    fn choices_without_end_are_left() {
        assert!(chosen(&"{".repeat(100_000)).0.len() < 200_000);
    }

    #[test]
    fn dates_become_the_servers_words() {
        assert_eq!(served_date("yyyy-MM-dd_hh.mm.ss").unwrap(), "%year%-%month%-%day%_%hour%.%minute%.%second%");
        assert_eq!([served_date("yy"), served_date("M")], [None, None]);
        assert_eq!(served_date("zzz_yyy").unwrap(), "zzz_yyy");
    }
}
