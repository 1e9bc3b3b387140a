//! What the rest of the gateway may know of a backend and its runs at any moment, without asking its tracker; and the
//! breaker, which leaves a backend alone that does not take prompts.

mod block;
mod link;

pub use block::Block;
pub use link::SocketState;

use block::BlockListener;

use crate::clock::Timestamp;
use crate::job::{JobId, PromptId};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a backend is left alone after it did not take a prompt; each further time twice as long.
const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The same for one that takes prompts and runs none: each further one is a job that fails.
const FIRST_IDLE_REST: Duration = Duration::from_mins(1);
const LONGEST_IDLE_REST: Duration = Duration::from_mins(30);

/// How many prompts may be on their way to a backend at once. It is also how many jobs it can delay when it dies.
const UNANSWERED: usize = 3;

/// How many runs may bring their input images to a backend at once, however much it may hold.
const PLACING: usize = 3;

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// From 0 to 1 over the whole graph.
    pub fraction: f64,
    /// Nodes count in it by how long they usually take, not all the same.
    pub is_weighed: bool,
}

/// How many runs a backend holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Load {
    /// All that take up a place.
    pub(super) occupied: usize,
    /// Those of them whose input images are being brought, so that they are not sent yet.
    pub(super) placing: usize,
    /// Those of them that are sent, and of which the backend has not said that it took them.
    pub(super) unanswered: usize,
}

#[derive(Debug, Default)]
struct State {
    is_connected: bool,
    last_loss: Option<String>,
    /// It leaves questions without an answer, whatever its socket says.
    unwell: Option<String>,
    load: Load,
    progress: HashMap<JobId, Progress>,
    /// The jobs of which a run is watched here, or its end is being stored.
    held: HashMap<JobId, usize>,
    /// It has a socket and does not take prompts, as behind a proxy that lets only the socket through.
    rest: Option<Rest>,
    /// It takes prompts and runs none, as one whose worker has died (T6).
    idle: Option<Rest>,
    /// Prompts that were stopped long ago and still run.
    stuck: BTreeSet<String>,
}

/// Why a backend is left alone, and until when.
#[derive(Debug)]
struct Rest {
    times: u32,
    until: Timestamp,
    reason: String,
    /// It answered a question since, so one prompt may find out the rest.
    answers: bool,
}

impl State {
    /// Says whether a prompt would get there and be heard of.
    fn takes_questions(&self) -> bool {
        self.is_connected && self.unwell.is_none()
    }

    /// Returns how many prompts may be on their way.
    fn trust(&self) -> usize {
        match &self.rest {
            None => UNANSWERED,
            Some(rest) => usize::from(rest.answers),
        }
    }

    /// Returns how many prompts it should have at most, though it has places for `depth`: none while it holds on to one
    /// that was stopped, and one now and then where it is not certain that it runs any.
    fn most_prompts(&self, depth: usize, now: Timestamp) -> usize {
        match &self.idle {
            _ if !self.stuck.is_empty() => 0,
            Some(idle) if idle.until > now => 0,
            Some(_) => depth.min(1),
            None => depth,
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
#[derive(Default)]
pub struct Desk {
    state: Mutex<State>,
    on_block: OnceLock<BlockListener>,
    /// How often a socket has come up.
    connections: watch::Sender<u64>,
    socket: watch::Sender<SocketState>,
}

impl Desk {
    /// Returns what changes whenever a socket has come up.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.connections.subscribe()
    }

    /// Returns how often a socket has come up.
    pub fn connection(&self) -> u64 {
        *self.connections.borrow()
    }

    /// Returns how the socket is, and what changes with every try to connect, with its success and its loss.
    pub fn socket(&self) -> watch::Receiver<SocketState> {
        self.socket.subscribe()
    }

    /// Says whether there is a socket.
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// Says whether there is a socket, and questions are answered.
    pub fn can_be_reached(&self) -> bool {
        self.lock().takes_questions()
    }

    /// Returns what is wrong with the backend: why the last socket was lost, why it did not take the last prompt, or that it
    /// takes prompts and runs none.
    pub fn trouble(&self) -> Option<String> {
        let state = self.lock();
        let reason_of = |rest: &Option<Rest>| rest.as_ref().map(|rest| rest.reason.clone());
        let stuck = || {
            let stuck = state.stuck.first()?;
            Some(format!("accepts prompts and runs none: {stuck} was stopped and still runs; restart ComfyUI"))
        };
        let silence = || state.last_loss.clone().or_else(|| state.unwell.clone());
        silence().or_else(|| reason_of(&state.rest)).or_else(stuck).or_else(|| reason_of(&state.idle))
    }

    /// Says whether the backend did not take the last prompt, and has taken none since.
    pub fn is_doubtful(&self) -> bool {
        self.lock().rest.is_some()
    }

    /// Says whether the backend may be given prompts, now or when it has room.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let state = self.lock();
        state.takes_questions() && state.trust() > 0 && state.most_prompts(1, now) > 0
    }

    /// Returns how many more prompts may be sent to it now, if it may hold `depth`: none without a socket to hear of them,
    /// few at once, and one at a time after it did not take one or did not run one.
    pub fn room(&self, depth: usize, now: Timestamp) -> usize {
        let state = self.lock();
        let room = state.most_prompts(depth, now).saturating_sub(state.load.occupied);
        if state.takes_questions() { room.min(state.trust().saturating_sub(state.load.unanswered)) } else { 0 }
    }

    /// Returns how many of those in its [`Desk::room`] may have input images: such a run has its place for as long as they are
    /// on their way, so one is left to others wherever there are two.
    pub fn room_for_images(&self, depth: usize) -> usize {
        let most = depth.saturating_sub(1).clamp(1, PLACING);
        most.saturating_sub(self.lock().load.placing)
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

    /// Has the backend given no prompts, since it leaves questions without an answer though its socket may stand.
    pub fn unwell(&self, reason: &str) {
        self.lock().unwell = Some(reason.to_owned());
    }

    /// Ends that. Returns whether it was so.
    pub fn well(&self) -> bool {
        self.lock().unwell.take().is_some()
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
        self.change(|state| state.rest = None);
    }

    /// Notes that a prompt, or the question whether the backend is well, did not get through to it.
    pub(super) fn did_not_answer(&self, reason: &str, now: Timestamp) {
        self.change(|state| {
            let times = state.rest.as_ref().map_or(0, |rest| rest.times);
            let until = now + wait(FIRST_REST, times, LONGEST_REST);
            let (times, reason) = (times.saturating_add(1), reason.to_owned());
            state.rest = Some(Rest { times, until, reason, answers: false });
        });
    }

    /// Notes that a prompt was taken and not begun in time, though nothing else of ours ran.
    pub(super) fn runs_none(&self, reason: &str, now: Timestamp) {
        self.change(|state| {
            let times = state.idle.as_ref().map_or(0, |rest| rest.times);
            let until = now + wait(FIRST_IDLE_REST, times, LONGEST_IDLE_REST);
            let reason = format!("accepts prompts and runs none: {reason}; restart ComfyUI if its queue stands still");
            state.idle = Some(Rest { times: times.saturating_add(1), until, reason, answers: false });
        });
    }

    /// Notes that a prompt has begun to run.
    pub(super) fn runs_prompts(&self) {
        self.change(|state| state.idle = None);
    }

    /// Notes that a prompt still runs long after it was stopped.
    pub(super) fn does_not_let_go(&self, prompt: &PromptId) {
        self.change(|state| state.stuck.insert(prompt.as_str().to_owned()));
    }

    /// Notes that a prompt that was stopped is gone. Returns whether the backend had held on to it.
    pub(super) fn has_let_go(&self, prompt: &PromptId) -> bool {
        self.change(|state| state.stuck.remove(prompt.as_str()))
    }

    /// Notes that there is a socket. It may lead to a new process, which is given a prompt to show that it runs it.
    pub(super) fn connected(&self, now: Timestamp) {
        let mut state = self.lock();
        state.is_connected = true;
        state.last_loss = None;
        if let Some(idle) = &mut state.idle {
            idle.until = now;
        }
        drop(state);
        self.socket.send_modify(SocketState::up);
        self.connections.send_modify(|times| *times += 1);
    }

    pub(super) fn disconnected(&self, reason: &str) {
        let mut state = self.lock();
        state.is_connected = false;
        state.last_loss = Some(reason.to_owned());
        drop(state);
        self.socket.send_modify(|socket| socket.not_there(reason));
    }

    /// Notes the load. Returns true where more may be sent than before.
    pub(super) fn loaded(&self, load: Load) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.load, load);
        let was_held_up = before.unanswered >= state.trust() && load.unanswered < before.unanswered;
        before.occupied > load.occupied || before.placing > load.placing || was_held_up
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

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("state", &self.state).finish_non_exhaustive()
    }
}

fn wait(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(longest)
}

#[cfg(test)]
mod tests;
