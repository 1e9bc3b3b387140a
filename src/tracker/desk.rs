//! What the rest of the gateway may know of a backend and its runs at any moment, without asking its tracker; and the
//! breaker, which leaves a backend alone that does not take prompts.

use crate::clock::Timestamp;
use crate::job::JobId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a backend is left alone after it did not take a prompt; each further time twice as long.
const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How many prompts may be on their way to a backend at once. It is also how many jobs it can delay when it dies.
const UNANSWERED: usize = 3;

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// From 0 to 1 over the whole graph.
    pub fraction: f64,
}

/// How many runs a backend holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Load {
    /// All that take up a place.
    pub(super) occupied: usize,
    /// Those of them of which the backend has not said that it took them.
    pub(super) unanswered: usize,
}

#[derive(Debug, Default)]
struct State {
    is_connected: bool,
    last_loss: Option<String>,
    load: Load,
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
    /// It answered a question since, so one prompt may find out the rest.
    answers: bool,
}

impl State {
    /// Returns how many prompts may be on their way.
    fn trust(&self) -> usize {
        match &self.rest {
            None => UNANSWERED,
            Some(rest) => usize::from(rest.answers),
        }
    }
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

    /// Says whether the backend did not take the last prompt, and has taken none since.
    pub fn is_doubtful(&self) -> bool {
        self.lock().rest.is_some()
    }

    /// Says whether the backend may be given prompts, now or when it has room.
    pub fn is_open(&self) -> bool {
        let state = self.lock();
        state.is_connected && state.trust() > 0
    }

    /// Returns how many more prompts may be sent to it now, if it may hold `depth`: none without a socket to hear of them,
    /// few at once, and one at a time after it did not take one.
    pub fn room(&self, depth: usize) -> usize {
        let state = self.lock();
        let room = depth.saturating_sub(state.load.occupied);
        if state.is_connected { room.min(state.trust().saturating_sub(state.load.unanswered)) } else { 0 }
    }

    /// Returns how many prompts are on the backend.
    pub fn load(&self) -> usize {
        self.lock().load.occupied
    }

    /// Returns how far a run is, if it runs here.
    pub fn progress_of(&self, job: JobId) -> Option<Progress> {
        self.lock().progress.get(&job).copied()
    }

    /// Returns when a backend that rests should be asked whether it is well again.
    pub(super) fn ask_at(&self) -> Option<Timestamp> {
        self.lock().rest.as_ref().filter(|rest| !rest.answers).map(|rest| rest.until)
    }

    /// Notes that the backend answers questions again.
    pub(super) fn answers(&self) {
        if let Some(rest) = &mut self.lock().rest {
            rest.answers = true;
        }
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

    /// Notes that a prompt, or the question whether the backend is well, did not get through to it.
    pub(super) fn did_not_answer(&self, reason: &str, now: Timestamp) {
        let mut state = self.lock();
        let times = state.rest.as_ref().map_or(0, |rest| rest.times);
        let wait = FIRST_REST.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST_REST);
        let (times, until, reason) = (times.saturating_add(1), now + wait, reason.to_owned());
        state.rest = Some(Rest { times, until, reason, answers: false });
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

    /// Notes the load. Returns true where more may be sent than before.
    pub(super) fn loaded(&self, load: Load) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.load, load);
        let was_held_up = before.unanswered >= state.trust() && load.unanswered < before.unanswered;
        before.occupied > load.occupied || was_held_up
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

    fn desk() -> Desk {
        let desk = Desk::default();
        desk.connected();
        desk
    }

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
        let desk = desk();
        let now = Timestamp::from_millis(0);
        assert_eq!((desk.ask_at(), desk.trouble()), (None, None));
        let mut waits = Vec::new();
        for _ in 0..40 {
            desk.did_not_answer("status 403", now);
            waits.push(desk.ask_at().unwrap().millis());
        }
        assert_eq!(waits[..9], [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(waits.last(), Some(&30_000));
        assert_eq!(desk.trouble().as_deref(), Some("status 403"));
        desk.took_prompt();
        assert_eq!((desk.ask_at(), desk.trouble()), (None, None));
    }

    #[test]
    fn a_backend_that_rests_is_given_nothing_until_it_answers_and_then_one_prompt_at_a_time() {
        let desk = desk();
        assert_eq!((desk.room(2), desk.is_open()), (2, true));
        desk.did_not_answer("status 500", Timestamp::from_millis(0));
        assert_eq!((desk.room(2), desk.is_open(), desk.is_doubtful()), (0, false, true));
        desk.answers();
        assert_eq!((desk.room(2), desk.is_open(), desk.ask_at()), (1, true, None));
        desk.loaded(Load { occupied: 1, unanswered: 1 });
        assert_eq!(desk.room(2), 0);
        desk.took_prompt();
        assert!(desk.loaded(Load { occupied: 1, unanswered: 0 }) || desk.room(2) == 1);
        assert_eq!((desk.room(2), desk.is_doubtful()), (1, false));
    }

    #[test]
    fn however_much_a_backend_may_hold_few_prompts_are_on_their_way_at_once() {
        let desk = desk();
        assert_eq!(desk.room(1000), UNANSWERED);
        assert!(!desk.loaded(Load { occupied: 3, unanswered: 3 }));
        assert_eq!(desk.room(1000), 0);
        assert!(desk.loaded(Load { occupied: 3, unanswered: 2 }), "somebody waits for this");
        assert_eq!(desk.room(1000), 1);
        desk.disconnected("reset");
        assert_eq!((desk.room(1000), desk.is_open()), (0, false));
    }
}
