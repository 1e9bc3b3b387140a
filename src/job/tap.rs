//! A tap on the runs: by it one hears what happens to every job, webhook or not, and by it jobs are counted. Who listens, and
//! what is made of it, is left to others.

use super::{Advance, FailureCode, Job, JobId, JobState, NodeLabel, Outcome, Output, PromptId, RawFrame, Tenant};
use crate::clock::Timestamp;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What happened to a job.
#[derive(Clone, PartialEq, Debug)]
pub enum Happening {
    /// It is taken in, and waits.
    Queued,
    /// A run of it is followed from now on, which may have begun in an earlier life of the gateway.
    Followed(Followed),
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
    /// A node of the graph began to run, or is over.
    Node {
        /// The node.
        id: String,
        /// It runs; else it is over.
        is_running: bool,
    },
    /// Its run is this far. May be told again unchanged.
    Progress {
        /// How far.
        advance: Advance,
        /// Nodes count in it by how long they usually take, so that it says something of how long the rest takes.
        is_weighed: bool,
    },
    /// A node shows what it is about to make.
    Preview(Preview),
    /// An output is stored.
    Output {
        /// The output.
        output: Output,
        /// The name that it has by its workflow.
        name: Option<String>,
    },
    /// Its run is over and another one may do better: it waits again.
    Again {
        /// Why.
        reason: String,
    },
    /// It has ended, and its result is stored.
    Ended {
        /// How.
        state: JobState,
        /// Why, where it failed.
        failure: Option<(FailureCode, String)>,
    },
}

impl Happening {
    /// Returns the end of a job that ended so.
    pub fn ended(outcome: &Outcome) -> Self {
        let failure = match outcome {
            Outcome::Failed(failure, _) => Some((failure.code, failure.message.clone())),
            Outcome::Succeeded(_) | Outcome::Cancelled => None,
        };
        Self::Ended { state: outcome.state(), failure }
    }
}

/// What is known of a run before anything is heard of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Followed {
    /// The backend's name.
    pub backend: String,
    /// When it began, where it has.
    pub started_at: Option<Timestamp>,
    /// How long such runs usually take there; none where that is not known.
    pub usual: Option<Duration>,
    /// The nodes of its graph.
    pub labels: Arc<BTreeMap<String, NodeLabel>>,
}

/// An image that a node shows while it works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preview {
    /// The node of the graph; none where nobody said whose it is.
    pub node: Option<String>,
    /// `image/png` or `image/jpeg`.
    pub content_type: String,
    /// The image file.
    pub bytes: Bytes,
}

/// Something that happened, and to which job.
#[derive(Clone, PartialEq, Debug)]
pub struct Tapped {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The name of its workflow.
    pub workflow: String,
    /// Which of its runs it is about, from 1; none where it has none yet, or ended without one.
    pub run: Option<u32>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: Happening,
}

impl Tapped {
    /// Says that this happened to a job.
    pub fn of(job: &Job, run: Option<u32>, at: Timestamp, what: Happening) -> Self {
        let (tenant, workflow) = (job.tenant.clone(), job.request.workflow.clone());
        Self { job: job.id, tenant, workflow, run, at, what }
    }
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
    frames: Option<Frames>,
}

type Listener = Arc<dyn Fn(Tapped) + Send + Sync>;
type Counter = Arc<dyn Fn(Milestone<'_>) + Send + Sync>;
type Frames = Arc<dyn Fn(Option<(JobId, &Tenant)>, RawFrame) + Send + Sync>;

impl Tap {
    /// Lets `listener` hear of everything. It must not wait; what it cannot take in at once it drops.
    pub fn new(listener: impl Fn(Tapped) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..Self::default() }
    }

    /// The same tap, to which `listener` listens, and nobody else.
    #[must_use]
    pub fn heard_by(self, listener: impl Fn(Tapped) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..self }
    }

    /// The same tap, by which `counter` counts too. It must not wait.
    #[must_use]
    pub fn counted(self, counter: impl Fn(Milestone<'_>) + Send + Sync + 'static) -> Self {
        Self { counter: Some(Arc::new(counter)), ..self }
    }

    /// The same tap, by which whoever wants them takes frames as backends sent them, with the job that each is about. It must
    /// not wait.
    #[must_use]
    pub fn with_frames(self, frames: impl Fn(Option<(JobId, &Tenant)>, RawFrame) + Send + Sync + 'static) -> Self {
        Self { frames: Some(Arc::new(frames)), ..self }
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

    /// Hands on a frame, which is about this job; none where it is about no job.
    pub fn frame(&self, job: Option<(JobId, &Tenant)>, frame: RawFrame) {
        if let Some(frames) = &self.frames {
            frames(job, frame);
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
        let frames = self.frames.is_some();
        f.debug_struct("Tap").field("listens", &listens).field("counts", &counts).field("frames", &frames).finish()
    }
}
