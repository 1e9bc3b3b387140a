//! Waits for the end of a job, for whoever cannot be told later.

use crate::clock::Clock;
use crate::job::{Job, JobId, Limits};
use crate::store::Store;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the store is asked: at first soon, since many runs are short, then ever more seldom.
const SOONEST: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_millis(500);

/// How many more runs than one a job may have that is tried again, as far as the wait is concerned.
const MOST_RUNS: u32 = 100;

/// What was waited for.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Waited {
    /// The job has ended.
    Ended(Box<Job>),
    /// It has not, though all its limits together are over.
    TooLong(Duration),
    /// The gateway stops; the job goes on at its next start.
    Stopping,
    /// It was never taken in, or is not kept any more.
    Gone,
}

/// Waits until a job has ended, at most as long as its own limits allow it to last.
pub(super) async fn await_end(
    store: &dyn Store,
    clock: &dyn Clock,
    stop: &CancellationToken,
    id: JobId,
    max_runs: u32,
) -> Waited {
    let began = clock.now();
    let (mut pause, mut longest) = (SOONEST, None);
    loop {
        // A store that is busy is asked again: a wait is no reason to fail.
        match store.job(id).await {
            Ok(Some(job)) if job.state.is_final() => return Waited::Ended(Box::new(job)),
            Ok(Some(job)) => longest = Some(longest_life(&job.request.limits, max_runs)),
            Ok(None) => return Waited::Gone,
            Err(_) => {}
        }
        if let Some(longest) = longest
            && clock.now().since(began) > longest
        {
            return Waited::TooLong(longest);
        }
        tokio::select! {
            () = stop.cancelled() => return Waited::Stopping,
            () = clock.sleep_until(clock.now() + pause) => {}
        }
        pause = (pause * 5 / 4).min(LATEST);
    }
}

/// Returns how long a job may last at the very most: its limits begin anew with each try.
fn longest_life(limits: &Limits, max_runs: u32) -> Duration {
    let once = limits.queue.saturating_add(limits.start).saturating_add(limits.run);
    once.saturating_mul(max_runs.clamp(1, MOST_RUNS)).saturating_add(limits.silence)
}
