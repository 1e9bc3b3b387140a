//! What the rest of the gateway may know of a backend and its runs at any moment, without asking its tracker.

use crate::clock::Timestamp;
use crate::job::JobId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a backend is left alone after it did not take a prompt; each further time twice as long.
const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(30);

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
    held: HashMap<JobId, usize>,
    rest: Option<Rest>,
}

/// A backend that has a socket and does not take prompts, as behind a proxy that lets only the socket through.
#[derive(Debug)]
struct Rest {
    times: u32,
    until: Timestamp,
    reason: String,
}

/// Says that somebody sees to a job, for as long as it lives: a panic drops it too.
#[derive(Debug)]
pub(super) struct Held {
    desk: Arc<Desk>,
    job: JobId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.desk.let_go(self.job);
    }
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

    /// Returns what is wrong with the backend: why the last socket was lost, or why it did not take the last prompt.
    pub fn trouble(&self) -> Option<String> {
        let state = self.lock();
        let refusal = || state.rest.as_ref().map(|rest| rest.reason.clone());
        state.last_loss.clone().or_else(refusal)
    }

    /// Returns until when the backend should be given nothing, since it did not take the last prompt.
    pub fn rests_until(&self) -> Option<Timestamp> {
        self.lock().rest.as_ref().map(|rest| rest.until)
    }

    /// Returns how many prompts are on the backend.
    pub fn load(&self) -> usize {
        self.lock().occupied
    }

    /// Returns how far a run is, if it runs here.
    pub fn progress_of(&self, job: JobId) -> Option<Progress> {
        self.lock().progress.get(&job).copied()
    }

    /// Returns the jobs of which a run is watched here, or its end is being stored.
    pub fn held(&self) -> HashSet<JobId> {
        self.lock().held.keys().copied().collect()
    }

    /// Holds a job until what is returned is dropped.
    pub(super) fn hold(self: &Arc<Self>, job: JobId) -> Held {
        *self.lock().held.entry(job).or_default() += 1;
        Held { desk: Arc::clone(self), job }
    }

    fn let_go(&self, job: JobId) {
        let mut state = self.lock();
        if let Some(count) = state.held.get_mut(&job) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&job);
            }
        }
    }

    /// Notes that the backend answered a prompt as ComfyUI does.
    pub(super) fn took_prompt(&self) {
        self.lock().rest = None;
    }

    /// Notes that a prompt did not get through to the backend.
    pub(super) fn did_not_take_prompt(&self, reason: &str, now: Timestamp) {
        let mut state = self.lock();
        let times = state.rest.as_ref().map_or(0, |rest| rest.times);
        let wait = FIRST_REST.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST_REST);
        state.rest = Some(Rest { times: times.saturating_add(1), until: now + wait, reason: reason.to_owned() });
    }

    pub(super) fn connected(&self) {
        let mut state = self.lock();
        state.is_connected = true;
        state.last_loss = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_held_until_the_last_who_sees_to_it_has_ended() {
        let desk = Arc::new(Desk::default());
        let job = JobId::from_bytes([1; 16]);
        let (watched, ending) = (desk.hold(job), desk.hold(job));
        drop(watched);
        assert_eq!(desk.held(), [job].into());
        drop(ending);
        assert!(desk.held().is_empty());
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
