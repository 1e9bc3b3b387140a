//! Whether a backend may be given a graph: what it has and what is wished of it, and whether it failed such graphs lately.

use crate::clock::Timestamp;
use crate::job::{Placement, StructureHash};
use crate::pool::Backend;

/// Whether a backend may be given a graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It may.
    Fits,
    /// Not until then: it failed graphs like that.
    Blocked(Timestamp),
    /// Never, as it is now; this is what it lacks.
    Unfit(String),
}

/// What is known of graphs on backends.
#[derive(Debug, Default)]
pub struct Fitness {}

impl Fitness {
    /// Says whether `backend` may be given a graph of this structure with these wishes.
    pub fn fit(&self, _graph: &StructureHash, placement: &Placement, backend: &Backend, _now: Timestamp) -> Fit {
        if placement.exclude.contains(&backend.name) {
            return Fit::Unfit("the request excludes it".to_owned());
        }
        match placement.tags.iter().find(|tag| !backend.tags.contains(*tag)) {
            Some(tag) => Fit::Unfit(format!("it does not have the tag `{tag}`")),
            None => Fit::Fits,
        }
    }
}
