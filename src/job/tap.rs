//! A tap on the runs: by it one hears what happens to every job, webhook or not. Who listens, and what is made of it, is
//! left to others.

use super::{Advance, JobId, JobState, News, Output, PromptId, Tenant};
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

/// Who listens to the runs, if anybody does. What is told here is told once: who must know of an end for certain asks the
/// store too.
#[derive(Clone, Default)]
pub struct Tap(Option<Arc<dyn Fn(Tapped) + Send + Sync>>);

impl Tap {
    /// Lets `listener` hear of everything. It must not wait; what it cannot take in at once it drops.
    pub fn new(listener: impl Fn(Tapped) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Says whether anybody listens.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Tells what happened, which is only made if somebody listens.
    pub fn tell(&self, tapped: impl FnOnce() -> Tapped) {
        if let Some(listener) = &self.0 {
            listener(tapped());
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tap").field(&self.0.is_some()).finish()
    }
}
