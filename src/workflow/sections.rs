//! Sections of `node_mappings`: names for nodes and nothing more, grouped. Told from parameters by their form, and held against
//! the template like these.

use super::mapping::{MAX_NAME, PARAMETER, SELECTORS, Selector, TARGET, Wanted, wanted};
use super::problem::Problem;
use super::reader::Reader;
use super::target::Template;
use super::yaml::{Content, Item, Key};
use crate::names::{canonical, nearest, shown};
use std::collections::BTreeMap;

/// A section as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) line: Option<usize>,
    nodes: Vec<Named>,
}

/// A node by its name in a section.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Named {
    name: String,
    node: Wanted,
    property: Option<String>,
}

/// Where a name leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The node.
    pub node: String,
    /// The input that is meant; none where only the node was named.
    pub property: Option<String>,
}

/// The sections of a workflow, whose nodes are all there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sections(BTreeMap<String, BTreeMap<String, Place>>);

impl Sections {
    /// Returns the names of the sections.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.keys().map(String::as_str)
    }

    /// Finds where a name of a section leads, by any spelling of both.
    pub fn find(&self, section: &str, name: &str) -> Option<&Place> {
        self.0.get(&canonical(section))?.get(&canonical(name))
    }

    /// Returns every name as it is asked for, `section.name`.
    pub fn all(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().flat_map(|(section, nodes)| nodes.keys().map(move |name| format!("{section}.{name}")))
    }

    /// Returns the names of one section.
    pub fn of(&self, section: &str) -> impl Iterator<Item = &str> + Clone {
        self.0.get(&canonical(section)).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Finds the nodes that are meant; what is not there is noted in `reader`.
    pub(super) fn find_all(reader: &mut Reader, file: &str, written: &[Section], template: &Template<'_>) -> Self {
        let mut sections = BTreeMap::new();
        for section in written {
            let mut places = BTreeMap::new();
            for named in &section.nodes {
                match named.place(file, &section.name, template) {
                    Ok(place) => drop(places.insert(named.name.clone(), place)),
                    Err(problem) => reader.problems.push(problem),
                }
            }
            sections.insert(section.name.clone(), places);
        }
        Self(sections)
    }
}

impl Named {
    fn place(&self, file: &str, section: &str, template: &Template<'_>) -> Result<Place, Problem> {
        let (id, node) = template.node(file, &self.node)?;
        let property = self.property.clone();
        if let Some(name) = property.as_ref().filter(|name| !node.inputs.contains_key(*name)) {
            let (section, node) = (shown(section), shown(id));
            let reason =
                format!("`{}` of section `{section}`: node `{node}` has no input `{}`", self.name, shown(name));
            return Err(Problem {
                node: Some(id.to_owned()),
                input: Some(name.clone()),
                ..Problem::of_file(file, reason).at(self.node.line)
            });
        }
        Ok(Place { node: id.to_owned(), property })
    }
}

/// Says whether what stands under a name is a section: a mapping of nodes, none of whose keys is the field of a parameter, or
/// nearly one, which would be a slip of the pen in a parameter.
pub(super) fn is_section(item: &Item) -> bool {
    let Content::Map(entries) = &item.content else { return false };
    let is_field = |key: &Key| nearest(&key.name, PARAMETER).is_some();
    let is_node = |item: &Item| match &item.content {
        Content::Text(_) | Content::Integer(_) | Content::Map(_) => true,
        Content::Null | Content::Boolean(_) | Content::Number(_) | Content::List(_) => false,
    };
    !entries.is_empty() && entries.iter().all(|(key, item)| !is_field(key) && is_node(item))
}

/// Reads a section; what is wrong with it is noted in `reader`.
pub(super) fn section(reader: &mut Reader, key: &Key, item: &Item) -> Option<Section> {
    let Content::Map(entries) = &item.content else { return None };
    let name = name(reader, "a section", key)?;
    let mut nodes: Vec<Named> = Vec::new();
    for (key, item) in entries {
        let Some(named) = named(reader, &name, key, item) else { continue };
        if nodes.iter().any(|known| known.name == named.name) {
            reader.wrong(key.line, format!("section `{name}` names `{}` twice: keep one", shown(&key.name)));
            continue;
        }
        nodes.push(named);
    }
    Some(Section { name, line: key.line, nodes })
}

fn named(reader: &mut Reader, section: &str, key: &Key, item: &Item) -> Option<Named> {
    let name = name(reader, "a node", key)?;
    let what = format!("`{name}` of section `{section}`");
    if !matches!(item.content, Content::Map(_)) {
        let by = Selector::Id(reader.name(&what, item)?);
        return Some(Named { name, node: Wanted { line: item.line, by }, property: None });
    }
    let fields = reader.fields(&what, item, &TARGET);
    let property = match fields.get("property") {
        Some(item) => Some(reader.name("property", item)?),
        None => None,
    };
    Some(Named { name, node: wanted(reader, &what, item.line, &fields)?, property })
}

fn name(reader: &mut Reader, what: &str, key: &Key) -> Option<String> {
    let is_odd = key.name.trim().is_empty() || key.name.chars().any(|letter| letter.is_control() || letter == '.');
    if is_odd || key.name.chars().count() > MAX_NAME || SELECTORS.contains(&key.name.as_str()) {
        let reason = format!(
            "`{}` cannot name {what}: 1 to {MAX_NAME} printable characters, no dot, are needed",
            shown(&key.name)
        );
        reader.wrong(key.line, reason);
        return None;
    }
    Some(canonical(&key.name))
}

#[cfg(test)]
mod tests {
    use crate::workflow::{Files, Pair, Place};

    const TEMPLATE: &str = r#"{
        "3": {"class_type": "KSampler", "inputs": {"steps": 20}},
        "6": {"class_type": "CLIPTextEncode", "_meta": {"title": "Positive"}, "inputs": {"text": "a"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "b"}}}"#;

    fn pair(mappings: &str) -> Result<Pair, String> {
        let config = format!("node_mappings:\n  steps: {{ node_id: 3, property: steps }}\n{mappings}");
        let told =
            |problems: Vec<super::Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Pair::parse("x", &config, TEMPLATE, &Files::of("x")).map_err(told)
    }

    #[test]
    fn a_section_names_nodes_by_id_or_otherwise_and_parameters_stay_what_they_are() {
        let pair = pair(
            "  text_to_image: { positive: \"6\", negative: 7 }\n  img2img:\n    positivePrompt: { title: Positive, property: text }\n",
        )
        .unwrap();
        let place =
            |node: &str, property: Option<&str>| Place { node: node.to_owned(), property: property.map(str::to_owned) };
        let sections = pair.sections();
        assert_eq!(sections.find("text_to_image", "positive"), Some(&place("6", None)));
        assert_eq!(sections.find("textToImage", "negative"), Some(&place("7", None)));
        assert_eq!(sections.find("img2img", "positive_prompt"), Some(&place("6", Some("text"))));
        assert_eq!(sections.find("img2img", "negative"), None);
        assert!(sections.all().eq(["img2img.positive_prompt", "text_to_image.negative", "text_to_image.positive"]));
        assert_eq!(pair.parameters().map(|parameter| parameter.name.as_str()).collect::<Vec<_>>(), ["steps"]);
    }

    #[test]
    fn a_node_that_is_not_there_is_told_with_its_line() {
        let error = pair("  text_to_image:\n    positive: 99\n").unwrap_err();
        assert!(error.starts_with("configs/x.yaml:4"), "{error}");
        assert!(error.contains("has no node `99`; there are: 3, 6, 7"), "{error}");
        let error = pair("  a: { positive: { node_id: 6, property: txt } }\n").unwrap_err();
        assert!(error.contains("`positive` of section `a`: node `6` has no input `txt`"), "{error}");
        let error = pair("  a: { positive: { node: 6 } }\n").unwrap_err();
        assert!(error.contains("`positive` of section `a` has no `node`"), "{error}");
    }

    #[test]
    fn a_slip_of_the_pen_in_a_parameter_is_no_section() {
        for slip in ["{ nodeid: 6, propery: text }", "{ node_id: 6 }", "{ typ: text }", "{}"] {
            let error = pair(&format!("  prompt: {slip}\n")).unwrap_err();
            assert!(error.contains("parameter `prompt`"), "{slip}: {error}");
        }
    }

    #[test]
    fn a_section_and_a_parameter_cannot_have_one_name() {
        let error = pair("  Steps: { a: 6 }\n").unwrap_err();
        assert!(error.contains("section `Steps` has the name of a parameter"), "{error}");
    }
}
