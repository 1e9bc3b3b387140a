//! What becomes of runs of an earlier life of the gateway: nothing is held against them before the backend was asked.

use super::rig::plan;
use super::*;
use crate::comfy::event::NodeOutput;
use crate::comfy::{HistoryEnd, HistoryEntry, Timeline};
use crate::job::{FailureCode, FileRef};
use crate::tracker::evidence::Evidence;
use crate::tracker::harvest::Source;
use crate::tracker::limits::CUT_OFF_RUNS;
use std::time::Duration;

const BACK: Timestamp = Timestamp::from_millis(86_400_000);

#[test]
fn a_run_that_ended_while_the_gateway_was_down_has_not_run_too_long() {
    let mut run = Run::recovered(plan(), Some(Timestamp::from_millis(0)), BACK);
    assert_eq!(step(&mut run, Input::SocketLost { another_ran: false }, BACK), []);
    assert_eq!(step(&mut run, Input::Tick, BACK), [Effect::LookUp]);
    let file = FileRef { filename: "a.png".into(), subfolder: String::new(), folder: "output".into() };
    let outputs = vec![("9".to_owned(), NodeOutput { files: vec![file.clone()], texts: vec![] })];
    let entry = HistoryEntry { end: HistoryEnd::Succeeded, outputs, timeline: Timeline::default() };
    let effects = step(&mut run, Input::Evidence(Evidence::Ended(entry)), BACK);
    assert_eq!(effects, [Effect::Collect(SlotId(0), Source::File(file))]);
}

#[test]
fn a_run_that_still_runs_after_its_limit_is_stopped_once_that_is_known() {
    let mut run = Run::recovered(plan(), Some(Timestamp::from_millis(0)), BACK);
    assert_eq!(step(&mut run, Input::Tick, BACK), [Effect::LookUp]);
    assert_eq!(step(&mut run, Input::Evidence(Evidence::Running), BACK), []);
    assert_eq!(run.next_deadline().map(|(at, _)| at <= BACK), Some(true));
    let effects = step(&mut run, Input::Tick, BACK);
    assert_eq!(effects.first(), Some(&Effect::StopUpstream));
    assert!(
        matches!(effects.last(), Some(Effect::Finish(Outcome::Failed(failure, _))) if failure.code == FailureCode::TimeoutRun)
    );
}

#[test]
fn a_prompt_that_still_waits_after_the_queue_limit_is_a_queue_timeout_once_that_is_known() {
    let mut run = Run::recovered(plan(), None, BACK);
    assert_eq!(step(&mut run, Input::Tick, BACK), [Effect::LookUp]);
    assert_eq!(step(&mut run, Input::Evidence(Evidence::Pending { others_first: true }), BACK), []);
    let effects = step(&mut run, Input::Tick, BACK);
    assert!(
        matches!(effects.last(), Some(Effect::Finish(Outcome::Failed(failure, _))) if failure.code == FailureCode::TimeoutQueue)
    );
}

#[test]
fn a_gateway_that_is_killed_before_it_could_submit_costs_no_try() {
    let absent = || Input::Evidence(Evidence::Absent);
    let counts = |effects: &[Effect]| match effects.last() {
        Some(Effect::Requeue { counts, .. }) => *counts,
        other => panic!("{other:?}"),
    };
    let mut run = Run::recovered(plan(), None, BACK);
    step(&mut run, Input::Tick, BACK);
    assert!(!counts(&step(&mut run, absent(), BACK)));

    // One that had begun and is gone has been tried.
    let mut run = Run::recovered(plan(), Some(BACK), BACK);
    step(&mut run, Input::Tick, BACK);
    assert!(counts(&step(&mut run, absent(), BACK)));
}

#[test]
fn a_backend_that_stays_away_does_not_keep_a_run_for_ever() {
    for unanswered in [Evidence::Unreachable, Evidence::Hung] {
        let mut run = Run::recovered(plan(), Some(Timestamp::from_millis(0)), BACK);
        let mut now = BACK;
        while !run.is_done() {
            let (at, _) = run.next_deadline().expect("a run that has not ended has a deadline");
            now = now.max(at);
            if step(&mut run, Input::Tick, now).contains(&Effect::LookUp) {
                step(&mut run, Input::Evidence(unanswered.clone()), now);
            }
            assert!(now < BACK + Duration::from_mins(5), "{run:?}");
        }
    }
}

#[test]
fn images_that_were_lost_because_the_gateway_stopped_cost_no_try_for_a_while() {
    let counts = |number| {
        let websocket_nodes = ["9".to_owned()].into();
        let plan = Plan { number, may_retry: number <= CUT_OFF_RUNS, websocket_nodes, ..plan() };
        let mut run = Run::recovered(plan, Some(BACK), BACK);
        step(&mut run, Input::Tick, BACK);
        let entry = HistoryEntry { end: HistoryEnd::Succeeded, outputs: vec![], timeline: Timeline::default() };
        match step(&mut run, Input::Evidence(Evidence::Ended(entry)), BACK).pop() {
            Some(Effect::Requeue { counts, .. }) => counts,
            Some(Effect::Finish(Outcome::Failed(failure, _))) => failure.code == FailureCode::OutputMissing,
            other => panic!("{other:?}"),
        }
    };
    assert!(!counts(1) && !counts(CUT_OFF_RUNS));
    assert!(counts(CUT_OFF_RUNS + 1));
}
