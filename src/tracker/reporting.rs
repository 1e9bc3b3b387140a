//! What the rest of the gateway may know of a backend is brought to its desk: whether it takes prompts, runs them, has room.

use super::desk::Load;
use super::limits::STANDSTILL;
use super::machine::{Effect, SubmitResult};
use super::run::{Room, Watched};
use crate::clock::Timestamp;
use crate::job::{FailureCode, Outcome};

impl Room {
    /// A backend that does not take a prompt is given the next one a little later. Without a socket it is given none anyway.
    pub(super) fn note_submission(&self, result: &SubmitResult) {
        match result {
            SubmitResult::Accepted(_) | SubmitResult::Refused(_) | SubmitResult::Incompatible(_) => {
                self.parts.desk.took_prompt();
            }
            SubmitResult::Unreachable(reason) | SubmitResult::Ambiguous(reason) | SubmitResult::Unanswered(reason)
                if self.client_id.is_some() =>
            {
                self.parts.desk.did_not_answer(reason, self.parts.clock.now());
            }
            SubmitResult::NotPlaced(_)
            | SubmitResult::GivenUp
            | SubmitResult::Unreachable(_)
            | SubmitResult::Ambiguous(_)
            | SubmitResult::Unanswered(_)
            | SubmitResult::Failed(_) => {}
        }
    }

    /// Notes a run that waited on the backend until its time was over, where nothing of ours has begun there for long.
    pub(super) fn note_standstill(&self, effects: &[Effect], now: Timestamp) {
        let failures = effects.iter().filter_map(|effect| match effect {
            Effect::Finish(Outcome::Failed(failure, _)) => Some(failure),
            Effect::Finish(Outcome::Succeeded(_) | Outcome::Cancelled)
            | Effect::Started
            | Effect::LookUp
            | Effect::Reconnect
            | Effect::StopUpstream
            | Effect::Collect(..)
            | Effect::Requeue { .. }
            | Effect::Elsewhere { .. } => None,
        });
        let runs_another = self.watched.values().any(|watched| watched.run.is_running());
        let stands_still = !runs_another && self.last_begun.is_none_or(|at| now >= at + STANDSTILL);
        for failure in failures {
            if stands_still && matches!(failure.code, FailureCode::TimeoutStart | FailureCode::TimeoutQueue) {
                self.parts.desk.runs_none(&failure.message, now);
            }
        }
    }

    pub(super) fn publish_load(&self) {
        let mut load = Load::default();
        for Watched { run, .. } in self.watched.values() {
            load.occupied += usize::from(run.occupies_backend());
            load.placing += usize::from(run.is_placing());
            load.unanswered += usize::from(run.is_unanswered());
        }
        if self.parts.desk.loaded(load) {
            self.parts.queue_bell.notify_one();
        }
    }
}
