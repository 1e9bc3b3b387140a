//! A job on its way to a backend: the places that are free there, the run that it is claimed for, and who cannot run it.

use crate::job::{Job, PromptId, RunRef};
use std::num::NonZeroUsize;

/// Free places on a backend, to be filled with waiting jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vacancy {
    /// The backend's name.
    pub backend: String,
    /// Other backends. A job whose last run was on `backend` is left to them as long as one of them may run it.
    pub others: Vec<String>,
    /// One for each place: the prompt id of a run that is not its job's first.
    pub offered: Vec<PromptId>,
    /// How many of the places may be taken by jobs with input images.
    pub with_images: usize,
    /// How many jobs of one tenant may be on backends, all of them together; none for any number.
    pub per_tenant: Option<NonZeroUsize>,
}

/// A claimed job and the run that it was claimed for; the intent is on disk.
#[derive(Clone, PartialEq, Debug)]
pub struct Claimed {
    /// The job, in state `submitted`.
    pub job: Job,
    /// The run: number, backend, prompt id.
    pub run: RunRef,
    /// How many runs before this one counted as tries.
    pub tries: u32,
    /// The backends that cannot run the job.
    pub refused: Vec<Refused>,
}

/// A backend that cannot run a job: it lacks a node class or a model file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The backend's name.
    pub backend: String,
    /// What it said.
    pub reason: String,
}
