//! What is counted, and how it is told to Prometheus. Who does something counts it, by an atomic addition; how things stand
//! besides is looked at when somebody asks, by whoever answers. Nothing is kept by tenant, path, host or anything else that a caller
//! may choose: labels are names of the operator's and words of ours, and there is a bound for each.

mod deliveries;
mod format;
mod http;
mod list;
mod process;
mod runs;
mod seen;
mod sheet;
mod store;
mod table;

pub use deliveries::{Called, Deliveries};
pub use format::Format;
pub use list::{Kind, Listed, METRICS};
pub use seen::{Seen, SeenBackend, SeenStore};
pub use store::Commits;

use crate::job::Tap;
use http::Requests;
use process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use runs::Runs;
use sheet::Sheet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// All counts of a gateway. A clone counts with it.
#[derive(Clone)]
pub struct Metrics(Arc<Counts>);

struct Counts {
    runs: Runs,
    requests: Requests,
    deliveries: Arc<Deliveries>,
    commits: Commits,
    is_workflow: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Metrics {
    /// Counts from zero, with what the store and the notifier count. `is_workflow` says which workflows there are: others
    /// have no rows of their own.
    pub fn new(
        commits: Commits,
        deliveries: Arc<Deliveries>,
        is_workflow: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (runs, requests) = (Runs::default(), Requests::default());
        Self(Arc::new(Counts { runs, requests, deliveries, commits, is_workflow: Box::new(is_workflow) }))
    }

    /// Counts what this tap tells.
    #[must_use]
    pub fn count_at(&self, tap: Tap) -> Tap {
        let counts = Arc::clone(&self.0);
        tap.counted(move |milestone| counts.runs.take_in(milestone, &counts.is_workflow))
    }

    /// Counts what happened to a backend.
    pub fn backend_event(&self, backend: &str, event: &'static str) {
        self.0.runs.happened(backend, event);
    }

    /// Counts a request that is answered; none for a route that is none. `route` must be a line of the route table.
    pub fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        self.0.requests.answered(route, method, status, took);
    }

    /// Counts a refused request for a job, by the code of the answer.
    pub fn refused(&self, code: &'static str) {
        self.0.runs.refused(code);
    }

    /// Writes all of it, with how things stand. Asks the system, so it may take a few milliseconds. Forgets who is there no
    /// more.
    pub fn text(&self, seen: Seen, format: Format) -> String {
        let is_backend = |name: &str| seen.backends.iter().any(|backend| backend.name == name);
        self.0.runs.retain(is_backend, &self.0.is_workflow);
        let mut registry = Registry::default();
        let answer = Answer { counts: Arc::clone(&self.0), seen, process: Process::read() };
        registry.register_collector(Box::new(answer));
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = text::encode(&mut text, &registry);
        format.from_open(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

/// What one answer is written from.
#[derive(Debug)]
struct Answer {
    counts: Arc<Counts>,
    seen: Seen,
    process: Process,
}

impl Collector for Answer {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        self.counts.runs.write(&mut sheet)?;
        self.seen.write(&self.process, &mut sheet)?;
        self.counts.deliveries.write(&mut sheet)?;
        self.counts.commits.write(&mut sheet)?;
        self.counts.requests.write(&mut sheet)
    }
}
