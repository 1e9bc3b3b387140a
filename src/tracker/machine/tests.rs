//! What a run does in the situations that have a name.

use super::rig::{PROMPT, Rig, code, executed, file, images, node_error, plan, requeued, seconds, stored, succeeded};
use super::*;
use crate::comfy::event::Event;
use crate::tracker::evidence::Evidence;
use crate::tracker::harvest::Source;
use crate::tracker::limits::CUT_OFF_RUNS;

#[test]
fn a_run_whose_images_are_brought_first_may_be_sent_later() {
    let minutes = |count: u64| count * 60;
    for (to_place, still_open) in [(0, false), (3, true)] {
        let mut rig = Rig::new(plan());
        rig.run = rig.run.clone().with_time_to_place(Duration::from_mins(to_place));
        rig.after(minutes(2)).take(Input::Tick);
        assert_eq!(rig.run.answer_is_open(), still_open, "{to_place}");
        rig.after(minutes(2)).take(Input::Tick);
        assert!(!rig.run.answer_is_open(), "{to_place}");
    }
}

#[test]
fn a_run_whose_images_are_on_their_way_is_cancelled_at_once_and_one_that_may_be_sent_is_not() {
    let placing = || {
        let mut rig = Rig::new(plan());
        rig.run = rig.run.clone().with_time_to_place(Duration::from_mins(3));
        rig
    };
    let mut rig = placing();
    assert_eq!((rig.run.is_placing(), rig.run.is_unanswered(), rig.run.occupies_backend()), (true, false, true));
    assert_eq!(rig.take(Input::Cancel), [Effect::Finish(Outcome::Cancelled)]);

    let mut rig = placing();
    rig.take(Input::Placing(false));
    assert_eq!((rig.run.is_placing(), rig.run.is_unanswered()), (false, true));
    assert_eq!(rig.take(Input::Cancel), [], "it may have been sent");
    assert!(rig.take(Input::Submitted(SubmitResult::Accepted(None))).contains(&Effect::StopUpstream));

    // The prompt was refused, and they are brought once more.
    let mut rig = placing();
    rig.take(Input::Placing(false));
    rig.take(Input::Placing(true));
    assert_eq!(rig.take(Input::Cancel), [Effect::Finish(Outcome::Cancelled)]);
}

#[test]
fn a_success_waits_for_its_files_and_ends_once() {
    let mut rig = Rig::running(plan());
    let one = file("a.png", "output");
    assert_eq!(rig.event(executed("9", std::slice::from_ref(&one))), [Effect::Collect(SlotId(0), Source::File(one))]);
    assert_eq!(rig.event(succeeded()), []);
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("9".into(), 0)]));
    assert_eq!(rig.event(Event::Failed { prompt: PROMPT.into(), error: node_error("E") }), []);
    assert_eq!(rig.event(succeeded()), []);
    assert!(rig.run.is_done());
}

#[test]
fn events_that_come_before_the_answer_of_the_submission_are_not_missed() {
    let mut rig = Rig::new(plan());
    assert_eq!(rig.event(Event::Started { prompt: PROMPT.into() }), [Effect::Started]);
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    rig.take(Input::Submitted(SubmitResult::Accepted(None)));
    assert!(images(&rig.take(stored(0))).is_some());
}

#[test]
fn a_cached_run_without_executing_events_succeeds() {
    let mut rig = Rig::accepted(plan());
    let nodes = vec!["1".into(), "2".into(), "9".into()];
    assert_eq!(rig.event(Event::Cached { prompt: PROMPT.into(), nodes }), [Effect::Started]);
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    assert!(images(&rig.take(stored(0))).is_some());
}

#[test]
fn a_node_error_ends_the_run_at_once_and_names_the_node() {
    let mut rig = Rig::running(plan());
    let effects = rig.event(Event::Failed { prompt: PROMPT.into(), error: node_error("OutOfMemoryError") });
    let [Effect::Finish(Outcome::Failed(failure, _))] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(failure.code, FailureCode::NodeError);
    assert_eq!(failure.message, "node `2` (KSampler) failed: OutOfMemoryError: no memory");
    assert_eq!(failure.node.as_ref().unwrap().class, "KSampler");
}

#[test]
fn an_output_that_is_blocked_on_purpose_does_not_end_the_run() {
    let mut rig = Rig::running(plan());
    let blocked = Event::Failed { prompt: PROMPT.into(), error: node_error("ExecutionBlocked") };
    assert_eq!(rig.event(blocked), []);
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    assert!(images(&rig.take(stored(0))).is_some());
}

#[test]
fn a_refusal_ends_the_run_and_an_unreachable_backend_does_not_count() {
    let refusal = Failure::new(FailureCode::Validation, "no such checkpoint");
    let mut rig = Rig::new(plan());
    assert_eq!(code(&rig.take(Input::Submitted(SubmitResult::Refused(refusal)))), Some(FailureCode::Validation));

    let mut rig = Rig::new(Plan { may_retry: false, ..plan() });
    let effects = rig.take(Input::Submitted(SubmitResult::Unreachable("refused".into())));
    assert_eq!(requeued(&effects), Some(false));
}

#[test]
fn an_ambiguous_submission_is_looked_up_and_never_sent_twice() {
    let mut rig = Rig::new(plan());
    assert_eq!(rig.take(Input::Submitted(SubmitResult::Ambiguous("reset".into()))), [Effect::LookUp]);
    assert_eq!(rig.take(Input::Evidence(Evidence::Running)), [Effect::Started]);

    let mut rig = Rig::new(plan());
    rig.take(Input::Submitted(SubmitResult::Ambiguous("status 500".into())));
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
}

#[test]
fn a_submission_that_was_lost_on_its_way_costs_no_try_unless_the_server_may_have_fallen() {
    let lost = || Input::Submitted(SubmitResult::Unanswered("reset".into()));
    let mut rig = Rig::new(plan());
    assert_eq!(rig.take(lost()), [Effect::LookUp]);
    assert!(rig.run.may_arrive_late());
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(false));

    let mut rig = Rig::new(plan());
    rig.take(lost());
    rig.take(Input::SocketLost { another_ran: false });
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));

    let mut rig = Rig::new(Plan { number: CUT_OFF_RUNS + 1, ..plan() });
    rig.take(lost());
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true), "not for ever");
}

#[test]
fn each_limit_has_its_own_code_and_its_own_time() {
    let busy = Evidence::Pending { others_first: true };
    let free = Evidence::Pending { others_first: false };
    let cases = [
        (Rig::accepted(plan()), busy, FailureCode::TimeoutQueue, 3600),
        (Rig::accepted(plan()), free, FailureCode::TimeoutStart, 300),
        (Rig::running(plan()), Evidence::Running, FailureCode::TimeoutRun, 1800),
    ];
    for (mut rig, evidence, expected, limit) in cases {
        let (at, effects) = rig.live_on(&evidence);
        assert_eq!(code(&effects), Some(expected));
        assert!(effects.contains(&Effect::StopUpstream), "{expected:?}");
        assert!(at >= seconds(limit) && at < seconds(limit + 20), "{expected:?} at {at:?}");
    }
}

#[test]
fn silence_with_a_backend_that_hangs_times_out() {
    let mut rig = Rig::running(plan());
    let (at, effects) = rig.live_on(&Evidence::Hung);
    assert_eq!(code(&effects), Some(FailureCode::TimeoutSilence));
    assert!(effects.contains(&Effect::StopUpstream));
    assert!(at >= seconds(120) && at <= seconds(200), "{at:?}");
}

#[test]
fn a_backend_that_is_gone_is_tried_once_more_and_then_given_up() {
    let mut rig = Rig::running(plan());
    let (_, effects) = rig.live_on(&Evidence::Unreachable);
    assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::BackendLost), Some(true)));

    let mut rig = Rig::running(Plan { may_retry: false, ..plan() });
    let (_, effects) = rig.live_on(&Evidence::Unreachable);
    assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::BackendLost), None));
}

#[test]
fn a_model_that_loads_in_silence_is_not_timed_out_while_the_backend_says_it_runs() {
    let mut rig = Rig::running(plan());
    for _ in 0..20 {
        let effects = rig.after(60).take(Input::Tick);
        if effects.contains(&Effect::LookUp) {
            assert_eq!(rig.take(Input::Evidence(Evidence::Running)), []);
        }
    }
    assert!(!rig.run.is_done());
}

#[test]
fn an_interruption_is_the_callers_only_if_the_caller_asked() {
    let interrupted = Event::Interrupted { prompt: PROMPT.into(), node: None };
    let mut rig = Rig::running(plan());
    assert_eq!(code(&rig.event(interrupted.clone())), Some(FailureCode::Interrupted));

    let mut rig = Rig::running(plan());
    assert_eq!(rig.take(Input::Cancel), [Effect::StopUpstream, Effect::LookUp]);
    assert_eq!(rig.event(interrupted), [Effect::Finish(Outcome::Cancelled)]);
}

#[test]
fn a_cancel_that_nobody_confirms_still_ends() {
    let mut rig = Rig::running(plan());
    rig.take(Input::Cancel);
    let (at, effects) = rig.live_on(&Evidence::Running);
    assert_eq!(effects.last(), Some(&Effect::Finish(Outcome::Cancelled)));
    assert_eq!(at, Timestamp::from_millis(0) + CANCEL_LIMIT);
}

#[test]
fn a_cancel_before_the_answer_of_the_submission_is_carried_out_after_it() {
    let mut rig = Rig::new(plan());
    assert_eq!(rig.take(Input::Cancel), []);
    let effects = rig.take(Input::Submitted(SubmitResult::Accepted(None)));
    assert_eq!(effects, [Effect::StopUpstream, Effect::LookUp]);
    assert_eq!(rig.take(Input::Evidence(Evidence::Absent)), [Effect::Finish(Outcome::Cancelled)]);
}

#[test]
fn a_run_that_succeeded_before_the_cancel_reached_it_has_succeeded() {
    let mut rig = Rig::running(plan());
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.take(Input::Cancel);
    rig.event(succeeded());
    assert!(images(&rig.take(stored(0))).is_some());
}

#[test]
fn progress_runs_from_nothing_to_all_over_the_whole_graph() {
    let mut rig = Rig::running(Plan { nodes: ["1", "2", "3", "9"].map(str::to_owned).into(), ..plan() });
    assert_eq!(rig.run.progress(), Some(0.0));
    rig.event(Event::Cached { prompt: PROMPT.into(), nodes: vec!["1".into()] });
    assert_eq!(rig.run.progress(), Some(0.25));
    rig.event(Event::Progress { prompt: Some(PROMPT.into()), node: Some("2".into()), value: 5.0, max: 10.0 });
    assert_eq!(rig.run.progress(), Some(0.375));
}
