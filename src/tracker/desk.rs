//! What the rest of the gateway may know of a backend and its runs at any moment, without asking its tracker.

use crate::job::JobId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// From 0 to 1 over the whole graph.
    pub fraction: f64,
}

#[derive(Debug, Default)]
struct State {
    is_connected: bool,
    last_loss: Option<String>,
    occupied: usize,
    progress: HashMap<JobId, Progress>,
}

/// The notes of one backend's tracker, for others to read.
#[derive(Debug, Default)]
pub struct Desk {
    state: Mutex<State>,
}

impl Desk {
    /// Says whether there is a socket.
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// Returns why there is no socket, while there is none.
    pub fn last_loss(&self) -> Option<String> {
        self.lock().last_loss.clone()
    }

    /// Returns how many prompts are on the backend.
    pub fn load(&self) -> usize {
        self.lock().occupied
    }

    /// Returns how far a run is, if it runs here.
    pub fn progress_of(&self, job: JobId) -> Option<Progress> {
        self.lock().progress.get(&job).copied()
    }

    pub(super) fn connected(&self) {
        let mut state = self.lock();
        state.is_connected = true;
        state.last_loss = None;
    }

    pub(super) fn disconnected(&self, reason: &str) {
        let mut state = self.lock();
        state.is_connected = false;
        state.last_loss = Some(reason.to_owned());
    }

    /// Notes the load. Returns true where a place became free.
    pub(super) fn occupied(&self, count: usize) -> bool {
        let mut state = self.lock();
        std::mem::replace(&mut state.occupied, count) > count
    }

    pub(super) fn progress(&self, job: JobId, progress: Progress) {
        self.lock().progress.insert(job, progress);
    }

    pub(super) fn forget(&self, job: JobId) {
        self.lock().progress.remove(&job);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
