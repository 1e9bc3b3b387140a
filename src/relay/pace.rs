//! How fast a run goes, for whoever knows what follows from that. When it should end is not decided here.

use std::time::Duration;

/// How fast a run goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    /// How long it has been running.
    pub elapsed: Duration,
    /// How long such runs usually take; none where that is not known.
    pub usual: Option<Duration>,
    /// How far it is, from 0 to 1.
    pub fraction: f64,
    /// How far it is says something of how long the rest takes.
    pub is_weighed: bool,
}

/// Says how much longer a run should take.
pub type Remaining = dyn Fn(&Pace) -> Option<Duration> + Send + Sync;
