//! The workflows that are there: loads the two folders, takes in what changes, and never lets go of a good version
//! because of a bad one.

use super::folder::{Look, Text, Texts, Watcher};
use super::naming;
use super::pair::{Files, Pair};
use super::problem::Problem;
use crate::definitions::Definitions;
use crate::lifecycle::{Panicked, caught};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The workflows of two folders. Readers never wait for a reload: they see the state before it or after it.
pub struct Catalog {
    configs: PathBuf,
    templates: PathBuf,
    state: RwLock<Arc<State>>,
    seen: Mutex<Seen>,
}

/// What callers see.
#[derive(Default)]
struct State {
    workflows: BTreeMap<String, Arc<Pair>>,
    /// Names that are no workflow's own, each with the workflow that it means.
    other_names: BTreeMap<String, String>,
    problems: BTreeMap<String, Vec<Problem>>,
    /// What backends say of their node classes.
    definitions: Definitions,
}

#[derive(Default)]
struct Seen {
    watcher: Watcher,
    /// The look before.
    last: Look,
    /// What the state was made from.
    taken: Look,
    /// What backends say of their node classes, and how often that has changed.
    definitions: Definitions,
    lessons: u64,
    /// What became of the files of each name, so that they are read again only where they or the definitions have changed.
    outcomes: BTreeMap<String, Outcome>,
}

struct Outcome {
    texts: Texts,
    lessons: u64,
    read: Result<Arc<Pair>, Vec<Problem>>,
}

impl Catalog {
    /// Loads what is in the folders, before anything is known of any backend. What is wrong there is among
    /// [`Catalog::problems`].
    pub fn load(configs: &Path, templates: &Path) -> Self {
        Self::load_with(configs, templates, Definitions::default())
    }

    /// Loads what is in the folders, with what is known of backends.
    pub fn load_with(configs: &Path, templates: &Path, definitions: Definitions) -> Self {
        let catalog = Self {
            configs: configs.to_owned(),
            templates: templates.to_owned(),
            state: RwLock::default(),
            seen: Mutex::new(Seen { definitions, ..Seen::default() }),
        };
        catalog.reload();
        catalog
    }

    /// Finds a workflow by its name, by an alias, or by the name of which it is the highest version.
    pub fn workflow(&self, name: &str) -> Option<Arc<Pair>> {
        let state = self.state();
        let own = state.other_names.get(name).map_or(name, String::as_str);
        state.workflows.get(own).map(Arc::clone)
    }

    /// Returns the own names of all workflows, sorted.
    pub fn names(&self) -> Vec<String> {
        self.state().workflows.keys().cloned().collect()
    }

    /// Returns the names by which workflows are found besides, aliases and those of their highest versions, each with the
    /// own name of the workflow that it means.
    pub fn other_names(&self) -> BTreeMap<String, String> {
        self.state().other_names.clone()
    }

    /// Returns what is wrong with the files, by the workflow's own name; a folder that cannot be read stands under its path.
    /// A workflow may be here and serve all the same: with its last good version, or without one of its aliases.
    pub fn problems(&self) -> BTreeMap<String, Vec<Problem>> {
        self.state().problems.clone()
    }

    /// Returns what is known of the node classes of backends.
    pub fn definitions(&self) -> Definitions {
        self.state().definitions.clone()
    }

    /// Takes in what backends say of their node classes, and reads again what depends on it. Returns whether it was new.
    /// It takes as long as reading all workflows.
    pub fn learn(&self, definitions: Definitions) -> bool {
        let mut seen = self.seen();
        if definitions == seen.definitions {
            return false;
        }
        seen.definitions = definitions;
        seen.lessons += 1;
        self.take(&mut seen);
        true
    }

    /// Takes in the folders as they are now. A pair that is bad keeps its last good version.
    pub fn reload(&self) {
        let mut seen = self.seen();
        let look = seen.watcher.look(&self.configs, &self.templates);
        seen.last = look.clone();
        seen.taken = look;
        self.take(&mut seen);
    }

    /// Looks at the folders and takes in of each pair what two looks in a row have found the same, so that no file is
    /// taken while it is being written. Returns whether anything was taken in. Meant to be called about every second: it
    /// reads only files that have changed.
    pub fn reload_if_changed(&self) -> bool {
        let mut seen = self.seen();
        let look = seen.watcher.look(&self.configs, &self.templates);
        let settled = look.settled(&seen.last, &seen.taken);
        seen.last = look;
        if settled == seen.taken {
            return false;
        }
        seen.taken = settled;
        self.take(&mut seen);
        true
    }

    /// Returns how many times a file was read since the start.
    pub fn reads(&self) -> u64 {
        self.seen().watcher.reads()
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what callers see from what was found.
    fn take(&self, seen: &mut Seen) {
        let Seen { taken: look, definitions, lessons, outcomes, .. } = seen;
        let before = self.state();
        let mut after = State { definitions: definitions.clone(), ..State::default() };
        for (folder, reason) in &look.unreadable {
            after.problems.insert(folder.clone(), vec![Problem::of_file(folder.clone(), reason.clone())]);
        }
        outcomes.retain(|name, _| look.pairs.contains_key(name));
        for (name, texts) in &look.pairs {
            let is_known = |known: &&Outcome| known.lessons == *lessons && known.texts == *texts;
            let read = match outcomes.get(name).filter(is_known) {
                Some(known) => known.read.clone(),
                None => self.parse(name, texts, definitions),
            };
            match &read {
                Ok(workflow) => {
                    after.workflows.insert(name.clone(), Arc::clone(workflow));
                }
                Err(problems) => {
                    let old = before.workflows.get(name);
                    after.workflows.extend(old.map(|old| (name.clone(), Arc::clone(old))));
                    after.problems.insert(name.clone(), problems.clone());
                }
            }
            outcomes.insert(name.clone(), Outcome { texts: texts.clone(), lessons: *lessons, read });
        }
        // A pair whose files are both gone was taken away on purpose, but only if both folders could be read.
        if !look.unreadable.is_empty() {
            for (name, workflow) in &before.workflows {
                after.workflows.entry(name.clone()).or_insert_with(|| Arc::clone(workflow));
            }
        }
        let file = |name: &str| self.files(name, None).config;
        let (other_names, problems) = naming::other_names(&after.workflows, &before.other_names, file);
        after.other_names = other_names;
        for (name, problem) in problems {
            after.problems.entry(name).or_default().push(problem);
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
    }

    fn files(&self, name: &str, shared: Option<&str>) -> Files {
        let template = shared.unwrap_or(name);
        Files {
            config: self.configs.join(format!("{name}.yaml")).display().to_string(),
            template: self.templates.join(format!("{template}.json")).display().to_string(),
        }
    }

    fn parse(&self, name: &str, texts: &Texts, definitions: &Definitions) -> Result<Arc<Pair>, Vec<Problem>> {
        let files = self.files(name, texts.shared.as_deref());
        if let Some(misnamed) = &texts.misnamed {
            let reason = format!("the ending `.yml` is not looked at: name the file `{name}.yaml`");
            return Err(vec![Problem::of_file(misnamed.clone(), reason)]);
        }
        let mut problems = Vec::new();
        let config =
            text(texts.config.as_ref(), &files.config, ("mapping", "template", &files.template), &mut problems);
        let template =
            text(texts.template.as_ref(), &files.template, ("template", "mapping", &files.config), &mut problems);
        let (Some(config), Some(template)) = (config, template) else { return Err(problems) };
        // A pair that is a fault of ours keeps neither the others from being loaded nor the gateway from starting.
        caught("workflow", || Pair::parse_with(name, config, template, &files, definitions))
            .unwrap_or_else(|Panicked| {
                let reason = "comfygate itself fails on this pair: please report it".to_owned();
                Err(vec![Problem::of_file(files.config.clone(), reason)])
            })
            .map(Arc::new)
    }
}

/// Returns what a file of a pair says, or notes why it says nothing.
fn text<'a>(
    text: Option<&'a Text>,
    file: &str,
    (what, other, other_file): (&str, &str, &str),
    problems: &mut Vec<Problem>,
) -> Option<&'a str> {
    match text {
        Some(Ok(text)) => return Some(text.as_str()),
        Some(Err(reason)) => problems.push(Problem::of_file(file, reason.clone())),
        None => {
            let reason = format!(
                "there is no such file, but there is the {other} `{other_file}`: add the {what}, or remove the {other}"
            );
            problems.push(Problem::of_file(file, reason));
        }
    }
    None
}
