//! Counts jobs and runs, by what the tap tells of them.

use super::list::{
    BACKEND_EVENTS, CACHED_NODES, EXECUTED_NODES, JOBS_ACCEPTED, JOBS_ENDED, JOBS_REFUSED, MODEL_SWAPS, NOISE,
    OUTPUT_BYTES, OUTPUTS, QUEUE_WAIT, RUN_SECONDS, RUNS,
};
use super::sheet::Sheet;
use super::table::{OTHER, Table};
use crate::job::{FailureCode, JobState, Milestone, Outcome, RunEnd, StructureHash};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How many backends and workflows have rows of their own.
const MOST_BACKENDS: usize = 512;
const MOST_WORKFLOWS: usize = 200;
/// How many reasons and events may have rows of their own: more than there are words for them.
const MOST_WORDS: usize = 100;

const WAITS: [f64; 12] = [0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
const RUN_TIMES: [f64; 13] = [0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// What is counted of jobs and runs.
#[derive(Debug)]
pub(super) struct Runs {
    accepted: Counter,
    refused: Table<Counter>,
    wait: Histogram,
    workflows: Table<OfWorkflow>,
    backends: Table<OfBackend>,
    outputs: Counter,
    output_bytes: Counter,
}

/// How the jobs of a workflow ended: well, by a wish, or with each code.
#[derive(Debug, Default)]
struct OfWorkflow {
    succeeded: Counter,
    cancelled: Counter,
    failed: [Counter; FailureCode::ALL.len()],
}

/// What is counted of one backend.
#[derive(Debug)]
struct OfBackend {
    over: [Counter; RunEnd::ALL.len()],
    took: Histogram,
    swaps: Counter,
    cached: Counter,
    executed: Counter,
    noise: Counter,
    last: Mutex<Option<StructureHash>>,
    events: Table<Counter>,
}

impl Default for Runs {
    fn default() -> Self {
        let workflows = Table::new(MOST_WORKFLOWS, OfWorkflow::default);
        workflows.row(OTHER);
        Self {
            accepted: Counter::default(),
            refused: Table::new(MOST_WORDS, Counter::default),
            wait: Histogram::new(WAITS),
            workflows,
            backends: Table::new(MOST_BACKENDS, OfBackend::new),
            outputs: Counter::default(),
            output_bytes: Counter::default(),
        }
    }
}

impl Runs {
    /// Counts what the tap tells. A workflow that is not known is one of the others.
    pub(super) fn take_in(&self, milestone: Milestone<'_>, is_known: impl Fn(&str) -> bool) {
        match milestone {
            Milestone::Accepted { workflow } => {
                self.accepted.inc();
                self.workflow(workflow, is_known);
            }
            Milestone::Began { job, run, backend, at } => {
                // One that is taken up again after a restart has begun before.
                if run == 1 && job.started_at.is_none() {
                    self.wait.observe(at.since(job.created_at).as_secs_f64());
                }
                self.workflow(job.request.workflow.as_str(), is_known);
                self.backends.row(backend).began(&job.request.structure);
            }
            Milestone::Cached { backend, nodes } => {
                self.backends.row(backend).cached.inc_by(u64::try_from(nodes).unwrap_or(u64::MAX));
            }
            Milestone::Executing { backend } => {
                self.backends.row(backend).executed.inc();
            }
            Milestone::Noise { backend } => {
                self.backends.row(backend).noise.inc();
            }
            Milestone::Over { job, backend, how, at } => {
                let backend = self.backends.row(backend);
                backend.over[how as usize].inc();
                if let Some(began) = job.started_at {
                    backend.took.observe(at.since(began).as_secs_f64());
                }
            }
            Milestone::Ended { job, outcome } => {
                self.workflow(job.request.workflow.as_str(), is_known).ended(outcome);
                for output in outcome.outputs() {
                    self.outputs.inc();
                    self.output_bytes.inc_by(output.bytes);
                }
            }
        }
    }

    /// Returns the rows of a workflow. They are there, as zeros, before one of its jobs has ended: Prometheus takes a row that
    /// begins with 1 for one that has not risen.
    fn workflow(&self, name: &str, is_known: impl Fn(&str) -> bool) -> Arc<OfWorkflow> {
        self.workflows.row(if is_known(name) { name } else { OTHER })
    }

    /// Counts a refused request for a job.
    pub(super) fn refused(&self, code: &'static str) {
        self.refused.row(code).inc();
    }

    /// Counts what happened to a backend.
    pub(super) fn happened(&self, backend: &str, event: &'static str) {
        self.backends.row(backend).events.row(event).inc();
    }

    /// Forgets the backends and workflows that are there no more.
    pub(super) fn retain(&self, is_backend: impl Fn(&str) -> bool, is_workflow: impl Fn(&str) -> bool) {
        self.backends.retain(is_backend);
        self.workflows.retain(is_workflow);
    }

    /// Writes it.
    pub(super) fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter(&JOBS_ACCEPTED, [([], self.accepted.get())])?;
        let refused = self.refused.rows();
        sheet.counter(&JOBS_REFUSED, refused.iter().map(|(reason, count)| ([reason.as_ref()], count.get())))?;
        let workflows = self.workflows.rows();
        let ended = workflows
            .iter()
            .flat_map(|(name, row)| row.told().map(|(status, code, count)| ([name.as_ref(), status, code], count)));
        sheet.counter(&JOBS_ENDED, ended)?;
        sheet.counter(&OUTPUTS, [([], self.outputs.get())])?;
        sheet.counter(&OUTPUT_BYTES, [([], self.output_bytes.get())])?;
        sheet.histogram(&QUEUE_WAIT, [([], self.wait.clone())])?;
        let backends = self.backends.rows();
        let each = || backends.iter().map(|(name, row)| (name.as_ref(), row));
        let over = each().flat_map(|(name, row)| {
            RunEnd::ALL.into_iter().map(move |how| ([name, how.as_str()], row.over[how as usize].get()))
        });
        sheet.counter(&RUNS, over)?;
        sheet.histogram(&RUN_SECONDS, each().map(|(name, row)| ([name], row.took.clone())))?;
        sheet.counter(&MODEL_SWAPS, each().map(|(name, row)| ([name], row.swaps.get())))?;
        sheet.counter(&CACHED_NODES, each().map(|(name, row)| ([name], row.cached.get())))?;
        sheet.counter(&EXECUTED_NODES, each().map(|(name, row)| ([name], row.executed.get())))?;
        sheet.counter(&NOISE, each().map(|(name, row)| ([name], row.noise.get())))?;
        let events: Vec<_> = each().map(|(name, row)| (name, row.events.rows())).collect();
        let events = events
            .iter()
            .flat_map(|(name, events)| events.iter().map(|(event, count)| ([*name, event.as_ref()], count.get())));
        sheet.counter(&BACKEND_EVENTS, events)
    }
}

impl OfWorkflow {
    fn ended(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Succeeded(_) => self.succeeded.inc(),
            Outcome::Failed(failure, _) => self.failed[failure.code as usize].inc(),
            Outcome::Cancelled => self.cancelled.inc(),
        };
    }

    /// Returns status, code and count of each end.
    fn told(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let word = JobState::as_str;
        let well = [(word(JobState::Succeeded), "", &self.succeeded), (word(JobState::Cancelled), "", &self.cancelled)];
        let failed = FailureCode::ALL.into_iter().zip(&self.failed);
        let failed = failed.map(move |(code, count)| (word(JobState::Failed), code.as_str(), count));
        well.into_iter().chain(failed).map(|(status, code, count)| (status, code, count.get()))
    }
}

impl OfBackend {
    fn new() -> Self {
        Self {
            over: Default::default(),
            took: Histogram::new(RUN_TIMES),
            swaps: Counter::default(),
            cached: Counter::default(),
            executed: Counter::default(),
            noise: Counter::default(),
            last: Mutex::default(),
            events: Table::new(MOST_WORDS, Counter::default),
        }
    }

    fn began(&self, structure: &StructureHash) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(structure) && last.replace(structure.clone()).is_some() {
            self.swaps.inc();
        }
    }
}
