//! The end of a job: what is stored of it, what is read back, and what became of the wish for an earlier one.

use crate::clock::Timestamp;
use crate::job::{FrozenBody, Job, JobId, JobState, Outcome, Output, Profile};

/// The end of a job: final state, outputs, frozen body and delivery, all in one transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Ending {
    /// The job that ends.
    pub job: JobId,
    /// The run that ended it, or none where it ended while it waited. What is no longer so is dropped: an ending by a run
    /// that is not the current one, and an ending as waiting of a job that is on a backend by now.
    pub run: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// The final object.
    pub body: FrozenBody,
    /// How its last run went, where one had begun.
    pub profile: Option<Profile>,
    /// When.
    pub ended_at: Timestamp,
}

/// The result of a job that ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Finished {
    /// The final object, as the webhook has it.
    pub body: FrozenBody,
    /// The outputs in the order of the final object.
    pub outputs: Vec<Output>,
}

/// What became of the wish to cancel a job.
#[derive(Clone, PartialEq, Debug)]
pub enum CancelWish {
    /// There is no such job.
    Unknown,
    /// It had ended already, in this state.
    AlreadyFinal(JobState),
    /// It was waiting and can be finished as cancelled by the caller of this verb.
    Waiting(Box<Job>),
    /// It is on a backend; the wish is recorded and its tracker must be told.
    Running(Box<Job>),
}
