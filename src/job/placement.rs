//! Where a job may run and where it would best: what its graph is, and what its workflow and its caller wish of a backend.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// The hash over the structure of a graph: its classes, its links and its models, in hex. Graphs that have it in common need
/// the same of a backend, and take about as long there.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StructureHash(pub String);

impl StructureHash {
    /// Returns the hash as text; empty where it is not known, as of a job that an older gateway has taken in.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StructureHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a job wishes of the backend that it runs on, besides what its graph needs.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// The tags that a backend must have, all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The names of backends that are taken before all others, as long as one of them can take it in time.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub prefer: BTreeSet<String>,
    /// The names of backends that it never runs on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<String>,
    /// The tags that each of its variants asks for besides, where any does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_variant: Vec<BTreeSet<String>>,
}

impl Placement {
    /// Returns what a variant wishes.
    pub fn of_variant(&self, number: usize) -> Cow<'_, Self> {
        match self.by_variant.get(number).filter(|tags| !tags.is_empty()) {
            None => Cow::Borrowed(self),
            Some(tags) => Cow::Owned(Self { tags: self.tags.union(tags).cloned().collect(), ..self.clone() }),
        }
    }

    /// Says whether any backend will do.
    pub fn is_any(&self) -> bool {
        self.tags.is_empty() && self.prefer.is_empty() && self.exclude.is_empty() && self.by_variant.is_empty()
    }
}
