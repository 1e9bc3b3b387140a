//! What a run does in the situations that have a name.

use super::*;
use crate::comfy::event::{Event, ImageFrame, ImageOrigin, NodeError, NodeOutput};
use crate::comfy::{HistoryEnd, HistoryEntry};
use crate::job::{BlobId, FailureCode, FileRef, JobId, Limits, PromptId, Timeouts};
use crate::media::Kept;
use crate::tracker::evidence::Evidence;
use crate::tracker::harvest::{SlotResult, Source};
use crate::tracker::limits::CUT_OFF_RUNS;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const PROMPT: &str = "prompt-1";

pub(super) fn plan() -> Plan {
    let limits = Limits {
        queue: Duration::from_hours(1),
        start: Duration::from_mins(5),
        silence: Duration::from_mins(2),
        run: Duration::from_mins(30),
    };
    Plan {
        job: JobId::from_bytes([1; 16]),
        number: 1,
        prompt: PromptId(PROMPT.into()),
        backend: "here".into(),
        refused: Vec::new(),
        elsewhere: false,
        nodes: ["1", "2", "9"].map(str::to_owned).into(),
        websocket_nodes: BTreeSet::new(),
        declared: None,
        expected_images: Some(1),
        limits: limits.with(&Timeouts::default()),
        queued_since: Timestamp::from_millis(0),
        may_retry: true,
    }
}

/// A run, its time, and what it wanted done.
pub(super) struct Rig {
    pub(super) run: Run,
    now: Timestamp,
}

impl Rig {
    pub(super) fn new(plan: Plan) -> Self {
        let now = Timestamp::from_millis(0);
        Self { run: Run::about_to_submit(plan, now), now }
    }

    pub(super) fn accepted(plan: Plan) -> Self {
        let mut rig = Self::new(plan);
        assert_eq!(rig.take(Input::Submitted(SubmitResult::Accepted(None))), []);
        rig
    }

    pub(super) fn running(plan: Plan) -> Self {
        let mut rig = Self::accepted(plan);
        assert_eq!(rig.event(Event::Started { prompt: PROMPT.into() }), [Effect::Started]);
        rig
    }

    pub(super) fn take(&mut self, input: Input) -> Vec<Effect> {
        step(&mut self.run, input, self.now)
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        self.take(Input::Event(event))
    }

    pub(super) fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_secs(seconds);
        self
    }

    /// Lets the time pass as the task would: ticks at deadlines, looks answered with `evidence`, until it ended.
    pub(super) fn live_on(&mut self, evidence: &Evidence) -> (Timestamp, Vec<Effect>) {
        for _ in 0..100_000 {
            let Some((at, _)) = self.run.next_deadline() else { panic!("a run that has not ended has a deadline") };
            self.now = self.now.max(at);
            let mut effects = self.take(Input::Tick);
            if effects.contains(&Effect::LookUp) {
                effects.extend(self.take(Input::Evidence(evidence.clone())));
            }
            if self.run.is_done() {
                return (self.now, effects);
            }
        }
        panic!("the run does not end");
    }
}

pub(super) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

pub(super) fn code(effects: &[Effect]) -> Option<FailureCode> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finish(Outcome::Failed(failure, _))
        | Effect::Requeue { failure, .. }
        | Effect::Elsewhere { failure } => Some(failure.code),
        Effect::Finish(Outcome::Succeeded(_) | Outcome::Cancelled)
        | Effect::Started
        | Effect::LookUp
        | Effect::Reconnect
        | Effect::StopUpstream
        | Effect::Collect(..) => None,
    })
}

pub(super) fn requeued(effects: &[Effect]) -> Option<bool> {
    effects.iter().find_map(|effect| match effect {
        Effect::Requeue { counts, .. } => Some(*counts),
        Effect::Finish(_)
        | Effect::Elsewhere { .. }
        | Effect::Started
        | Effect::LookUp
        | Effect::Reconnect
        | Effect::StopUpstream
        | Effect::Collect(..) => None,
    })
}

fn images(effects: &[Effect]) -> Option<Vec<(String, u32)>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finish(Outcome::Succeeded(outputs)) => {
            Some(outputs.iter().map(|output| (output.node_id.clone(), output.index)).collect())
        }
        Effect::Finish(Outcome::Failed(..) | Outcome::Cancelled)
        | Effect::Requeue { .. }
        | Effect::Elsewhere { .. }
        | Effect::Started
        | Effect::LookUp
        | Effect::Reconnect
        | Effect::StopUpstream
        | Effect::Collect(..) => None,
    })
}

fn file(name: &str, folder: &str) -> FileRef {
    FileRef { filename: name.into(), subfolder: String::new(), folder: folder.into() }
}

fn executed(node: &str, files: &[FileRef]) -> Event {
    let output = NodeOutput { files: files.to_vec(), texts: vec![] };
    Event::Executed { prompt: PROMPT.into(), node: node.into(), display_node: node.into(), output }
}

fn succeeded() -> Event {
    Event::Succeeded { prompt: PROMPT.into() }
}

pub(super) fn stored(slot: usize) -> Input {
    let result = SlotResult::Stored(Kept::as_it_came("image/png", 10, BlobId("ab".into())));
    Input::Stored(SlotId(slot), result)
}

fn ended(outputs: Vec<(&str, Vec<FileRef>)>, end: HistoryEnd) -> Evidence {
    let outputs = outputs.into_iter().map(|(node, files)| (node.to_owned(), NodeOutput { files, texts: vec![] }));
    Evidence::Ended(HistoryEntry { end, outputs: outputs.collect(), execution_start_ms: None })
}

fn websocket_plan(images: u32) -> Plan {
    Plan { websocket_nodes: ["9".to_owned()].into(), expected_images: Some(images), ..plan() }
}

fn frame(index: f64) -> [Event; 2] {
    let (prompt, node) = (PROMPT.to_owned(), "9".to_owned());
    let origin = ImageOrigin { prompt: prompt.clone(), node: node.clone(), display_node: node.clone() };
    let image =
        ImageFrame { origin: Some(origin), content_type: "image/png".into(), bytes: Bytes::from_static(b"png") };
    [Event::Progress { prompt: Some(prompt), node: Some(node), value: index, max: 2.0 }, Event::Image(image)]
}

pub(super) fn node_error(exception: &str) -> NodeError {
    NodeError { node: "2".into(), class: "KSampler".into(), exception: exception.into(), message: "no memory".into() }
}

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
fn an_empty_success_names_what_was_expected() {
    let mut rig = Rig::running(plan());
    let effects = rig.event(succeeded());
    let Some(Effect::Finish(Outcome::Failed(failure, _))) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(failure.code, FailureCode::OutputMissing);
    assert_eq!(failure.message, "prompt failed validation: expected 1 images, got 0. finish_signal: true");
}

#[test]
fn websocket_images_keep_their_order_and_come_once() {
    let mut rig = Rig::running(websocket_plan(2));
    let [bar, image] = frame(0.0);
    assert_eq!(rig.event(bar.clone()), []);
    assert_eq!(rig.event(image.clone()).len(), 1);
    assert_eq!(rig.event(bar), []);
    assert_eq!(rig.event(image), [], "the same frame again");
    for event in frame(1.0) {
        rig.event(event);
    }
    rig.event(succeeded());
    rig.take(stored(1));
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("9".into(), 0), ("9".into(), 1)]));
}

#[test]
fn a_preview_is_not_a_result() {
    let mut rig = Rig::running(plan());
    for event in frame(0.0) {
        assert_eq!(rig.event(event), []);
    }
    assert_eq!(code(&rig.event(succeeded())), Some(FailureCode::OutputMissing));
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
fn a_lost_socket_is_made_good_from_the_history() {
    let mut rig = Rig::running(plan());
    assert_eq!(rig.take(Input::SocketLost { another_ran: false }), []);
    assert_eq!(rig.take(Input::SocketUp), [Effect::LookUp]);
    let entry = ended(vec![("9", vec![file("a.png", "output")])], HistoryEnd::Succeeded);
    assert_eq!(rig.take(Input::Evidence(entry)).len(), 1);
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("9".into(), 0)]));
}

#[test]
fn images_that_were_sent_while_nobody_listened_need_another_run() {
    let mut rig = Rig::running(websocket_plan(1));
    rig.take(Input::SocketLost { another_ran: false });
    rig.take(Input::SocketUp);
    let effects = rig.take(Input::Evidence(ended(vec![], HistoryEnd::Succeeded)));
    assert_eq!((code(&effects), requeued(&effects)), (Some(FailureCode::OutputMissing), Some(true)));
}

#[test]
fn history_never_overtakes_events_that_are_still_on_their_way() {
    let mut rig = Rig::running(websocket_plan(1));
    rig.after(15).take(Input::Tick);
    rig.event(Event::Executing { prompt: Some(PROMPT.into()), node: "9".into(), display_node: "9".into() });
    assert_eq!(rig.take(Input::Evidence(ended(vec![], HistoryEnd::Succeeded))), []);
    for event in frame(0.0).into_iter().chain(frame(1.0)) {
        rig.event(event);
    }
    rig.event(succeeded());
    rig.take(stored(0));
    assert!(images(&rig.take(stored(1))).is_some());
}

#[test]
fn a_deaf_socket_is_replaced() {
    let mut rig = Rig::running(plan());
    rig.after(15).take(Input::Tick);
    let effects = rig.take(Input::Evidence(ended(vec![("9", vec![file("a.png", "output")])], HistoryEnd::Succeeded)));
    assert!(effects.contains(&Effect::Reconnect), "{effects:?}");
    assert!(images(&rig.take(stored(0))).is_some());
}

#[test]
fn a_backend_that_forgot_the_prompt_leads_to_another_run() {
    let mut rig = Rig::running(plan());
    rig.take(Input::SocketLost { another_ran: false });
    rig.take(Input::SocketUp);
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
}

#[test]
fn a_prompt_that_its_backend_lost_while_it_ran_another_does_not_count() {
    let lost = |mut rig: Rig, another_ran| {
        rig.take(Input::SocketLost { another_ran });
        rig.take(Input::SocketUp);
        requeued(&rig.take(Input::Evidence(Evidence::Absent)))
    };
    let last_try = Plan { may_retry: false, ..plan() };
    assert_eq!(lost(Rig::accepted(last_try), true), Some(false));
    assert_eq!(lost(Rig::accepted(plan()), false), Some(true), "it may have begun, and nobody heard of it");
    assert_eq!(lost(Rig::running(plan()), true), Some(true), "it is what ran");
}

#[test]
fn what_began_after_the_socket_was_lost_is_to_blame_for_a_later_crash() {
    let mut rig = Rig::accepted(plan());
    rig.take(Input::SocketLost { another_ran: true });
    rig.take(Input::SocketUp);
    assert_eq!(rig.take(Input::Evidence(Evidence::Running)), [Effect::Started]);
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
}

#[test]
fn a_prompt_that_somebody_deletes_on_the_backend_counts() {
    let mut rig = Rig::accepted(plan());
    assert_eq!(rig.take(Input::Evidence(Evidence::Absent)), [], "its end may be on its way to us");
    rig.after(5);
    assert_eq!(requeued(&rig.take(Input::Evidence(Evidence::Absent))), Some(true));
}

#[test]
fn a_prompt_that_began_and_vanished_without_a_word_shows_that_the_socket_is_deaf() {
    let mut rig = Rig::running(plan());
    assert_eq!(rig.take(Input::Evidence(Evidence::Absent)), []);
    let effects = rig.after(5).take(Input::Evidence(Evidence::Absent));
    assert_eq!((effects.first(), requeued(&effects)), (Some(&Effect::Reconnect), Some(true)));
}

#[test]
fn a_socket_in_the_middle_of_a_large_image_is_not_deaf() {
    let mut rig = Rig::running(plan());
    let ended = || {
        Input::Evidence(Evidence::Ended(HistoryEntry {
            end: HistoryEnd::Succeeded,
            outputs: vec![],
            execution_start_ms: None,
        }))
    };
    for _ in 0..10 {
        rig.after(4).take(Input::Receiving);
        assert_eq!(rig.take(ended()), []);
    }
    assert!(rig.after(5).take(ended()).contains(&Effect::Reconnect));
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
fn temporary_files_count_only_where_there_is_nothing_else() {
    let mut rig = Rig::running(plan());
    rig.event(executed("2", &[file("preview.png", "temp")]));
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    rig.take(stored(0));
    assert_eq!(images(&rig.take(stored(1))), Some(vec![("9".into(), 0)]));

    let mut rig = Rig::running(plan());
    rig.event(executed("2", &[file("preview.png", "temp")]));
    rig.event(succeeded());
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("2".into(), 0)]));
}

#[test]
fn declared_outputs_decide_order_and_what_must_be_there() {
    let declared = Plan { declared: Some(vec!["9".into(), "2".into()]), expected_images: Some(2), ..plan() };
    let mut rig = Rig::running(declared.clone());
    rig.event(executed("2", &[file("b.png", "output")]));
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    rig.take(stored(0));
    assert_eq!(images(&rig.take(stored(1))), Some(vec![("9".into(), 0), ("2".into(), 0)]));

    let mut rig = Rig::running(Plan { expected_images: Some(1), ..declared });
    rig.event(executed("9", &[file("a.png", "output")]));
    rig.event(succeeded());
    assert_eq!(code(&rig.take(stored(0))), Some(FailureCode::OutputMissing));
}

#[test]
fn what_a_node_that_is_not_declared_gives_is_neither_fetched_nor_kept() {
    let websocket_nodes = BTreeSet::from(["2".to_owned()]);
    let mut rig = Rig::running(Plan { declared: Some(vec!["9".into()]), websocket_nodes, ..plan() });
    assert_eq!(rig.event(executed("1", &[file("b.png", "output")])), []);
    let origin = ImageOrigin { prompt: PROMPT.into(), node: "2".into(), display_node: "2".into() };
    let (content_type, bytes) = ("image/png".into(), Bytes::from_static(b"x"));
    assert_eq!(rig.event(Event::Image(ImageFrame { content_type, bytes, origin: Some(origin) })), []);
    assert_eq!(rig.event(executed("9", &[file("a.png", "output")])).len(), 1);
    rig.event(succeeded());
    assert_eq!(images(&rig.take(stored(0))), Some(vec![("9".into(), 0)]));
}

#[test]
fn an_output_above_the_limit_or_gone_fails_the_job_and_says_so() {
    for (result, expected) in [
        (SlotResult::TooLarge { limit: 5 }, FailureCode::OutputTooLarge),
        (SlotResult::NotFound, FailureCode::OutputMissing),
        (SlotResult::Unavailable("reset".into()), FailureCode::BackendLost),
        (SlotResult::Failed, FailureCode::Internal),
    ] {
        let mut rig = Rig::running(plan());
        rig.event(executed("9", &[file("a.png", "output")]));
        rig.event(succeeded());
        assert_eq!(code(&rig.take(Input::Stored(SlotId(0), result))), Some(expected));
    }
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
