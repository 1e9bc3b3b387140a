//! What the queue and the history of a backend mean for a run, when they have been looked at.

use super::ends::{
    conclude_if_complete, fail, gone, interrupted, may_be_to_blame, node_failure, raised, retry, silent, timeout,
};
use super::step::{begin, look, poll_interval};
use super::{Backend, Effect, Phase, Run};
use crate::clock::Timestamp;
use crate::comfy::{HistoryEnd, HistoryEntry};
use crate::job::{Failure, FailureCode};
use crate::tracker::evidence::Evidence;
use crate::tracker::limits::{DEAF_AFTER, GONE_AFTER, HISTORY_PATIENCE, POLL_HEARD, POLL_UNHEARD};
use std::time::Duration;

pub(super) fn take_evidence(run: &mut Run, evidence: Evidence, now: Timestamp, effects: &mut Vec<Effect>) {
    let is_early = run.looking.take().is_some_and(|look| look.is_early);
    run.patience = run.patience.saturating_mul(2).min(POLL_HEARD);
    run.next_look = now + poll_interval(run);
    run.rested = now + POLL_UNHEARD;
    let answered = match evidence {
        Evidence::Unreachable => {
            run.backend = Backend::Answers;
            // Asked again soon: one answer among them, and it is not gone.
            run.next_look = now + POLL_UNHEARD;
            let since = *run.unreachable_since.get_or_insert(now);
            if run.plan.elsewhere && !run.socket_up && now >= since + GONE_AFTER.min(run.plan.limits.silence) {
                return gone(run, effects);
            }
            false
        }
        Evidence::Hung => {
            run.backend = Backend::Hangs;
            false
        }
        Evidence::Pending { .. } | Evidence::Running | Evidence::Ended(_) | Evidence::Absent => true,
    };
    if !answered {
        if now >= run.last_sign + run.plan.limits.silence {
            silent(run, effects);
        }
        return;
    }
    run.last_sign = now;
    run.unreachable_since = None;
    run.prove();
    if is_early && evidence == Evidence::Absent {
        // It may have come into the queue since.
        return look(run, now, effects);
    }
    if run.cancel_since.is_some() && matches!(evidence, Evidence::Pending { .. } | Evidence::Running) {
        effects.push(Effect::StopUpstream);
    }
    let socket_may_tell = run.heard && run.socket_up && run.occupies_backend();
    let is_over = match evidence {
        Evidence::Ended(_) => true,
        Evidence::Absent => !matches!(run.phase, Phase::Submitting { .. }) && run.cancel_since.is_none(),
        Evidence::Pending { .. } | Evidence::Running | Evidence::Unreachable | Evidence::Hung => false,
    };
    if socket_may_tell && is_over && now < run.last_event + DEAF_AFTER {
        // The frames that belong to this end are probably still on their way to us.
        run.next_look = now + POLL_UNHEARD;
        return;
    }
    match (evidence, &run.phase) {
        (Evidence::Pending { others_first }, Phase::Submitting { ambiguous: true, .. } | Phase::Waiting { .. }) => {
            still_waits(run, others_first, now, effects);
        }
        (Evidence::Running, Phase::Submitting { .. } | Phase::Waiting { .. }) => {
            // It runs and nobody told us. One look may be just ahead of the event; the next one is not.
            begin(run, now, effects);
            run.next_look = now + POLL_UNHEARD;
        }
        (Evidence::Ended(entry), _) => {
            if socket_may_tell {
                run.heard = false;
                effects.push(Effect::Reconnect);
            }
            take_history(run, entry, now, effects);
        }
        (Evidence::Absent | Evidence::Running | Evidence::Pending { .. }, Phase::Collecting { .. }) => {
            history_is_late(run, now, effects);
        }
        (
            Evidence::Absent,
            Phase::Submitting { ambiguous: true, .. } | Phase::Waiting { .. } | Phase::Running { .. },
        ) => {
            let why = match (&run.phase, &run.doubt) {
                (Phase::Submitting { .. }, Some(doubt)) => {
                    format!("the backend did not take the prompt: {}", doubt.reason)
                }
                (_, _) => "the backend restarted and forgot the prompt, or somebody deleted it there".to_owned(),
            };
            if socket_may_tell && run.is_running() {
                // It began and is gone, and the socket has said nothing of either its end or its own.
                effects.push(Effect::Reconnect);
            }
            let counts = may_be_to_blame(run);
            if matches!(run.phase, Phase::Submitting { .. }) {
                // A request that was cut off may still come to the queue.
                effects.push(Effect::StopUpstream);
            }
            retry(run, Failure::new(FailureCode::BackendLost, why), counts, effects);
        }
        // Nothing new; and while the answer of `POST /prompt` is open, it decides.
        (Evidence::Absent | Evidence::Pending { .. }, Phase::Submitting { .. })
        | (Evidence::Running | Evidence::Pending { .. }, Phase::Running { .. })
        | (Evidence::Unreachable | Evidence::Hung, _)
        | (_, Phase::Done) => {}
    }
}

fn still_waits(run: &mut Run, others_first: bool, now: Timestamp, effects: &mut Vec<Effect>) {
    let (since, free_since) = match run.phase {
        Phase::Waiting { since, free_since } => (since, if others_first { now } else { free_since }),
        Phase::Submitting { .. } | Phase::Running { .. } | Phase::Collecting { .. } | Phase::Done => (now, now),
    };
    run.phase = Phase::Waiting { since, free_since };
    if now >= free_since + run.plan.limits.start {
        let failure = timeout(FailureCode::TimeoutStart, "a free backend did not begin", run.plan.limits.start);
        effects.push(Effect::StopUpstream);
        fail(run, failure, effects);
    }
}

fn take_history(run: &mut Run, entry: HistoryEntry, now: Timestamp, effects: &mut Vec<Effect>) {
    run.stopwatch.history(&entry.timeline, &run.plan, now);
    for (node, output) in entry.outputs {
        for (slot, source) in run.harvest.executed(&node, output) {
            effects.push(Effect::Collect(slot, source));
        }
    }
    match entry.end {
        HistoryEnd::Succeeded | HistoryEnd::Unknown => {
            begin(run, now, effects);
            run.phase = match run.phase {
                Phase::Collecting { since, .. } => Phase::Collecting { since, needs_history: false },
                Phase::Submitting { .. } | Phase::Waiting { .. } | Phase::Running { .. } | Phase::Done => {
                    Phase::Collecting { since: now, needs_history: false }
                }
            };
            conclude_if_complete(run, effects);
        }
        HistoryEnd::Failed(error) if error.is_block() => {
            run.warning = Some(node_failure(&error));
            run.phase = Phase::Collecting { since: now, needs_history: false };
            conclude_if_complete(run, effects);
        }
        HistoryEnd::Failed(error) => raised(run, &error, effects),
        HistoryEnd::Interrupted => interrupted(run, effects),
    }
}

/// The history entry of a prompt that ended appears a moment after its end: ask again, but not for ever.
fn history_is_late(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    let Phase::Collecting { since, needs_history: true } = run.phase else { return };
    if now < since + HISTORY_PATIENCE {
        run.next_look = now + Duration::from_millis(100);
        return;
    }
    run.phase = Phase::Collecting { since, needs_history: false };
    conclude_if_complete(run, effects);
}
