//! Reads the file of backends: a YAML list of definitions. Everything that is wrong with it is told at once, by lines.

use super::definition::{Definition, Field, Mistake};
use super::roster::MOST;
use super::way::wrong_way;
use crate::comfy::RouteOptions;
use crate::settings::{Place, Problem, SettingsError, says_nothing};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Spanned, options::DuplicateKeyPolicy};
use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// The largest file that is read, in bytes, with how many values, and how deep they may lie.
const MOST_BYTES: usize = 4 << 20;
const MOST_VALUES: usize = 200_000;
const MOST_DEPTH: usize = 16;

/// What else is wrong with a definition.
type Judge = fn(&RouteOptions) -> Vec<Mistake>;

/// Reads the definitions of a file. Whether the ways to them can be gone is not looked at: their files and variables may be those of
/// another process.
pub fn read_file(path: &Path) -> Result<Vec<Definition>, SettingsError> {
    read_judged(path, |_| Vec::new())
}

/// Reads the definitions of a file for the process that is to go there.
pub fn read_own_file(path: &Path) -> Result<Vec<Definition>, SettingsError> {
    read_judged(path, wrong_way)
}

fn read_judged(path: &Path, judge: Judge) -> Result<Vec<Definition>, SettingsError> {
    let problem = |line, text| Problem { place: Place::File(path.to_owned(), line), text };
    let text = load(path).map_err(|reason| SettingsError { problems: vec![problem(None, reason)] })?;
    read(&text, judge).map_err(|mistakes| SettingsError {
        problems: mistakes.into_iter().map(|mistake| problem(mistake.line, mistake.text)).collect(),
    })
}

/// The fields of one definition, and the line with which it begins.
struct Entry {
    line: Option<u64>,
    fields: Vec<Field>,
}

fn load(path: &Path) -> Result<String, String> {
    let unread = |error: std::io::Error| format!("cannot be read: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(MOST_BYTES as u64 + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() > MOST_BYTES { Err(format!("it is longer than {MOST_BYTES} bytes")) } else { Ok(text) }
}

fn read(text: &str, judge: Judge) -> Result<Vec<Definition>, Vec<Mistake>> {
    let entries = parse(text).map_err(|mistake| vec![mistake])?;
    if entries.len() > MOST {
        let text = format!("it has {} backends, and {MOST} are allowed", entries.len());
        return Err(vec![Mistake { field: String::new(), text, line: None }]);
    }
    let (mut definitions, mut mistakes) = (Vec::<(Definition, Option<u64>)>::new(), Vec::new());
    for Entry { line, fields } in entries {
        let lines: HashMap<String, Option<u64>> = fields.iter().map(|field| (field.name.clone(), field.line)).collect();
        match Definition::read(fields) {
            Ok(definition) => {
                mistakes.extend(judge(&definition.route).into_iter().map(|mistake| {
                    let at = lines.get(&mistake.field).copied().flatten();
                    Mistake { line: at.or(line), ..mistake }
                }));
                let double = definitions.iter().find_map(|(other, at)| double(&definition, other, *at));
                mistakes.extend(double.map(|text| Mistake { field: "name".to_owned(), text, line }));
                definitions.push((definition, line));
            }
            Err(wrong) => {
                mistakes.extend(wrong.into_iter().map(|mistake| Mistake { line: mistake.line.or(line), ..mistake }));
            }
        }
    }
    if mistakes.is_empty() {
        Ok(definitions.into_iter().map(|(definition, _)| definition).collect())
    } else {
        Err(mistakes)
    }
}

/// Says that a backend is one that there is already.
fn double(definition: &Definition, other: &Definition, at: Option<u64>) -> Option<String> {
    let there = at.map_or_else(String::new, |line| format!(" in line {line}"));
    if definition.name == other.name {
        return Some(format!("there is a backend `{}`{there} already; give each its own name", other.name));
    }
    let is_same = definition.url == other.url;
    is_same
        .then(|| format!("the backend `{}`{there} is at {} already; take one of the two away", other.name, other.url))
}

fn parse(text: &str) -> Result<Vec<Entry>, Mistake> {
    if says_nothing(text) {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_VALUES,
            max_events: MOST_VALUES * 4,
            max_depth: MOST_DEPTH,
            flow_nesting_limit: MOST_DEPTH,
            max_aliases: 1000,
            max_anchors: 1000,
            max_documents: 2,
            max_total_scalar_bytes: MOST_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_VALUES, max_replay_stack_depth: 8 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let entries: Vec<Spanned<Entry>> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().and_then(|location| line_number(location.line()));
        let text = format!("cannot be read as a list of backends, each with `url: ...`: {}", error.without_snippet());
        Mistake { field: String::new(), text, line }
    })?;
    let begun = |entry: Spanned<Entry>| Entry { line: line_number(entry.referenced.line()), ..entry.value };
    Ok(entries.into_iter().map(begun).collect())
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnEntry)
    }
}

struct AnEntry;

impl<'de> Visitor<'de> for AnEntry {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a backend, such as `- url: http://10.0.0.7:8188`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<Spanned<String>, Value>()? {
            fields.push(Field { line: line_number(name.referenced.line()), name: name.value, value });
        }
        Ok(Entry { line: None, fields })
    }
}

fn line_number(line: u64) -> Option<u64> {
    (line > 0).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<(Option<u64>, String)> {
        read(text, wrong_way).unwrap_err().into_iter().map(|mistake| (mistake.line, mistake.text)).collect()
    }

    #[test]
    fn a_file_has_backends_in_their_order() {
        let text = "# ours\n- url: http://10.0.0.7:8188\n- name: gpu-2\n  url: https://gpu.example/comfy\n  tags: [flux, 24gb]\n  \
                    slots: 2\n  ahead: 0\n  auth: {bearer: hunter2}\n";
        let [first, second] = read(text, wrong_way).unwrap().try_into().unwrap();
        assert_eq!(first, Definition::at("http://10.0.0.7:8188".parse().unwrap()));
        assert_eq!((second.name.as_str(), second.slots, second.ahead, second.tags.len()), ("gpu-2", 2, Some(0), 2));
        assert_eq!(second.exposed()["auth"]["bearer"], "hunter2");
        assert!(!format!("{second:?}").contains("hunter2"));
        for empty in ["", "# nothing\n", "[]"] {
            assert_eq!(read(empty, wrong_way).unwrap(), []);
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "- url: ftp://a\n  slots: 0\n- name: gpu\n- url: http://b\n  color: red\n  tags:\n    - Big\n";
        let wrong = wrong(text);
        let lines: Vec<Option<u64>> = wrong.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [Some(1), Some(2), Some(3), Some(6), Some(5)], "{wrong:?}");
        for ((_, text), says) in wrong.iter().zip(["http://", "from 1 to 64", "url is missing", "`Big`", "`color`"]) {
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_way_that_cannot_be_gone_is_a_mistake_of_its_line_for_whoever_is_to_go_it() {
        let text = "- url: https://a\n  auth:\n    bearer: env:NO_SUCH_VARIABLE_AT_ALL\n  proxy: socks5://u:hunter2@proxy\n  \
                    tls:\n    ca_file: /nowhere/ca.pem\n- url: http://b\n  slots: 0\n";
        let wrong = wrong(text);
        let lines: Vec<Option<u64>> = wrong.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [Some(2), Some(4), Some(5), Some(8)], "{wrong:?}");
        for ((_, text), says) in wrong.iter().zip(["NO_SUCH_VARIABLE_AT_ALL", "socks5://", "/nowhere/ca.pem", "slots"])
        {
            assert!(text.contains(says) && !text.contains("hunter2"), "{text}");
        }
        // Whoever only hands it on may not have what it names.
        assert_eq!(read(text, |_| Vec::new()).unwrap_err().len(), 1);
    }

    #[test]
    fn a_name_or_an_address_that_comes_twice_is_a_mistake() {
        let twice = wrong("- {name: a, url: http://a}\n- {name: a, url: http://b}\n- {name: c, url: http://a/}\n");
        assert_eq!((twice[0].0, twice[1].0, twice.len()), (Some(2), Some(3), 2));
        assert!(
            twice[0].1.contains("`a` in line 1 already") && twice[1].1.contains("is at http://a already"),
            "{twice:?}"
        );
    }

    #[test]
    fn what_is_no_list_of_backends_is_told_where_that_shows() {
        for (text, line) in [
            ("url: http://a", Some(1)),
            ("- http://a", Some(1)),
            ("- url: http://a\n  url: http://b\n", Some(2)),
            ("- url: [\n", None),
            ("- !secret {url: http://a}\n", None),
        ] {
            let wrong = wrong(text);
            assert!(wrong.len() == 1 && (line.is_none() || wrong[0].0 == line), "{text}: {wrong:?}");
        }
        let many: Vec<String> = (0..=MOST).map(|number| format!("- url: http://gpu-{number}\n")).collect();
        let many = many.concat();
        assert!(wrong(&many)[0].1.contains("1025 backends"));
        let deep = format!("- url: {}{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(wrong(&deep).len(), 1);
    }

    #[test]
    fn a_secret_stands_in_no_mistake() {
        for text in [
            "- {url: http://a, auth: {bearer: hunter2, basic: {user: u, password: hunter2}}}",
            "- {url: http://a, auth: hunter2}",
            "- {url: http://a, auth: {basic: hunter2}}",
            "- {url: http://a, auth: [hunter2]}",
            "- {url: http://a, auth: {headers: {X-Key: [hunter2]}}}",
            "- {url: 'http://u:hunter2@a'}",
        ] {
            let wrong = wrong(text);
            assert!(wrong.len() == 1 && !wrong[0].1.contains("hunter2"), "{text}: {wrong:?}");
        }
    }
}
