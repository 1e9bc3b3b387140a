//! The backends that jobs are given to: who they are and how each stands, at any moment and for whoever asks. They come and go
//! while the gateway runs. Which job goes where is decided by dispatch; connecting to one is left to `app`.

mod backend;
mod definition;
mod estimates;
mod eta;
mod file;
mod news;
mod roster;
mod way;
mod weights;

pub use backend::{Backend, Duty, Source};
pub use definition::{Definition, Field, Mistake};
pub use estimates::{EstimateChanges, Estimates, Reading};
pub use eta::{end_of_run, remaining};
pub use file::{read_file, read_own_file};
pub use news::{BackendEvent, BackendNews, BackendTap};
pub use roster::{Forget, Open, Parts, Roster, RosterError, Said, Unopened};
pub use way::{open_way, wrong_way};

use crate::clock::Timestamp;
use crate::job::JobId;
use crate::tracker::Progress;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// All backends.
#[derive(Debug, Default)]
pub struct Pool {
    backends: RwLock<Arc<Vec<Arc<Backend>>>>,
    is_paused: AtomicBool,
    listeners: RwLock<Vec<BackendTap>>,
    changes: watch::Sender<u64>,
}

impl Pool {
    /// Makes a pool of these.
    pub fn of(backends: impl IntoIterator<Item = Backend>) -> Self {
        let backends = RwLock::new(Arc::new(backends.into_iter().map(Arc::new).collect()));
        Self { backends, ..Self::default() }
    }

    /// Returns the backends as they are now, in the order in which they came.
    pub fn backends(&self) -> Arc<Vec<Arc<Backend>>> {
        Arc::clone(&self.backends.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the backend of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Backend>> {
        self.backends().iter().find(|backend| backend.name == name).cloned()
    }

    /// Takes a backend in. Returns false, and changes nothing, where there is one of its name.
    pub fn add(&self, backend: Arc<Backend>) -> bool {
        self.change(|backends| {
            let is_new = backends.iter().all(|known| known.name != backend.name);
            if is_new {
                backends.push(backend);
            }
            is_new
        })
    }

    /// Lets a backend go, and returns it; what it does is ended by whoever asked.
    pub fn remove(&self, name: &str) -> Option<Arc<Backend>> {
        let mut removed = None;
        self.change(|backends| {
            let place = backends.iter().position(|backend| backend.name == name);
            removed = place.map(|place| backends.remove(place));
            removed.is_some()
        });
        removed
    }

    /// Says whether no job is given to any backend now.
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    /// Has no job given to any backend, or ends that. What is on backends goes on. Returns whether it was otherwise before.
    pub fn pause(&self, paused: bool) -> bool {
        let was_other = self.is_paused.swap(paused, Ordering::AcqRel) != paused;
        self.changed();
        was_other
    }

    /// Lets one more hear what happens to backends.
    pub fn listen(&self, tap: BackendTap) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(tap);
    }

    /// Tells everybody who listens what happened to a backend.
    pub fn tell(&self, backend: &str, at: Timestamp, event: BackendEvent) {
        let news = BackendNews { backend: backend.to_owned(), at, event };
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|tap| tap.tell(&news));
    }

    /// Returns what tells that backends came or went, or that what may be given to them is different.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells whoever waits for it that something is different.
    pub fn changed(&self) {
        self.changes.send_modify(|times| *times += 1);
    }

    /// Says whether any backend is there for jobs: it serves, its socket stands, and it answers. It may be busy, or left alone
    /// for a while.
    pub fn is_any_there(&self) -> bool {
        self.backends().iter().any(|backend| backend.duty() == Duty::Serving && backend.desk.can_be_reached())
    }

    /// Returns the names of all backends.
    pub fn names(&self) -> BTreeSet<String> {
        self.backends().iter().map(|backend| backend.name.clone()).collect()
    }

    /// Returns how far a run is, wherever it runs.
    pub fn progress_of(&self, job: JobId) -> Option<Progress> {
        self.backends().iter().find_map(|backend| backend.desk.progress_of(job))
    }

    /// Changes the list for everybody at once; whoever has it already keeps what they have.
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Backend>>) -> bool) -> bool {
        let mut list = self.backends.write().unwrap_or_else(PoisonError::into_inner);
        let mut backends = Vec::clone(&list);
        let is_changed = change(&mut backends);
        if is_changed {
            *list = Arc::new(backends);
        }
        drop(list);
        if is_changed {
            self.changed();
        }
        is_changed
    }
}
