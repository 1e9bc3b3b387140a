//! The grammar of `configs/<name>.yaml`: what is written there, not yet held against the template.
//!
//! Everything that `ComfyLite` knew is here under the same names; the rest may be added to it.

use super::fields::{aliases, outputs, tags, template, timeouts};
use super::parameter::Kind;
use super::reader::{Fields, Reader, one_or_many};
use super::sections::{Section, is_section, section};
use super::yaml::{Content, Item, Key};
use crate::job::Timeouts;
use crate::names::{canonical, shown};

/// The fields of the file.
const FILE: [&str; 7] = ["node_mappings", "description", "aliases", "template", "outputs", "timeouts", "requires"];

/// The ways to name a node.
pub(super) const SELECTORS: [&str; 4] = ["node_id", "title", "class", "class_type"];

/// The fields of a target.
pub(super) const TARGET: [&str; 5] = ["node_id", "title", "class", "class_type", "property"];

/// The fields of a parameter: a target's, and its own.
pub(super) const PARAMETER: [&str; 13] = [
    "node_id",
    "title",
    "class",
    "class_type",
    "property",
    "targets",
    "type",
    "default",
    "min",
    "max",
    "enum",
    "description",
    "required",
];

/// The fields of a request that no parameter can be named after, since the request would never reach it.
pub const RESERVED: [&str; 17] = [
    "workflow",
    "params",
    "images",
    "graph",
    "webhook_url",
    "webhook_events",
    "delivery",
    "strip_metadata",
    "convert",
    "metadata",
    "priority",
    "placement",
    "variants",
    "max_runs",
    "timeouts",
    "prompt_id",
    "idempotency_key",
];

/// The longest name of a parameter.
pub(super) const MAX_NAME: usize = 64;

/// What a mapping file says.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Mapping {
    pub(super) description: Option<String>,
    pub(super) aliases: Vec<Alias>,
    pub(super) parameters: Vec<Declared>,
    pub(super) sections: Vec<Section>,
    pub(super) outputs: Option<Vec<Output>>,
    pub(super) timeouts: Timeouts,
    pub(super) tags: Vec<String>,
}

/// Another name of the workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Alias {
    pub(super) line: Option<usize>,
    pub(super) name: String,
}

/// A node whose outputs are part of the result, and what callers are told that it is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Output {
    pub(super) node: Wanted,
    pub(super) name: Option<String>,
}

/// A parameter as it is written.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) line: Option<usize>,
    pub(super) targets: Vec<WantedInput>,
    pub(super) kind: Option<Kind>,
    pub(super) default: Option<Item>,
    pub(super) min: Option<Item>,
    pub(super) max: Option<Item>,
    pub(super) choices: Option<Item>,
    pub(super) description: Option<String>,
    pub(super) required: bool,
}

/// A node as it is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) line: Option<usize>,
    pub(super) by: Selector,
}

/// An input of a node as it is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct WantedInput {
    pub(super) node: Wanted,
    pub(super) input: String,
    pub(super) input_line: Option<usize>,
}

/// How a node is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Selector {
    /// By its id.
    Id(String),
    /// By its title.
    Title(String),
    /// By its class.
    Class(String),
}

/// Reads a mapping file; what is wrong with it is noted in `reader`.
pub(super) fn read(reader: &mut Reader, document: &Item) -> Mapping {
    if document.content == Content::Null {
        reader.wrong(None, "the file is empty; it needs at least `node_mappings`");
        return Mapping::default();
    }
    let fields = reader.fields("the file", document, &FILE);
    let text = |reader: &mut Reader, name| fields.get(name).and_then(|item| reader.text(name, item));
    if let Some(item) = fields.get("template") {
        template(reader, item);
    }
    let (parameters, sections) = mappings(reader, &fields);
    Mapping {
        description: text(reader, "description"),
        aliases: fields.get("aliases").map(|item| aliases(reader, item)).unwrap_or_default(),
        parameters,
        sections,
        outputs: fields.get("outputs").map(|item| outputs(reader, item)),
        timeouts: fields.get("timeouts").map(|item| timeouts(reader, item)).unwrap_or_default(),
        tags: fields.get("requires").map(|item| tags(reader, item)).unwrap_or_default(),
    }
}

fn mappings(reader: &mut Reader, fields: &Fields<'_>) -> (Vec<Declared>, Vec<Section>) {
    let Some(item) = fields.get("node_mappings") else {
        if reader.problems.is_empty() {
            reader.wrong(
                None,
                "the file has no `node_mappings`; a workflow without parameters writes `node_mappings: {}`",
            );
        }
        return (Vec::new(), Vec::new());
    };
    let Content::Map(entries) = &item.content else {
        let reason = format!("`node_mappings` must be a mapping of parameters, but it is {}", item.content.kind());
        reader.wrong(item.line, reason);
        return (Vec::new(), Vec::new());
    };
    let mut declared: Vec<Declared> = Vec::new();
    let mut sections: Vec<(&Key, Section)> = Vec::new();
    for (key, item) in entries {
        if is_section(item) {
            sections.extend(section(reader, key, item).map(|section| (key, section)));
            continue;
        }
        let Some(name) = parameter_name(reader, key) else { continue };
        if let Some(first) = declared.iter().find(|known| known.name == name) {
            let line = first.line.map(|line| format!(" on line {line}")).unwrap_or_default();
            reader.wrong(key.line, format!("parameter `{}` is the same as `{name}`{line}: keep one", shown(&key.name)));
            continue;
        }
        declared.push(parameter(reader, name, key, item));
    }
    for (place, (key, section)) in sections.iter().enumerate() {
        let is_known = |known: &(&Key, Section)| known.1.name == section.name;
        let what = if declared.iter().any(|known| known.name == section.name) {
            "a parameter"
        } else if sections.iter().take(place).any(is_known) {
            "another section"
        } else {
            continue;
        };
        reader.wrong(section.line, format!("section `{}` has the name of {what}: choose another", shown(&key.name)));
    }
    (declared, sections.into_iter().map(|(_, section)| section).collect())
}

fn parameter_name(reader: &mut Reader, key: &Key) -> Option<String> {
    let is_odd = key.name.trim().is_empty() || key.name.chars().any(char::is_control);
    if is_odd || key.name.chars().count() > MAX_NAME {
        let reason =
            format!("`{}` cannot name a parameter: 1 to {MAX_NAME} printable characters are needed", shown(&key.name));
        reader.wrong(key.line, reason);
        return None;
    }
    let name = canonical(&key.name);
    if RESERVED.contains(&name.as_str()) {
        let reason = format!("parameter `{}` has the name of a field of the request itself: choose another", key.name);
        reader.wrong(key.line, reason);
        return None;
    }
    Some(name)
}

fn parameter(reader: &mut Reader, name: String, key: &Key, item: &Item) -> Declared {
    let what = format!("parameter `{}`", shown(&key.name));
    let mut declared = Declared {
        name,
        line: key.line,
        targets: Vec::new(),
        kind: None,
        default: None,
        min: None,
        max: None,
        choices: None,
        description: None,
        required: false,
    };
    if let Content::List(items) = &item.content {
        declared.targets = items.iter().filter_map(|item| target(reader, &what, item)).collect();
        if items.is_empty() {
            reader.wrong(key.line, format!("{what} has no target: name at least one node and property"));
        }
        return declared;
    }
    let fields = reader.fields(&what, item, &PARAMETER);
    declared.targets = targets(reader, &what, key, item, &fields);
    declared.kind = fields.get("type").and_then(|item| kind(reader, &what, item));
    declared.default = fields.get("default").cloned();
    declared.min = fields.get("min").cloned();
    declared.max = fields.get("max").cloned();
    declared.choices = fields.get("enum").cloned();
    declared.description = fields.get("description").and_then(|item| reader.text("description", item));
    declared.required = fields.get("required").and_then(|item| reader.truth("required", item)).unwrap_or(false);
    if let Some(default) = fields.get("default").filter(|_| declared.required) {
        reader.wrong(default.line, format!("{what} is required, so its default would never be used: keep one of both"));
    }
    declared
}

fn targets(reader: &mut Reader, what: &str, key: &Key, item: &Item, fields: &Fields<'_>) -> Vec<WantedInput> {
    if !matches!(item.content, Content::Map(_)) {
        return Vec::new();
    }
    let Some(list) = fields.get("targets") else {
        return own_target(reader, what, key.line, fields).into_iter().collect();
    };
    if let Some(extra) = TARGET.iter().find_map(|name| fields.get(name)) {
        reader
            .wrong(extra.line, format!("{what} has `targets` and a target of its own: write all of them in `targets`"));
    }
    let items = one_or_many(list);
    if items.is_empty() {
        reader.wrong(list.line, format!("{what} has no target: name at least one node and property"));
    }
    items.iter().filter_map(|item| target(reader, what, item)).collect()
}

fn target(reader: &mut Reader, what: &str, item: &Item) -> Option<WantedInput> {
    let what = format!("a target of {what}");
    let is_mapping = matches!(item.content, Content::Map(_));
    let fields = reader.fields(&what, item, &TARGET);
    if is_mapping { own_target(reader, &what, item.line, &fields) } else { None }
}

fn own_target(reader: &mut Reader, what: &str, line: Option<usize>, fields: &Fields<'_>) -> Option<WantedInput> {
    let node = wanted(reader, what, line, fields);
    let Some(property) = fields.get("property") else {
        reader.wrong(line, format!("{what} has no `property`, the name of the node's input that it sets"));
        return None;
    };
    let input = reader.name("property", property)?;
    Some(WantedInput { node: node?, input, input_line: property.line })
}

pub(super) fn wanted(reader: &mut Reader, what: &str, line: Option<usize>, fields: &Fields<'_>) -> Option<Wanted> {
    let given: Vec<(&str, &Item)> = SELECTORS.iter().filter_map(|name| Some((*name, fields.get(name)?))).collect();
    let [(name, item)] = given.as_slice() else {
        let reason = if given.is_empty() {
            format!("{what} names no node: write one of `node_id`, `title`, `class`")
        } else {
            let names: Vec<String> = given.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!("{what} names its node by {}: keep one", names.join(" and "))
        };
        reader.wrong(line, reason);
        return None;
    };
    let text = reader.name(name, item)?;
    let by = match *name {
        "node_id" => Selector::Id(text),
        "title" => Selector::Title(text),
        _ => Selector::Class(text),
    };
    Some(Wanted { line: item.line, by })
}

fn kind(reader: &mut Reader, what: &str, item: &Item) -> Option<Kind> {
    let word = reader.text("type", item)?;
    let kind = Kind::parse(&word);
    if kind.is_none() {
        let all = "text, integer, number, boolean, seed, filename, image";
        reader.wrong(item.line, format!("{what} has the type `{}`; there are: {all}", shown(&word)));
    }
    kind
}
