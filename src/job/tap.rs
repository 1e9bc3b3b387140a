//! A tap on the runs: by it one hears what happens to every job, webhook or not, and by it jobs are counted. Who listens, and
//! what is made of it, is left to others.

use super::{Advance, Job, JobId, JobState, News, Outcome, Output, PromptId, Tenant};
use crate::clock::Timestamp;
use std::fmt;
use std::sync::Arc;

/// What happened to a job.
#[derive(Clone, PartialEq, Debug)]
pub enum Happening {
    /// A backend has taken its run into its queue.
    Submitted {
        /// The backend's name.
        backend: String,
        /// The backend's name for the run.
        prompt: PromptId,
    },
    /// Its run has begun.
    Started,
    /// These nodes of the graph do not run: the backend has their results.
    Cached(Vec<String>),
    /// Its run is this far. May be told again unchanged.
    Progress(Advance),
    /// An output is stored.
    Output(Output),
    /// Its run is over and another one may do better: it waits again.
    Again {
        /// Why.
        reason: String,
    },
    /// It has ended, and its result is stored.
    Ended(JobState),
}

impl Happening {
    /// Returns what receivers may be told of as the tap hears it.
    pub fn of(news: &News) -> Self {
        match news {
            News::Started => Self::Started,
            News::Progress(advance) => Self::Progress(advance.clone()),
            News::Output(output) => Self::Output(output.clone()),
        }
    }
}

/// Something that happened, and to which job.
#[derive(Clone, PartialEq, Debug)]
pub struct Tapped {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Which of its runs it is about, from 1; none where it ended without one.
    pub run: Option<u32>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: Happening,
}

/// What is counted of jobs and of those who run them. Everything by reference: it is told for every job, and must cost next to nothing.
#[derive(Clone, Copy, Debug)]
pub enum Milestone<'a> {
    /// A job is taken in.
    Accepted {
        /// The workflow that it names.
        workflow: &'a str,
    },
    /// A run has begun to execute.
    Began {
        /// The job as it was before, whose `run` may not be this one.
        job: &'a Job,
        /// Which of its runs this is, from 1.
        run: u32,
        /// Where.
        backend: &'a str,
        /// When.
        at: Timestamp,
    },
    /// A backend has the results of some nodes already.
    Cached {
        /// Where.
        backend: &'a str,
        /// How many.
        nodes: usize,
    },
    /// A node began to run.
    Executing {
        /// Where.
        backend: &'a str,
    },
    /// The socket of a backend said something that says nothing.
    Noise {
        /// Whose.
        backend: &'a str,
    },
    /// A run is over, whatever becomes of its job.
    Over {
        /// The job, with when the run began where it did.
        job: &'a Job,
        /// Where.
        backend: &'a str,
        /// How.
        how: RunEnd,
        /// When.
        at: Timestamp,
    },
    /// A job has ended, and its result is stored.
    Ended {
        /// The job, as it was before.
        job: &'a Job,
        /// How.
        outcome: &'a Outcome,
    },
}

/// How a run was over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RunEnd {
    /// With all outputs.
    Succeeded,
    /// With an error that another run would meet too, or that was the last one's.
    Failed,
    /// By the caller's wish.
    Cancelled,
    /// With an error that another run may not meet.
    Again,
    /// Its backend cannot run it; others may.
    Elsewhere,
}

impl RunEnd {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Again, Self::Elsewhere];

    /// Returns how a run was over whose job ended with it.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded(_) => Self::Succeeded,
            Outcome::Failed(..) => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
        }
    }

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Again => "again",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Who listens to the runs, and who counts them, if anybody does. What is told here is told once: who must know of an end for
/// certain asks the store too.
#[derive(Clone, Default)]
pub struct Tap {
    listener: Option<Listener>,
    counter: Option<Counter>,
}

type Listener = Arc<dyn Fn(Tapped) + Send + Sync>;
type Counter = Arc<dyn Fn(Milestone<'_>) + Send + Sync>;

impl Tap {
    /// Lets `listener` hear of everything. It must not wait; what it cannot take in at once it drops.
    pub fn new(listener: impl Fn(Tapped) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), counter: None }
    }

    /// The same tap, by which `counter` counts too. It must not wait.
    #[must_use]
    pub fn counted(self, counter: impl Fn(Milestone<'_>) + Send + Sync + 'static) -> Self {
        Self { counter: Some(Arc::new(counter)), ..self }
    }

    /// Says whether anybody listens.
    pub fn is_there(&self) -> bool {
        self.listener.is_some()
    }

    /// Tells what happened, which is only made if somebody listens.
    pub fn tell(&self, tapped: impl FnOnce() -> Tapped) {
        if let Some(listener) = &self.listener {
            listener(tapped());
        }
    }

    /// Counts what happened.
    pub fn count(&self, milestone: Milestone<'_>) {
        if let Some(counter) = &self.counter {
            counter(milestone);
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (listens, counts) = (self.listener.is_some(), self.counter.is_some());
        f.debug_struct("Tap").field("listens", &listens).field("counts", &counts).finish()
    }
}
