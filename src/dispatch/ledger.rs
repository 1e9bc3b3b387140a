//! What dispatch has given to each backend and has not ended there, so that it can be told when a backend will be free.
//! Whether a run has ended is told by the backend's desk.

use crate::clock::Timestamp;
use crate::job::{JobId, StructureHash};
use std::collections::{HashMap, HashSet};

/// A run that takes longer than it should is taken for one that goes on for this part of its time.
const STILL: f64 = 0.1;

/// What is on the backends.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pages: HashMap<String, Page>,
}

/// What is on one backend, and was last.
#[derive(Debug, Default)]
struct Page {
    runs: Vec<Entry>,
    warm: Option<StructureHash>,
    last_given: Option<Timestamp>,
    /// Which of its connections it was on.
    connection: u64,
}

/// A run.
#[derive(Debug)]
struct Entry {
    job: JobId,
    /// How long it should take, in seconds.
    seconds: f64,
    /// Since when it can have run: nothing else was before it.
    began: Option<Timestamp>,
}

impl Ledger {
    /// Notes that a backend was given a job while that was its connection.
    pub(super) fn given(
        &mut self,
        (backend, connection): (&str, u64),
        job: JobId,
        graph: StructureHash,
        seconds: f64,
        at: Timestamp,
    ) {
        let page = self.pages.entry(backend.to_owned()).or_default();
        page.connection = connection;
        page.runs.push(Entry { job, seconds, began: None });
        page.warm = Some(graph);
        page.last_given = Some(at);
    }

    /// Notes which jobs a backend still has, of which so many run at once.
    pub(super) fn settle(&mut self, backend: &str, held: &HashSet<JobId>, slots: usize, at: Timestamp) {
        let Some(page) = self.pages.get_mut(backend) else { return };
        page.runs.retain(|entry| held.contains(&entry.job));
        for entry in page.runs.iter_mut().take(slots) {
            entry.began.get_or_insert(at);
        }
    }

    /// Notes which connection a backend is on: behind another one than before may be another process, without models.
    pub(super) fn connected(&mut self, backend: &str, connection: u64) {
        if let Some(page) = self.pages.get_mut(backend).filter(|page| page.connection != connection) {
            page.connection = connection;
            page.warm = None;
        }
    }

    /// Forgets the backends that are none of these.
    pub(super) fn keep(&mut self, is_known: impl Fn(&str) -> bool) {
        self.pages.retain(|name, _| is_known(name));
    }

    /// Returns how long what a backend has should take, one after the other, in seconds.
    pub(super) fn backlog(&self, backend: &str, at: Timestamp) -> f64 {
        let rest = |entry: &Entry| {
            let ran = entry.began.map_or(0.0, |began| at.since(began).as_secs_f64());
            (entry.seconds - ran).max(entry.seconds * STILL)
        };
        self.pages.get(backend).map_or(0.0, |page| page.runs.iter().map(rest).fold(0.0, |sum, rest| sum + rest))
    }

    /// Returns the structure that a backend was given last, if its models are still there, and `before` where it was given
    /// nothing yet.
    pub(super) fn warm<'a>(&'a self, backend: &str, before: Option<&'a StructureHash>) -> Option<&'a StructureHash> {
        self.pages.get(backend).map_or(before, |page| page.warm.as_ref())
    }

    /// Returns when a backend was given the last job.
    pub(super) fn last_given(&self, backend: &str) -> Option<Timestamp> {
        self.pages.get(backend)?.last_given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn job(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_before_a_job_gets_less_as_time_goes_by_and_never_nothing() {
        let mut ledger = Ledger::default();
        let graph = |name: &str| StructureHash(name.to_owned());
        ledger.given(("a", 1), job(1), graph("x"), 10.0, at(0));
        ledger.given(("a", 1), job(2), graph("y"), 20.0, at(0));
        let held = HashSet::from([job(1), job(2)]);
        ledger.settle("a", &held, 1, at(0));
        let backlog = |ledger: &Ledger, seconds| format!("{:.1}", ledger.backlog("a", at(seconds)));
        assert_eq!([0, 4, 9, 30].map(|seconds| backlog(&ledger, seconds)), ["30.0", "26.0", "21.0", "21.0"]);
        // The second one begins when the first one is gone.
        ledger.settle("a", &HashSet::from([job(2)]), 1, at(12));
        assert_eq!([12, 17].map(|seconds| backlog(&ledger, seconds)), ["20.0", "15.0"]);
        ledger.settle("a", &HashSet::new(), 1, at(40));
        assert_eq!((backlog(&ledger, 40).as_str(), ledger.last_given("a")), ("0.0", Some(at(0))));
        let before = graph("z");
        assert_eq!(ledger.warm("a", Some(&before)), Some(&graph("y")));
        ledger.connected("a", 1);
        assert_eq!(ledger.warm("a", Some(&before)), Some(&graph("y")));
        ledger.connected("a", 2);
        assert_eq!((ledger.warm("a", Some(&before)), ledger.warm("b", Some(&before))), (None, Some(&before)));
        ledger.keep(|name| name == "b");
        assert_eq!(ledger.warm("a", Some(&before)), Some(&before));
    }
}
