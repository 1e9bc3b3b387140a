//! What dispatch knows of one backend: how to reach it, who follows its runs, and how much more it may hold.

use crate::clock::Timestamp;
use crate::comfy::Client;
use crate::tracker::{Desk, Tracker};
use std::sync::Arc;

/// One ComfyUI server.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name in logs, answers and the store.
    pub name: String,
    /// Its HTTP side.
    pub client: Client,
    /// Follows its runs.
    pub tracker: Tracker,
    /// What its tracker knows.
    pub desk: Arc<Desk>,
    /// How many prompts it holds at once: one that runs, and some that wait so that it never idles.
    pub depth: usize,
}

impl Backend {
    /// Returns how many more prompts it may be given now.
    pub fn room(&self, now: Timestamp) -> usize {
        self.desk.room(self.depth, now)
    }

    /// Returns how many of them may have input images.
    pub fn room_for_images(&self) -> usize {
        self.desk.room_for_images(self.depth)
    }
}

/// Returns the names of the backends to which `backend` leaves a job that it has lost: those that can take one at once,
/// and as long as `backend` is in doubt also those that have no room now.
pub(super) fn others(backends: &[Backend], backend: &Backend, now: Timestamp) -> Vec<String> {
    let is_doubtful = backend.desk.is_doubtful();
    let may_take = |other: &&Backend| if is_doubtful { other.desk.is_open(now) } else { other.room(now) > 0 };
    let others = backends.iter().filter(|other| other.name != backend.name).filter(may_take);
    others.map(|other| other.name.clone()).collect()
}
