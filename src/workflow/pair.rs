//! A workflow: one mapping file and one template that fit each other, checked completely before it is used.

use super::mapping::{self, Mapping};
use super::parameter::{Parameter, Target};
use super::places::Places;
use super::problem::Problem;
use super::reader::Reader;
use super::target::Template;
use super::{typing, yaml};
use crate::graph::{Graph, GraphError};
use crate::job::Timeouts;
use crate::names::{canonical, shown};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The largest template that is read.
pub(super) const MAX_TEMPLATE: usize = 8 << 20;

/// The longest name of a workflow.
const MAX_NAME: usize = 64;

/// The names of the two files, for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// The mapping file.
    pub config: String,
    /// The template.
    pub template: String,
}

/// The texts that a workflow was read from, enough to read it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The SHA-256 over both texts, in hex.
    pub hash: String,
    /// The workflow's name.
    pub name: String,
    /// The YAML text.
    pub config: String,
    /// The JSON text.
    pub template: String,
}

/// A workflow, ready to be built.
#[derive(Clone, PartialEq, Debug)]
pub struct Pair {
    source: Source,
    description: Option<String>,
    parameters: BTreeMap<String, Parameter>,
    pub(super) graph: Graph,
    pub(super) outputs: Option<Vec<String>>,
    timeouts: Timeouts,
    tags: Vec<String>,
}

impl Files {
    /// Returns the names that a workflow's files have.
    pub fn of(name: &str) -> Self {
        Self { config: format!("configs/{name}.yaml"), template: format!("templates/{name}.json") }
    }
}

impl Pair {
    /// Reads a workflow from the texts of its two files, or says everything that is wrong with them.
    pub fn parse(name: &str, config: &str, template: &str, files: &Files) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(&files.config);
        if let Some(reason) = wrong_name(name) {
            reader.wrong(None, reason);
        }
        let mapping = match yaml::parse(config) {
            Ok(document) => mapping::read(&mut reader, &document),
            Err(error) => {
                reader.wrong(error.line, error.reason);
                Mapping::default()
            }
        };
        let (graph, places) = match read_template(template, &files.template) {
            Ok(read) => read,
            Err(problems) => {
                reader.problems.extend(problems);
                return Err(reader.problems);
            }
        };
        let template_of = Template { file: &files.template, graph: &graph, places: &places };
        let parameters = parameters(&mut reader, files, &mapping, &template_of);
        let outputs = outputs(&mut reader, files, &mapping, &template_of);
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        let Mapping { description, timeouts, tags, .. } = mapping;
        let (name, hash) = (name.to_owned(), hash_of(config, template));
        let source = Source { hash, name, config: config.to_owned(), template: template.to_owned() };
        Ok(Self { source, description, parameters, graph, outputs, timeouts, tags })
    }

    /// Reads a workflow again from what [`Pair::source`] gave.
    pub fn from_source(source: &Source) -> Result<Self, Vec<Problem>> {
        Self::parse(&source.name, &source.config, &source.template, &Files::of(&source.name))
    }

    /// Returns the SHA-256 over both texts, in hex.
    pub fn revision(&self) -> &str {
        &self.source.hash
    }

    /// Says whether it was read from exactly these texts.
    pub(super) fn is_of(&self, config: &str, template: &str) -> bool {
        self.source.config == config && self.source.template == template
    }

    /// Returns the workflow's name.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Returns what it was read from.
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

    /// Returns the template.
    pub fn template(&self) -> &Graph {
        &self.graph
    }

    /// Finds a parameter by any spelling of its name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.get(name).or_else(|| self.parameters.get(&canonical(name)))
    }

    /// Returns all parameters by name.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> + Clone {
        self.parameters.values()
    }
}

/// Says why a workflow cannot have this name. A name is part of paths and addresses, so it is plain.
pub(super) fn wrong_name(name: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let begins_well = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let is_good = begins_well && name.len() <= MAX_NAME && name.chars().all(is_plain);
    (!is_good).then(|| {
        let allowed = "letters, digits, `.`, `_` and `-`, a letter or digit first";
        format!("`{}` cannot name a workflow: a name has 1 to {MAX_NAME} {allowed}", shown(name))
    })
}

fn hash_of(config: &str, template: &str) -> String {
    let mut hasher = Sha256::new();
    // The length keeps apart pairs whose texts are cut differently.
    hasher.update((config.len() as u64).to_le_bytes());
    hasher.update(config);
    hasher.update(template);
    hasher.finalize().iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
}

fn read_template(text: &str, file: &str) -> Result<(Graph, Places), Vec<Problem>> {
    if text.len() > MAX_TEMPLATE {
        let reason = format!("the file has {} bytes, at most {MAX_TEMPLATE} are read", text.len());
        return Err(vec![Problem::of_file(file, reason)]);
    }
    if text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}').is_empty() {
        return Err(vec![Problem::of_file(file, "the file is empty; it must hold a graph in API format")]);
    }
    let graph = Graph::parse(text);
    if let Err(error @ GraphError::NotJson { .. }) = &graph {
        return Err(vec![Problem::of_file(file, error.to_string()).at(error.line())]);
    }
    let places = Places::find(text.trim_start_matches('\u{feff}')).map_err(|duplicates| {
        let problem = |twice: super::places::Duplicate| {
            let path: Vec<String> = twice.path.iter().map(|key| shown(key)).collect();
            let reason = format!("`{}` is written twice, first on line {}: keep one", path.join("."), twice.first_line);
            Problem { node: twice.path.first().cloned(), ..Problem::of_file(file, reason).at(Some(twice.line)) }
        };
        duplicates.into_iter().take(20).map(problem).collect::<Vec<_>>()
    })?;
    match graph {
        Ok(graph) => Ok((graph, places)),
        Err(error) => {
            let node = error.node().map(str::to_owned);
            let line = node.as_deref().and_then(|node| places.node(node));
            Err(vec![Problem { node, ..Problem::of_file(file, error.to_string()).at(line) }])
        }
    }
}

fn parameters(
    reader: &mut Reader,
    files: &Files,
    mapping: &Mapping,
    template: &Template<'_>,
) -> BTreeMap<String, Parameter> {
    let mut parameters: BTreeMap<String, Parameter> = BTreeMap::new();
    let mut owners: BTreeMap<Target, &str> = BTreeMap::new();
    for declared in &mapping.parameters {
        let mut targets = Vec::new();
        for wanted in &declared.targets {
            match template.input(&files.config, &declared.name, wanted) {
                Err(problem) => reader.problems.push(problem),
                Ok(target) => match owners.insert(target.clone(), &declared.name) {
                    None => targets.push(target),
                    Some(owner) => {
                        let (node, input) = (&target.node, &target.input);
                        let reason = if owner == declared.name {
                            format!("parameter `{owner}` sets input `{input}` of node `{node}` twice: keep one")
                        } else {
                            let name = &declared.name;
                            format!(
                                "parameters `{owner}` and `{name}` both set input `{input}` of node `{node}`: keep one"
                            )
                        };
                        reader.wrong(wanted.input_line, reason);
                    }
                },
            }
        }
        if targets.len() == declared.targets.len()
            && let Some(parameter) = typing::parameter(reader, declared, targets, template.graph)
        {
            parameters.insert(declared.name.clone(), parameter);
        }
    }
    parameters
}

fn outputs(reader: &mut Reader, files: &Files, mapping: &Mapping, template: &Template<'_>) -> Option<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    let wanted = mapping.outputs.as_ref()?;
    for output in wanted {
        match template.node(&files.config, output) {
            Ok((id, _)) if ids.iter().any(|known| known == id) => {
                reader.wrong(output.line, format!("`outputs` names node `{id}` twice: keep one"));
            }
            Ok((id, _)) => ids.push(id.to_owned()),
            Err(problem) => reader.problems.push(problem),
        }
    }
    if wanted.is_empty() && reader.problems.is_empty() {
        reader.wrong(None, "`outputs` is empty, so a job could have no result; leave it out to get every output");
    }
    Some(ids)
}
