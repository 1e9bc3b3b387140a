//! The only place that knows the YAML library: one document into a tree with lines, within a small budget.

use crate::names::shown;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error as SaphyrError, Spanned, options::DuplicateKeyPolicy};
use std::fmt;

/// The largest YAML text that is read.
pub(super) const MAX_BYTES: usize = 1 << 20;

const MAX_NODES: usize = 10_000;
const MAX_DEPTH: usize = 32;

/// A piece of a YAML document and the line that it stands on.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Item {
    pub(super) line: Option<usize>,
    pub(super) content: Content,
}

/// What stands there.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Content {
    Null,
    Boolean(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    List(Vec<Item>),
    Map(Vec<(Key, Item)>),
}

/// The key of an entry and the line that it stands on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) line: Option<usize>,
    pub(super) name: String,
}

/// Why a text was not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct YamlError {
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

/// Reads one YAML document. Duplicate keys, a second document, bombs of aliases or depth, and tags are errors; words
/// such as `yes` and `no` are texts.
pub(super) fn parse(text: &str) -> Result<Item, YamlError> {
    if text.len() > MAX_BYTES {
        let reason = format!("the file has {} bytes, at most {MAX_BYTES} are read", text.len());
        return Err(YamlError { line: None, reason });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 4,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: 100,
            max_anchors: 100,
            max_merge_keys: 100,
            max_documents: 2,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES, max_replay_stack_depth: 8 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().and_then(|location| line_number(location.line()));
        YamlError { line, reason: reason(error.without_snippet()) }
    })
}

impl Content {
    /// Names the kind of content for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number with a fraction",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { line: line_number(spanned.referenced.line()), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { line: line_number(spanned.referenced.line()), name: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = access.next_entry()? {
            map.push(entry);
        }
        Ok(Content::Map(map))
    }
}

fn line_number(line: u64) -> Option<usize> {
    usize::try_from(line).ok().filter(|line| *line > 0)
}

/// Says what is wrong to somebody who writes such files, not to a programmer, in one line and without the place.
fn reason(error: &SaphyrError) -> String {
    if let SaphyrError::DuplicateMappingKey { key, .. } = error {
        return format!("`{}` is written twice: keep one", shown(key.as_deref().unwrap_or_default()));
    }
    if matches!(error, SaphyrError::MultipleDocuments { .. }) {
        return "a second document begins here: one file holds one workflow".to_owned();
    }
    if matches!(error, SaphyrError::RecursiveReferencesRequireWeakTypes { .. }) {
        return "an anchor must not contain itself".to_owned();
    }
    let is_too_much = matches!(
        error,
        SaphyrError::Budget { .. }
            | SaphyrError::AliasReplayCounterOverflow { .. }
            | SaphyrError::AliasReplayLimitExceeded { .. }
            | SaphyrError::AliasExpansionLimitExceeded { .. }
            | SaphyrError::AliasReplayStackDepthExceeded { .. }
    );
    if is_too_much {
        return format!(
            "the file is too much: at most {MAX_NODES} values, {MAX_DEPTH} deep, are read, aliases counted out"
        );
    }
    let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let (said, place) = message.rsplit_once(" at line ").unwrap_or((&message, ""));
    let is_place = place.chars().all(|letter| letter.is_ascii_digit() || ", column".contains(letter));
    let told = if is_place { said } else { &message };
    told.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kind_and_their_line() {
        let Content::Map(entries) =
            parse("a: no\nb:\n  - 6\n  - \"6\"\nc: 18446744073709551615\nd: 1.5\n").unwrap().content
        else {
            unreachable!("a mapping")
        };
        let told: Vec<_> = entries.iter().map(|(key, item)| (key.name.as_str(), key.line, &item.content)).collect();
        assert_eq!(told[0], ("a", Some(1), &Content::Text("no".into())));
        let Content::List(list) = told[1].2 else { unreachable!("a list") };
        assert_eq!((list[0].line, &list[0].content), (Some(3), &Content::Integer(6)));
        assert_eq!((list[1].line, &list[1].content), (Some(4), &Content::Text("6".into())));
        assert_eq!(told[2], ("c", Some(5), &Content::Integer(u64::MAX.into())));
        assert_eq!(told[3], ("d", Some(6), &Content::Number(1.5)));
    }
}
