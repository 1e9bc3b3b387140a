//! A run as the tracker sees it: its phases, what is known of it, and when it must be looked at.
//!
//! [`step`] takes in what happens. A run ends exactly once, with [`Effect::Finish`], [`Effect::Requeue`] or
//! [`Effect::Elsewhere`], at the latest when its last deadline has passed.

mod ends;
mod looked_up;
mod step;
mod stopwatch;
mod talk;

pub use step::step;
pub(super) use stopwatch::NodeChange;
pub use talk::{Effect, Input, Plan, SubmitResult};

use super::harvest::{Harvest, SlotId};
use super::limits::{CANCEL_LIMIT, COLLECT_LIMIT, Deadline, LOOKUP_LIMIT, POLL_HEARD, SHORTEST_PATIENCE, SUBMIT_LIMIT};
use crate::clock::Timestamp;
use crate::job::{Failure, FailureCode, NodeAdvance, Outcome, Output, Profile};
use std::time::Duration;
use stopwatch::Stopwatch;

#[derive(Clone, PartialEq, Debug)]
enum Phase {
    /// `POST /prompt` is under way, or its answer was lost.
    Submitting { since: Timestamp, ambiguous: bool },
    /// ComfyUI has it in its queue; `free_since`: nothing else was in its way from then on.
    Waiting { since: Timestamp, free_since: Timestamp },
    /// ComfyUI executes it.
    Running { since: Timestamp },
    /// It ended well, and its outputs are on their way, or the history that names them.
    Collecting { since: Timestamp, needs_history: bool },
    /// The end was told.
    Done,
}

/// How a backend took the last look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Backend {
    /// It answered, or refused the connection.
    Answers,
    /// It took the request and said nothing.
    Hangs,
}

/// Why it is not known whether ComfyUI took a prompt.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Doubt {
    reason: String,
    /// It said something, such as that it crashed.
    was_answered: bool,
}

/// A look into queue and history that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    since: Timestamp,
    /// It began before `POST /prompt` was over, so it cannot say that the prompt is not there.
    is_early: bool,
}

/// Where the input images of a run are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Images {
    /// They are being brought to the backend, and the prompt is surely not there.
    OnTheWay,
    /// On the backend, or there are none: the prompt is sent.
    There,
}

/// Which life of the gateway a run was submitted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// This one.
    This,
    /// An earlier one; what became of it meanwhile is not known yet, so it may have ended in time.
    EarlierAndUnproven,
    /// An earlier one; its backend has been asked, or has said something since.
    Earlier,
}

/// One try of a job on one backend, as the tracker sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    plan: Plan,
    phase: Phase,
    harvest: Harvest,
    /// Everything that the backend said of this run reached us.
    heard: bool,
    socket_up: bool,
    /// When the socket was lost, something else ran on the backend and not this.
    waited_behind_another: bool,
    /// When the socket or the backend last showed that the run is alive.
    last_sign: Timestamp,
    /// When the socket last said something of it.
    last_event: Timestamp,
    /// A look into queue and history is under way.
    looking: Option<Look>,
    next_look: Timestamp,
    /// How long the socket that hears it may say nothing of its end before queue and history are asked.
    patience: Duration,
    /// Since when the backend could not be reached, as far as it was asked; any sign of it ends that.
    unreachable_since: Option<Timestamp>,
    /// No deadline asks for another look before this: one has just been answered.
    rested: Timestamp,
    cancel_since: Option<Timestamp>,
    /// Why some outputs will be missing: partly refused at submission, or blocked on purpose.
    warning: Option<Failure>,
    images: Images,
    backend: Backend,
    /// Why it is not known whether ComfyUI took it.
    doubt: Option<Doubt>,
    life: Life,
    stopwatch: Stopwatch,
    /// How far it ever was: it does not go back.
    farthest: f64,
    /// Why its backend should be given no more of such graphs for a while.
    fault: Option<String>,
}

impl Run {
    /// Begins to watch a run that is about to be submitted.
    pub fn about_to_submit(plan: Plan, now: Timestamp) -> Self {
        let mut run = Self::new(plan, Phase::Submitting { since: now, ambiguous: false }, true, now, now);
        run.next_look = now + run.patience;
        run
    }

    /// Takes up a run of an earlier life of the gateway, of which only the intent is known.
    pub fn recovered(plan: Plan, started_at: Option<Timestamp>, now: Timestamp) -> Self {
        let phase = match started_at {
            Some(since) => Phase::Running { since },
            None => Phase::Submitting { since: now, ambiguous: true },
        };
        let stopwatch = Stopwatch::recovered(started_at);
        Self { life: Life::EarlierAndUnproven, stopwatch, ..Self::new(plan, phase, false, now, now) }
    }

    /// Returns what was known of the run when it began.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Says whether the run takes up a place on its backend.
    pub fn occupies_backend(&self) -> bool {
        match self.phase {
            Phase::Submitting { .. } | Phase::Waiting { .. } | Phase::Running { .. } => true,
            Phase::Collecting { .. } | Phase::Done => false,
        }
    }

    /// Says whether its backend is known to have taken its prompt, by its answer or by what came before that.
    pub fn is_taken(&self) -> bool {
        match self.phase {
            Phase::Waiting { .. } | Phase::Running { .. } | Phase::Collecting { .. } => true,
            Phase::Submitting { .. } | Phase::Done => false,
        }
    }

    /// Says whether the answer of `POST /prompt` is still to come.
    pub fn answer_is_open(&self) -> bool {
        matches!(self.phase, Phase::Submitting { ambiguous: false, .. })
    }

    /// Says whether its input images are being brought to the backend, so that its prompt is not sent yet.
    pub fn is_placing(&self) -> bool {
        self.images == Images::OnTheWay && self.answer_is_open()
    }

    /// Says whether its prompt is on its way, or was, and nobody knows yet whether the backend took it.
    pub fn is_unanswered(&self) -> bool {
        matches!(self.phase, Phase::Submitting { .. }) && !self.is_placing()
    }

    /// Says whether its prompt may still be on its way to the backend: it was sent, and nobody answered.
    fn may_arrive_late(&self) -> bool {
        matches!(self.phase, Phase::Submitting { ambiguous: true, .. })
            && self.doubt.as_ref().is_some_and(|doubt| !doubt.was_answered)
    }

    /// Returns since when it waits in the backend's own queue, if it does.
    pub fn waiting_since(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Waiting { since, .. } => Some(since),
            Phase::Submitting { .. } | Phase::Running { .. } | Phase::Collecting { .. } | Phase::Done => None,
        }
    }

    /// Says whether the backend executes it, as far as is known.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Says whether the end was told.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Returns why its backend should be given no more graphs like its own for a while; none where it failed for no such
    /// reason.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Returns how far the whole graph is, from 0 to 1, while it runs.
    pub fn progress(&self) -> Option<f64> {
        match self.phase {
            Phase::Running { .. } => Some(self.farthest),
            Phase::Submitting { .. } | Phase::Waiting { .. } | Phase::Collecting { .. } | Phase::Done => None,
        }
    }

    /// Says whether nodes count in its progress by how long they usually take.
    pub fn is_weighed(&self) -> bool {
        self.harvest.is_weighed(&self.plan)
    }

    /// Returns which node the run is at, and how far that is.
    pub fn at_node(&self) -> Option<NodeAdvance> {
        self.harvest.at_node()
    }

    /// Returns which nodes began to run or were over since this was last asked.
    pub fn take_changes(&mut self) -> Vec<NodeChange> {
        self.stopwatch.take_changes()
    }

    /// Returns how the run went, if it ends at `until`; none where it never began.
    pub fn profile(&self, until: Timestamp) -> Option<Profile> {
        self.stopwatch.profile(&self.plan, until)
    }

    /// Returns an output that is stored.
    pub fn output(&self, slot: SlotId) -> Option<Output> {
        self.harvest.output(slot)
    }

    /// Returns when to send [`Input::Tick`], and why. A tick too early changes nothing.
    pub fn next_deadline(&self) -> Option<(Timestamp, Deadline)> {
        let limits = &self.plan.limits;
        let mut due = Vec::with_capacity(5);
        match self.phase {
            Phase::Done => return None,
            Phase::Submitting { since, ambiguous } => {
                if self.is_proven() {
                    due.push((self.plan.queued_since + limits.queue, Deadline::Queue));
                }
                if !ambiguous {
                    due.push((since + SUBMIT_LIMIT, Deadline::Submit));
                }
            }
            Phase::Waiting { free_since, .. } => {
                due.push((self.plan.queued_since + limits.queue, Deadline::Queue));
                if self.looking.is_none() {
                    due.push(((free_since + limits.start).max(self.rested), Deadline::Start));
                }
            }
            Phase::Running { since } => {
                if self.is_proven() {
                    due.push((since + limits.run, Deadline::Run));
                }
                if self.looking.is_none() {
                    due.push(((self.last_sign + limits.silence).max(self.rested), Deadline::Silence));
                }
            }
            Phase::Collecting { since, .. } => due.push((since + COLLECT_LIMIT, Deadline::Collect)),
        }
        if let Some(since) = self.cancel_since {
            due.push((since + CANCEL_LIMIT, Deadline::Cancel));
        }
        match self.looking {
            Some(look) => due.push((look.since + LOOKUP_LIMIT, Deadline::Look)),
            None => due.push((self.next_look, Deadline::Look)),
        }
        due.into_iter().min_by_key(|(at, _)| *at)
    }

    /// Returns the same run, which may take this much longer to be submitted: its input images are brought first.
    #[must_use]
    pub fn with_time_to_place(mut self, time: Duration) -> Self {
        if !time.is_zero() {
            self.images = Images::OnTheWay;
        }
        if let Phase::Submitting { since, .. } = &mut self.phase {
            *since = *since + time;
        }
        self
    }

    /// Ends the run because the gateway itself failed on it: what it holds may be wrong, so it is not looked at.
    pub fn break_off(&mut self) -> Vec<Effect> {
        self.phase = Phase::Done;
        let failure = Failure::new(FailureCode::Internal, "the gateway failed while it followed the run");
        vec![Effect::StopUpstream, Effect::Finish(Outcome::Failed(failure, Vec::new()))]
    }

    fn is_proven(&self) -> bool {
        self.life != Life::EarlierAndUnproven
    }

    /// Notes that the backend has shown what became of the run.
    fn prove(&mut self) {
        if self.life == Life::EarlierAndUnproven {
            self.life = Life::Earlier;
        }
    }

    fn new(plan: Plan, phase: Phase, heard: bool, next_look: Timestamp, now: Timestamp) -> Self {
        let harvest = Harvest::new(&plan);
        let patience =
            plan.usual.map_or(POLL_HEARD, |usual| usual.saturating_mul(2).clamp(SHORTEST_PATIENCE, POLL_HEARD));
        Self {
            plan,
            phase,
            harvest,
            heard,
            socket_up: heard,
            waited_behind_another: false,
            last_sign: now,
            last_event: now,
            looking: None,
            next_look,
            patience,
            unreachable_since: None,
            rested: now,
            cancel_since: None,
            warning: None,
            images: Images::There,
            backend: Backend::Answers,
            doubt: None,
            life: Life::This,
            stopwatch: Stopwatch::default(),
            farthest: 0.0,
            fault: None,
        }
    }
}

#[cfg(test)]
mod elsewhere;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod recovered;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
