//! A job on its way to a backend: how it waits, the backend and the run that it is claimed for, and who cannot run it.

use crate::job::{Job, JobId, Placement, PromptId, RunRef, StructureHash, Tenant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A job that waits, with all that matters for where it may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// Where it stands in the order of acceptance, which it keeps when it waits again.
    pub place: i64,
    /// Whose it is.
    pub tenant: Tenant,
    /// Higher runs first, among those of its tenant.
    pub priority: i32,
    /// The structures of its graphs, one for each variant; a single empty one where it is not known.
    pub structures: Vec<StructureHash>,
    /// What it wishes of a backend.
    pub placement: Placement,
    /// The ways in which it cannot run, as the backends have said themselves.
    pub unfit: BTreeSet<Way>,
    /// The backend of its last run; none before the first.
    pub left: Option<String>,
    /// Whether it has input images, which must be brought to the backend first.
    pub with_images: bool,
}

/// The jobs that came to wait since some mark.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arrivals {
    /// The jobs, in the order in which they came to wait.
    pub jobs: Vec<Waiting>,
    /// Where to go on the next time.
    pub mark: i64,
    /// Whether there may be more already.
    pub is_more: bool,
}

/// A way in which a job may run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Way {
    /// The backend's name.
    pub backend: String,
    /// Which of the job's variants, from 0.
    pub variant: u32,
}

impl Way {
    /// Returns the way of a job that has no other variants, on a backend of this name.
    pub fn first(backend: &str) -> Self {
        Self { backend: backend.to_owned(), variant: 0 }
    }
}

/// A waiting job and where it shall run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// The backend's name.
    pub backend: String,
    /// Which of the job's variants, from 0.
    pub variant: u32,
    /// The prompt id of the run, if it is not the job's first.
    pub fresh: PromptId,
}

/// A claimed job and the run that it was claimed for; the intent is on disk.
#[derive(Clone, PartialEq, Debug)]
pub struct Claimed {
    /// The job, in state `submitted`, as the variant that runs.
    pub job: Job,
    /// The run: number, backend, prompt id.
    pub run: RunRef,
    /// Which of the job's variants it is of, from 0.
    pub variant: u32,
    /// The structures of the job's graphs, one for each variant.
    pub structures: Vec<StructureHash>,
    /// How many runs before this one counted as tries.
    pub tries: u32,
    /// The ways in which the job cannot run.
    pub refused: Vec<Refused>,
}

/// A way in which a job cannot run: the backend lacks a node class or a model file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The backend, and the variant that it refused.
    pub way: Way,
    /// What it said.
    pub reason: String,
}
