//! A workflow: one mapping file and one template that fit each other, checked completely before it is used.

use super::mapping::{self, Alias, Declared, Mapping};
use super::naming::{split, wrong_name};
use super::parameter::{Kind, Parameter, Target};
use super::problem::{Problem, Waits};
use super::reader::Reader;
use super::sections::Sections;
use super::target::Template;
use super::{template, typing, yaml};
use crate::definitions::Definitions;
use crate::graph::Graph;
use crate::hex;
use crate::job::{StructureHash, Timeouts};
use crate::names::canonical;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The largest template that is read.
pub(super) const MAX_TEMPLATE: usize = 8 << 20;

/// The names of the two files, for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// The mapping file.
    pub config: String,
    /// The template.
    pub template: String,
}

/// The texts that a workflow can be built from again, without the definitions of any backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The SHA-256 over both texts, in hex.
    pub hash: String,
    /// The workflow's name.
    pub name: String,
    /// The YAML text.
    pub config: String,
    /// The JSON text: API format, also where the file is in UI format.
    pub template: String,
}

/// A workflow, ready to be built.
#[derive(Clone, PartialEq, Debug)]
pub struct Pair {
    source: Source,
    description: Option<String>,
    aliases: Vec<Alias>,
    parameters: BTreeMap<String, Parameter>,
    sections: Sections,
    pub(super) graph: Graph,
    pub(super) outputs: Option<Vec<String>>,
    output_names: BTreeMap<String, String>,
    timeouts: Timeouts,
    tags: Vec<String>,
    warnings: Vec<String>,
    structure: StructureHash,
}

impl Files {
    /// Returns the names that a workflow's files have.
    pub fn of(name: &str) -> Self {
        Self { config: format!("configs/{name}.yaml"), template: format!("templates/{name}.json") }
    }
}

/// With what a pair is read.
struct Reading<'a> {
    files: &'a Files,
    /// What backends say of their node classes; nothing where none is known.
    definitions: &'a Definitions,
    /// It was good when it was stored, perhaps with definitions that nobody knows any more: what it is built from is read, and
    /// what callers may give is not judged again.
    is_stored: bool,
}

impl Pair {
    /// Reads a workflow from the texts of its two files, or says everything that is wrong with them, without what a backend
    /// would know of its nodes.
    pub fn parse(name: &str, config: &str, template: &str, files: &Files) -> Result<Self, Vec<Problem>> {
        Self::parse_with(name, config, template, files, &Definitions::default())
    }

    /// The same with what backends say of their node classes, empty where that is not known: they tell types and bounds that
    /// are not written, and a template in UI format is converted with them.
    pub fn parse_with(
        name: &str,
        config: &str,
        template: &str,
        files: &Files,
        definitions: &Definitions,
    ) -> Result<Self, Vec<Problem>> {
        Reading { files, definitions, is_stored: false }.pair(name, config, template)
    }

    /// Reads a workflow again from what [`Pair::source`] gave, to build it. What it says of types and bounds may be less than
    /// was known then.
    pub fn from_source(source: &Source) -> Result<Self, Vec<Problem>> {
        let (files, definitions) = (Files::of(&source.name), Definitions::default());
        let reading = Reading { files: &files, definitions: &definitions, is_stored: true };
        reading.pair(&source.name, &source.config, &source.template)
    }

    /// Reads what came with a request, under a name that no files can have.
    pub(super) fn of_request(name: &str, config: &str, template: &str, files: &Files) -> Result<Self, Vec<Problem>> {
        Reading { files, definitions: &Definitions::default(), is_stored: true }.pair(name, config, template)
    }

    /// Returns the SHA-256 over what it can be built from again, in hex.
    pub fn revision(&self) -> &str {
        &self.source.hash
    }

    /// Returns the workflow's name, with its version where it has one.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Returns the name that it has in common with its other versions.
    pub fn base_name(&self) -> &str {
        split(&self.source.name).0
    }

    /// Returns its version; none for the one whose files name none.
    pub fn version(&self) -> Option<u32> {
        split(&self.source.name).1
    }

    /// Returns the other names that its mapping gives it. Another workflow may have been first with one of them:
    /// [`super::Catalog::other_names`] knows.
    pub fn aliases(&self) -> impl Iterator<Item = &str> + Clone {
        self.aliases.iter().map(|alias| alias.name.as_str())
    }

    /// Returns the line on which an alias is written.
    pub(super) fn alias_line(&self, name: &str) -> Option<usize> {
        self.aliases.iter().find(|alias| alias.name == name)?.line
    }

    /// Returns what it can be built from again.
    pub fn source(&self) -> Source {
        self.source.clone()
    }

    /// Returns what it is for, in the author's words.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Returns its own limits.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Returns the tags that a backend must have to run it.
    pub fn required_tags(&self) -> &[String] {
        &self.tags
    }

    /// Returns the template, in API format.
    pub fn template(&self) -> &Graph {
        &self.graph
    }

    /// Returns the nodes whose outputs are the result, in order; none: every output node.
    pub fn outputs(&self) -> Option<&[String]> {
        self.outputs.as_deref()
    }

    /// Returns the structure of the template.
    pub fn structure(&self) -> &StructureHash {
        &self.structure
    }

    /// Returns the names that outputs have, by their node.
    pub fn output_names(&self) -> &BTreeMap<String, String> {
        &self.output_names
    }

    /// Returns what was odd about the template and kept nobody from reading it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Finds a parameter by any spelling of its name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.get(name).or_else(|| self.parameters.get(&canonical(name)))
    }

    /// Returns what a parameter is where a request does not say: its default, or what the template has. None for one that
    /// must be given, and for a seed, which is drawn.
    pub fn default_of(&self, parameter: &Parameter) -> Option<Value> {
        if parameter.required {
            return None;
        }
        if let Some(default) = &parameter.default {
            return default.to_json();
        }
        let target = parameter.targets.first().filter(|_| parameter.kind != Kind::Seed)?;
        let value = self.graph.node(&target.node)?.inputs.get(&target.input)?;
        (!value.is_null() && !value.is_array() && !value.is_object()).then(|| value.clone())
    }

    /// Returns the names that its nodes have besides.
    pub fn sections(&self) -> &Sections {
        &self.sections
    }

    /// Returns all parameters by name.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> + Clone {
        self.parameters.values()
    }
}

impl Reading<'_> {
    fn pair(&self, name: &str, config: &str, text: &str) -> Result<Pair, Vec<Problem>> {
        let mut reader = Reader::new(&self.files.config);
        if let Some(reason) = wrong_name(name).filter(|_| !self.is_stored) {
            reader.wrong(None, reason);
        }
        let mapping = match yaml::parse(config) {
            Ok(document) => mapping::read(&mut reader, &document),
            Err(error) => {
                reader.wrong(error.line, error.reason);
                Mapping::default()
            }
        };
        let read = match template::read(text, &self.files.template, self.definitions) {
            Ok(read) => read,
            Err(problems) => {
                reader.problems.extend(problems);
                return Err(reader.problems);
            }
        };
        let template =
            Template { file: &self.files.template, graph: &read.graph, places: &read.places, left_out: &read.left_out };
        let parameters = self.parameters(&mut reader, &mapping, &template);
        let sections = Sections::find_all(&mut reader, &self.files.config, &mapping.sections, &template);
        let outputs = self.outputs(&mut reader, &mapping, &template);
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        let (outputs, output_names) = outputs.map_or((None, BTreeMap::new()), |(ids, names)| (Some(ids), names));
        let Mapping { description, aliases, timeouts, tags, .. } = mapping;
        let template = read.converted.unwrap_or_else(|| text.to_owned());
        let (name, hash, config) = (name.to_owned(), hash_of(config, &template), config.to_owned());
        let source = Source { hash, name, config, template };
        let (graph, warnings) = (read.graph, read.warnings);
        let structure = StructureHash(graph.structure_hash());
        Ok(Pair {
            source,
            description,
            aliases,
            parameters,
            sections,
            graph,
            outputs,
            output_names,
            timeouts,
            tags,
            warnings,
            structure,
        })
    }

    fn parameters(
        &self,
        reader: &mut Reader,
        mapping: &Mapping,
        template: &Template<'_>,
    ) -> BTreeMap<String, Parameter> {
        let mut parameters: BTreeMap<String, Parameter> = BTreeMap::new();
        let mut owners: BTreeMap<Target, &str> = BTreeMap::new();
        for declared in &mapping.parameters {
            let mut targets = Vec::new();
            for wanted in &declared.targets {
                match template.input(&self.files.config, &declared.name, wanted) {
                    Err(problem) => reader.problems.push(problem),
                    Ok(target) => match owners.insert(target.clone(), &declared.name) {
                        None => targets.push(target),
                        Some(owner) => reader.wrong(wanted.input_line, set_twice(owner, &declared.name, &target)),
                    },
                }
            }
            if targets.len() == declared.targets.len()
                && let Some(parameter) = self.typed(reader, declared, targets, template.graph)
            {
                parameters.insert(declared.name.clone(), parameter);
            }
        }
        parameters
    }

    fn typed(
        &self,
        reader: &mut Reader,
        declared: &Declared,
        targets: Vec<Target>,
        graph: &Graph,
    ) -> Option<Parameter> {
        if !self.is_stored {
            // A type that is written stays, whatever a backend says.
            reader.waits = (declared.kind.is_none() && self.definitions.is_empty()).then_some(Waits::Types);
            let typed = typing::parameter(reader, declared, targets, graph, self.definitions);
            reader.waits = None;
            return typed;
        }
        let mut unheard = Reader::new(&self.files.config);
        let typed = typing::parameter(&mut unheard, declared, targets.clone(), graph, self.definitions);
        // Values of a job that was taken in are typed already; only where they go is needed.
        Some(typed.unwrap_or_else(|| Parameter::new(declared.name.clone(), Kind::Text, targets)))
    }

    fn outputs(
        &self,
        reader: &mut Reader,
        mapping: &Mapping,
        template: &Template<'_>,
    ) -> Option<(Vec<String>, BTreeMap<String, String>)> {
        let mut ids: Vec<String> = Vec::new();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let wanted = mapping.outputs.as_ref()?;
        for output in wanted {
            match template.node(&self.files.config, &output.node) {
                Ok((id, _)) if ids.iter().any(|known| known == id) => {
                    reader.wrong(output.node.line, format!("`outputs` names node `{id}` twice: keep one"));
                }
                Ok((id, _)) => {
                    ids.push(id.to_owned());
                    names.extend(output.name.clone().map(|name| (id.to_owned(), name)));
                }
                Err(problem) => reader.problems.push(problem),
            }
        }
        if wanted.is_empty() && reader.problems.is_empty() {
            reader.wrong(None, "`outputs` is empty, so a job could have no result; leave it out to get every output");
        }
        Some((ids, names))
    }
}

fn set_twice(owner: &str, name: &str, target: &Target) -> String {
    let (node, input) = (&target.node, &target.input);
    if owner == name {
        format!("parameter `{owner}` sets input `{input}` of node `{node}` twice: keep one")
    } else {
        format!("parameters `{owner}` and `{name}` both set input `{input}` of node `{node}`: keep one")
    }
}

fn hash_of(config: &str, template: &str) -> String {
    let mut hasher = Sha256::new();
    // The length keeps apart pairs whose texts are cut differently.
    hasher.update((config.len() as u64).to_le_bytes());
    hasher.update(config);
    hasher.update(template);
    hex::of(hasher.finalize())
}
