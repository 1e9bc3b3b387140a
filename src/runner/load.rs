//! Loads what shall be run: a graph or a pair from files, or a workflow of the catalogue; parameters of a file; pictures of
//! this machine.

use super::error::{RunError, ValidationError};
use super::plan::{Found, Subject};
use super::value::Given;
use crate::convert::{Format, Source, read, take, taken};
use crate::definitions::Definitions;
use crate::inputs::Kind;
use crate::lenient::unmarked;
use crate::names::{hint, shown};
use crate::settings::WorkflowSettings;
use crate::workflow::{Catalog, Files, Pair, Problem, Waits, duplicates};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest workflow and the largest file of parameters that are read.
const MOST_TEXT: u64 = 32 << 20;

/// The largest picture that is sent along.
const MOST_IMAGE: u64 = 64 << 20;

/// Finds workflows.
pub struct Loader<'a> {
    /// Where the catalogue lies.
    pub workflows: &'a WorkflowSettings,
}

/// A workflow that was found.
pub struct Loaded {
    /// What shall be run.
    pub subject: Subject,
    /// What is odd about it and kept nobody from reading it, such as what its conversion leaves out.
    pub warnings: Vec<String>,
}

impl Loaded {
    fn of(pair: Arc<Pair>) -> Self {
        Self { warnings: pair.warnings().to_vec(), subject: Subject::Pair(pair) }
    }
}

impl Loader<'_> {
    /// Loads what `what` names: a file of a graph (`.json`, or a picture that carries one), the mapping file of a pair
    /// (`.yaml`), or a workflow of the catalogue. What ComfyUI has saved (UI format) needs the definitions of a server; none is
    /// returned where they are not known yet.
    pub fn load(&self, what: &str, definitions: Option<&Definitions>) -> Result<Option<Loaded>, ValidationError> {
        let path = Path::new(what);
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("yaml" | "yml") => pair_of_file(path, definitions),
            Some("json") => graph_of_file(path, definitions),
            Some(_) | None if path.is_file() => graph_of_file(path, definitions),
            Some(_) | None => of_catalog(&self.workflows.configs, &self.workflows.templates, what, definitions),
        }
    }
}

/// Says what a text that was given for a picture is on this machine.
pub fn find_image(text: &str) -> Found {
    let wanted = text.strip_prefix('@').unwrap_or(text);
    let can_only_be_a_path =
        wanted.len() < text.len() || ["./", "../", "/", ".\\"].iter().any(|start| wanted.starts_with(start));
    let path = PathBuf::from(wanted);
    if path.is_file() {
        Found::File(path)
    } else if can_only_be_a_path {
        Found::Missing
    } else {
        Found::NoPath
    }
}

/// Reads parameters of a file: a JSON object by their names.
pub fn params_of(path: &Path) -> Result<Vec<(String, Given)>, ValidationError> {
    let text = text_of(path)?;
    let wrong = |reason: String| ValidationError::one("invalid_params", path.display().to_string(), reason);
    let value: Value = serde_json::from_str(unmarked(&text))
        .map_err(|error| wrong(format!("`{}` is not JSON: {error}", path.display())))?;
    let Value::Object(object) = value else {
        return Err(wrong(format!("`{}` must hold an object of parameters by their names", path.display())));
    };
    Ok(object.into_iter().map(|(name, value)| (name, Given::Json(value))).collect())
}

/// Returns a picture as a data URI.
pub(super) async fn data_uri(path: &Path) -> Result<String, RunError> {
    let wrong = |reason: String| {
        let message = format!("`{}` cannot be sent along: {reason}", path.display());
        RunError::from(ValidationError::one("unreadable_image", path.display().to_string(), message))
    };
    let size = tokio::fs::metadata(path).await.map_err(|error| wrong(error.to_string()))?.len();
    if size > MOST_IMAGE {
        return Err(wrong(format!("it has {size} bytes, at most {MOST_IMAGE} are taken")));
    }
    let bytes = tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?;
    let kind = Kind::of(&bytes).ok_or_else(|| wrong("it is no PNG, JPEG, WebP or GIF".to_owned()))?;
    Ok(format!("data:{};base64,{}", kind.content_type(), STANDARD.encode(&bytes)))
}

/// Finds a workflow of two folders.
fn of_catalog(
    configs: &Path,
    templates: &Path,
    name: &str,
    definitions: Option<&Definitions>,
) -> Result<Option<Loaded>, ValidationError> {
    let catalog = Catalog::load_with(configs, templates, definitions.cloned().unwrap_or_default());
    let problems = catalog.problems();
    let is_its_own = |pair: &Arc<Pair>| pair.name() == name;
    let found = catalog.workflow(name);
    if definitions.is_none() && !found.as_ref().is_some_and(is_its_own) && !problems.contains_key(name) {
        // What is not read yet may be a higher version of it, or have it for an alias.
        if problems.values().flatten().any(|problem| problem.waits.is_some()) {
            return Ok(None);
        }
    }
    match (found, problems.get(name)) {
        (Some(pair), _) => return Ok(Some(Loaded::of(pair))),
        (None, Some(problems)) => return not_read(name, problems),
        (None, None) => {}
    }
    let (names, others) = (catalog.names(), catalog.other_names());
    let hint = hint(name, names.iter().chain(others.keys()).map(String::as_str));
    let message = format!("there is no workflow `{}`, and no such file{hint}", shown(name));
    Err(ValidationError::one("unknown_workflow", name, message))
}

/// Reads `x.yaml` with the `x.json` beside it, or `configs/x.yaml` with what is in `templates/`.
fn pair_of_file(config: &Path, definitions: Option<&Definitions>) -> Result<Option<Loaded>, ValidationError> {
    let name = stem(config);
    let template = config.with_file_name(format!("{name}.json"));
    let folder = config.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let templates = folder.join("../templates");
    if !template.is_file() && templates.is_dir() {
        // What cannot be read is told with its reason.
        text_of(config)?;
        return of_catalog(folder, &templates, &name, definitions);
    }
    let (config_text, template_text) = (text_of(config)?, text_of(&template)?);
    let files = Files { config: config.display().to_string(), template: template.display().to_string() };
    let known = definitions.cloned().unwrap_or_default();
    let pair = Pair::parse_with(&name, &config_text, &template_text, &files, &known);
    match pair {
        Ok(pair) => Ok(Some(Loaded::of(Arc::new(pair)))),
        Err(problems) => not_read(&name, &problems),
    }
}

/// Says what is wrong with a pair; nothing where only its conversion waits for the nodes of a server.
fn not_read(name: &str, problems: &[Problem]) -> Result<Option<Loaded>, ValidationError> {
    let is_converted_later = |problem: &Problem| problem.waits == Some(Waits::Conversion);
    if problems.iter().all(is_converted_later) {
        return Ok(None);
    }
    Err(ValidationError::of_problems(name, problems))
}

fn graph_of_file(path: &Path, definitions: Option<&Definitions>) -> Result<Option<Loaded>, ValidationError> {
    let wrong = |reason: String| {
        let message = format!("`{}`: {reason}", path.display());
        ValidationError::one("malformed_workflow", path.display().to_string(), message)
    };
    let source = Source::read(workflow_of(path)?).map_err(|error| wrong(error.to_string()))?;
    let mut notes: Vec<String> =
        taken(&source).map(|what| format!("taken from `{}`: {what}", path.display())).into_iter().collect();
    let text = source.text;
    let (graph, warnings) = match read(&text).map_err(|error| wrong(error.to_string()))? {
        Format::Executed(graph) => {
            let twice = duplicates(&text, &path.display().to_string());
            if !twice.is_empty() {
                return Err(ValidationError::of_problems(&stem(path), &twice));
            }
            (graph, Vec::new())
        }
        Format::Saved(saved) => {
            let Some(definitions) = definitions else { return Ok(None) };
            let converted = saved.convert(definitions).map_err(|error| wrong(error.to_string()))?;
            (converted.graph, converted.warnings)
        }
    };
    let subject = Subject::Graph { name: plain(&stem(path)), graph };
    notes.extend(warnings);
    Ok(Some(Loaded { subject, warnings: notes }))
}

fn text_of(path: &Path) -> Result<String, ValidationError> {
    String::from_utf8(bytes_of(path)?).map_err(|_| unreadable(path, "it is not UTF-8 text"))
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, ValidationError> {
    limited(path, &|file| {
        let mut bytes = Vec::new();
        file.take(MOST_TEXT + 1).read_to_end(&mut bytes).map(|_| bytes)
    })
}

/// Reads a file that holds a workflow, of a picture what stands before its pixels.
fn workflow_of(path: &Path) -> Result<Vec<u8>, ValidationError> {
    limited(path, &|file| take(file, MOST_TEXT))
}

fn limited(path: &Path, read: &dyn Fn(&mut File) -> io::Result<Vec<u8>>) -> Result<Vec<u8>, ValidationError> {
    if path.is_dir() {
        return Err(unreadable(path, "it is a folder; name the file in it"));
    }
    let bytes = File::open(path).and_then(|mut file| read(&mut file));
    let bytes = bytes.map_err(|error| unreadable(path, &error.to_string()))?;
    if bytes.len() as u64 > MOST_TEXT {
        return Err(unreadable(path, &format!("more than {MOST_TEXT} bytes of it would have to be read")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, reason: &str) -> ValidationError {
    let message = format!("`{}` cannot be read: {reason}", path.display());
    ValidationError::one("unreadable_file", path.display().to_string(), message)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Makes a workflow's name of a file's: letters, digits, `.`, `_` and `-`.
fn plain(stem: &str) -> String {
    let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let name: String = stem.chars().take(48).map(|letter| if good(letter) { letter } else { '-' }).collect();
    let name = name.trim_matches(['-', '.', '_']);
    if name.is_empty() { "workflow".to_owned() } else { name.to_owned() }
}
