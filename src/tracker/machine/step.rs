//! What an input means for a run: every input has an answer in every phase, nothing waits, and the time is given. What a
//! look into queue and history means is `looked_up`'s.

use super::ends::{
    conclude_if_complete, fail, finish, incompatible, interrupted, node_failure, raised, retry, timeout,
};
use super::looked_up::take_evidence;
use super::{Doubt, Effect, Images, Input, Look, Phase, Run, SubmitResult};
use crate::clock::Timestamp;
use crate::comfy::event::Event;
use crate::job::{Failure, FailureCode, Outcome};
use crate::tracker::evidence::Evidence;
use crate::tracker::limits::{CANCEL_LIMIT, COLLECT_LIMIT, LOOKUP_LIMIT, POLL_UNHEARD, SUBMIT_LIMIT};
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
        Input::Placing(is_placing) => {
            run.images = if is_placing { Images::OnTheWay } else { Images::There };
        }
        Input::Submitted(result) => take_submitted(run, result, now, &mut effects),
        Input::Evidence(evidence) => take_evidence(run, evidence, now, &mut effects),
        Input::Stored(slot, result) => {
            run.harvest.stored(slot, result);
            conclude_if_complete(run, &mut effects);
        }
        Input::SocketLost { another_ran } => {
            run.waited_behind_another = another_ran && !run.is_running();
            run.socket_up = false;
            run.stopwatch.deaf(now);
            run.heard = run.heard && !run.occupies_backend();
            run.next_look = run.next_look.min(now + POLL_UNHEARD);
        }
        Input::SocketUp => {
            run.socket_up = true;
            run.unreachable_since = None;
            if !run.heard {
                look(run, now, &mut effects);
            }
        }
        Input::Cancel => {
            run.cancel_since.get_or_insert(now);
            if run.is_placing() {
                finish(run, Outcome::Cancelled, &mut effects);
                return effects;
            }
            // A prompt that ComfyUI may be about to take is stopped when its answer came: until then a stop may miss it.
            if run.occupies_backend() && !run.answer_is_open() {
                effects.push(Effect::StopUpstream);
                look(run, now, &mut effects);
            }
        }
        Input::Tick => take_tick(run, now, &mut effects),
    }
    if run.is_running() {
        run.farthest = run.farthest.max(run.harvest.progress(&run.plan));
    }
    effects
}

fn take_event(run: &mut Run, event: Event, now: Timestamp, effects: &mut Vec<Effect>) {
    if event.prompt() != Some(run.plan.prompt.as_str()) || !run.occupies_backend() {
        return;
    }
    run.last_sign = now;
    run.last_event = now;
    run.unreachable_since = None;
    run.prove();
    run.stopwatch.event(&event, &run.plan, now);
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
        Event::Failed { error, .. } => raised(run, &error, effects),
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
            run.stopwatch.taken(now);
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
        SubmitResult::NotPlaced(failure) if still_submitting => retry(run, failure, true, effects),
        SubmitResult::Ambiguous(reason) | SubmitResult::Failed(reason) if still_submitting => {
            doubt(run, reason, true, now, effects);
        }
        SubmitResult::Unanswered(reason) if still_submitting => doubt(run, reason, false, now, effects),
        // Events came before the answer, so ComfyUI did take it; or it is being looked for already.
        SubmitResult::Refused(_)
        | SubmitResult::Incompatible(_)
        | SubmitResult::Unreachable(_)
        | SubmitResult::NotPlaced(_)
        | SubmitResult::GivenUp
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

fn take_tick(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    let limits = run.plan.limits;
    if run.cancel_since.is_some_and(|since| now >= since + CANCEL_LIMIT) {
        effects.push(Effect::StopUpstream);
        return finish(run, Outcome::Cancelled, effects);
    }
    match run.phase {
        Phase::Done => return,
        Phase::Submitting { .. } if run.is_placing() && now >= run.plan.queued_since + limits.queue => {
            let limit = humantime::format_duration(limits.queue);
            let message = format!(
                "the input images were not there yet, when the time that the job may wait in queues was over: {limit}"
            );
            return fail(run, Failure::new(FailureCode::TimeoutQueue, message), effects);
        }
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
pub(super) fn begin(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    if matches!(run.phase, Phase::Submitting { .. } | Phase::Waiting { .. }) {
        run.phase = Phase::Running { since: now };
        run.stopwatch.began(now);
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

/// What is asked already was asked before the prompt may have come into the queue.
fn submission_is_over(run: &mut Run) {
    if let Some(look) = &mut run.looking {
        look.is_early = true;
    }
}

pub(super) fn look(run: &mut Run, now: Timestamp, effects: &mut Vec<Effect>) {
    if run.looking.is_none() {
        run.looking = Some(Look { since: now, is_early: false });
        effects.push(Effect::LookUp);
    }
}

pub(super) fn poll_interval(run: &Run) -> Duration {
    let is_in_doubt = matches!(run.phase, Phase::Submitting { ambiguous: true, .. });
    if run.heard && run.cancel_since.is_none() && !is_in_doubt { run.patience } else { POLL_UNHEARD }
}
