//! JSON as Python reads and writes it: order kept, `NaN` and huge integers allowed, `", "` and `": "` between things.
//!
//! It is written for the simulator alone, so that the gateway's own decoding is tested against something else.

use std::fmt::{self, Write};

use super::json_reader;

/// Lone surrogates cannot stand in a Rust string; they are kept in the private plane 16 and written back from there.
pub(super) const SURROGATE_SHELF: u32 = 0x10_0000;

/// Any JSON value; numbers are kept as the text that Python would write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Json {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer or float, in Python's spelling.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object in its written order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads what Python's `json.loads` would accept.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        json_reader::read(std::str::from_utf8(bytes).ok()?)
    }

    /// Makes an object.
    pub(super) fn object<const N: usize>(fields: [(&str, Json); N]) -> Self {
        Self::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Makes a list of strings.
    pub(super) fn texts<'a>(items: impl IntoIterator<Item = &'a String>) -> Self {
        Self::List(items.into_iter().map(|item| Self::Text(item.clone())).collect())
    }

    /// Makes a float the way Python writes it.
    pub(super) fn float(value: f64) -> Self {
        Self::Number(python_float(value))
    }

    /// Returns the value of a key, if this is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.fields().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets a key of an object, keeping its place if it is there.
    pub(super) fn set(&mut self, key: &str, value: Self) {
        if let Self::Object(fields) = self {
            match fields.iter_mut().find(|(name, _)| name == key) {
                Some(field) => field.1 = value,
                None => fields.push((key.to_owned(), value)),
            }
        }
    }

    /// Removes a key of an object.
    pub(super) fn remove(&mut self, key: &str) {
        if let Self::Object(fields) = self {
            fields.retain(|(name, _)| name != key);
        }
    }

    /// Returns the fields of an object, none for anything else.
    pub(super) fn fields(&self) -> &[(String, Self)] {
        if let Self::Object(fields) = self { fields } else { &[] }
    }

    /// Returns the items of a list, none for anything else.
    pub(super) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    /// Returns the string.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Returns the number as a float.
    pub(super) fn number(&self) -> Option<f64> {
        if let Self::Number(text) = self { text.replace("Infinity", "inf").parse().ok() } else { None }
    }

    /// Returns the number as an unsigned integer, if it is one.
    pub(super) fn unsigned(&self) -> Option<u64> {
        if let Self::Number(text) = self { text.parse().ok() } else { None }
    }

    /// Returns whether Python would take the value for true.
    pub(super) fn truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(_) => self.number() != Some(0.0),
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Object(fields) => !fields.is_empty(),
        }
    }

    /// Returns what Python's `str()` makes of the value.
    pub(super) fn python_str(&self) -> String {
        if let Self::Text(text) = self { text.clone() } else { self.python_repr() }
    }

    /// Returns what Python's `repr()` makes of the value.
    pub(super) fn python_repr(&self) -> String {
        match self {
            Self::Null => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Number(text) => text.replace("Infinity", "inf").replace("NaN", "nan"),
            Self::Text(text) => python_quoted(text),
            Self::List(items) => format!("[{}]", joined(items.iter().map(Self::python_repr))),
            Self::Object(fields) => {
                let pairs =
                    fields.iter().map(|(key, value)| format!("{}: {}", python_quoted(key), value.python_repr()));
                format!("{{{}}}", joined(pairs))
            }
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    write_text(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        formatter.write_str(&out)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Number(value.to_string())
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value.to_string())
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        Self::Number(value.to_string())
    }
}

impl From<Vec<Json>> for Json {
    fn from(items: Vec<Json>) -> Self {
        Self::List(items)
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn python_quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter == quote => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(letter),
        }
    }
    out.push(quote);
    out
}

fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let plain = format!("{value:?}");
    let Some((digits, exponent)) = plain.split_once('e') else { return plain };
    let (sign, size) = exponent.strip_prefix('-').map_or(('+', exponent), |size| ('-', size));
    format!("{digits}e{sign}{size:0>2}")
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(letter),
            '\u{10d800}'..='\u{10dfff}' => write_unit(u32::from(letter) - SURROGATE_SHELF, out),
            _ => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_unit(u32::from(*unit), out)),
        }
    }
    out.push('"');
}

fn write_unit(unit: u32, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{unit:04x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> Option<String> {
        Json::parse(text.as_bytes()).map(|value| value.to_string())
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let table = [
            ("{\"b\":1,\"a\":[1,2.50,true,null]}", "{\"b\": 1, \"a\": [1, 2.5, true, null]}"),
            ("\"\u{e9}\u{1f600}\\/\"", "\"\\u00e9\\ud83d\\ude00/\""),
            ("[1e999, NaN, -Infinity, 1e16, 0.00001]", "[Infinity, NaN, -Infinity, 1e+16, 1e-05]"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("\"\\ud800 \\ude00\"", "\"\\ud800 \\ude00\""),
            ("{\"a\":1,\"b\":2,\"a\":3}", "{\"a\": 3, \"b\": 2}"),
        ];
        for (input, expected) in table {
            assert_eq!(round_trip(input).as_deref(), Some(expected), "{input}");
        }
    }

    #[test]
    fn python_text_of_values_is_python_text() {
        let value = Json::parse(br#"{"x": [1, "a'b", null, true, 2.0]}"#).unwrap();
        assert_eq!(value.python_str(), "{'x': [1, \"a'b\", None, True, 2.0]}");
    }
}
