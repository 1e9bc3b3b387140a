//! What all parts stand on: the store with its blobs, the workflows, the guard of what goes out, the bells. Lays it, and brings
//! in order what the last life of the gateway has left.

use super::configured::Configured;
use super::{estimates, workflows};
use crate::clock::{Clock, Timestamp};
use crate::dispatch::Fitness;
use crate::egress::{self, Guard};
use crate::inputs::{self, Inputs};
use crate::inventory::Inventory;
use crate::job::{BodyRules, LinkKey, Tap};
use crate::lifecycle::Lifecycle;
use crate::media::Blobs;
use crate::metrics::Metrics;
use crate::notifier::{Announcer, Standing};
use crate::pool::{BackendTap, Estimates, Pool};
use crate::settings::{InputSettings, Settings};
use crate::store::{OwnSecrets, SqliteStore, Store};
use crate::vault::Vault;
use crate::workflow::Catalog;
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Notify;
use tracing::{info, warn};

/// What all parts stand on. A copy stands on the same.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) settings: Arc<Settings>,
    /// The backends that they define.
    pub(super) configured: Arc<Configured>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lifecycle: Lifecycle,
    /// Where the gateway listens.
    pub(super) address: SocketAddr,
    /// The store in all its traits, and in the one that most need.
    pub(super) sqlite: Arc<SqliteStore>,
    pub(super) store: Arc<dyn Store>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) inventory: Arc<Inventory>,
    /// What jobs are held against before they are given to backends.
    pub(super) judged_by: Arc<Inventory>,
    pub(super) bodies: Arc<BodyRules>,
    pub(super) guard: Guard,
    pub(super) inputs: Arc<Inputs>,
    pub(super) announcer: Announcer,
    pub(super) vault: Arc<Vault>,
    pub(super) bells: Bells,
    /// Hears what happens to every run.
    pub(super) tap: Tap,
    /// The backends.
    pub(super) pool: Arc<Pool>,
    /// What is known of graphs on backends.
    pub(super) fitness: Arc<Fitness>,
    /// How long runs take on backends.
    pub(super) estimates: Arc<Estimates>,
    /// Somebody wants to have frames as backends send them.
    pub(super) frames_wanted: Arc<AtomicBool>,
}

/// The wake-ups between the stations. Losing one costs a poll, nothing else.
#[derive(Clone, Default)]
pub(super) struct Bells {
    pub(super) queue: Arc<Notify>,
    pub(super) delivery: Arc<Notify>,
}

impl Ground {
    /// Opens the store and reads the workflows.
    pub(super) async fn lay(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        lifecycle: Lifecycle,
        address: SocketAddr,
        lookup: Arc<dyn egress::Lookup>,
    ) -> anyhow::Result<Self> {
        let configured = Arc::new(Configured::read(settings)?);
        let sqlite = SqliteStore::open(&settings.storage.folder)?;
        let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&sqlite);
        let bodies = body_rules(settings, address, sqlite.as_ref(), clock.now()).await?;
        let blobs = Arc::new(Blobs::open(&settings.storage.folder)?);
        sweep(&store, &blobs).await;
        pull_in(&store, clock.now()).await;
        let inventory = Arc::new(Inventory::open(&settings.storage.folder, configured.names()?, Arc::clone(&clock)));
        let catalog = workflows::load(&settings.workflows, &inventory);
        let guard = guard(settings, address, lookup);
        let uploads = Arc::<SqliteStore>::clone(&sqlite);
        let (taken, limits) = (Arc::clone(&blobs), input_limits(&settings.inputs));
        let estimates = estimates::load(sqlite.as_ref()).await;
        let random = |bytes: &mut [u8]| rand::fill(bytes);
        let inputs = Inputs::new(taken, uploads, Arc::clone(&clock), guard.clone(), limits, random);
        Ok(Self {
            settings: Arc::new(settings.clone()),
            configured,
            address,
            sqlite,
            store,
            blobs,
            catalog,
            judged_by: Arc::clone(&inventory),
            inventory,
            bodies,
            guard,
            inputs: Arc::new(inputs),
            vault: Arc::new(Vault::new(settings.backends.partner_key.clone())),
            announcer: Announcer::new(Arc::clone(&clock)),
            bells: Bells::default(),
            tap: Tap::default(),
            pool: Arc::default(),
            fitness: Arc::new(Fitness::new(settings.backends.block_after)),
            estimates,
            frames_wanted: Arc::default(),
            clock,
            lifecycle,
        })
    }

    /// Begins to count: what the tap tells, what happens to backends, what the store writes, and what `standing` knows of webhooks.
    pub(super) fn count(&mut self, standing: &Standing) -> Metrics {
        let catalog = Arc::clone(&self.catalog);
        let is_workflow = move |name: &str| catalog.workflow(name).is_some();
        let metrics = Metrics::new(self.sqlite.commits(), standing.counts(), is_workflow);
        self.tap = metrics.count_at(std::mem::take(&mut self.tap));
        let events = metrics.clone();
        self.pool.listen(BackendTap::new(move |news| events.backend_event(&news.backend, news.event.as_str())));
        metrics
    }

    /// Returns the same ground for a part of the stations, which can be ended alone.
    pub(super) fn part(&self) -> Self {
        Self { lifecycle: self.lifecycle.part(), ..self.clone() }
    }

    /// Returns the store as whoever wants another of its traits takes it.
    pub(super) fn sqlite(&self) -> Arc<SqliteStore> {
        Arc::<SqliteStore>::clone(&self.sqlite)
    }
}

/// Makes the guard of what goes out, which depends on who can reach the gateway.
fn guard(settings: &Settings, bound: SocketAddr, lookup: Arc<dyn egress::Lookup>) -> Guard {
    let rules = egress::Rules::new(&settings.egress, bound.ip().is_loopback());
    info!(mode = rules.mode(), "webhooks may go to the addresses of this mode");
    Guard::new(rules, lookup)
}

fn input_limits(settings: &InputSettings) -> inputs::Limits {
    inputs::Limits {
        bytes: settings.max_upload,
        pixels: settings.max_pixels,
        life: settings.upload_life,
        space: settings.upload_space,
        fetch: settings.fetch_timeout,
    }
}

/// Returns what final objects are written by. The key of their links is drawn at the first start.
async fn body_rules(
    settings: &Settings,
    address: SocketAddr,
    secrets: &dyn OwnSecrets,
    now: Timestamp,
) -> anyhow::Result<Arc<BodyRules>> {
    let key = own_key(secrets, "link", now).await?;
    Ok(Arc::new(BodyRules {
        link_lifetime: settings.link_lifetime(),
        inline_max: settings.outputs.inline_max,
        ..BodyRules::new(settings.server.link_base(address), LinkKey::new(key))
    }))
}

/// Returns the gateway's own key of this name, which is drawn at the first start.
pub(super) async fn own_key(secrets: &dyn OwnSecrets, name: &str, now: Timestamp) -> anyhow::Result<[u8; 32]> {
    let fresh: [u8; 32] = rand::random();
    let key = secrets.own_secret(name, fresh.to_vec(), now).await;
    let key = key.with_context(|| format!("the key `{name}` cannot be stored"))?;
    key.try_into().map_err(|_| anyhow::anyhow!("the key `{name}` is damaged: it does not have 32 bytes"))
}

/// Removes the outputs that a crash has left without a job, and revisions that no job refers to. Nothing is removed where
/// it is not certain what is needed.
async fn sweep(store: &Arc<dyn Store>, blobs: &Arc<Blobs>) {
    match store.clear_revisions().await {
        Ok(0) => {}
        Ok(removed) => info!(removed, "removed revisions of workflows that no job refers to"),
        Err(error) => warn!(%error, "revisions of workflows that no job refers to stay"),
    }
    let needed = match store.needed_blobs().await {
        Ok(needed) => needed,
        Err(error) => return warn!(%error, "left-over outputs stay: it is not certain which are needed"),
    };
    let blobs = Arc::clone(blobs);
    match tokio::task::spawn_blocking(move || blobs.sweep(&needed)).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(removed)) => info!(removed, "removed outputs that no job needs"),
        Ok(Err(error)) => warn!(%error, "left-over outputs stay"),
    }
}

/// Times are stored as the wall clock says them; one that has gone back since must hold nothing up.
async fn pull_in(store: &Arc<dyn Store>, now: Timestamp) {
    match store.pull_in(now).await {
        Ok(0) => {}
        Ok(changed) => {
            warn!(changed, "the wall clock went back since the last stop; what waited longer for it is pulled in");
        }
        Err(error) => warn!(%error, "it is not certain that nothing waits for a time that is too far off"),
    }
}
