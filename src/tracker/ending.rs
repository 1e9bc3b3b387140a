//! Stores how a run ended, whatever comes between: a store that cannot write is asked again, and a panic is met by another
//! try and at last by the plainest end that there is. A run does not end a second time, so nothing else would store it.

use super::desk::Held;
use super::run::Parts;
use crate::clock::Timestamp;
use crate::crash::{self, Point};
use crate::job::{
    Failure, FailureCode, Happening, Job, Milestone, Outcome, Profile, PromptId, Ran, Tapped, freeze_run,
};
use crate::store::{Ending, persist};
use std::sync::Arc;
use tracing::{debug, error};

/// How often the same is tried where it panics.
const TRIES: u32 = 3;

/// What has ended.
pub(super) struct End {
    pub(super) job: Job,
    /// The run's number.
    pub(super) run: u32,
    pub(super) prompt: PromptId,
    pub(super) at: Timestamp,
    /// How the run went, where it had begun.
    pub(super) profile: Option<Profile>,
    /// Says until all of this is dropped that somebody sees to the job.
    pub(super) _held: Arc<Held>,
}

/// How a job goes back into the queue.
pub(super) enum Return {
    /// For another run.
    Again {
        /// Whether the last one counts as a try.
        counts: bool,
    },
    /// For a run on another backend, or of another variant, since this one cannot run it as it is.
    Elsewhere {
        /// Why it cannot.
        reason: String,
        /// Whether the run counts as a try.
        counts: bool,
    },
}

/// Ends the job.
pub(super) async fn finish(parts: &Parts, end: &End, outcome: Outcome) {
    let succeeded = matches!(outcome, Outcome::Succeeded(_));
    let outcome = parts.vault.without_keys(end.job.id, outcome);
    for _ in 0..TRIES {
        let storing = async {
            let ending = frozen(parts, end, outcome.clone());
            crash::pass(Point::Ending);
            let stored = store(parts, ending).await;
            crash::pass(Point::Ended);
            stored
        };
        if let Ok(Some(is_first)) = parts.lifecycle.contain("finish", storing).await {
            parts.delivery_bell.notify_one();
            if is_first {
                tell_end(parts, end, &outcome);
                tell_profile(parts, end, succeeded);
            }
            if succeeded {
                forget(parts, end).await;
            }
            return;
        }
        if parts.lifecycle.stop().is_cancelled() {
            return;
        }
    }
    finish_plainly(parts, end, "the gateway failed while it stored the result").await;
}

/// Puts the job back into the queue.
pub(super) async fn put_back(parts: &Parts, end: &End, how: &Return) {
    for _ in 0..TRIES {
        let storing = async {
            let now = parts.clock.now();
            let write = async || match how {
                Return::Again { counts } => parts.store.requeue(end.job.id, end.run, *counts, now).await,
                Return::Elsewhere { reason, counts } => {
                    parts.store.pass_on(end.job.id, end.run, reason, counts.then_some(now)).await
                }
            };
            crash::pass(Point::Requeuing);
            let stored = persist(parts.clock.as_ref(), &parts.lifecycle.stop(), "the requeue", write).await;
            crash::pass(Point::Requeued);
            stored
        };
        if let Ok(Some(_)) = parts.lifecycle.contain("requeue", storing).await {
            parts.queue_bell.notify_one();
            return;
        }
        if parts.lifecycle.stop().is_cancelled() {
            return;
        }
    }
    finish_plainly(parts, end, "the gateway failed while it put the job back into the queue").await;
}

/// Ends the job as failed, with as little as possible that could fail too.
async fn finish_plainly(parts: &Parts, end: &End, why: &str) {
    let outcome = Outcome::Failed(Failure::new(FailureCode::Internal, why), Vec::new());
    let storing = async { store(parts, frozen(parts, end, outcome.clone())).await };
    if let Ok(Some(is_first)) = parts.lifecycle.contain("finish", storing).await {
        parts.delivery_bell.notify_one();
        if is_first {
            tell_end(parts, end, &outcome);
        }
    } else {
        // Dispatch finds it, and asks the backend what became of it.
        error!(job.id = %end.job.id, "the end of a run could not be stored");
    }
}

fn tell_end(parts: &Parts, end: &End, outcome: &Outcome) {
    parts.tap.count(Milestone::Ended { job: &end.job, outcome });
    parts.tap.tell(|| Tapped::of(&end.job, Some(end.run), end.at, Happening::ended(outcome)));
}

/// What a run teaches is told once it is certain that it ended the job.
fn tell_profile(parts: &Parts, end: &End, is_success: bool) {
    if let Some(profile) = end.profile.clone() {
        let structure = end.job.request.structure.clone();
        (parts.learn)(&Ran { structure, profile, is_success, at: end.at });
    }
}

fn frozen(parts: &Parts, end: &End, outcome: Outcome) -> Ending {
    let profile = end.profile.clone();
    let body = freeze_run(&end.job, &outcome, profile.as_ref(), end.at, &parts.bodies);
    Ending { job: end.job.id, run: Some(end.run), outcome, body, profile, ended_at: end.at }
}

async fn store(parts: &Parts, ending: Ending) -> Option<bool> {
    let (clock, stop) = (parts.clock.as_ref(), parts.lifecycle.stop());
    let stored = persist(clock, &stop, "the end", || parts.store.finish(ending.clone())).await;
    if stored == Some(true) {
        parts.vault.forget(ending.job);
    }
    stored
}

/// ComfyUI keeps whole graphs in its history; ours are not needed there any more.
async fn forget(parts: &Parts, end: &End) {
    if let Err(error) = parts.client.forget(end.prompt.as_str()).await {
        debug!(%error, "the prompt stays in the backend's history");
    }
}
