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
    /// Returns how many more prompts it may be given; none while there is no socket to hear of them, and none for a while
    /// after it did not take one or did not run one.
    pub fn room(&self, now: Timestamp) -> usize {
        let takes_prompts = self.desk.is_connected() && self.desk.rests_until().is_none_or(|until| until <= now);
        if takes_prompts { self.desk.most_prompts(self.depth).saturating_sub(self.desk.load()) } else { 0 }
    }
}
