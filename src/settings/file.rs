//! Reads `comfygate.yaml`: every setting below its section or under its flat key, as the text that stands there.
//!
//! The only place of this room that knows the YAML library. Values are read as text and never guessed at, so `no`
//! stays `no`; what a value means is left to the table of settings.

use super::{SETTINGS, Setting};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::cell::RefCell;
use std::fmt;

/// One entry of the file.
#[derive(Debug)]
pub(super) struct Entry {
    /// The line of its value, from 1.
    pub(super) line: u64,
    /// The key as written, with its section.
    pub(super) key: String,
    /// What it sets; none where there is no such setting.
    pub(super) setting: Option<&'static Setting>,
    /// The value; list items are joined by commas.
    pub(super) value: String,
}

/// What is wrong with the file itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: Option<u64>,
    pub(super) text: String,
}

/// Reads the text of the file.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Unreadable> {
    if says_nothing(text) {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let entries = RefCell::new(Vec::new());
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        Level { section: None, entries: &entries }.deserialize(yaml)
    })
    .map_err(|error| Unreadable {
        line: error.location().map(|location| location.line()).filter(|line| *line > 0),
        text: format!("cannot be read: {}", error.without_snippet()),
    })?;
    Ok(entries.into_inner())
}

/// Says whether a YAML text has nothing but comments.
pub fn says_nothing(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// The whole file, or one section of it.
struct Level<'a> {
    section: Option<&'a str>,
    entries: &'a RefCell<Vec<Entry>>,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<(), D::Error> {
        yaml.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.section {
            None => f.write_str("sections or settings, each `name: value`"),
            Some(section) => write!(f, "the settings of section `{section}`, each `name: value`"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if self.section.is_none() && is_section(&key) {
                map.next_value_seed(Level { section: Some(&key), entries: self.entries })?;
                continue;
            }
            let key = self.section.map_or_else(|| key.clone(), |section| format!("{section}.{key}"));
            let entry = match find(&key) {
                None => {
                    let skipped: Spanned<IgnoredAny> = map.next_value()?;
                    Entry { line: skipped.referenced.line(), key, setting: None, value: String::new() }
                }
                Some(setting) if setting.list => {
                    let value: Spanned<Joined> = map.next_value()?;
                    Entry { line: value.referenced.line(), key, setting: Some(setting), value: value.value.0 }
                }
                Some(setting) => {
                    let value: Spanned<Option<String>> = map.next_value()?;
                    let line = value.referenced.line();
                    Entry { line, key, setting: Some(setting), value: value.value.unwrap_or_default() }
                }
            };
            self.entries.borrow_mut().push(entry);
        }
        Ok(())
    }
}

fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.section_and_key().0 == key)
}

fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == key || setting.flat_key() == key)
}

/// A text, or a list of texts joined by commas.
struct Joined(String);

impl<'de> serde::Deserialize<'de> for Joined {
    fn deserialize<D: Deserializer<'de>>(yaml: D) -> Result<Self, D::Error> {
        struct TextOrList;

        impl<'de> Visitor<'de> for TextOrList {
            type Value = Joined;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Joined, E> {
                Ok(Joined(text.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Joined, E> {
                Ok(Joined(String::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Joined, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element::<String>()? {
                    items.push(item);
                }
                Ok(Joined(items.join(",")))
            }
        }

        yaml.deserialize_any(TextOrList)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_keys_are_read_with_their_lines_and_as_text() {
        let text = "server:\n  address: ':8083'\n  allow_open: no\nmax_runs: 010\n# nothing\ncomfyui_address:\n  - a:1\n  - b:2\n";
        assert_eq!(
            told(text),
            [
                (2, "COMFYGATE_ADDRESS".into(), ":8083".into()),
                (3, "COMFYGATE_ALLOW_OPEN".into(), "no".into()),
                (4, "COMFYGATE_MAX_RUNS".into(), "010".into()),
                (7, "COMFYUI_ADDRESS".into(), "a:1,b:2".into()),
            ]
        );
    }

    #[test]
    fn unknown_keys_are_kept_with_their_lines() {
        let entries = read("server:\n  adress: x\nbogus: {a: [1]}\nlog:\n").unwrap();
        let seen: Vec<_> =
            entries.iter().map(|entry| (entry.line, entry.key.as_str(), entry.setting.is_some())).collect();
        assert_eq!(seen, [(2, "server.adress", false), (3, "bogus", false), (4, "log", true)]);
    }

    #[test]
    fn a_file_of_comments_says_nothing() {
        assert_eq!(told("# all defaults\n\n"), []);
        assert_eq!(told(""), []);
    }

    #[test]
    fn a_file_that_is_no_map_or_says_something_twice_is_refused_with_its_line() {
        let texts = ["- a\n", "just words\n", "log: a\nlog: b\n", "server: 5\n", "log: [a]\n", "log: {\n"];
        for text in texts {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("data: x\nlog: a\nlog: b\n").unwrap_err().line, Some(3));
    }

    #[test]
    fn no_section_is_called_as_a_setting_is() {
        for setting in SETTINGS {
            assert!(!is_section(&setting.flat_key()), "{}", setting.flat_key());
        }
    }

    fn told(text: &str) -> Vec<(u64, String, String)> {
        let told = |entry: Entry| (entry.line, entry.setting.unwrap().name.to_owned(), entry.value);
        read(text).unwrap().into_iter().map(told).collect()
    }
}
