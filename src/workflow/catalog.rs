//! The workflows that are there: loads the two folders, takes in what changes, and never lets go of a good version
//! because of a bad one.

use super::folder::{self, Look, Text, Texts};
use super::pair::{Files, Pair};
use super::problem::Problem;
use crate::lifecycle::{Panicked, caught};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The workflows of two folders. Readers never wait for a reload: they see the state before it or after it.
pub struct Catalog {
    configs: PathBuf,
    templates: PathBuf,
    state: RwLock<Arc<State>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct State {
    workflows: BTreeMap<String, Arc<Pair>>,
    problems: BTreeMap<String, Vec<Problem>>,
}

#[derive(Default)]
struct Seen {
    /// The look that the state was made from.
    taken: Look,
    /// A later look that was different: it is taken when the next one is the same, since files may be half written.
    unsettled: Option<Look>,
}

impl Catalog {
    /// Loads what is in the folders. What is wrong there is among [`Catalog::problems`].
    pub fn load(configs: &Path, templates: &Path) -> Self {
        let catalog = Self {
            configs: configs.to_owned(),
            templates: templates.to_owned(),
            state: RwLock::default(),
            seen: Mutex::default(),
        };
        catalog.reload();
        catalog
    }

    /// Finds a workflow by its name.
    pub fn workflow(&self, name: &str) -> Option<Arc<Pair>> {
        self.state().workflows.get(name).map(Arc::clone)
    }

    /// Returns the names of all workflows, sorted.
    pub fn names(&self) -> Vec<String> {
        self.state().workflows.keys().cloned().collect()
    }

    /// Returns what is wrong with the files, by the workflow's name; a folder that cannot be read stands under its path.
    pub fn problems(&self) -> BTreeMap<String, Vec<Problem>> {
        self.state().problems.clone()
    }

    /// Takes in the folders as they are now. A pair that is bad keeps its last good version.
    pub fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let look = folder::look(&self.configs, &self.templates);
        self.take(&look);
        *seen = Seen { taken: look, unsettled: None };
    }

    /// Looks at the folders and takes in a change once two looks in a row have found the same, so that a file is not
    /// taken while it is being written. Returns whether anything was taken in. Meant to be called every few seconds.
    pub fn reload_if_changed(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let look = folder::look(&self.configs, &self.templates);
        if look == seen.taken {
            seen.unsettled = None;
            return false;
        }
        if seen.unsettled.as_ref() != Some(&look) {
            seen.unsettled = Some(look);
            return false;
        }
        self.take(&look);
        *seen = Seen { taken: look, unsettled: None };
        true
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, look: &Look) {
        let before = self.state();
        let mut after = State::default();
        for (folder, reason) in &look.unreadable {
            after.problems.insert(folder.clone(), vec![Problem::of_file(folder.clone(), reason.clone())]);
        }
        for (name, pair) in &look.pairs {
            let old = before.workflows.get(name);
            match self.parse(name, pair, old) {
                Ok(workflow) => {
                    after.workflows.insert(name.clone(), workflow);
                }
                Err(problems) => {
                    after.workflows.extend(old.map(|old| (name.clone(), Arc::clone(old))));
                    after.problems.insert(name.clone(), problems);
                }
            }
        }
        // A pair whose files are both gone was taken away on purpose, but only if both folders could be read.
        if !look.unreadable.is_empty() {
            for (name, workflow) in &before.workflows {
                after.workflows.entry(name.clone()).or_insert_with(|| Arc::clone(workflow));
            }
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
    }

    fn parse(&self, name: &str, pair: &Texts, old: Option<&Arc<Pair>>) -> Result<Arc<Pair>, Vec<Problem>> {
        let files = Files {
            config: self.configs.join(format!("{name}.yaml")).display().to_string(),
            template: self.templates.join(format!("{name}.json")).display().to_string(),
        };
        if let Some(misnamed) = &pair.misnamed {
            let reason = format!("the ending `.yml` is not looked at: name the file `{name}.yaml`");
            return Err(vec![Problem::of_file(misnamed.clone(), reason)]);
        }
        let mut problems = Vec::new();
        let config = text(pair.config.as_ref(), &files.config, ("mapping", "template", &files.template), &mut problems);
        let template =
            text(pair.template.as_ref(), &files.template, ("template", "mapping", &files.config), &mut problems);
        let (Some(config), Some(template)) = (config, template) else { return Err(problems) };
        let is_same = |old: &&Arc<Pair>| old.is_of(config, template);
        if let Some(old) = old.filter(is_same) {
            return Ok(Arc::clone(old));
        }
        // A pair that is a fault of ours keeps neither the others from being loaded nor the gateway from starting.
        caught("workflow", || Pair::parse(name, config, template, &files))
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
        Some(Ok(text)) => return Some(text),
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
