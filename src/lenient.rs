//! Reads JSON as Python writes it: with `NaN`, `Infinity`, numbers beyond all bounds and lone surrogates.
//!
//! Anybody can put such things into a graph or a node's output, and they come back in answers and events (T12). What
//! JSON cannot say becomes `null` or U+FFFD; everything else stays as it was.

mod pruned;

pub use pruned::Pruned;
use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

/// Returns a text without the byte order mark that some editors begin a file with: it is no JSON, but does no harm.
pub fn unmarked(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// Reads any JSON value; what lies deeper than a hundred levels is `null`.
pub fn parse(text: &str) -> Result<Value, Error> {
    from_str(text).map(|Pruned(value)| value)
}

/// Reads a `T`: strictly at first, then with everything mended that JSON does not allow and Python writes.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).or_else(|strict| match mended(text) {
        Some(mended) => serde_json::from_str(&mended),
        None => Err(strict),
    })
}

/// Rewrites what JSON does not allow, in one pass; none where there was nothing to rewrite.
fn mended(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    let mut changed = false;
    let mut in_string = false;
    while let Some(first) = rest.first() {
        let piece = match first {
            b'"' => {
                in_string = !in_string;
                Piece::Keep(1)
            }
            b'\\' if in_string => escape(rest),
            _ if in_string => Piece::Keep(run(rest, |byte| byte != b'"' && byte != b'\\')),
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => word(rest),
            _ => Piece::Keep(1),
        };
        let (length, instead) = match piece {
            Piece::Keep(length) => (length, None),
            Piece::Replace(length, instead) => (length, Some(instead)),
        };
        let (head, tail) = rest.split_at(length.min(rest.len()));
        out.extend_from_slice(instead.map_or(head, str::as_bytes));
        changed |= instead.is_some();
        rest = tail;
    }
    changed.then(|| String::from_utf8(out).expect("only whole ASCII tokens were replaced"))
}

/// What to do with the next so many bytes.
enum Piece {
    Keep(usize),
    Replace(usize, &'static str),
}

/// Judges a bare word or number.
fn word(rest: &[u8]) -> Piece {
    let length = run(rest, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'));
    let token = rest.get(..length).and_then(|token| std::str::from_utf8(token).ok()).unwrap_or_default();
    let beyond_json = token == "NaN"
        || token == "Infinity"
        || token.starts_with(|first: char| first == '-' || first.is_ascii_digit())
            && token.parse::<f64>().is_ok_and(|number| !number.is_finite());
    if beyond_json { Piece::Replace(length, "null") } else { Piece::Keep(length) }
}

/// Judges a backslash and what it escapes.
fn escape(rest: &[u8]) -> Piece {
    match (unit(rest), rest.get(6..).and_then(unit)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => Piece::Keep(12),
        (Some(0xD800..=0xDFFF), _) => Piece::Replace(6, "\\ufffd"),
        (Some(_), _) => Piece::Keep(6),
        (None, _) => Piece::Keep(2),
    }
}

/// Reads the UTF-16 unit of an escape such as `\u00e9` at the start of `rest`.
fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Counts how many bytes at the start of `rest` belong.
fn run(rest: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_python_writes_is_read() {
        let cases = [
            (r#"{"a": NaN}"#, json!({"a": null})),
            (r"[Infinity, -Infinity,NaN]", json!([null, null, null])),
            (r"[1e999, -1E+999, 1.5]", json!([null, null, 1.5])),
            (r#"["NaN", "a \" NaN Infinity", NaN]"#, json!(["NaN", "a \" NaN Infinity", null])),
            (r#"["\\", NaN]"#, json!(["\\", null])),
            (r#"["\ud800"]"#, json!(["\u{fffd}"])),
            (r#"["a\udc00b\uD83D\uDE00"]"#, json!(["a\u{fffd}b\u{1f600}"])),
            (r#"["\ud800\u0041", NaN, "é"]"#, json!(["\u{fffd}A", null, "é"])),
            (r#"{"\udfff": true, "n": null, "f": false}"#, json!({"\u{fffd}": true, "n": null, "f": false})),
            (r"18446744073709551615", json!(u64::MAX)),
            (r"100000000000000000000000000000", json!(1e29)),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn a_number_of_four_hundred_digits_becomes_null() {
        assert_eq!(parse(&format!("[{}]", "9".repeat(400))).unwrap(), json!([null]));
    }

    #[test]
    fn what_is_no_json_stays_an_error() {
        for text in ["", "{", "[NaN", "NaNa", "\"\\u12", "\"\\", "nul", "[1,]", "\u{fffd}", "[Infinity, \"\\ud8"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        assert!(parse(&"[".repeat(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn json_stays_as_it_is(text in "\\PC*", number in any::<f64>()) {
            let value = json!([{ text.clone(): text }, number]);
            prop_assert_eq!(mended(&value.to_string()), None);
            prop_assert_eq!(parse(&value.to_string()).unwrap()[0].clone(), value[0].clone());
        }

        #[test]
        fn no_text_is_a_panic(text in r#"[\\u"NaInfity\-d8c0-9eE+.,\[\]{}: é]*"#) {
            let _ = parse(&text);
        }
    }
}
