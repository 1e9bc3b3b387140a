//! How busy the machine and the GPUs of one backend are, as the agent in its ComfyUI told it last, and in the last hour (`samples.rs`). What the numbers mean for the
//! choice of a backend is left to others.

mod read;
mod run;
mod samples;

pub use read::{AgentMetrics, Gpu, Unreadable};
pub use run::{Parts, run};
pub use samples::{Watched, sample};

use crate::clock::Timestamp;
use samples::{Look, Samples};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer is good for at least.
const GOOD_FOR: Duration = Duration::from_mins(1);

/// How many times an answer may fail to come before the last one is old.
const MISSED: u32 = 4;

/// What is known of one backend, for many to read.
#[derive(Debug, Default)]
pub struct Vitals {
    state: Mutex<State>,
    samples: Mutex<Samples>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Reading>,
    trouble: Option<String>,
}

/// What an agent told, and when.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What it told.
    pub metrics: Arc<AgentMetrics>,
    /// When.
    pub at: Timestamp,
    good_until: Timestamp,
}

impl Vitals {
    /// Notes what an agent told that is asked this often.
    pub fn told(&self, metrics: AgentMetrics, now: Timestamp, every: Duration) {
        let good_until = now + every.saturating_mul(MISSED).max(GOOD_FOR);
        *self.lock() = State { last: Some(Reading { metrics: Arc::new(metrics), at: now, good_until }), trouble: None };
    }

    /// Notes that there is no agent, and forgets what it told when there was one. Returns whether there was.
    pub fn gone(&self) -> bool {
        std::mem::take(&mut *self.lock()).last.is_some()
    }

    /// Notes why there was no answer; the last one stays. Returns whether this is new.
    pub fn failed(&self, trouble: String) -> bool {
        let trouble = Some(trouble);
        let mut state = self.lock();
        let is_new = state.trouble != trouble;
        state.trouble = trouble;
        is_new
    }

    /// Returns what was told last, however old it is; none where there is no agent.
    pub fn last(&self) -> Option<Reading> {
        self.lock().last.clone()
    }

    /// Returns what was told last, unless it is so old that it says nothing of now.
    pub fn fresh(&self, now: Timestamp) -> Option<Arc<AgentMetrics>> {
        self.last().filter(|reading| now < reading.good_until).map(|reading| reading.metrics)
    }

    /// Returns what was told last for people to read, with the names of the agent's own answer, or why nothing was told so far;
    /// `null` where there is no agent.
    pub fn view(&self, now: Timestamp) -> Value {
        let (last, trouble) = {
            let state = self.lock();
            (state.last.clone(), state.trouble.clone())
        };
        let Some(Reading { metrics, at, good_until }) = last else {
            let unheard = |trouble| json!({ "at": null, "stale": true, "trouble": trouble, "gpus": [] });
            return trouble.map_or(Value::Null, unheard);
        };
        let mut view = Map::new();
        view.insert("at".into(), json!(at.rfc3339()));
        view.insert("stale".into(), json!(metrics.is_stale || now >= good_until));
        if let Some(trouble) = trouble {
            view.insert("trouble".into(), json!(trouble));
        }
        metrics.write(&mut view);
        Value::Object(view)
    }

    /// Returns how busy its GPUs were in the last hour, for people to read.
    pub fn samples(&self) -> Value {
        self.lock_samples().view()
    }

    fn begin_looks(&self, every: Duration) {
        self.lock_samples().begin(every);
    }

    fn note_look(&self, look: Look) {
        self.lock_samples().note(look);
    }

    fn lock_samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
