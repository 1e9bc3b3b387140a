//! A history in which all is well passes; each kind of violation is noticed, and as nothing else.

use super::{Accepted, BTreeSet, Call, Cancel, History, JobRow, Rule, Seen, Who, violations};
use crate::history::Death;
use std::ops::AddAssign;

const FIRST: &str = "0199-a";
const SECOND: &str = "0199-b";

/// One case for each way in which a history may be wrong.
pub(crate) fn each_kind_of_violation_is_noticed_and_taken_for_nothing_else() {
    type Change = fn(&mut History);
    let cases: &[(&str, Change, &[Rule])] = &[
        (
            "a job is gone",
            |h| drop(h.jobs.remove(0)),
            &[Rule::Lost, Rule::NothingInvented, Rule::ExecutedOnce, Rule::Files],
        ),
        ("a job that nobody asked for", |h| drop(h.accepted.remove(0)), &[Rule::Unasked]),
        ("a key with two jobs", |h| h.accepted[1].key = "a".into(), &[Rule::OneJobForEachKey]),
        ("a key that leads elsewhere", |h| drop(h.keys.insert("a".into(), SECOND.into())), &[Rule::OneJobForEachKey]),
        ("a key that is forgotten", |h| drop(h.keys.remove("a")), &[Rule::OneJobForEachKey]),
        ("a webhook that never came", |h| h.calls.retain(|call| call.id != FIRST), &[Rule::Told]),
        ("a webhook that was only refused", |h| h.calls[0].answer = 500, &[Rule::Told]),
        ("two ids for a job", |h| repeat(h, |call| call.webhook_id = "other".into()), &[Rule::OneIdentity]),
        ("an id for two jobs", |h| h.calls[1].webhook_id = h.calls[0].webhook_id.clone(), &[Rule::OneIdentity]),
        ("two bodies", |h| repeat(h, |call| call.sha256 = "other".into()), &[Rule::OneBody]),
        ("two states", |h| repeat(h, |call| call.status = "node_error".into()), &[Rule::OneStatus]),
        ("another state than is stored", |h| h.calls[0].status = "node_error".into(), &[Rule::OneStatus]),
        ("an invented job", |h| h.calls[0].id = "0199-x".into(), &[Rule::Told, Rule::NothingInvented]),
        ("an end without a delivery", |h| h.jobs[0].delivery = None, &[Rule::EndIsWhole]),
        ("an end without a result", |h| h.jobs[0].has_result = false, &[Rule::EndIsWhole]),
        ("an end without its time", |h| h.jobs[0].ended_at = None, &[Rule::EndIsWhole]),
        (
            "a delivery without an end",
            |h| unfinished(h, "queued"),
            &[Rule::OneStatus, Rule::EndIsWhole, Rule::NothingLeftOver],
        ),
        ("a job that still runs", |h| waiting(h, "running"), &[Rule::OneStatus, Rule::NothingLeftOver]),
        ("a delivery that still waits", |h| h.jobs[0].delivery = Some("pending".into()), &[Rule::NothingLeftOver]),
        (
            "a delivery that was given up",
            |h| h.jobs[0].delivery = Some("undeliverable".into()),
            &[Rule::NothingLeftOver],
        ),
        ("an arrival that was never recorded", |h| h.jobs[0].good_attempts = 0, &[Rule::RecordedOnce]),
        ("an arrival that was recorded twice", |h| h.jobs[0].good_attempts = 2, &[Rule::RecordedOnce]),
        ("a failure", failed, &[Rule::RightEnd]),
        ("a success that should have failed", |h| h.jobs[0].workflow = "canvas-fails".into(), &[Rule::RightEnd]),
        ("a cancelled job that nobody wanted cancelled", |h| cancelled(h, None), &[Rule::RightEnd]),
        ("a cancelled job that is not", |h| h.accepted[0].cancel = Some(Cancel::Done), &[Rule::Cancelled]),
        ("no picture", |h| h.jobs[0].outputs = 0, &[Rule::RightPictures]),
        ("a picture too many", |h| h.jobs[1].outputs = 2, &[Rule::RightPictures]),
        ("a repeat that no death explains", |h| h.calls.push(later(&h.calls[0], 60_000)), &[Rule::NoRepeats]),
        ("two repeats for one death", |h| repeat_twice(h), &[Rule::NoRepeats]),
        (
            "a prompt that ran twice",
            |h| h.executions.entry(SECOND.into()).or_default().add_assign(1),
            &[Rule::ExecutedOnce],
        ),
        ("a job that ran twice", |h| ran_again(h, 0), &[Rule::ExecutedOnce]),
        ("a run that nobody knows", |h| unknown_run(h), &[Rule::ExecutedOnce]),
        ("another look than what was told", |h| h.calls[0].seen = Seen::Other, &[Rule::SeenAsTold]),
        ("a blob without a job", |h| h.blobs_on_disk.extend(["ff".into()]), &[Rule::Files]),
        ("a job without its blob", |h| h.blobs_on_disk.retain(|blob| blob != "aa"), &[Rule::Files]),
        ("a draft", |h| h.drafts = 1, &[Rule::Files]),
    ];
    for (what, change, expected) in cases {
        let mut history = sound();
        change(&mut history);
        let found: BTreeSet<Rule> = violations(&history).into_iter().map(|violation| violation.rule).collect();
        let expected: BTreeSet<Rule> = expected.iter().copied().collect();
        // Where a job is gone, what belonged to it belongs to nobody: some of that may be noticed too.
        let fits = if *what == "a job is gone" {
            found.is_subset(&expected) && found.contains(&Rule::Lost)
        } else {
            found == expected
        };
        assert!(fits, "{what}: {found:?} instead of {expected:?}");
    }
}

/// What looks like a violation and is none.
pub(crate) fn what_a_death_explains_is_no_violation() {
    assert_eq!(violations(&History::default()), []);
    assert_eq!(violations(&sound()), []);

    // The gateway, or the receiver itself, died before the answer was recorded.
    for who in [Who::Gateway, Who::Sink] {
        let mut history = sound();
        history.calls.push(later(&history.calls[0], 60_000));
        history.deaths = vec![Death { who, at: 30_000 }];
        assert_eq!(violations(&history), [], "{who:?}");
        history.deaths = vec![Death { who: Who::Comfyui, at: 30_000 }];
        assert_eq!(violations(&history).len(), 2);
    }
    // A wish to cancel may come in time or too late, unless it was said to be done.
    for cancel in [Cancel::Unheard, Cancel::Asked, Cancel::Done] {
        let mut history = sound();
        cancelled(&mut history, Some(cancel));
        assert_eq!(violations(&history), [], "{cancel:?}");
    }
    let mut history = sound();
    history.accepted[0].cancel = Some(Cancel::Asked);
    assert_eq!(violations(&history), []);

    // A workflow that fails must.
    let mut history = sound();
    failed(&mut history);
    history.jobs[0].workflow = "canvas-fails".into();
    assert_eq!(violations(&history), []);

    // Refused tries are no repeats.
    let mut history = sound();
    history.calls.insert(0, Call { answer: 500, ..history.calls[0].clone() });
    assert_eq!(violations(&history), []);

    // Pictures that were sent while nobody listened are made again.
    let mut history = sound();
    ran_again(&mut history, 1);
    assert_eq!(violations(&history), []);

    // So are all that ComfyUI had not told of when it died; what had ended before is not.
    let mut history = sound();
    ran_again(&mut history, 0);
    history.deaths = vec![Death { who: Who::Comfyui, at: 1500 }];
    assert_eq!(violations(&history), []);
    history.deaths = vec![Death { who: Who::Comfyui, at: 9000 }];
    assert_eq!(violations(&history).len(), 1);
}

/// Two jobs, told once each; the second one's picture came over the socket.
fn sound() -> History {
    let job = |id: &str, workflow: &str| JobRow {
        id: id.into(),
        workflow: workflow.into(),
        state: "succeeded".into(),
        code: None,
        error: None,
        created_at: 1000,
        ended_at: Some(2000),
        prompt: Some(id.into()),
        runs: 1,
        outputs: 1,
        has_result: true,
        delivery: Some("delivered".into()),
        good_attempts: 1,
    };
    let call = |id: &str| Call {
        at: 2500,
        id: id.into(),
        webhook_id: format!("msg_{id}"),
        sha256: format!("of {id}"),
        status: "success".into(),
        answer: 204,
        seen: Seen::Same,
    };
    let accepted = |key: &str, id: &str| Accepted { at: 1000, key: key.into(), id: id.into(), cancel: None };
    History {
        accepted: vec![accepted("a", FIRST), accepted("b", SECOND)],
        jobs: vec![job(FIRST, "canvas-files"), job(SECOND, "canvas")],
        keys: [("a".into(), FIRST.into()), ("b".into(), SECOND.into())].into(),
        calls: vec![call(FIRST), call(SECOND)],
        executions: [(FIRST.into(), 1), (SECOND.into(), 1)].into(),
        deaths: Vec::new(),
        blobs_on_disk: ["aa".into(), "bb".into()].into(),
        blobs_named: ["aa".into(), "bb".into()].into(),
        drafts: 0,
    }
}

fn later(call: &Call, after: i64) -> Call {
    Call { at: call.at + after, ..call.clone() }
}

/// Adds a second call that a death explains, and that differs.
fn repeat(history: &mut History, change: fn(&mut Call)) {
    let mut again = later(&history.calls[0], 60_000);
    change(&mut again);
    history.calls.push(again);
    history.deaths.push(Death { who: Who::Gateway, at: 30_000 });
}

fn repeat_twice(history: &mut History) {
    // The margin lets one death stand between both pairs; counted it is still one.
    history.calls.push(later(&history.calls[0], 500));
    history.calls.push(later(&history.calls[0], 900));
    history.deaths.push(Death { who: Who::Gateway, at: 2700 });
}

fn ran_again(history: &mut History, place: usize) {
    history.jobs[place].prompt = Some("another".into());
    history.jobs[place].runs = 2;
    history.executions.insert("another".into(), 1);
}

fn unknown_run(history: &mut History) {
    history.jobs[1].workflow = "canvas-files".into();
    history.executions.insert("unknown".into(), 1);
}

fn unfinished(history: &mut History, state: &str) {
    history.jobs[0].state = state.into();
}

fn waiting(history: &mut History, state: &str) {
    let job = &mut history.jobs[0];
    (job.state, job.ended_at, job.has_result, job.delivery) = (state.into(), None, false, None);
}

fn failed(history: &mut History) {
    history.jobs[0].state = "failed".into();
    history.jobs[0].outputs = 0;
    history.calls[0].status = "node_error".into();
    history.jobs[0].code = Some("node_error".into());
}

fn cancelled(history: &mut History, cancel: Option<Cancel>) {
    history.jobs[0].state = "cancelled".into();
    history.jobs[0].outputs = 0;
    history.calls[0].status = "cancelled".into();
    history.accepted[0].cancel = cancel;
}
