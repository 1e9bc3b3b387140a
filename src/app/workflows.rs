//! Keeps the catalogue as the folders are and as the backends describe their nodes, and says in the log what has changed: each
//! thing once.

use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::settings::WorkflowSettings;
use crate::workflow::Catalog;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What the log has said of the catalogue.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The revision of each workflow.
    revisions: BTreeMap<String, String>,
    problems: BTreeSet<String>,
}

/// Loads the workflows, with what is known of the backends already.
pub(super) fn load(settings: &WorkflowSettings, inventory: &Inventory) -> Arc<Catalog> {
    let catalog = Arc::new(Catalog::load_with(&settings.configs, &settings.templates, inventory.known()));
    info!(workflows = catalog.names().join(", "), "workflows loaded");
    for problem in catalog.problems().values().flatten() {
        warn!(%problem, "a workflow was not loaded");
    }
    if catalog.workflow(&settings.default).is_none() {
        warn!(workflow = settings.default, "the default workflow is not there");
    }
    catalog
}

/// What watching works with.
pub(super) struct Parts {
    pub(super) catalog: Arc<Catalog>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) look_every: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

/// Looks at the workflow folders now and then, and takes in what has changed there or on the backends.
pub(super) async fn watch(parts: Parts, stop: CancellationToken) {
    let Parts { catalog, inventory, look_every, clock } = parts;
    let mut report = Report::of(&catalog);
    let mut lessons = inventory.changes();
    // Something may have changed since the catalogue was loaded.
    lessons.mark_changed();
    loop {
        let learns = tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = lessons.changed() => true,
            () = clock.sleep_until(clock.now() + look_every) => false,
        };
        let (taught, known) = (Arc::clone(&catalog), learns.then(|| inventory.known()));
        let taking = move || known.map_or_else(|| taught.reload_if_changed(), |known| taught.learn(known));
        let changed = tokio::task::spawn_blocking(taking).await;
        if changed.unwrap_or(false) {
            report.tell(&catalog);
        }
    }
}

impl Report {
    /// Takes what is there for told.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let revision = |name: String| Some((name.clone(), catalog.workflow(&name)?.revision().to_owned()));
        let problems = catalog.problems();
        Self {
            revisions: catalog.names().into_iter().filter_map(revision).collect(),
            problems: problems.values().flatten().map(ToString::to_string).collect(),
        }
    }

    /// Tells what has changed since.
    pub(super) fn tell(&mut self, catalog: &Catalog) {
        let now = Self::of(catalog);
        for (name, revision) in &now.revisions {
            match self.revisions.get(name) {
                None => info!(workflow = name, revision, "a workflow is there"),
                Some(before) if before != revision => info!(workflow = name, revision, "a workflow has changed"),
                Some(_) => {}
            }
        }
        for name in self.revisions.keys().filter(|name| !now.revisions.contains_key(*name)) {
            info!(workflow = name, "a workflow is gone");
        }
        for problem in now.problems.difference(&self.problems) {
            warn!(problem, "a workflow's files are not good; its last good version stays, where there was one");
        }
        if !self.problems.is_empty() && now.problems.is_empty() {
            info!("all workflows are good again");
        }
        *self = now;
    }
}
