//! How a run ends: what its harvest says, what may be tried once more, and in which words the caller hears of it.

use super::{Backend, Effect, Life, Phase, Plan, Run};
use crate::comfy::event::NodeError;
use crate::job::{FailedNode, Failure, FailureCode, Outcome};
use crate::store::{Refused, Way};
use crate::tracker::harvest::Verdict;
use crate::tracker::limits::{CUT_OFF_RUNS, GONE_AFTER};
use std::time::Duration;

/// How many characters of each backend's reason are told where they differ.
const BRIEF: usize = 200;

pub(super) fn conclude_if_complete(run: &mut Run, effects: &mut Vec<Effect>) {
    let Phase::Collecting { needs_history: false, .. } = run.phase else { return };
    match run.harvest.verdict(&run.plan, run.heard, run.warning.as_ref()) {
        Verdict::Wait => {}
        Verdict::Complete(outputs) => finish(run, Outcome::Succeeded(outputs), effects),
        Verdict::Fail(failure) => fail(run, failure, effects),
        Verdict::Retry(failure) => {
            let counts = !was_cut_off_by_us(run);
            retry(run, failure, counts, effects);
        }
    }
}

/// Says whether a prompt that its backend lost may be why the backend fell: what makes one crash is what it runs, not
/// what waits there, nor what the gateway itself may never have sent, nor what was lost on a way there that broke while
/// the socket to the same server went on.
pub(super) fn may_be_to_blame(run: &Run) -> bool {
    let was_lost_on_the_way = run.may_arrive_late() && run.heard && run.plan.number <= CUT_OFF_RUNS;
    run.is_running() || !(run.waited_behind_another || was_lost_on_the_way || was_cut_off_by_us(run))
}

/// Says whether the gateway itself stopped while the run went on: no fault of its job, unless that happens too often.
pub(super) fn was_cut_off_by_us(run: &Run) -> bool {
    run.life != Life::This && run.plan.number <= CUT_OFF_RUNS
}

pub(super) fn interrupted(run: &mut Run, effects: &mut Vec<Effect>) {
    if run.cancel_since.is_some() {
        return finish(run, Outcome::Cancelled, effects);
    }
    let failure = Failure::new(FailureCode::Interrupted, "somebody interrupted the prompt on the backend");
    fail(run, failure, effects);
}

/// Neither the socket nor the backend has said anything for as long as is allowed.
pub(super) fn silent(run: &mut Run, effects: &mut Vec<Effect>) {
    let limit = run.plan.limits.silence;
    // Should the backend come back, or only the way there be broken, the prompt may still go on.
    effects.push(Effect::StopUpstream);
    if run.backend == Backend::Hangs && run.is_running() {
        let failure = timeout(FailureCode::TimeoutSilence, "the backend gave no sign of life", limit);
        // Alone, the same backend would hang again.
        return if run.plan.elsewhere { retry(run, failure, true, effects) } else { fail(run, failure, effects) };
    }
    lost(run, limit, effects);
}

/// Nobody listens at the backend's address, and there is another backend.
pub(super) fn gone(run: &mut Run, effects: &mut Vec<Effect>) {
    // Should only the way there be broken, the prompt may still go on.
    effects.push(Effect::StopUpstream);
    lost(run, GONE_AFTER.min(run.plan.limits.silence), effects);
}

fn lost(run: &mut Run, limit: Duration, effects: &mut Vec<Effect>) {
    let failure = timeout(FailureCode::BackendLost, "the backend could not be reached", limit);
    let counts = may_be_to_blame(run);
    retry(run, failure, counts, effects);
}

/// This backend cannot run the job as it is: another one may, or this one another variant, if there is one.
pub(super) fn incompatible(run: &mut Run, failure: Failure, effects: &mut Vec<Effect>) {
    if run.cancel_since.is_some() {
        return finish(run, Outcome::Cancelled, effects);
    }
    if run.plan.elsewhere || run.plan.otherwise || run.plan.may_join {
        run.phase = Phase::Done;
        return effects.push(Effect::Elsewhere { failure, counts: false });
    }
    let mut refused = run.plan.refused.clone();
    let way = Way { backend: run.plan.backend.clone(), variant: run.plan.variant };
    refused.push(Refused { way, reason: failure.message.clone() });
    fail(run, Failure { message: refused_everywhere(&refused), ..failure }, effects);
}

/// Returns in one line why no backend can run a job: the reason where it is the same everywhere, else each one's own.
pub fn refused_everywhere(refused: &[Refused]) -> String {
    let Some((first, others)) = refused.split_first() else { return "no backend can run the graph".to_owned() };
    if others.iter().all(|other| other.reason == first.reason) {
        return first.reason.clone();
    }
    let brief = |refused: &Refused| {
        let reason: String = refused.reason.chars().take(BRIEF).collect();
        format!("{}: {reason}", refused.way.backend)
    };
    let reasons: Vec<String> = refused.iter().map(brief).collect();
    format!("no backend can run the graph: {}", reasons.join("; "))
}

pub(super) fn retry(run: &mut Run, failure: Failure, counts: bool, effects: &mut Vec<Effect>) {
    again(run, failure, counts, |failure| Effect::Requeue { failure, counts }, effects);
}

/// Has the job go back into the queue in this way, as long as it may be tried.
fn again(
    run: &mut Run,
    failure: Failure,
    counts: bool,
    way: impl FnOnce(Failure) -> Effect,
    effects: &mut Vec<Effect>,
) {
    if run.cancel_since.is_some() {
        return finish(run, Outcome::Cancelled, effects);
    }
    if counts && !run.plan.may_retry {
        return fail(run, failure, effects);
    }
    run.phase = Phase::Done;
    effects.push(way(failure));
}

pub(super) fn fail(run: &mut Run, failure: Failure, effects: &mut Vec<Effect>) {
    let outputs = run.harvest.stored_outputs(&run.plan);
    finish(run, Outcome::Failed(failure, outputs), effects);
}

pub(super) fn finish(run: &mut Run, outcome: Outcome, effects: &mut Vec<Effect>) {
    run.phase = Phase::Done;
    effects.push(Effect::Finish(outcome));
}

/// A node raised. Memory that ran out here may suffice elsewhere, or for another variant; whatever else raises would raise
/// there too.
pub(super) fn raised(run: &mut Run, error: &NodeError, effects: &mut Vec<Effect>) {
    let failure = node_failure(error);
    if error.is_out_of_memory() {
        // Without the exception's own words, which may repeat what the caller sent.
        run.fault = Some(format!("memory ran out in a node of class {} ({})", error.class, error.exception));
        let Plan { elsewhere, alike, otherwise, .. } = run.plan;
        if otherwise || (elsewhere && !alike) {
            // Another variant can do with less. Nothing else would keep this one from here, so it is remembered.
            return again(run, failure, true, |failure| Effect::Elsewhere { failure, counts: true }, effects);
        }
        if elsewhere {
            return retry(run, failure, true, effects);
        }
    }
    fail(run, failure, effects);
}

pub(super) fn timeout(code: FailureCode, what: &str, limit: Duration) -> Failure {
    Failure::new(code, format!("{what} for longer than {}", humantime::format_duration(limit)))
}

pub(super) fn node_failure(error: &NodeError) -> Failure {
    Failure {
        code: FailureCode::NodeError,
        message: format!("node `{}` ({}) failed: {}: {}", error.node, error.class, error.exception, error.message),
        node: Some(FailedNode { id: error.node.clone(), class: error.class.clone(), message: error.message.clone() }),
    }
}
