//! Whether a backend that failed graphs of a structure is given more of them: not for a while, then one to find out, then
//! all again or none for twice as long. Pure: the time is given.

use crate::clock::Timestamp;
use crate::job::JobId;
use std::time::Duration;

/// A run: its job, and its number.
pub(super) type RunId = (JobId, u32);

/// How long a backend is given no such graphs; each further time twice as long.
pub(super) const FIRST_REST: Duration = Duration::from_mins(1);
pub(super) const LONGEST_REST: Duration = Duration::from_mins(10);

/// How long the run that finds out is waited for. One that ends says so at once; this is for one of which nothing is heard.
const TRIAL: Duration = Duration::from_mins(30);

/// How long nobody may want such a graph there until what was is forgotten.
const MEMORY: Duration = Duration::from_hours(1);

/// What a backend has shown of graphs of one structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Breaker {
    /// How many runs failed since one went well.
    failures: u32,
    /// How often it was opened since then.
    times: u32,
    open: Option<Open>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Open {
    until: Timestamp,
    /// The run that finds out whether it may be closed, and since when it does.
    trial: Option<(RunId, Timestamp)>,
}

impl Open {
    fn is_trial(&self, run: RunId) -> bool {
        self.trial.is_some_and(|(trial, _)| trial == run)
    }
}

impl Breaker {
    /// Returns until when no such graph may begin; none where one may.
    pub(super) fn blocked(&self, now: Timestamp) -> Option<Timestamp> {
        let open = self.open?;
        let until = open.trial.map_or(open.until, |(_, since)| since + TRIAL);
        (now < until).then_some(until)
    }

    /// Says whether it is open, be it that one may find out now.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Lets a run begin, if one may. Where it is open, that run is the one that finds out.
    pub(super) fn begin(&mut self, run: RunId, now: Timestamp) -> bool {
        if self.blocked(now).is_some() {
            return false;
        }
        if let Some(open) = &mut self.open {
            open.trial = Some((run, now));
        }
        true
    }

    /// Notes that a run failed; `after` so many in a row it opens, never for 0. Returns until when, where this has opened it.
    pub(super) fn failed(&mut self, run: RunId, now: Timestamp, after: u32) -> Option<Timestamp> {
        self.failures = self.failures.saturating_add(1);
        // One that began before it was opened shows nothing new.
        let is_late = self.open.is_some_and(|open| !open.is_trial(run));
        if after == 0 || self.failures < after || is_late {
            return None;
        }
        let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(self.times)).min(LONGEST_REST);
        self.times = self.times.saturating_add(1);
        let until = now + rest;
        self.open = Some(Open { until, trial: None });
        Some(until)
    }

    /// Forgets all that was, since a run went well or nobody else can run such graphs. Returns whether this has closed it.
    pub(super) fn reset(&mut self) -> bool {
        std::mem::take(self).open.is_some()
    }

    /// Notes that a run has shown nothing: if it was to find out, another may.
    pub(super) fn showed_nothing(&mut self, run: RunId) {
        if let Some(open) = &mut self.open
            && open.is_trial(run)
        {
            open.trial = None;
        }
    }

    /// Says whether it is so long ago that it says nothing any more.
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.open.is_some_and(|open| now >= open.until + MEMORY && self.blocked(now).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32) -> RunId {
        (JobId::from_bytes([1; 16]), number)
    }

    fn minutes(minutes: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_mins(minutes)
    }

    #[test]
    fn a_failure_blocks_for_a_minute_and_then_one_run_finds_out() {
        let mut breaker = Breaker::default();
        assert!(breaker.begin(run(1), minutes(0)) && breaker.begin(run(1), minutes(0)), "closed, it lets all through");
        assert_eq!(breaker.failed(run(1), minutes(0), 1), Some(minutes(1)));
        assert_eq!(breaker.blocked(minutes(0)), Some(minutes(1)));
        assert!(!breaker.begin(run(1), minutes(0)));
        assert_eq!(breaker.blocked(minutes(1)), None);
        assert!(breaker.begin(run(1), minutes(1)), "one finds out");
        assert!(!breaker.begin(run(1), minutes(1)), "and no other meanwhile");
        assert_eq!(breaker.blocked(minutes(1)), Some(minutes(31)));
        assert!(breaker.reset() && !breaker.is_open());
        assert!(breaker.begin(run(1), minutes(1)) && breaker.begin(run(1), minutes(1)));
    }

    #[test]
    fn each_further_time_is_twice_as_long_up_to_ten_minutes_and_a_success_begins_anew() {
        let (mut breaker, mut now) = (Breaker::default(), minutes(0));
        for rest in [1, 2, 4, 8, 10, 10] {
            assert!(breaker.begin(run(1), now));
            let until = breaker.failed(run(1), now, 1).unwrap();
            assert_eq!(until.since(now), Duration::from_mins(rest));
            now = until;
        }
        assert!(breaker.reset());
        assert_eq!(breaker.failed(run(1), now, 1).unwrap().since(now), FIRST_REST);
    }

    #[test]
    fn runs_that_began_before_it_was_opened_do_not_make_it_longer() {
        let mut breaker = Breaker::default();
        breaker.failed(run(1), minutes(0), 1);
        let before = breaker.blocked(minutes(0));
        assert_eq!(breaker.failed(run(2), minutes(0), 1), None);
        assert_eq!(breaker.blocked(minutes(0)), before);
        assert_eq!(breaker.failed(run(3), minutes(2), 1), None, "nor one that takes longer than it was open for");
        assert_eq!(breaker.blocked(minutes(2)), None);
    }

    #[test]
    fn only_the_run_that_finds_out_ends_the_finding_out() {
        let mut breaker = Breaker::default();
        breaker.failed(run(1), minutes(0), 1);
        assert!(breaker.begin(run(2), minutes(1)));
        breaker.showed_nothing(run(3));
        assert!(!breaker.begin(run(4), minutes(2)), "one finds out already");
        assert_eq!(breaker.failed(run(3), minutes(2), 1), None, "an older run");
        assert!(!breaker.begin(run(4), minutes(2)));
        assert_eq!(breaker.failed(run(2), minutes(2), 1), Some(minutes(4)), "twice as long");
    }

    #[test]
    fn it_opens_after_as_many_in_a_row_as_are_allowed_and_never_for_none() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(run(1), minutes(0), 3), None);
        assert_eq!(breaker.failed(run(1), minutes(0), 3), None);
        assert!(!breaker.reset(), "it was not open");
        assert_eq!((breaker.failed(run(1), minutes(0), 3), breaker.failed(run(1), minutes(0), 3)), (None, None));
        assert!(breaker.failed(run(1), minutes(0), 3).is_some());
        let mut off = Breaker::default();
        assert!((0..100).all(|_| off.failed(run(1), minutes(0), 0).is_none()) && off.begin(run(1), minutes(0)));
    }

    #[test]
    fn a_run_that_shows_nothing_leaves_the_finding_out_to_the_next() {
        let mut breaker = Breaker::default();
        breaker.failed(run(1), minutes(0), 1);
        assert!(breaker.begin(run(1), minutes(1)) && !breaker.begin(run(1), minutes(1)));
        breaker.showed_nothing(run(1));
        assert!(breaker.begin(run(1), minutes(1)));
        // One of which nothing is ever heard does not hold it up for ever.
        assert!(!breaker.begin(run(1), minutes(30)) && breaker.begin(run(1), minutes(31)));
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_forgotten() {
        let mut breaker = Breaker::default();
        breaker.failed(run(1), minutes(0), 1);
        assert!(!breaker.is_forgotten(minutes(60)) && breaker.is_forgotten(minutes(61)));
        assert!(breaker.begin(run(1), minutes(60)));
        assert!(!breaker.is_forgotten(minutes(61)), "a run finds out just now");
    }
}
