//! What an input means for a run: every input has an answer in every phase, nothing waits, and the time is given.

use super::ends::{
    conclude_if_complete, fail, finish, incompatible, interrupted, may_be_to_blame, node_failure, retry, silent,
    timeout,
};
use super::{Backend, Doubt, Effect, Input, Look, Phase, Run, SubmitResult};
use crate::clock::Timestamp;
use crate::comfy::event::Event;
use crate::comfy::{HistoryEnd, HistoryEntry};
use crate::job::{Failure, FailureCode, Outcome};
use crate::tracker::evidence::Evidence;
use crate::tracker::limits::{
    CANCEL_LIMIT, COLLECT_LIMIT, DEAF_AFTER, HISTORY_PATIENCE, LOOKUP_LIMIT, POLL_HEARD, POLL_UNHEARD, SUBMIT_LIMIT,
};
use std::time::Duration;

/// Takes in one thing that happened to a run and says what must be done about it.
pub fn step(run: &mut Run, input: Input, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    if run.is_done() {
        return effects;
    }
    match input {
        Input::Event(event) => take_event(run, event, now, &mut effects),
        Input::Receiving => run.last_event = now,
        Input::Submitted(result) => take_submitted(run, result, now, &mut effects),
        Input::Evidence(evidence) => take_evidence(run, evidence, now, &mut effects),
        Input::Stored(slot, result) => {
            run.harvest.stored(slot, result);
            conclude_if_complete(run, &mut effects);
        }
        Input::SocketLost { another_ran } => {
            run.waited_behind_another = another_ran && !run.is_running();
            run.socket_up = false;
            run.heard = run.heard && !run.occupies_backend();
            run.next_look = run.next_look.min(now + POLL_UNHEARD);
        }
        Input::SocketUp => {
            run.socket_up = true;
            if !run.heard {
                look(run, now, &mut effects);
            }
        }
        Input::Cancel => {
            run.cancel_since.get_or_insert(now);
            // A prompt that ComfyUI may be about to take is stopped when its answer came: until then a stop may miss it.
            if run.occupies_backend() && !run.answer_is_open() {
                effects.push(Effect::StopUpstream);
                look(run, now, &mut effects);
            }
        }
        Input::Tick => take_tick(run, now, &mut effects),
    }
    effects
}

fn take_event(run: &mut Run, event: Event, now: Timestamp, effects: &mut Vec<Effect>) {
    if event.prompt() != Some(run.plan.prompt.as_str()) || !run.occupies_backend() {
        return;
    }
    run.last_sign = now;
    run.last_event = now;
    run.prove();
    match event {
        Event::Idle { .. } => {
            // The end itself was not heard: the history has it by now.
            look(run, now, effects);
            return;
        }
        Event::Interrupted { .. } => return interrupted(run, effects),
        Event::Started { .. }
        | Event::Cached { .. }
        | Event::ProgressState { .. }
        | Event::Executing { .. }
        | Event::Progress { .. }
        | Event::Executed { .. }
        | Event::Succeeded { .. }
        | Event::Failed { .. }
        | Event::Image(_) => begin(run, now, effects),
        Event::Status { .. } | Event::FeatureFlags { .. } | Event::Text { .. } | Event::Noise { .. } => return,
    }
    match event {
        Event::Cached { nodes, .. } => run.harvest.cached(&nodes),
        Event::ProgressState { nodes, .. } => run.harvest.progress_state(&nodes),
        Event::Executing { node, display_node, .. } => {
            run.harvest.executing(&node);
            run.harvest.executing(&display_node);
        }
        Event::Progress { node: Some(node), value, max, .. } => run.harvest.bar_moved(&node, value, max),
        Event::Executed { display_node, output, .. } => {
            for (slot, source) in run.harvest.executed(&display_node, output) {
                effects.push(Effect::Collect(slot, source));
            }
        }
        Event::Image(frame) => {
            if let Some((slot, source)) = run.harvest.frame(frame) {
                effects.push(Effect::Collect(slot, source));
            }
        }
        Event::Succeeded { .. } => ended_well(run, now, effects),
        Event::Failed { error, .. } if error.is_block() => run.warning = Some(node_failure(&error)),
        Event::Failed { error, .. } => fail(run, node_failure(&error), effects),
        Event::Started { .. }
        | Event::Progress { .. }
        | Event::Idle { .. }
        | Event::Interrupted { .. }
        | Event::Status { .. }
        | Event::FeatureFlags { .. }
        | Event::Text { .. }
        | Event::Noise { .. } => {}
    }
}

fn take_submitted(run: &mut Run, result: SubmitResult, now: Timestamp, effects: &mut Vec<Effect>) {
    let still_submitting = matches!(run.phase, Phase::Submitting { .. });
    submission_is_over(run);
    match result {
        SubmitResult::Accepted(warning) => {
            run.warning = run.warning.take().or(warning);
            if still_submitting {
                run.phase = Phase::Waiting { since: now, free_since: now };
                run.last_sign = now;
            }
            if run.cancel_since.is_some() && run.occupies_backend() {
                effects.push(Effect::StopUpstream);
                look(run, now, effects);
            }
        }
        SubmitResult::Refused(failure) if still_submitting => fail(run, failure, effects),
        SubmitResult::Incompatible(failure) if still_submitting => incompatible(run, failure, effects),
        SubmitResult::Unreachable(reason) if still_submitting => {
            let failure = Failure::new(FailureCode::BackendLost, format!("the backend could not be reached: {reason}"));
            retry(run, failure, false, effects);
        }
        SubmitResult::NotPlaced(reason) if still_submitting => {
            let what =
                format!("the input images could not be brought to the backend, which answers otherwise: {reason}");
            retry(run, Failure::new(FailureCode::BackendLost, what), true, effects);
        }
        SubmitResult::Ambiguous(reason) | SubmitResult::Failed(reason) if still_submitting => {
            doubt(run, reason, true, now, effects);
        }
        SubmitResult::Unanswered(reason) if still_submitting => doubt(run, reason, false, now, effects),
        // Events came before the answer, so ComfyUI did take it.
        SubmitResult::Refused(_)
        | SubmitResult::Incompatible(_)
        | SubmitResult::Unreachable(_)
        | SubmitResult::NotPlaced(_)
        | SubmitResult::Ambiguous(_)
        | SubmitResult::Failed(_)
        | SubmitResult::Unanswered(_) => {}
    }
}

/// Whether ComfyUI took it is not known, and is looked up.
fn doubt(run: &mut Run, reason: String, was_answered: bool, now: Timestamp, effects: &mut Vec<Effect>) {
    run.doubt = Some(Doubt { reason, was_answered });
    run.phase = Phase::Submitting { since: now, ambiguous: true };
    look(run, now, effects);
}

fn take_evidence(run: &mut Run, evidence: Evidence, now: Timestamp, effects: &mut Vec<Effect>) {
    let is_early = run.looking.take().is_some_and(|look| look.is_early);
    run.next_look = now + poll_interval(run);
    run.rested = now + POLL_UNHEARD;
    let answered = match evidence {
        Evidence::Unreachable => {
            run.backend = Backend::Answers;
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
        HistoryEnd::Failed(error) => fail(run, node_failure(&error), effects),
        HistoryEnd::Interrupted => interrupted(run, effects),
    }
}

fn take_tick(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    let limits = run.plan.limits;
    if run.cancel_since.is_some_and(|since| now >= since + CANCEL_LIMIT) {
        effects.push(Effect::StopUpstream);
        return finish(run, Outcome::Cancelled, effects);
    }
    match run.phase {
        Phase::Done => return,
        Phase::Submitting { .. } | Phase::Waiting { .. }
            if run.is_proven() && now >= run.plan.queued_since + limits.queue =>
        {
            effects.push(Effect::StopUpstream);
            return fail(run, timeout(FailureCode::TimeoutQueue, "the job waited in queues", limits.queue), effects);
        }
        Phase::Running { since } if run.is_proven() && now >= since + limits.run => {
            effects.push(Effect::StopUpstream);
            return fail(run, timeout(FailureCode::TimeoutRun, "the prompt ran", limits.run), effects);
        }
        Phase::Submitting { since, ambiguous: false } if now >= since + SUBMIT_LIMIT => {
            submission_is_over(run);
            let reason = format!("no answer within {} s", SUBMIT_LIMIT.as_secs());
            doubt(run, reason, false, now, effects);
        }
        Phase::Waiting { free_since, .. } if now >= (free_since + limits.start).max(run.rested) => {
            look(run, now, effects);
        }
        Phase::Running { .. } if now >= (run.last_sign + limits.silence).max(run.rested) => look(run, now, effects),
        Phase::Collecting { since, .. } if now >= since + COLLECT_LIMIT => {
            let failure = Failure::new(
                FailureCode::BackendLost,
                format!("the outputs could not be fetched within {} s", COLLECT_LIMIT.as_secs()),
            );
            return retry(run, failure, true, effects);
        }
        Phase::Submitting { .. } | Phase::Waiting { .. } | Phase::Running { .. } | Phase::Collecting { .. } => {}
    }
    match run.looking {
        Some(look) if now >= look.since + LOOKUP_LIMIT => take_evidence(run, Evidence::Hung, now, effects),
        None if now >= run.next_look => look(run, now, effects),
        Some(_) | None => {}
    }
}

/// Execution has begun, if it had not.
fn begin(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    if matches!(run.phase, Phase::Submitting { .. } | Phase::Waiting { .. }) {
        run.phase = Phase::Running { since: now };
        effects.push(Effect::Started);
    }
}

fn ended_well(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    let needs_history = !run.heard;
    run.phase = Phase::Collecting { since: now, needs_history };
    if needs_history {
        look(run, now, effects);
    } else {
        run.next_look = now + COLLECT_LIMIT;
    }
    conclude_if_complete(run, effects);
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

/// What is asked already was asked before the prompt may have come into the queue.
fn submission_is_over(run: &mut Run) {
    if let Some(look) = &mut run.looking {
        look.is_early = true;
    }
}

fn look(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    if run.looking.is_none() {
        run.looking = Some(Look { since: now, is_early: false });
        effects.push(Effect::LookUp);
    }
}

fn poll_interval(run: &Run) -> Duration {
    let is_in_doubt = matches!(run.phase, Phase::Submitting { ambiguous: true, .. });
    if run.heard && run.cancel_since.is_none() && !is_in_doubt { POLL_HEARD } else { POLL_UNHEARD }
}
