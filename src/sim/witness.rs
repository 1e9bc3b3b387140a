//! Who hears of each prompt that the simulator works, at the very moment when it begins and when it ends. A process that may be
//! killed at any moment writes it down by this.

use std::fmt;
use std::sync::Arc;

/// What has just become of a prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// It was taken from the queue.
    Begun,
    /// All of its nodes have run, and its history tells so.
    Succeeded,
    /// It was interrupted, or a node raised.
    Failed,
}

/// A prompt, and what has just become of it.
#[derive(Clone, Debug)]
pub struct SimRun {
    /// The prompt's id.
    pub prompt: String,
    /// The graph that was sent, as JSON.
    pub graph: String,
    /// What happened.
    pub moment: Moment,
}

/// A function that is called at each of these moments. It must not wait for long: the simulated server stands still meanwhile.
#[derive(Clone)]
pub struct Witness(Arc<dyn Fn(&SimRun) + Send + Sync>);

impl Witness {
    /// Lets `tell` hear of every prompt.
    pub fn new(tell: impl Fn(&SimRun) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(super) fn tell(&self, run: &SimRun) {
        (self.0)(run);
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}
