//! Jobs as lists show them, and which of them are asked for.

use super::{Cursor, DeliveryState};
use crate::job::{Job, JobState, Tenant};

/// Which jobs to list; newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListFilter {
    /// Only jobs of this tenant; none means all.
    pub tenant: Option<Tenant>,
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs of this workflow.
    pub workflow: Option<String>,
    /// Only jobs older than this one: the last of the page before.
    pub before: Option<Cursor>,
    /// At most this many.
    pub limit: u32,
}

/// A job as lists show it.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// The job.
    pub job: Job,
    /// The failure's code, for a job that failed.
    pub code: Option<String>,
    /// The failure's one line.
    pub error: Option<String>,
    /// Where its delivery stands, for a job that has ended and has one.
    pub delivery: Option<DeliveryState>,
    /// How many outputs it has.
    pub outputs: u32,
    /// The place of the first of them that is an image.
    pub first_image: Option<u32>,
}
