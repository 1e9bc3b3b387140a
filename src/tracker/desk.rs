//! What the rest of the gateway may know of a backend and its runs at any moment, without asking its tracker.

use crate::clock::Timestamp;
use crate::job::{JobId, PromptId};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a backend is left alone after it did not take a prompt; each further time twice as long.
const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The same for one that takes prompts and runs none: each further one is a job that fails.
const FIRST_IDLE_REST: Duration = Duration::from_mins(1);
const LONGEST_IDLE_REST: Duration = Duration::from_mins(30);

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// From 0 to 1 over the whole graph.
    pub fraction: f64,
}

#[derive(Debug, Default)]
struct State {
    is_connected: bool,
    last_loss: Option<String>,
    occupied: usize,
    progress: HashMap<JobId, Progress>,
    /// It has a socket and does not take prompts, as behind a proxy that lets only the socket through.
    rest: Option<Rest>,
    /// It takes prompts and runs none, as one whose worker has died (T6).
    idle: Option<Rest>,
    /// Prompts that were stopped long ago and still run.
    held: BTreeSet<String>,
}

/// Why a backend is left alone, and until when.
#[derive(Debug)]
struct Rest {
    times: u32,
    until: Timestamp,
    reason: String,
}

/// The notes of one backend's tracker, for others to read.
#[derive(Debug, Default)]
pub struct Desk {
    state: Mutex<State>,
}

impl Desk {
    /// Says whether there is a socket.
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// Returns what is wrong with the backend: why the last socket was lost, why it did not take the last prompt, or that it
    /// takes prompts and runs none.
    pub fn trouble(&self) -> Option<String> {
        let state = self.lock();
        let reason_of = |rest: &Option<Rest>| rest.as_ref().map(|rest| rest.reason.clone());
        let held = || {
            let held = state.held.first()?;
            Some(format!("accepts prompts and runs none: {held} was stopped and still runs; restart ComfyUI"))
        };
        state.last_loss.clone().or_else(|| reason_of(&state.rest)).or_else(held).or_else(|| reason_of(&state.idle))
    }

    /// Returns until when the backend should be given nothing, since it did not take the last prompt, or did not run it.
    pub fn rests_until(&self) -> Option<Timestamp> {
        let state = self.lock();
        [&state.rest, &state.idle].into_iter().flatten().map(|rest| rest.until).max()
    }

    /// Returns how many prompts the backend should have at most, though it has places for `depth`: none while it holds on
    /// to one that was stopped, and one where it is not certain that it runs any.
    pub fn most_prompts(&self, depth: usize) -> usize {
        let state = self.lock();
        match (state.held.is_empty(), &state.idle) {
            (false, _) => 0,
            (true, Some(_)) => depth.min(1),
            (true, None) => depth,
        }
    }

    /// Returns how many prompts are on the backend.
    pub fn load(&self) -> usize {
        self.lock().occupied
    }

    /// Returns how far a run is, if it runs here.
    pub fn progress_of(&self, job: JobId) -> Option<Progress> {
        self.lock().progress.get(&job).copied()
    }

    /// Notes that the backend answered a prompt as ComfyUI does.
    pub(super) fn took_prompt(&self) {
        self.lock().rest = None;
    }

    /// Notes that a prompt did not get through to the backend.
    pub(super) fn did_not_take_prompt(&self, reason: &str, now: Timestamp) {
        let mut state = self.lock();
        let times = state.rest.as_ref().map_or(0, |rest| rest.times);
        let until = now + wait(FIRST_REST, times, LONGEST_REST);
        state.rest = Some(Rest { times: times.saturating_add(1), until, reason: reason.to_owned() });
    }

    /// Notes that a prompt was taken and not begun in time, though nothing else of ours ran.
    pub(super) fn runs_none(&self, reason: &str, now: Timestamp) {
        let mut state = self.lock();
        let times = state.idle.as_ref().map_or(0, |rest| rest.times);
        let until = now + wait(FIRST_IDLE_REST, times, LONGEST_IDLE_REST);
        let reason = format!("accepts prompts and runs none: {reason}; restart ComfyUI if its queue stands still");
        state.idle = Some(Rest { times: times.saturating_add(1), until, reason });
    }

    /// Notes that a prompt has begun to run.
    pub(super) fn runs_prompts(&self) {
        self.lock().idle = None;
    }

    /// Notes that a prompt still runs long after it was stopped.
    pub(super) fn does_not_let_go(&self, prompt: &PromptId) {
        self.lock().held.insert(prompt.as_str().to_owned());
    }

    /// Notes that a prompt that was stopped is gone.
    pub(super) fn has_let_go(&self, prompt: &PromptId) {
        self.lock().held.remove(prompt.as_str());
    }

    /// Notes that there is a socket. It may lead to a new process, which is given a prompt to show that it runs it.
    pub(super) fn connected(&self, now: Timestamp) {
        let mut state = self.lock();
        state.is_connected = true;
        state.last_loss = None;
        if let Some(idle) = &mut state.idle {
            idle.until = now;
        }
    }

    pub(super) fn disconnected(&self, reason: &str) {
        let mut state = self.lock();
        state.is_connected = false;
        state.last_loss = Some(reason.to_owned());
    }

    /// Notes the load. Returns true where a place became free.
    pub(super) fn occupied(&self, count: usize) -> bool {
        let mut state = self.lock();
        std::mem::replace(&mut state.occupied, count) > count
    }

    pub(super) fn progress(&self, job: JobId, progress: Progress) {
        self.lock().progress.insert(job, progress);
    }

    pub(super) fn forget(&self, job: JobId) {
        self.lock().progress.remove(&job);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_runs_none_gets_one_prompt_now_and_then_until_it_runs_one() {
        let desk = Desk::default();
        let now = Timestamp::from_millis(0);
        assert_eq!(desk.most_prompts(2), 2);
        let mut waits = Vec::new();
        for _ in 0..7 {
            desk.runs_none("a free backend did not begin", now);
            waits.push(desk.rests_until().unwrap().millis() / 60_000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(desk.most_prompts(2), 1);
        desk.took_prompt();
        assert!(desk.trouble().unwrap().starts_with("accepts prompts and runs none"), "taking one shows nothing");
        desk.connected(now);
        assert_eq!((desk.rests_until(), desk.most_prompts(2)), (Some(now), 1), "it may have been restarted");
        desk.runs_prompts();
        assert_eq!((desk.rests_until(), desk.trouble(), desk.most_prompts(2)), (None, None, 2));
    }

    #[test]
    fn a_backend_that_does_not_let_go_of_a_prompt_gets_none() {
        let desk = Desk::default();
        let prompt = PromptId("p".into());
        desk.does_not_let_go(&prompt);
        assert_eq!(desk.most_prompts(2), 0);
        assert!(desk.trouble().unwrap().contains("p was stopped and still runs"));
        desk.has_let_go(&prompt);
        assert_eq!((desk.trouble(), desk.most_prompts(2)), (None, 2));
    }

    #[test]
    fn a_backend_that_takes_no_prompts_rests_longer_each_time_until_it_takes_one() {
        let desk = Desk::default();
        let now = Timestamp::from_millis(0);
        assert_eq!((desk.rests_until(), desk.trouble()), (None, None));
        let mut waits = Vec::new();
        for _ in 0..40 {
            desk.did_not_take_prompt("status 403", now);
            waits.push(desk.rests_until().unwrap().millis());
        }
        assert_eq!(waits[..9], [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(waits.last(), Some(&30_000));
        assert_eq!(desk.trouble().as_deref(), Some("status 403"));
        desk.took_prompt();
        assert_eq!((desk.rests_until(), desk.trouble()), (None, None));
    }
}
