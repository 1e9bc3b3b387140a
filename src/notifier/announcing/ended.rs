//! Which jobs have ended of late, so that nothing is told of them any more.

use crate::job::JobId;
use std::collections::{HashSet, VecDeque};

/// How many ends are remembered, so that nothing is told after them.
const ENDS: usize = 4096;

/// The last jobs whose end was about to be told.
#[derive(Debug, Default)]
pub(super) struct Ended {
    known: HashSet<JobId>,
    order: VecDeque<JobId>,
}

impl Ended {
    pub(super) fn contains(&self, job: JobId) -> bool {
        self.known.contains(&job)
    }

    pub(super) fn insert(&mut self, job: JobId) {
        if !self.known.insert(job) {
            return;
        }
        self.order.push_back(job);
        if self.order.len() > ENDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
