//! Takes typed things out of a YAML tree and notes everything that is wrong, each with its line.

use super::problem::{Problem, Waits};
use super::yaml::{Content, Item, Key};
use crate::names::{canonical, hint, shown};

/// Reads one mapping file.
pub(super) struct Reader {
    file: String,
    pub(super) problems: Vec<Problem>,
    /// What all that is wrong from now on waits for.
    pub(super) waits: Option<Waits>,
}

/// The entries of a mapping by the one spelling of their keys.
pub(super) struct Fields<'a>(Vec<(String, &'a Key, &'a Item)>);

impl Reader {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: Vec::new(), waits: None }
    }

    /// Notes that something is wrong.
    pub(super) fn wrong(&mut self, line: Option<usize>, reason: impl Into<String>) {
        self.problems.push(Problem::of_file(self.file.clone(), reason).at(line).waiting(self.waits));
    }

    /// Takes a mapping apart; a key that is not allowed, or written in two spellings, is wrong.
    pub(super) fn fields<'a>(&mut self, what: &str, item: &'a Item, allowed: &[&str]) -> Fields<'a> {
        let mut fields: Vec<(String, &Key, &Item)> = Vec::new();
        let Content::Map(entries) = &item.content else {
            self.wrong(item.line, format!("{what} must be a mapping, but it is {}", item.content.kind()));
            return Fields(fields);
        };
        for (key, value) in entries {
            let name = canonical(&key.name);
            if !allowed.contains(&name.as_str()) {
                let hint = hint(&key.name, allowed.iter().copied());
                self.wrong(key.line, format!("{what} has no `{}`{hint}", shown(&key.name)));
            } else if let Some((_, first, _)) = fields.iter().find(|(known, ..)| *known == name) {
                let reason = format!("{what} has `{}` and `{}`, which are the same: keep one", first.name, key.name);
                self.wrong(key.line, reason);
            } else {
                fields.push((name, key, value));
            }
        }
        Fields(fields)
    }

    /// Reads a text.
    pub(super) fn text(&mut self, what: &str, item: &Item) -> Option<String> {
        if let Content::Text(text) = &item.content {
            return Some(text.clone());
        }
        self.wrong(item.line, format!("{what} must be a text, but it is {}", item.content.kind()));
        None
    }

    /// Reads a name that may look like a number, such as a node's id: `6` and `"6"` are the same.
    pub(super) fn name(&mut self, what: &str, item: &Item) -> Option<String> {
        match &item.content {
            Content::Text(text) if !text.is_empty() => Some(text.clone()),
            Content::Integer(number) => Some(number.to_string()),
            Content::Number(number) => {
                self.wrong(
                    item.line,
                    format!("{what} must be a text, but it reads as the number {number}: put it in quotes"),
                );
                None
            }
            Content::Null | Content::Boolean(_) | Content::Text(_) | Content::List(_) | Content::Map(_) => {
                let found = if matches!(item.content, Content::Text(_)) { "empty" } else { item.content.kind() };
                self.wrong(item.line, format!("{what} must be a text, but it is {found}"));
                None
            }
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn truth(&mut self, what: &str, item: &Item) -> Option<bool> {
        if let Content::Boolean(truth) = item.content {
            return Some(truth);
        }
        self.wrong(item.line, format!("{what} must be true or false, but it is {}", item.content.kind()));
        None
    }
}

impl<'a> Fields<'a> {
    /// Returns the value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&'a Item> {
        self.0.iter().find(|(known, ..)| known == name).map(|(.., item)| *item)
    }
}

/// Returns the things of a list, or the only one where no list is written.
pub(super) fn one_or_many(item: &Item) -> &[Item] {
    if let Content::List(items) = &item.content { items } else { std::slice::from_ref(item) }
}
