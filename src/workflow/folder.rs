//! Looks into the two folders: which pairs are there, and what their files say. Judges files, not workflows.

use super::pair::MAX_TEMPLATE;
use super::yaml;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// What one look at the folders has found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Look {
    /// The files by the name of their workflow.
    pub(super) pairs: BTreeMap<String, Texts>,
    /// The folders that could not be read, each with the reason.
    pub(super) unreadable: BTreeMap<String, String>,
}

/// The files of one name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Texts {
    /// The mapping file.
    pub(super) config: Option<Text>,
    /// The template.
    pub(super) template: Option<Text>,
    /// A mapping file under another ending.
    pub(super) misnamed: Option<String>,
}

/// What a file says, or why that is not known.
pub(super) type Text = Result<String, String>;

/// Looks at both folders.
pub(super) fn look(configs: &Path, templates: &Path) -> Look {
    let mut look = Look::default();
    each_file(&mut look, configs, |pair, ending, path, folder| match ending {
        "yaml" => pair.config = Some(read(path, folder, yaml::MAX_BYTES)),
        "yml" => pair.misnamed = Some(path.display().to_string()),
        _ => {}
    });
    each_file(&mut look, templates, |pair, ending, path, folder| {
        if ending == "json" {
            pair.template = Some(read(path, folder, MAX_TEMPLATE));
        }
    });
    look.pairs.retain(|_, pair| *pair != Texts::default());
    look
}

fn each_file(look: &mut Look, folder: &Path, mut take: impl FnMut(&mut Texts, &str, &Path, &Path)) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            look.unreadable.insert(folder.display().to_string(), format!("the folder cannot be read: {error}"));
            return;
        }
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                look.unreadable.insert(folder.display().to_string(), format!("the folder cannot be listed: {error}"));
                continue;
            }
        };
        let (Some(stem), Some(ending)) = (path.file_stem(), path.extension().and_then(OsStr::to_str)) else { continue };
        let name = stem.to_string_lossy();
        // Editors and file synchronisers keep their own files under names that begin with a dot.
        if name.starts_with('.') {
            continue;
        }
        take(look.pairs.entry(name.into_owned()).or_default(), &ending.to_ascii_lowercase(), &path, folder);
    }
}

fn read(path: &Path, folder: &Path, most: usize) -> Text {
    let failed = |error: io::Error| format!("the file cannot be read: {error}");
    let real = fs::canonicalize(path).map_err(failed)?;
    if !real.starts_with(fs::canonicalize(folder).map_err(failed)?) {
        return Err("the file is a link to a place outside of the folder: put a copy there".to_owned());
    }
    let metadata = fs::metadata(&real).map_err(failed)?;
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    if metadata.len() > most as u64 {
        return Err(format!("the file has {} bytes, at most {most} are read", metadata.len()));
    }
    let mut bytes = Vec::new();
    File::open(&real).map_err(failed)?.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8 text: save the file as UTF-8")
    })
}
