//! Finds where in a JSON text each node and each of its inputs is written, and whether a key is written twice.
//!
//! The JSON reader gives neither. This one relies on it for everything else: it is only asked about valid texts.

use std::collections::BTreeMap;

/// The lines of a template, from 1.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Places {
    lines: BTreeMap<Vec<String>, usize>,
}

/// A key that is written twice in one object, of which readers would silently keep the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Duplicate {
    /// The keys that lead to it, itself included.
    pub(super) path: Vec<String>,
    /// Where it is written first.
    pub(super) first_line: usize,
    /// Where it is written again.
    pub(super) line: usize,
}

/// How deep keys are remembered: node, `inputs`, input.
const REMEMBERED: usize = 3;

impl Places {
    /// Reads a text that is valid JSON; returns every key that is written twice instead, if there are any.
    pub(super) fn find(text: &str) -> Result<Self, Vec<Duplicate>> {
        let mut scanner = Scanner {
            bytes: text.as_bytes(),
            at: 0,
            line: 1,
            path: Vec::new(),
            places: Self::default(),
            duplicates: Vec::new(),
        };
        scanner.value();
        if scanner.duplicates.is_empty() { Ok(scanner.places) } else { Err(scanner.duplicates) }
    }

    /// Returns the line of a node's id.
    pub(super) fn node(&self, id: &str) -> Option<usize> {
        self.lines.get([id.to_owned()].as_slice()).copied()
    }

    /// Returns the line of an input.
    pub(super) fn input(&self, id: &str, input: &str) -> Option<usize> {
        self.lines.get([id.to_owned(), "inputs".to_owned(), input.to_owned()].as_slice()).copied()
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    path: Vec<String>,
    places: Places,
    duplicates: Vec<Duplicate>,
}

impl Scanner<'_> {
    fn value(&mut self) {
        match self.skip_space() {
            Some(b'{') => self.object(),
            Some(b'[') => self.list(),
            Some(b'"') => {
                self.string();
            }
            _ => self.scalar(),
        }
    }

    fn object(&mut self) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        self.step();
        while self.skip_space() == Some(b'"') {
            let line = self.line;
            let key = self.string();
            self.path.push(key.clone());
            if let Some(first_line) = seen.insert(key, line) {
                self.duplicates.push(Duplicate { path: self.path.clone(), first_line, line });
            }
            if self.path.len() <= REMEMBERED {
                self.places.lines.insert(self.path.clone(), line);
            }
            self.skip_space();
            self.step();
            self.value();
            self.path.pop();
            if self.skip_space() == Some(b',') {
                self.step();
            }
        }
        self.step();
    }

    fn list(&mut self) {
        self.step();
        let mut place = 0_usize;
        while self.skip_space().is_some_and(|byte| byte != b']') {
            self.path.push(place.to_string());
            self.value();
            self.path.pop();
            place += 1;
            if self.skip_space() == Some(b',') {
                self.step();
            }
        }
        self.step();
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.step();
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                break;
            }
        }
        let raw = self.bytes.get(start..self.at).unwrap_or_default();
        serde_json::from_slice(raw).unwrap_or_default()
    }

    fn scalar(&mut self) {
        while self
            .bytes
            .get(self.at)
            .is_some_and(|byte| !matches!(byte, b',' | b']' | b'}') && !byte.is_ascii_whitespace())
        {
            self.at += 1;
        }
    }

    fn skip_space(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at).filter(|byte| byte.is_ascii_whitespace()) {
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_inputs_are_found_on_their_lines() {
        let text = "{\n  \"6\": {\n    \"inputs\": {\"a\": \"x\\\"}{\\n\",\n \"b\": [\"4\", 0], \"c\\u0061\": {\"d\": [1, {}]}},\n \"class_type\": \"A\"},\n\n\"7\" : {}}";
        let places = Places::find(text).unwrap();
        assert_eq!((places.node("6"), places.node("7"), places.node("8")), (Some(2), Some(7), None));
        assert_eq!(
            (places.input("6", "a"), places.input("6", "b"), places.input("6", "ca")),
            (Some(3), Some(4), Some(4))
        );
    }

    #[test]
    fn a_key_written_twice_is_found_at_any_depth() {
        let twice = |text| {
            Places::find(text)
                .unwrap_err()
                .into_iter()
                .map(|found| (found.path.join("/"), found.first_line, found.line))
        };
        assert!(twice("{\"1\": 1,\n\"2\": 2,\n\"1\": 3}").eq([("1".to_owned(), 1, 3)]));
        assert!(twice("{\"1\": {\"inputs\": {\"a\": 1, \"\\u0061\": 2}}}").eq([("1/inputs/a".to_owned(), 1, 1)]));
        assert!(twice("[{\"a\": [{\"b\": 1,\n\"b\": 1}]}]").eq([("0/a/0/b".to_owned(), 1, 2)]));
        assert!(Places::find("{\"1\": {\"a\": 1}, \"2\": {\"a\": 1}}").is_ok());
    }

    #[test]
    fn a_text_that_is_not_json_ends_too() {
        for text in ["", "{", "{\"a", "{\"a\":", "[1,,", "{\"a\"\"b\"", "\"\\", "[[[[", "}", "{\"a\":1]"] {
            let _ = Places::find(text);
        }
    }
}
