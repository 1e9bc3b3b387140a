//! How long graphs run on a backend, as it is kept.

use super::StructureHash;
use crate::clock::Timestamp;

/// What is known of the runs of one graph on one backend.
#[derive(Clone, PartialEq, Debug)]
pub struct Estimate {
    /// The graph's structure.
    pub structure: StructureHash,
    /// The backend's name.
    pub backend: String,
    /// The mean of runs after another graph, which load their models, in milliseconds; none where there was none.
    pub cold_ms: Option<f64>,
    /// The mean of runs after the same graph, in milliseconds; none where there was none.
    pub warm_ms: Option<f64>,
    /// How many runs there were.
    pub runs: u64,
    /// When the last one ended.
    pub at: Timestamp,
}
