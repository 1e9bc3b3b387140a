//! How long a job has to wait, and why: asked by those who show it. It reads what dispatch keeps, and changes nothing.

use super::fitness::{Fit, Fitness};
use super::ledger::Ledger;
use super::room::{Class, Room};
use crate::clock::{Clock, Timestamp};
use crate::job::JobId;
use crate::pool::{Backend, Estimates, Pool};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a run takes of which nothing is known.
const UNKNOWN_RUN: Duration = Duration::from_secs(10);

const BACKEND_BLOCKED: &str = "backend_blocked";

/// Of how many kinds of waiting jobs it is asked why they wait, when all are counted: each backend is asked for each kind.
const MOST_CLASSES: usize = 2000;

/// How a job waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outlook {
    /// How many jobs should go before it. That is counted by the order of now: tenants take turns, and of each the highest
    /// lane goes first, then the oldest job. Who comes later with a higher priority, or needs a backend that is free,
    /// may still go before.
    pub ahead: usize,
    /// When its run should begin; none where no backend can take it as things are.
    pub starts_at: Option<Timestamp>,
    /// When its run should end.
    pub ends_at: Option<Timestamp>,
    /// Why it waits.
    pub why: Why,
    /// Graphs like its own have run before, so that the times are more than a guess.
    pub is_known: bool,
}

/// Why a job waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// Nothing is given to any backend, as an operator wished.
    Paused,
    /// The backends that can run it have other things to do.
    NoBackendFree,
    /// The backends that can run it are not there, end what they have, or take no prompts.
    BackendDown,
    /// The backends that can run it have failed such graphs, and are left alone until then at the least.
    BackendBlocked(Timestamp),
    /// No backend can run it.
    NoBackendFits,
}

impl Why {
    /// Returns the word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::NoBackendFree => "no_backend_free",
            Self::BackendDown => "backend_down",
            Self::BackendBlocked(_) => BACKEND_BLOCKED,
            Self::NoBackendFits => "no_backend_fits",
        }
    }
}

/// How many jobs wait, by why they do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WaitingCounts {
    /// See [`Why::Paused`].
    pub paused: usize,
    /// See [`Why::NoBackendFree`].
    pub no_backend_free: usize,
    /// See [`Why::BackendDown`].
    pub backend_down: usize,
    /// See [`Why::BackendBlocked`].
    pub backend_blocked: usize,
    /// See [`Why::NoBackendFits`].
    pub no_backend_fits: usize,
    /// Those of which nobody has asked why, since too many kinds of jobs wait.
    pub other: usize,
    /// How many are on backends.
    pub in_flight: usize,
}

impl WaitingCounts {
    /// Returns how many wait by the word for why they do.
    pub fn by_why(&self) -> [(&'static str, usize); 6] {
        [
            (Why::Paused.as_str(), self.paused),
            (Why::NoBackendFree.as_str(), self.no_backend_free),
            (Why::BackendDown.as_str(), self.backend_down),
            (BACKEND_BLOCKED, self.backend_blocked),
            (Why::NoBackendFits.as_str(), self.no_backend_fits),
            ("other", self.other),
        ]
    }

    /// Returns how many wait.
    pub fn waiting(&self) -> usize {
        self.by_why().iter().map(|(_, count)| count).sum()
    }
}

/// What dispatch keeps: who waits, and what is on the backends.
#[derive(Debug, Default)]
pub(super) struct Hall {
    pub(super) room: Room,
    pub(super) ledger: Ledger,
}

/// Answers how jobs wait.
pub struct Outlooks {
    hall: Mutex<Hall>,
    pool: Arc<Pool>,
    fitness: Arc<Fitness>,
    estimates: Arc<Estimates>,
    clock: Arc<dyn Clock>,
}

impl Outlooks {
    /// Answers for jobs that are given to these backends.
    pub fn new(pool: Arc<Pool>, fitness: Arc<Fitness>, estimates: Arc<Estimates>, clock: Arc<dyn Clock>) -> Self {
        Self { hall: Mutex::default(), pool, fitness, estimates, clock }
    }

    /// Says how a job waits; none where it does not wait, or has come so lately that dispatch has not seen it.
    pub fn outlook(&self, job: JobId) -> Option<Outlook> {
        let now = self.clock.now();
        let hall = self.hall();
        let spot = hall.room.spot(job)?;
        let class = hall.room.class(spot.class)?.clone();
        let before = hall.room.queues().get(&spot.tenant)?.before(spot);
        // Of each other tenant as many as of this one, if there are so many, and one more whose turn may be next.
        let others = hall.room.queues().iter().filter(|(tenant, _)| **tenant != spot.tenant);
        let ahead = before + others.map(|(_, queue)| queue.len().min(before + 1)).sum::<usize>();
        let backends = self.pool.backends();
        let backlogs: Vec<f64> = backends.iter().map(|backend| hall.ledger.backlog(&backend.name, now)).collect();
        drop(hall);
        let why = self.why(&class, &backends, now);
        let starts_at = match &why {
            Why::NoBackendFree => self.start(&class, &backends, &backlogs, ahead, now),
            Why::Paused | Why::BackendDown | Why::BackendBlocked(_) | Why::NoBackendFits => None,
        };
        let ends_at = starts_at.map(|start| start + self.run_time(&class));
        let is_known = self.known_run_time(&class).is_some();
        Some(Outlook { ahead, starts_at, ends_at, why, is_known })
    }

    /// Counts by backend the structures of graphs that it failed, and gets none or one of for a while.
    pub fn blocked(&self) -> HashMap<String, usize> {
        self.fitness.blocked()
    }

    /// Counts the jobs that wait by why they do, and those on backends.
    pub fn counts(&self) -> WaitingCounts {
        let now = self.clock.now();
        let hall = self.hall();
        let first: Vec<(Class, usize)> =
            hall.room.classes().take(MOST_CLASSES).map(|(class, count)| (class.clone(), count)).collect();
        let other = hall.room.classes().skip(MOST_CLASSES).map(|(_, count)| count).sum();
        drop(hall);
        let backends = self.pool.backends();
        let mut counts = WaitingCounts {
            other,
            in_flight: backends.iter().map(|backend| backend.desk.load()).sum(),
            ..WaitingCounts::default()
        };
        for (class, count) in first {
            let counted = match self.why(&class, &backends, now) {
                Why::Paused => &mut counts.paused,
                Why::NoBackendFree => &mut counts.no_backend_free,
                Why::BackendDown => &mut counts.backend_down,
                Why::BackendBlocked(_) => &mut counts.backend_blocked,
                Why::NoBackendFits => &mut counts.no_backend_fits,
            };
            *counted += count;
        }
        counts
    }

    /// Returns what dispatch keeps. Whoever has it must not wait for anything else.
    pub(super) fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn why(&self, class: &Class, backends: &[Arc<Backend>], now: Timestamp) -> Why {
        if self.pool.is_paused() {
            return Why::Paused;
        }
        let mut blocked: Option<Timestamp> = None;
        let mut is_down = false;
        for backend in backends {
            match self.fit(class, backend, now) {
                Fit::Fits if backend.is_open(now) => return Why::NoBackendFree,
                Fit::Fits => is_down = true,
                Fit::Blocked(until) => blocked = Some(blocked.map_or(until, |first| first.min(until))),
                Fit::Unfit(_) => {}
            }
        }
        match blocked {
            Some(until) => Why::BackendBlocked(until),
            None if is_down || backends.is_empty() => Why::BackendDown,
            None => Why::NoBackendFits,
        }
    }

    /// Returns the best that any variant of a class can hope for.
    fn fit(&self, class: &Class, backend: &Backend, now: Timestamp) -> Fit {
        let fits = class.structures.iter().enumerate().map(|(variant, graph)| {
            if class.is_refused(&backend.name, variant) {
                return Fit::Unfit("it has refused the job".to_owned());
            }
            self.fitness.fit(graph, &class.placement.of_variant(variant), backend, now)
        });
        let better = |fit: &Fit| match fit {
            Fit::Fits => 0,
            Fit::Blocked(_) => 1,
            Fit::Unfit(_) => 2,
        };
        fits.min_by_key(better).unwrap_or(Fit::Fits)
    }

    /// Guesses when a job begins before which so many go, if each of them takes as long as it does.
    fn start(
        &self,
        class: &Class,
        backends: &[Arc<Backend>],
        backlogs: &[f64],
        ahead: usize,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut slots = 0_u32;
        let mut backlog = 0.0;
        for (backend, rest) in backends.iter().zip(backlogs) {
            if backend.is_open(now) && self.fit(class, backend, now) == Fit::Fits {
                slots = slots.saturating_add(u32::try_from(backend.slots).unwrap_or(u32::MAX));
                backlog += rest;
            }
        }
        let before = f64::from(u32::try_from(ahead).unwrap_or(u32::MAX));
        let seconds = (backlog + before * self.run_time(class).as_secs_f64()) / f64::from(slots.max(1));
        let wait = Duration::try_from_secs_f64(seconds).ok()?;
        Some(now + wait)
    }

    /// Guesses how long a run takes, on whatever backend.
    fn run_time(&self, class: &Class) -> Duration {
        self.known_run_time(class).or_else(|| self.estimates.read().mean_of_all()).unwrap_or(UNKNOWN_RUN)
    }

    fn known_run_time(&self, class: &Class) -> Option<Duration> {
        let estimates = self.estimates.read();
        class.structures.iter().find_map(|graph| estimates.anywhere(graph))
    }
}

impl fmt::Debug for Outlooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlooks").field("waiting", &self.hall().room.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::job::{Placement, StructureHash};
    use crate::store::{Arrivals, Waiting};
    use std::collections::BTreeSet;

    #[test]
    fn however_many_kinds_of_jobs_wait_all_are_counted_and_few_kinds_are_asked_about() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let now = clock.now();
        let estimates = Arc::new(Estimates::of([]));
        let outlooks = Outlooks::new(Arc::default(), Arc::new(Fitness::new(1)), estimates, clock);
        let waiting = |number: u8, kind: usize| Waiting {
            job: JobId::from_bytes((kind as u128 * 2 + u128::from(number)).to_be_bytes()),
            place: 0,
            tenant: crate::job::Tenant::default(),
            priority: 0,
            structures: vec![StructureHash(kind.to_string())],
            placement: Placement::default(),
            unfit: BTreeSet::new(),
            left: None,
            with_images: false,
        };
        let jobs = (0..MOST_CLASSES + 5).flat_map(|kind| [waiting(0, kind), waiting(1, kind)]).collect();
        outlooks.hall().room.admit(Arrivals { jobs, ..Arrivals::default() }, now);
        let counts = outlooks.counts();
        assert_eq!(counts, WaitingCounts { backend_down: 2 * MOST_CLASSES, other: 10, ..WaitingCounts::default() });
        assert_eq!(counts.waiting(), 2 * MOST_CLASSES + 10);
    }
}
