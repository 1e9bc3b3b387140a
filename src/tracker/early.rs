//! Wishes to cancel a job that came before its run was watched, or after it had ended: which of both is not known then.

use crate::job::JobId;
use std::collections::{HashSet, VecDeque};

/// How many wishes are remembered. A run is watched within moments of its claim, so those that matter are among the last.
const REMEMBERED: usize = 1024;

/// The latest of such wishes.
#[derive(Debug, Default)]
pub(super) struct EarlyCancels {
    wishes: HashSet<JobId>,
    order: VecDeque<JobId>,
}

impl EarlyCancels {
    /// Remembers a wish, and forgets the oldest where there are too many.
    pub(super) fn remember(&mut self, job: JobId) {
        if !self.wishes.insert(job) {
            return;
        }
        self.order.push_back(job);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.wishes.remove(&oldest);
        }
    }

    /// Says whether a job was to be cancelled.
    pub(super) fn contains(&self, job: JobId) -> bool {
        self.wishes.contains(&job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_wishes_are_remembered_and_no_more() {
        let mut wishes = EarlyCancels::default();
        let job = |number: usize| JobId::from_bytes((number as u128).to_be_bytes());
        for number in 0..REMEMBERED * 3 {
            wishes.remember(job(number));
            wishes.remember(job(number));
        }
        assert_eq!((wishes.wishes.len(), wishes.order.len()), (REMEMBERED, REMEMBERED));
        assert!(wishes.contains(job(REMEMBERED * 3 - 1)) && wishes.contains(job(REMEMBERED * 2)));
        assert!(!wishes.contains(job(REMEMBERED * 2 - 1)));
    }
}
