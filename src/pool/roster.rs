//! Who the backends are while the gateway runs: an operator adds and removes them, drains them, pauses the queue before all. What
//! they said is in the store, and the pool is made to agree with it: at once where they said it here, within a second where the
//! command line did. How a backend goes is in `leaving`, and what stands in its way to be begun in `unopened`.

mod leaving;
mod unopened;

pub use unopened::{Said, Unopened};

use super::{Backend, BackendEvent, Definition, Duty, Pool, Source};
use crate::clock::Clock;
use crate::comfy::ComfyUrl;
use crate::lifecycle::Lifecycle;
use crate::names;
use crate::secret::Secret;
use crate::store::{KeptBackend, Leaving, PoolStore, QueueCounts, Store, StoreError};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the store is looked at when nobody rings.
const LOOK: Duration = Duration::from_secs(1);

/// The most backends.
pub(super) const MOST: usize = 1024;

/// Connects to a backend and begins all that is done for it. The error says why that cannot be.
pub type Open = Arc<dyn Fn(&Definition) -> Result<Backend, String> + Send + Sync>;

/// Forgets what else is known of a backend; it may take a moment.
pub type Forget = Arc<dyn Fn(&str) + Send + Sync>;

/// What the roster works with.
pub struct Parts {
    /// The backends as they are now.
    pub pool: Arc<Pool>,
    /// What must be remembered of them.
    pub store: Arc<dyn PoolStore>,
    /// Where their runs are.
    pub jobs: Arc<dyn Store>,
    /// How one is begun.
    pub open: Open,
    /// How one is forgotten.
    pub forget: Forget,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Spawns what sees to a backend that goes.
    pub lifecycle: Lifecycle,
    /// Rung when there may be more room for jobs.
    pub queue_bell: Arc<Notify>,
}

/// Who the backends are, for those who change it.
pub struct Roster {
    parts: Parts,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    /// The backends that are just going.
    going: Mutex<HashSet<String>>,
    /// Why some that were added cannot be begun, as it was told last.
    troubles: Mutex<HashMap<String, String>>,
    bell: Notify,
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// There is no backend of this name.
    #[error("there is no backend `{0}`; GET /backends lists them all")]
    Unknown(String),
    /// There is one of this name.
    #[error("there is a backend `{0}` already; remove it first, or choose another name")]
    NameTaken(String),
    /// There is one at this address.
    #[error("the backend `{by}` is at {url} already; a server that is two backends would be given twice as much")]
    UrlTaken {
        /// The address.
        url: ComfyUrl,
        /// Who is there.
        by: String,
    },
    /// Runs of an earlier backend of this name have not ended.
    #[error("{count} runs of an earlier backend `{name}` have not ended; choose another name, or wait a minute")]
    HasRuns {
        /// The name.
        name: String,
        /// How many.
        count: u64,
    },
    /// It is one of the settings.
    #[error(
        "the backend `{0}` is one of the settings, and would be back at the next start; drain it, and take it out there"
    )]
    Configured(String),
    /// It goes already, and cannot be held.
    #[error("the backend `{0}` is just going; add it again once it is gone")]
    IsGoing(String),
    /// There are as many as may be.
    #[error("there are {MOST} backends, and no more are taken; remove one first")]
    TooMany,
    /// It cannot be begun.
    #[error("the backend `{name}` cannot be begun: {reason}")]
    NotOpened {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Roster {
    /// Takes in what was said while the gateway ran before: backends that were added, those that get no jobs, the pause. The
    /// backends of the settings are in the pool already.
    pub async fn begin(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let (turn, going, troubles) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::default());
        let roster = Arc::new(Self { parts, turn, going, troubles, bell: Notify::new() });
        roster.agree().await?;
        Ok(roster)
    }

    /// Makes the pool agree with the store until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let clock = Arc::clone(&self.parts.clock);
        let mut is_well = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bell.notified() => {}
                () = clock.sleep_until(clock.now() + LOOK) => {}
            }
            let agreed = {
                let _turn = self.turn.lock().await;
                self.agree().await
            };
            if let Err(error) = &agreed
                && is_well
            {
                warn!(%error, "it is not known who the backends are; they stay as they are");
            }
            is_well = agreed.is_ok();
        }
    }

    /// Adds a backend. It is connected to at once, and joins later where it is down.
    pub async fn add(self: &Arc<Self>, definition: &Definition) -> Result<Arc<Backend>, RosterError> {
        let _turn = self.turn.lock().await;
        let Parts { pool, store, clock, .. } = &self.parts;
        let name = &definition.name;
        if self.is_going(name) {
            return Err(RosterError::IsGoing(name.clone()));
        }
        self.is_free(definition)?;
        let count = store.runs_on(name).await?;
        if count > 0 {
            return Err(RosterError::HasRuns { name: name.clone(), count });
        }
        let not_opened = |reason| RosterError::NotOpened { name: name.clone(), reason };
        let backend = Arc::new((self.parts.open)(definition).map_err(not_opened)?);
        let kept = store.keep_backend(name, Secret::new(definition.exposed().to_string()), clock.now()).await;
        match kept {
            Ok(true) => {}
            Ok(false) => {
                backend.stop.cancel();
                return Err(RosterError::NameTaken(name.clone()));
            }
            Err(error) => {
                backend.stop.cancel();
                return Err(error.into());
            }
        }
        pool.add(Arc::clone(&backend));
        self.tell(name, BackendEvent::Added);
        Ok(backend)
    }

    /// Lets a backend go that was added: it gets no more jobs, and is gone once its runs have ended, or soon where they are
    /// given up; at once where it could not be begun.
    pub async fn remove(self: &Arc<Self>, name: &str, how: Leaving) -> Result<(), RosterError> {
        let _turn = self.turn.lock().await;
        if self.parts.pool.get(name).is_some_and(|backend| backend.source != Source::Added) {
            return Err(RosterError::Configured(name.to_owned()));
        }
        if !self.parts.store.set_leaving(name, how).await? {
            return Err(RosterError::Unknown(names::shown(name)));
        }
        Ok(self.agree().await?)
    }

    /// Has a backend get no more jobs, or has it get jobs again; one that was to go stays.
    pub async fn set_duty(self: &Arc<Self>, name: &str, duty: Duty) -> Result<(), RosterError> {
        let _turn = self.turn.lock().await;
        let Parts { pool, store, clock, .. } = &self.parts;
        if pool.get(name).is_none() && self.said().await?.unopened(name).is_none() {
            return Err(RosterError::Unknown(names::shown(name)));
        }
        if duty == Duty::Serving && self.is_going(name) {
            return Err(RosterError::IsGoing(name.to_owned()));
        }
        store.set_draining(name, duty == Duty::Draining, clock.now()).await?;
        Ok(self.agree().await?)
    }

    /// Has no job given to any backend, or ends that.
    pub async fn pause(self: &Arc<Self>, is_paused: bool) -> Result<(), RosterError> {
        let _turn = self.turn.lock().await;
        self.parts.store.set_paused(is_paused).await?;
        Ok(self.agree().await?)
    }

    /// Counts the jobs that have not ended, of one workflow or of all.
    pub async fn queue_counts(&self, workflow: Option<&str>) -> Result<QueueCounts, StoreError> {
        self.parts.store.queue_counts(workflow).await
    }

    /// Says whether a backend may be added as far as the others are concerned.
    fn is_free(&self, definition: &Definition) -> Result<(), RosterError> {
        let backends = self.parts.pool.backends();
        if backends.iter().any(|backend| backend.name == definition.name) {
            return Err(RosterError::NameTaken(definition.name.clone()));
        }
        if let Some(there) = backends.iter().find(|backend| *backend.client.url() == definition.url) {
            return Err(RosterError::UrlTaken { url: definition.url.clone(), by: there.name.clone() });
        }
        if backends.len() >= MOST { Err(RosterError::TooMany) } else { Ok(()) }
    }

    /// Makes the pool agree with the store.
    async fn agree(self: &Arc<Self>) -> Result<(), StoreError> {
        let Parts { pool, store, queue_bell, .. } = &self.parts;
        let (kept, is_paused) = (store.kept_backends().await?, store.is_paused().await?);
        if pool.is_paused() != is_paused && pool.pause(is_paused) {
            info!(is_paused, "the queue before the backends was switched");
            queue_bell.notify_one();
        }
        // What cannot be done for one is no reason to leave the others.
        let mut outcome = Ok(());
        for kept in &kept {
            outcome = outcome.and(self.agree_on(kept).await);
        }
        outcome
    }

    async fn agree_on(self: &Arc<Self>, kept: &KeptBackend) -> Result<(), StoreError> {
        let Parts { pool, store, .. } = &self.parts;
        let trouble = self.take_in(kept);
        let was_added = kept.definition.is_some();
        if was_added && trouble != kept.trouble {
            store.set_trouble(&kept.name, trouble).await?;
        }
        let Some(backend) = pool.get(&kept.name) else {
            return match kept.leaving.filter(|_| was_added) {
                Some(_) => self.forget_unopened(&kept.name).await,
                None => Ok(()),
            };
        };
        let is_shadowed = was_added && backend.source != Source::Added;
        if is_shadowed {
            warn!(backend = kept.name, "the settings have a backend of this name; the one that was added is forgotten");
            store.leave_to_settings(&kept.name).await?;
        }
        let is_draining = kept.is_draining && !(is_shadowed && kept.leaving.is_some());
        let duty = if is_draining { Duty::Draining } else { Duty::Serving };
        if backend.set_duty(duty) != duty {
            let event = match duty {
                Duty::Serving => BackendEvent::Resumed,
                Duty::Draining => BackendEvent::Draining,
            };
            self.tell(&backend.name, event);
        }
        match kept.leaving.filter(|_| backend.source == Source::Added) {
            Some(how) => self.let_go(&backend, how).await,
            None => Ok(()),
        }
    }

    /// Tells everybody what happened to a backend.
    fn tell(&self, backend: &str, event: BackendEvent) {
        info!(backend, event = event.as_str(), "the backends have changed");
        self.parts.pool.tell(backend, self.parts.clock.now(), event);
        self.parts.pool.changed();
        self.parts.queue_bell.notify_one();
    }
}

#[cfg(test)]
mod tests;
