//! The fields of a mapping file that are not about parameters: other names, the template, outputs, limits, tags.

use super::mapping::{Alias, Output, SELECTORS, Selector, Wanted, wanted};
use super::naming::{wrong_alias, wrong_name};
use super::reader::{Reader, one_or_many};
use super::yaml::{self, Content, Item, Key};
use crate::job::Timeouts;
use crate::names::{canonical, shown};

/// The fields of an output.
const OUTPUT: [&str; 5] = ["node_id", "title", "class", "class_type", "name"];

/// The most aliases of a workflow.
const MAX_ALIASES: usize = 64;

/// The longest limit that can be written: a year.
const MAX_LIMIT_MS: u128 = 366 * 24 * 3600 * 1000;

/// The longest name of an output.
const MAX_NAME: usize = 64;

/// Returns the name of the template that a mapping names instead of its own, without its ending. Asked before the two files
/// are brought together; what is wrong with the text or the name, [`read`] tells.
pub(super) fn shared_template(text: &str) -> Option<String> {
    if !text.contains("template") {
        return None;
    }
    let Content::Map(entries) = yaml::parse(text).ok()?.content else { return None };
    let (_, item) = entries.into_iter().find(|(key, _)| canonical(&key.name) == "template")?;
    let Content::Text(name) = item.content else { return None };
    let name = without_ending(&name);
    wrong_name(name).is_none().then(|| name.to_owned())
}

pub(super) fn template(reader: &mut Reader, item: &Item) {
    let Some(name) = reader.text("template", item) else { return };
    if wrong_name(without_ending(&name)).is_some() {
        let reason = format!(
            "template must be the name of a file in the templates folder, such as flux.json, not `{}`",
            shown(&name)
        );
        reader.wrong(item.line, reason);
    }
}

fn without_ending(name: &str) -> &str {
    name.strip_suffix(".json").unwrap_or(name)
}

pub(super) fn aliases(reader: &mut Reader, item: &Item) -> Vec<Alias> {
    let mut aliases: Vec<Alias> = Vec::new();
    for item in one_or_many(item) {
        let Some(name) = reader.name("an alias", item) else { continue };
        if let Some(reason) = wrong_alias(&name) {
            reader.wrong(item.line, reason);
        } else if aliases.iter().any(|known| known.name == name) {
            reader.wrong(item.line, format!("alias `{name}` is written twice: keep one"));
        } else {
            aliases.push(Alias { line: item.line, name });
        }
    }
    if aliases.len() > MAX_ALIASES {
        reader.wrong(item.line, format!("there are {} aliases, at most {MAX_ALIASES} are read", aliases.len()));
    }
    aliases
}

/// Reads the outputs: nodes, or nodes by the names that callers are told. One selector alone is a node too.
pub(super) fn outputs(reader: &mut Reader, item: &Item) -> Vec<Output> {
    if let Content::Map(entries) = &item.content
        && !entries.iter().all(|(key, _)| SELECTORS.contains(&canonical(&key.name).as_str()))
    {
        return entries.iter().filter_map(|(key, item)| named_output(reader, key, item)).collect();
    }
    one_or_many(item).iter().filter_map(|item| listed_output(reader, item)).collect()
}

fn listed_output(reader: &mut Reader, item: &Item) -> Option<Output> {
    if !matches!(item.content, Content::Map(_)) {
        return Some(Output { node: output(reader, item)?, name: None });
    }
    let fields = reader.fields("an output", item, &OUTPUT);
    let name = fields.get("name").and_then(|name| Some((name.line, reader.name("name", name)?)));
    if let Some((line, name)) = &name
        && let Some(reason) = wrong_output_name(name)
    {
        reader.wrong(*line, reason);
    }
    let node = wanted(reader, "an output", item.line, &fields)?;
    Some(Output { node, name: name.map(|(_, name)| name) })
}

fn named_output(reader: &mut Reader, key: &Key, item: &Item) -> Option<Output> {
    if let Some(reason) = wrong_output_name(&key.name) {
        reader.wrong(key.line, reason);
        return None;
    }
    Some(Output { node: output(reader, item)?, name: Some(key.name.clone()) })
}

/// Says why an output cannot be called so.
pub(super) fn wrong_output_name(name: &str) -> Option<String> {
    if SELECTORS.contains(&canonical(name).as_str()) {
        return Some(format!("`{}` names a node and cannot name an output: choose another name", shown(name)));
    }
    wrong_alias(name).map(|_| {
        let allowed = "letters, digits, `.`, `_` and `-`, a letter or digit first";
        format!("`{}` cannot name an output: a name has 1 to {MAX_NAME} {allowed}", shown(name))
    })
}

fn output(reader: &mut Reader, item: &Item) -> Option<Wanted> {
    if matches!(item.content, Content::Map(_)) {
        let fields = reader.fields("an output", item, &SELECTORS);
        return wanted(reader, "an output", item.line, &fields);
    }
    let id = reader.name("an output", item)?;
    Some(Wanted { line: item.line, by: Selector::Id(id) })
}

pub(super) fn timeouts(reader: &mut Reader, item: &Item) -> Timeouts {
    let fields = reader.fields("`timeouts`", item, &["queue", "start", "silence", "run"]);
    let mut read = |name| fields.get(name).and_then(|item| limit(reader, name, item));
    Timeouts { queue_ms: read("queue"), start_ms: read("start"), silence_ms: read("silence"), run_ms: read("run") }
}

fn limit(reader: &mut Reader, name: &str, item: &Item) -> Option<u64> {
    let Content::Text(text) = &item.content else {
        let reason = format!(
            "`timeouts.{name}` must be a duration with its unit, such as 30s or 10m, but it is {}",
            item.content.kind()
        );
        reader.wrong(item.line, reason);
        return None;
    };
    let millis = humantime::parse_duration(text).map(|duration| duration.as_millis());
    match millis {
        Ok(millis @ 1..=MAX_LIMIT_MS) => u64::try_from(millis).ok(),
        Ok(_) => {
            reader.wrong(item.line, format!("`timeouts.{name}`: {} is outside 1ms..=366days", shown(text)));
            None
        }
        Err(error) => {
            let reason = format!("`timeouts.{name}`: `{}` is not a duration such as 30s or 10m: {error}", shown(text));
            reader.wrong(item.line, reason);
            None
        }
    }
}

pub(super) fn tags(reader: &mut Reader, item: &Item) -> Vec<String> {
    let fields = reader.fields("`requires`", item, &["tags"]);
    let Some(tags) = fields.get("tags") else { return Vec::new() };
    one_or_many(tags).iter().filter_map(|tag| reader.name("a tag", tag)).collect()
}
