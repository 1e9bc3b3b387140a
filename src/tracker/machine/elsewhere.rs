//! What another backend can mend, what it cannot, and what must be stopped on the one that was left.

use super::rig::{PROMPT, Rig, code, node_error, plan, requeued, seconds};
use super::*;
use crate::comfy::event::Event;
use crate::comfy::{HistoryEnd, HistoryEntry, Timeline};
use crate::job::FailureCode;
use crate::store::{Refused, Way};
use crate::tracker::evidence::Evidence;
use crate::tracker::limits::CANCEL_LIMIT;

fn incompatible(reason: &str) -> Input {
    Input::Submitted(SubmitResult::Incompatible(Failure::new(FailureCode::Validation, reason)))
}

fn with_another() -> Plan {
    Plan { elsewhere: true, alike: true, ..plan() }
}

#[test]
fn what_ran_where_nobody_listens_any_more_goes_elsewhere_soon_and_waits_where_there_is_no_other() {
    let lost = |elsewhere: bool, after: u64| {
        let mut rig = Rig::running(Plan { elsewhere, ..plan() });
        rig.take(Input::SocketLost { another_ran: false });
        assert_eq!(rig.after(1).take(Input::Evidence(Evidence::Unreachable)), []);
        rig.after(after).take(Input::Evidence(Evidence::Unreachable))
    };
    let effects = lost(true, 15);
    assert_eq!((effects.first(), requeued(&effects)), (Some(&Effect::StopUpstream), Some(true)));
    assert_eq!(code(&effects), Some(FailureCode::BackendLost));
    assert_eq!(lost(true, 14), [], "it may be back in a moment");
    assert_eq!(lost(false, 15), [], "it is the only one, and may still have the result");
    let mut hung = Rig::running(with_another());
    hung.after(15);
    assert_eq!(hung.take(Input::Evidence(Evidence::Hung)), [], "it may only be busy");
}

#[test]
fn one_question_that_does_not_get_through_loses_no_run_nor_do_many_while_the_socket_stands() {
    let unreachable = || Input::Evidence(Evidence::Unreachable);
    let mut rig = Rig::running(with_another());
    assert_eq!(rig.after(100).take(unreachable()), [], "a step may be long and say nothing");
    for _ in 0..19 {
        assert_eq!(rig.after(1).take(unreachable()), [], "whoever holds the socket is there");
    }
    rig.take(Input::SocketLost { another_ran: false });
    assert_eq!(rig.after(1).take(Input::Evidence(Evidence::Running)), []);
    assert_eq!(rig.after(60).take(unreachable()), [], "it was there until now, for all that is known");
    rig.after(14).take(Input::SocketUp);
    rig.take(Input::SocketLost { another_ran: false });
    assert_eq!(rig.after(1).take(unreachable()), [], "it was there in between");
    assert!(requeued(&rig.after(15).take(unreachable())).is_some());
}

#[test]
fn what_takes_longer_than_usual_is_looked_up_soon_and_then_ever_less_often() {
    let looks = |usual: Option<u64>| {
        let mut rig = Rig::running(Plan { usual: usual.map(Duration::from_secs), ..plan() });
        let looks = (0..4).map(|_| rig.look_at(&Evidence::Running).millis() / 1000);
        looks.collect::<Vec<_>>()
    };
    assert_eq!(looks(None), [15, 30, 45, 60]);
    assert_eq!(looks(Some(3)), [6, 18, 33, 48]);
    assert_eq!(looks(Some(0))[..2], [2, 6]);
    assert_eq!(looks(Some(600)), [15, 30, 45, 60]);
}

#[test]
fn what_one_backend_lacks_another_may_have() {
    let mut rig = Rig::new(Plan { may_retry: false, ..with_another() });
    let failure = Failure::new(FailureCode::Validation, "no such model");
    assert_eq!(rig.take(incompatible("no such model")), [Effect::Elsewhere { failure, counts: false }]);
    assert!(rig.run.is_done());
    // The same backend may have what another variant needs.
    let mut rig = Rig::new(Plan { otherwise: true, ..plan() });
    assert!(matches!(rig.take(incompatible("no such model"))[..], [Effect::Elsewhere { .. }]));
    // One that the caller does not want any more is not passed on.
    let mut rig = Rig::new(with_another());
    rig.take(Input::Cancel);
    assert_eq!(rig.take(incompatible("no such model")), [Effect::Finish(Outcome::Cancelled)]);
}

#[test]
fn what_the_last_backend_lacks_fails_with_the_reasons_of_all() {
    let alone = |refused: &[(&str, &str)]| {
        let refused =
            refused.iter().map(|(backend, reason)| Refused { way: Way::first(backend), reason: (*reason).into() });
        let mut rig = Rig::new(Plan { refused: refused.collect(), ..plan() });
        match rig.take(incompatible("no model x")).pop() {
            Some(Effect::Finish(Outcome::Failed(failure, _))) => {
                assert_eq!(failure.code, FailureCode::Validation);
                failure.message
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(alone(&[]), "no model x");
    assert_eq!(alone(&[("there", "no model x")]), "no model x", "said once where all say the same");
    let expected = "no backend can run the graph: there: no class y; here: no model x";
    assert_eq!(alone(&[("there", "no class y")]), expected);
    assert!(alone(&[("there", &"y".repeat(5000))]).len() < 300);
}

#[test]
fn a_run_whose_images_did_not_get_there_is_a_try_and_the_last_one_says_why() {
    let failure = Failure::new(FailureCode::BackendLost, "the image for `photo` was not there within 2m");
    let slow = || Input::Submitted(SubmitResult::NotPlaced(failure.clone()));
    let effects = Rig::new(with_another()).take(slow());
    assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::BackendLost), Some(true)));
    let effects = Rig::new(Plan { may_retry: false, ..with_another() }).take(slow());
    let [Effect::Finish(Outcome::Failed(failure, _))] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(failure.message.ends_with("within 2m"), "{failure:?}");
}

#[test]
fn a_wrong_graph_and_a_node_that_raises_are_nobody_elses_business() {
    let refused = Input::Submitted(SubmitResult::Refused(Failure::new(FailureCode::Validation, "no")));
    assert_eq!(code(&Rig::new(with_another()).take(refused)), Some(FailureCode::Validation));
    let mut rig = Rig::running(with_another());
    let effects = rig.event(Event::Failed { prompt: PROMPT.into(), error: node_error("ValueError") });
    assert!(matches!(effects.as_slice(), [Effect::Finish(Outcome::Failed(..))]), "{effects:?}");
    assert_eq!(rig.run.fault(), None, "it says nothing of the backend");
}

#[test]
fn memory_that_runs_out_here_may_suffice_elsewhere_as_long_as_there_are_tries() {
    let raise = |plan: Plan, exception: &str| {
        let mut rig = Rig::running(plan);
        let effects = rig.event(Event::Failed { prompt: PROMPT.into(), error: node_error(exception) });
        assert!(rig.run.fault().is_some_and(|reason| reason.contains(exception)), "the backend is told of");
        effects
    };
    for exception in ["torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "MemoryError"] {
        let effects = raise(with_another(), exception);
        assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::NodeError), Some(true)), "{exception}");
        for last in [plan(), Plan { may_retry: false, ..with_another() }] {
            let effects = raise(last, exception);
            assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::NodeError), None), "{exception}");
        }
    }
    // The history tells the same where the socket did not.
    let mut rig = Rig::running(with_another());
    rig.take(Input::SocketLost { another_ran: false });
    let end = HistoryEnd::Failed(node_error("torch.OutOfMemoryError"));
    let entry = HistoryEntry { end, outputs: Vec::new(), timeline: Timeline::default() };
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Ended(entry)))), Some(true));
}

#[test]
fn where_memory_runs_out_another_variant_is_tried_and_this_one_is_not_given_there_again() {
    let raise = |plan: Plan| {
        let mut rig = Rig::running(plan);
        rig.event(Event::Failed { prompt: PROMPT.into(), error: node_error("torch.OutOfMemoryError") })
    };
    let another_variant = [
        Plan { otherwise: true, ..plan() },
        Plan { otherwise: true, ..with_another() },
        Plan { elsewhere: true, alike: false, ..plan() },
    ];
    for plan in another_variant {
        let effects = raise(plan.clone());
        assert!(matches!(effects[..], [Effect::Elsewhere { counts: true, .. }]), "{effects:?}");
        let effects = raise(Plan { may_retry: false, ..plan });
        assert!(matches!(effects[..], [Effect::Finish(Outcome::Failed(..))]), "{effects:?}");
    }
}

#[test]
fn what_the_last_backend_lacks_one_that_may_join_may_have() {
    let effects = Rig::new(Plan { may_join: true, ..plan() }).take(incompatible("no such model"));
    assert!(matches!(effects.as_slice(), [Effect::Elsewhere { .. }]), "{effects:?}");
}

#[test]
fn a_look_that_began_before_the_submission_was_over_does_not_say_that_the_prompt_is_not_there() {
    for answer in [SubmitResult::Accepted(None), SubmitResult::Ambiguous("reset".into())] {
        let mut rig = Rig::new(plan());
        assert_eq!(rig.after(15).take(Input::Tick), [Effect::LookUp]);
        assert_eq!(rig.take(Input::Submitted(answer)), [], "a look is under way already");
        assert_eq!(rig.take(Input::Evidence(Evidence::Absent)), [Effect::LookUp], "but it may have been too early");
        assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
    }
}

#[test]
fn a_request_that_was_cut_off_and_is_not_there_may_still_come_and_is_stopped_then() {
    let mut rig = Rig::new(plan());
    rig.take(Input::Submitted(SubmitResult::Ambiguous("reset".into())));
    let effects = rig.take(Input::Evidence(Evidence::Absent));
    assert_eq!(effects.first(), Some(&Effect::StopUpstream));
    assert_eq!(requeued(&effects), Some(true));
}

#[test]
fn whatever_is_given_up_without_a_word_of_its_backend_is_stopped_there() {
    for evidence in [Evidence::Unreachable, Evidence::Hung] {
        for plan in [plan(), with_another()] {
            for mut rig in [Rig::running(plan.clone()), Rig::accepted(plan.clone())] {
                let (_, effects) = rig.live_on(&evidence);
                assert!(effects.contains(&Effect::StopUpstream), "{evidence:?} {effects:?}");
            }
        }
    }
    let mut rig = Rig::running(plan());
    rig.take(Input::Cancel);
    let (at, effects) = rig.live_on(&Evidence::Running);
    assert_eq!(at, Timestamp::from_millis(0) + CANCEL_LIMIT);
    assert_eq!(effects, [Effect::StopUpstream, Effect::Finish(Outcome::Cancelled)]);
}

#[test]
fn a_backend_that_hangs_costs_no_job_where_there_is_another() {
    let (at, effects) = Rig::running(with_another()).live_on(&Evidence::Hung);
    assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::TimeoutSilence), Some(true)));
    assert!(at >= seconds(120) && at <= seconds(200), "{at:?}");
    // Not for ever, since it may be the job that makes them hang.
    let (_, effects) = Rig::running(Plan { may_retry: false, ..with_another() }).live_on(&Evidence::Hung);
    assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::TimeoutSilence), None));
}

#[test]
fn what_waited_behind_another_on_a_backend_that_is_gone_has_not_been_tried() {
    let mut rig = Rig::accepted(plan());
    rig.take(Input::SocketLost { another_ran: true });
    assert_eq!(requeued(&rig.live_on(&Evidence::Unreachable).1), Some(false));
    let mut rig = Rig::running(plan());
    rig.take(Input::SocketLost { another_ran: false });
    assert_eq!(requeued(&rig.live_on(&Evidence::Unreachable).1), Some(true));
}
