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
pub use seen::{DeviceMemory, Seen, SeenAgent, SeenBackend, SeenGpu, SeenStore};
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
        format.written(text)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::job::{
        FailureCode, Job, JobId, JobState, Limits, Milestone, Outcome, Request, RunEnd, StructureHash, Tenant,
    };

    const DAY: Duration = Duration::from_hours(24);

    fn job(workflow: &str) -> Job {
        Job {
            id: JobId::from_bytes([7; 16]),
            tenant: Tenant::default(),
            request: Request::plain(workflow, "r", Limits { queue: DAY, start: DAY, silence: DAY, run: DAY }),
            state: JobState::Running,
            run: None,
            cancel_requested: false,
            created_at: Timestamp::from_millis(1_000),
            submitted_at: Some(Timestamp::from_millis(1_500)),
            started_at: None,
            ended_at: None,
        }
    }

    fn metrics() -> (Metrics, Tap) {
        let is_workflow = |name: &str| name.starts_with("known");
        let metrics = Metrics::new(Commits::of(None), Arc::default(), is_workflow);
        let tap = metrics.count_at(Tap::default());
        (metrics, tap)
    }

    fn pool(names: impl IntoIterator<Item = String>) -> Seen {
        let backends = names.into_iter().map(|name| SeenBackend { name, ..SeenBackend::default() }).collect();
        Seen { backends, ..Seen::default() }
    }

    /// Counts the rows of one metric.
    fn rows(text: &str, start: &str) -> usize {
        text.lines().filter(|line| line.starts_with(start)).count()
    }

    #[test]
    fn ten_thousand_backends_and_workflows_have_no_more_rows_than_there_may_be() {
        let (metrics, tap) = metrics();
        let at = Timestamp::from_millis(9_000);
        for number in 0..10_000 {
            let backend = &format!("b{number}");
            for workflow in [format!("known{number}"), format!("nobodys{number}")] {
                let job = &job(&workflow);
                tap.count(Milestone::Began { job, run: 1, backend, at });
                tap.count(Milestone::Over { job, backend, how: RunEnd::Cancelled, at });
                tap.count(Milestone::Ended { job, outcome: &Outcome::Cancelled });
                metrics.backend_event(backend, "backend_lost");
            }
        }
        let all = metrics.text(pool((0..10_000).map(|number| format!("b{number}"))), Format::OpenMetrics);
        assert_eq!(rows(&all, "comfygate_runs_total{"), 513 * RunEnd::ALL.len());
        assert_eq!(rows(&all, "comfygate_run_seconds_count{"), 513);
        assert_eq!(rows(&all, "comfygate_backend_events_total{"), 513);
        assert_eq!(rows(&all, "comfygate_jobs_ended_total{"), 201 * (2 + FailureCode::ALL.len()));
        let others = r#"comfygate_jobs_ended_total{workflow="other",status="cancelled",code=""} 19800"#;
        assert!(all.contains(others), "the others are not lost");
        assert!(all.contains("comfygate_queue_wait_seconds_count 20000\n"));
    }

    #[test]
    fn a_workflow_has_its_rows_as_soon_as_a_job_of_it_is_there() {
        let (metrics, tap) = metrics();
        let failed = |workflow: &str| {
            let row =
                format!(r#"comfygate_jobs_ended_total{{workflow="{workflow}",status="failed",code="internal"}} 0"#);
            metrics.text(Seen::default(), Format::OpenMetrics).lines().any(|line| line == row)
        };
        assert!(failed("other") && !failed("known-new") && !failed("known-old"));
        tap.count(Milestone::Accepted { workflow: "known-new" });
        // One that was taken in by an earlier life.
        tap.count(Milestone::Began { job: &job("known-old"), run: 2, backend: "b", at: Timestamp::from_millis(9_000) });
        tap.count(Milestone::Accepted { workflow: "nobodys" });
        assert!(failed("known-new") && failed("known-old") && !failed("nobodys"));
    }

    #[test]
    fn a_backend_that_is_removed_takes_its_rows_along() {
        let (metrics, tap) = metrics();
        let (job, at) = (&job("known"), Timestamp::from_millis(9_000));
        for backend in ["stays", "goes"] {
            tap.count(Milestone::Over { job, backend, how: RunEnd::Again, at });
        }
        let before = metrics.text(pool(["stays".into(), "goes".into()]), Format::OpenMetrics);
        let after = metrics.text(pool(["stays".into()]), Format::OpenMetrics);
        assert!(before.contains(r#"backend="goes""#) && before.contains(r#"backend="stays""#));
        assert!(!after.contains(r#"backend="goes""#) && after.contains(r#"backend="stays""#));
        // One that comes late is gone with the next answer.
        tap.count(Milestone::Over { job, backend: "goes", how: RunEnd::Again, at });
        assert!(!metrics.text(pool(["stays".into()]), Format::OpenMetrics).contains(r#"backend="goes""#));
    }

    #[test]
    fn however_many_gpus_are_told_of_sixteen_have_rows() {
        let gpus = (0..40).map(|index| SeenGpu { index, busy: Some(0.5), ..SeenGpu::default() }).collect();
        let agent = SeenAgent { gpus, ..SeenAgent::default() };
        let backends = vec![SeenBackend { name: "one".into(), agent, ..SeenBackend::default() }];
        let text = metrics().0.text(Seen { backends, ..Seen::default() }, Format::OpenMetrics);
        assert_eq!(rows(&text, "comfygate_backend_gpu_utilization_ratio{"), 16);
    }

    #[test]
    fn a_run_of_a_graph_of_another_structure_is_a_swap() {
        let (metrics, tap) = metrics();
        let at = Timestamp::from_millis(9_000);
        for structure in ["a", "a", "b", "b", "a"] {
            let mut job = job("known");
            job.request.structure = StructureHash(structure.into());
            tap.count(Milestone::Began { job: &job, run: 2, backend: "one", at });
        }
        let text = metrics.text(pool(["one".into()]), Format::OpenMetrics);
        assert!(text.contains("comfygate_model_swaps_total{backend=\"one\"} 2\n"), "{text}");
        assert!(
            text.contains("comfygate_queue_wait_seconds_count 0\n"),
            "a later run has not waited since the beginning"
        );
    }

    #[test]
    fn a_name_with_quotes_and_line_feeds_stays_one_value() {
        let (metrics, tap) = metrics();
        let (job, at) = (&job("known"), Timestamp::from_millis(9_000));
        let name = "a\"} 1\nb\\";
        tap.count(Milestone::Over { job, backend: name, how: RunEnd::Again, at });
        let text = metrics.text(pool([name.to_owned()]), Format::Classic);
        let expected = r#"comfygate_runs_total{backend="a\"} 1\nb\\",outcome="again"} 1"#;
        assert!(text.lines().any(|line| line == expected), "{text}");
    }
}
