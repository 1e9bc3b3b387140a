//! Looks into the two folders: which pairs are there, and what their files say. A file is read again only where its size,
//! times or place on the disk say that it changed. Judges files, not workflows.

use super::pair::MAX_TEMPLATE;
use super::{fields, yaml};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// In so many looks after a file has changed it is read even where nothing but its content could have changed since: its times
/// may be coarser than the time between two looks.
const FRESH: u32 = 8;

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
    /// The name of the template, without its ending, where the mapping names another one than its own.
    pub(super) shared: Option<String>,
    /// A mapping file under another ending.
    pub(super) misnamed: Option<String>,
}

/// What a file says, or why that is not known.
pub(super) type Text = Result<Arc<String>, String>;

/// Looks at the folders again and again, and remembers what it has read.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    files: HashMap<PathBuf, Known>,
    reads: u64,
}

/// A file as it was read last.
#[derive(Debug)]
struct Known {
    /// What it looked like; none where it changed while it was read.
    stamp: Option<Stamp>,
    text: Text,
    /// In how many looks it has been the same.
    looks: u32,
}

/// What tells that a file was changed, without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and when the inode changed, which no program can set.
    inode: [i64; 4],
}

impl Look {
    /// Returns what holds of this look: of each pair what it was in the look before too, since its files may be half
    /// written otherwise, and else what was `taken` of it.
    pub(super) fn settled(&self, before: &Self, taken: &Self) -> Self {
        let mut settled = Self { pairs: BTreeMap::new(), unreadable: taken.unreadable.clone() };
        if self.unreadable == before.unreadable {
            settled.unreadable.clone_from(&self.unreadable);
        }
        for name in self.pairs.keys().chain(taken.pairs.keys()) {
            let is_settled = self.pairs.get(name) == before.pairs.get(name);
            let texts = if is_settled { self.pairs.get(name) } else { taken.pairs.get(name) };
            settled.pairs.extend(texts.map(|texts| (name.clone(), texts.clone())));
        }
        settled
    }
}

impl Watcher {
    /// Looks at both folders.
    pub(super) fn look(&mut self, configs: &Path, templates: &Path) -> Look {
        let mut look = Look::default();
        let mut seen = HashSet::new();
        let mut own: BTreeMap<String, Text> = BTreeMap::new();
        for (name, ending, path) in files(&mut look, configs) {
            match ending.as_str() {
                "yaml" => {
                    let text = self.read(&path, configs, yaml::MAX_BYTES);
                    let shared = text.as_ref().ok().and_then(|text| fields::shared_template(text));
                    let pair = look.pairs.entry(name).or_default();
                    (pair.config, pair.shared) = (Some(text), shared);
                    seen.insert(path);
                }
                "yml" => look.pairs.entry(name).or_default().misnamed = Some(path.display().to_string()),
                _ => {}
            }
        }
        for (name, ending, path) in files(&mut look, templates) {
            if ending == "json" {
                own.insert(name, self.read(&path, templates, MAX_TEMPLATE));
                seen.insert(path);
            }
        }
        self.files.retain(|path, _| seen.contains(path));
        join(&mut look, &own);
        look
    }

    /// Returns how many times a file was read.
    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    /// Returns what a file says, from memory where nothing says that it has changed.
    fn read(&mut self, path: &Path, folder: &Path, most: usize) -> Text {
        let now = fs::metadata(path).ok().as_ref().map(Stamp::of);
        if let Some(known) = self.files.get_mut(path)
            && known.stamp == now
            && now.is_some()
        {
            known.looks = known.looks.saturating_add(1);
            if known.looks > FRESH {
                return known.text.clone();
            }
        }
        self.reads += 1;
        let (text, stamp) = match read(path, folder, most) {
            Ok((text, stamp)) => (Ok(text), stamp),
            Err(reason) => (Err(reason), now),
        };
        let known = self.files.get(path);
        // The text stays the one that is there, so that nobody has to compare megabytes to see that.
        let text = known.map(|known| &known.text).filter(|known| **known == text).cloned().unwrap_or(text);
        let looks = known.filter(|known| known.stamp == stamp).map_or(0, |known| known.looks);
        self.files.insert(path.to_owned(), Known { stamp, text: text.clone(), looks });
        text
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), inode: inode(metadata) }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt;
    [metadata.dev().cast_signed(), metadata.ino().cast_signed(), metadata.ctime(), metadata.ctime_nsec()]
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> [i64; 4] {
    [0; 4]
}

/// Gives each mapping its template, its own one or the one that it names.
fn join(look: &mut Look, templates: &BTreeMap<String, Text>) {
    let shared: HashSet<String> = look.pairs.values().filter_map(|pair| pair.shared.clone()).collect();
    for (name, pair) in &mut look.pairs {
        pair.template = templates.get(pair.shared.as_ref().unwrap_or(name)).cloned();
    }
    for (name, text) in templates {
        // A template that others share needs no mapping of its own name.
        if !look.pairs.contains_key(name) && !shared.contains(name) {
            look.pairs.insert(name.clone(), Texts { template: Some(text.clone()), ..Texts::default() });
        }
    }
}

/// Lists the files of a folder: name, ending, path.
fn files(look: &mut Look, folder: &Path) -> Vec<(String, String, PathBuf)> {
    let mut unreadable = |reason: String| {
        look.unreadable.insert(folder.display().to_string(), reason);
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            unreadable(format!("the folder cannot be read: {error}"));
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                unreadable(format!("the folder cannot be listed: {error}"));
                continue;
            }
        };
        let (Some(stem), Some(ending)) = (path.file_stem(), path.extension().and_then(OsStr::to_str)) else { continue };
        let name = stem.to_string_lossy().into_owned();
        // Editors and file synchronisers keep their own files under names that begin with a dot.
        if !name.starts_with('.') {
            files.push((name, ending.to_ascii_lowercase(), path));
        }
    }
    files
}

fn read(path: &Path, folder: &Path, most: usize) -> Result<(Arc<String>, Option<Stamp>), String> {
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
    let file = File::open(&real).map_err(failed)?;
    let before = Stamp::of(&file.metadata().map_err(failed)?);
    (&file).take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let after = Stamp::of(&file.metadata().map_err(failed)?);
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8 text: save the file as UTF-8")
    })?;
    Ok((Arc::new(text), (before == after).then_some(after)))
}
