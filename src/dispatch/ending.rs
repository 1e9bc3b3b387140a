//! Jobs that end without a run: overdue, cancelled while they waited, or not to be built. Those that no backend can
//! run are found by `fitness`.

use super::run::Parts;
use crate::crash::{self, Point};
use crate::job::{Failure, FailureCode, Happening, Job, Milestone, Outcome, Tapped, freeze};
use crate::store::{Ending, persist};
use futures_util::future::join_all;
use tracing::warn;

/// How many overdue jobs are ended together.
const OVERDUE_AT_ONCE: u32 = 256;

/// Ends the jobs whose time in the queue is over, and those whose cancelling was cut short. Returns whether there may be
/// more of them; what could not be stored is found again.
pub(super) async fn end_overdue(parts: &Parts) -> bool {
    let overdue = match parts.store.overdue(parts.clock.now(), OVERDUE_AT_ONCE).await {
        Ok(overdue) => overdue,
        Err(error) => {
            warn!(%error, "overdue jobs could not be read");
            return false;
        }
    };
    // All at once, so that they share the store's sync of the disk.
    let each = |job| parts.lifecycle.contain("overdue", end_waiting(parts, job));
    let ended = join_all(overdue.iter().map(each)).await;
    ended.len() == OVERDUE_AT_ONCE as usize && ended.into_iter().all(|stored| stored == Ok(true))
}

async fn end_waiting(parts: &Parts, job: &Job) -> bool {
    let outcome = if job.cancel_requested {
        Outcome::Cancelled
    } else {
        let limit = humantime::format_duration(job.request.limits.queue);
        let message = format!("the job waited in the queue for longer than {limit}");
        warn!(job.id = %job.id, "the job has waited for too long");
        Outcome::Failed(Failure::new(FailureCode::TimeoutQueue, message), Vec::new())
    };
    let ending = ending(parts, job, None, outcome);
    crash::pass(Point::Ending);
    let stored = parts.store.finish(ending.clone()).await;
    crash::pass(Point::Ended);
    parts.delivery_bell.notify_one();
    if matches!(stored, Ok(true)) {
        parts.outlooks.hall().room.remove(job.id);
        parts.vault.forget(job.id);
        tell_end(parts, job, &ending);
    }
    stored.inspect_err(|error| warn!(%error, "the end of a waiting job is not stored, trying again")).is_ok()
}

/// Ends a job that cannot be run. Where that fails, it is found again as one that nobody sees to. Returns whether it is over.
pub(super) async fn end(parts: &Parts, job: &Job, run: Option<u32>, failure: Failure) -> bool {
    // What ComfyUI says of a graph repeats what the caller sent. It is the job's, and not the log's.
    let reason = (failure.code != FailureCode::Validation).then_some(failure.message.as_str());
    warn!(job.id = %job.id, code = failure.code.as_str(), reason, "job failed before it ran");
    let storing = async {
        let ending = ending(parts, job, run, Outcome::Failed(failure, Vec::new()));
        let write = || parts.store.finish(ending.clone());
        crash::pass(Point::Ending);
        let stored = persist(parts.clock.as_ref(), &parts.lifecycle.stop(), "the end", write).await;
        crash::pass(Point::Ended);
        if stored == Some(true) {
            parts.outlooks.hall().room.remove(job.id);
            parts.vault.forget(job.id);
            tell_end(parts, job, &ending);
        }
        stored.is_some()
    };
    let is_over = parts.lifecycle.contain("finish", storing).await;
    parts.delivery_bell.notify_one();
    is_over.unwrap_or(false)
}

fn tell_end(parts: &Parts, job: &Job, ending: &Ending) {
    parts.tap.tell(|| Tapped::of(job, ending.run, ending.ended_at, Happening::ended(&ending.outcome)));
    parts.tap.count(Milestone::Ended { job, outcome: &ending.outcome });
}

fn ending(parts: &Parts, job: &Job, run: Option<u32>, outcome: Outcome) -> Ending {
    let now = parts.clock.now();
    let body = freeze(job, &outcome, now, &parts.bodies);
    Ending { job: job.id, run, outcome, body, profile: None, ended_at: now }
}

pub(super) fn internal(message: &str) -> Failure {
    Failure::new(FailureCode::Internal, message)
}
