//! Waits for the end of a job, for whoever cannot be told later.

use crate::clock::Clock;
use crate::job::{Job, JobId, Limits};
use crate::relay::{EventKind, Filter, Followed, Heard, Relay};
use crate::store::Store;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the store is asked although nothing was heard: what is heard is a hint, and the store has the truth. More often where
/// there is no place to listen.
const SELDOM: Duration = Duration::from_secs(5);
const OFTEN: Duration = Duration::from_millis(250);

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
    relay: &Relay,
    clock: &dyn Clock,
    stop: &CancellationToken,
    id: JobId,
    max_runs: u32,
) -> Waited {
    let began = clock.now();
    let (mut followed, mut longest) = (None, None);
    loop {
        // A store that is busy is asked again: a wait is no reason to fail.
        match store.job(id).await {
            Ok(Some(job)) if job.state.is_final() => return Waited::Ended(Box::new(job)),
            Ok(Some(job)) if followed.is_none() && longest.is_none() => {
                longest = Some(longest_life(&job.request.limits, max_runs));
                let filter = Filter { kinds: Some(vec![EventKind::Status]), ..Filter::default() };
                followed = relay.follow(&job, filter, None).ok();
                if followed.is_some() {
                    // It may have ended before it was followed.
                    continue;
                }
            }
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return Waited::Gone,
        }
        if let Some(longest) = longest
            && clock.now().since(began) > longest
        {
            return Waited::TooLong(longest);
        }
        let pause = if followed.is_some() { SELDOM } else { OFTEN };
        tokio::select! {
            () = stop.cancelled() => return Waited::Stopping,
            () = clock.sleep_until(clock.now() + pause) => {}
            is_over = heard_end(&mut followed) => if is_over { followed = None },
        }
    }
}

/// Waits until there is something to look for in the store; says whether nothing more will be heard.
async fn heard_end(followed: &mut Option<Followed>) -> bool {
    let Some(followed) = followed else { return std::future::pending().await };
    loop {
        match followed.listener.next().await {
            Heard::Event(told) if !told.is_final() => {}
            Heard::Event(_) => return false,
            Heard::CutOff(_) | Heard::Over => return true,
        }
    }
}

/// Returns how long a job may last at the very most: its limits begin anew with each try.
fn longest_life(limits: &Limits, max_runs: u32) -> Duration {
    let once = limits.queue.saturating_add(limits.start).saturating_add(limits.run);
    once.saturating_mul(max_runs.clamp(1, MOST_RUNS)).saturating_add(limits.silence)
}
