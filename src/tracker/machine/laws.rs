//! The laws of a run, for any order, loss and repetition of what can happen to it.

use super::rig::{PROMPT, plan, stored};
use super::*;
use crate::comfy::event::{Event, ImageFrame, ImageOrigin, NodeError, NodeOutput, NodeProgress};
use crate::comfy::{HistoryEnd, HistoryEntry, Timeline};
use crate::job::{FailureCode, FileRef};
use crate::tracker::evidence::Evidence;
use crate::tracker::harvest::SlotResult;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// More deadlines than any run can have with the limits of these tests.
const MOST_TICKS: usize = 20_000;

/// What may happen, and how many milliseconds after the last thing.
type Story = Vec<(u64, Input)>;

/// Tells a story to a run as the task would, with ticks at its deadlines, and after it nothing but ticks.
fn tell(run: &mut Run, story: &[(u64, Input)]) -> Vec<(Timestamp, Effect)> {
    let mut now = Timestamp::from_millis(0);
    let mut log = Vec::new();
    let mut ticks = 0;
    let mut tick_until = |run: &mut Run, until: Option<Timestamp>, log: &mut Vec<(Timestamp, Effect)>| {
        while let Some((at, _)) = run.next_deadline().filter(|(at, _)| until.is_none_or(|until| *at <= until)) {
            ticks += 1;
            assert!(ticks < MOST_TICKS, "no end in sight at {at:?}: {run:?}");
            log.extend(step(run, Input::Tick, at).into_iter().map(|effect| (at, effect)));
        }
    };
    for (pause, input) in story {
        let then = now + Duration::from_millis(*pause);
        tick_until(run, Some(then), &mut log);
        now = then;
        log.extend(step(run, input.clone(), now).into_iter().map(|effect| (now, effect)));
    }
    tick_until(run, None, &mut log);
    log
}

fn is_end(effect: &Effect) -> bool {
    matches!(effect, Effect::Finish(_) | Effect::Requeue { .. } | Effect::Elsewhere { .. })
}

fn fresh(websocket: bool, recovered: bool) -> Run {
    fresh_of(plan(), websocket, recovered)
}

fn fresh_of(plan: Plan, websocket: bool, recovered: bool) -> Run {
    let websocket_nodes = if websocket { ["9".to_owned()].into() } else { BTreeSet::new() };
    let plan = Plan { websocket_nodes, ..plan };
    let now = Timestamp::from_millis(0);
    if recovered { Run::recovered(plan, None, now) } else { Run::about_to_submit(plan, now) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_run_ends_exactly_once_whatever_happens(
        story in story(), websocket: bool, recovered: bool, elsewhere: bool, may_retry: bool
    ) {
        let mut run = fresh_of(Plan { elsewhere, may_retry, ..plan() }, websocket, recovered);
        let log = tell(&mut run, &story);
        prop_assert!(run.is_done());
        prop_assert_eq!(log.iter().filter(|(_, effect)| is_end(effect)).count(), 1);
        prop_assert!(log.last().is_some_and(|(_, effect)| is_end(effect)), "something is done after the end: {:?}", log);
        prop_assert!(log.iter().filter(|(_, effect)| *effect == Effect::Started).count() <= 1);
    }

    #[test]
    fn a_run_that_is_to_be_cancelled_is_never_tried_again(story in story(), websocket: bool, recovered: bool) {
        let mut run = fresh_of(Plan { elsewhere: true, ..plan() }, websocket, recovered);
        let mut story = story;
        story.insert(0, (0, Input::Cancel));
        let log = tell(&mut run, &story);
        let end = log.last().map(|(_, effect)| effect);
        prop_assert!(matches!(end, Some(Effect::Finish(_))), "{:?}", end);
    }

    #[test]
    fn a_run_ends_by_its_deadlines(story in story(), websocket: bool) {
        let mut run = fresh(websocket, false);
        let log = tell(&mut run, &story);
        let limits = plan().limits;
        let collecting = COLLECT_LIMIT + Duration::from_mins(2);
        let latest = Timestamp::from_millis(0) + limits.queue + limits.run + collecting;
        prop_assert!(log.last().is_some_and(|(at, _)| *at <= latest), "{:?}", log.last());
    }

    #[test]
    fn the_same_story_has_the_same_effects(story in story(), websocket: bool, recovered: bool) {
        let (mut one, mut other) = (fresh(websocket, recovered), fresh(websocket, recovered));
        prop_assert_eq!(tell(&mut one, &story), tell(&mut other, &story));
    }

    #[test]
    fn events_of_another_prompt_change_nothing(before in story(), foreign in foreign_event()) {
        let mut run = fresh(true, false);
        let mut now = Timestamp::from_millis(0);
        for (pause, input) in before {
            now = now + Duration::from_millis(pause);
            step(&mut run, input, now);
        }
        let untouched = run.clone();
        prop_assert_eq!(step(&mut run, Input::Event(foreign), now + Duration::from_secs(1)), vec![]);
        prop_assert_eq!(run, untouched);
    }

    #[test]
    fn a_tick_before_its_time_changes_nothing(before in story()) {
        let mut run = fresh(true, false);
        let mut now = Timestamp::from_millis(0);
        for (pause, input) in before {
            now = now + Duration::from_millis(pause);
            step(&mut run, input, now);
        }
        if run.next_deadline().is_some_and(|(at, _)| at > now) {
            let untouched = run.clone();
            prop_assert_eq!(step(&mut run, Input::Tick, now), vec![]);
            prop_assert_eq!(run, untouched);
        }
    }

    #[test]
    fn what_happens_twice_has_the_same_end(story in repeatable_story(), websocket: bool) {
        let twice: Story = story.iter().flat_map(|(pause, input)| [(*pause, input.clone()), (0, input.clone())]).collect();
        let (mut one, mut other) = (fresh(websocket, false), fresh(websocket, false));
        let end = |log: Vec<(Timestamp, Effect)>| log.last().map(|(_, effect)| effect.clone());
        prop_assert_eq!(end(tell(&mut one, &story)), end(tell(&mut other, &twice)));
    }
}

fn story() -> impl Strategy<Value = Story> {
    let pause = prop_oneof![4 => Just(0), 4 => 1..2_000_u64, 1 => 2_000..200_000_u64];
    prop::collection::vec((pause, input()), 0..25)
}

/// A story of what a backend may well say twice. Image frames are told apart by the bar before them, which a story may
/// lack, so they have a test of their own.
fn repeatable_story() -> impl Strategy<Value = Story> {
    let event = event(PROMPT).prop_filter("no frame", |event| !matches!(event, Event::Image(_))).prop_map(Input::Event);
    let input =
        prop_oneof![8 => event, 4 => (0..4_usize).prop_map(stored), 1 => slot_trouble(), 1 => Just(Input::SocketUp)];
    prop::collection::vec((0..2_000_u64, input), 0..25)
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        10 => event(PROMPT).prop_map(Input::Event),
        3 => submitted().prop_map(Input::Submitted),
        4 => evidence().prop_map(Input::Evidence),
        4 => (0..4_usize).prop_map(stored),
        1 => slot_trouble(),
        1 => any::<bool>().prop_map(|another_ran| Input::SocketLost { another_ran }),
        1 => Just(Input::SocketUp),
        1 => Just(Input::Receiving),
        1 => any::<bool>().prop_map(Input::Placing),
        1 => Just(Input::Cancel),
        1 => Just(Input::Tick),
    ]
}

fn foreign_event() -> impl Strategy<Value = Event> {
    let nowhere = prop_oneof![
        Just(Event::Idle { prompt: None }),
        Just(Event::Status { queue_remaining: Some(0), sid: None }),
        Just(Event::Noise { what: "crystools.monitor".into() }),
    ];
    prop_oneof![event("another-prompt"), nowhere]
}

fn event(prompt: &'static str) -> impl Strategy<Value = Event> {
    let node = prop_oneof![Just("1"), Just("2"), Just("9")].prop_map(str::to_owned);
    let (prompt, some) = (prompt.to_owned(), Some(prompt.to_owned()));
    let (p1, p2, p3, p4, p5, p6, p7) = (
        prompt.clone(),
        prompt.clone(),
        prompt.clone(),
        prompt.clone(),
        prompt.clone(),
        prompt.clone(),
        prompt.clone(),
    );
    let (s1, s2, s3) = (some.clone(), some.clone(), some);
    prop_oneof![
        Just(Event::Started { prompt }),
        prop::collection::vec(node.clone(), 0..3).prop_map(move |nodes| Event::Cached { prompt: p1.clone(), nodes }),
        (node.clone(), 0..4_u8, any::<bool>()).prop_map(move |(node, value, finished)| Event::ProgressState {
            prompt: p2.clone(),
            nodes: vec![NodeProgress {
                node: node.clone(),
                display_node: node,
                value: value.into(),
                max: 3.0,
                finished
            }],
        }),
        node.clone().prop_map(move |node| Event::Executing {
            prompt: s1.clone(),
            node: node.clone(),
            display_node: node
        }),
        Just(Event::Idle { prompt: s2 }),
        (node.clone(), 0..3_u8).prop_map(move |(node, value)| Event::Progress {
            prompt: s3.clone(),
            node: Some(node),
            value: value.into(),
            max: 2.0,
        }),
        (node.clone(), output()).prop_map(move |(node, output)| Event::Executed {
            prompt: p3.clone(),
            node: node.clone(),
            display_node: node,
            output,
        }),
        Just(Event::Succeeded { prompt: p4 }),
        any::<bool>().prop_map(move |block| Event::Failed { prompt: p5.clone(), error: node_error(block) }),
        Just(Event::Interrupted { prompt: p6, node: None }),
        node.prop_map(move |node| Event::Image(ImageFrame {
            origin: Some(ImageOrigin { prompt: p7.clone(), node: node.clone(), display_node: node }),
            content_type: "image/png".into(),
            bytes: Bytes::from_static(b"png"),
        })),
    ]
}

fn output() -> impl Strategy<Value = NodeOutput> {
    let folder = prop_oneof![Just("output"), Just("temp"), Just("input")];
    let file = (0..3_u8, folder).prop_map(|(number, folder)| FileRef {
        filename: format!("{number}.png"),
        subfolder: String::new(),
        folder: folder.into(),
    });
    (prop::collection::vec(file, 0..3), prop::collection::vec("[a-z]{0,3}", 0..2))
        .prop_map(|(files, texts)| NodeOutput { files, texts })
}

fn node_error(block: bool) -> NodeError {
    let exception = if block { "ExecutionBlocked" } else { "ValueError" };
    NodeError { node: "2".into(), class: "KSampler".into(), exception: exception.into(), message: "no".into() }
}

fn submitted() -> impl Strategy<Value = SubmitResult> {
    let failure = Failure::new(FailureCode::Validation, "no");
    prop_oneof![
        4 => Just(SubmitResult::Accepted(None)),
        1 => Just(SubmitResult::Accepted(Some(failure.clone()))),
        1 => Just(SubmitResult::Refused(failure.clone())),
        1 => Just(SubmitResult::Incompatible(failure)),
        1 => Just(SubmitResult::Unreachable("refused".into())),
        1 => Just(SubmitResult::NotPlaced(Failure::new(FailureCode::BackendLost, "too slow"))),
        1 => Just(SubmitResult::GivenUp),
        1 => Just(SubmitResult::Ambiguous("status 500".into())),
        1 => Just(SubmitResult::Unanswered("reset".into())),
    ]
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let end = prop_oneof![
        Just(HistoryEnd::Succeeded),
        any::<bool>().prop_map(|block| HistoryEnd::Failed(node_error(block))),
        Just(HistoryEnd::Interrupted),
        Just(HistoryEnd::Unknown),
    ];
    let entry = (end, output()).prop_map(|(end, output)| HistoryEntry {
        end,
        outputs: vec![("9".into(), output)],
        timeline: Timeline::default(),
    });
    prop_oneof![
        any::<bool>().prop_map(|others_first| Evidence::Pending { others_first }),
        Just(Evidence::Running),
        entry.prop_map(Evidence::Ended),
        Just(Evidence::Absent),
        Just(Evidence::Unreachable),
        Just(Evidence::Hung),
    ]
}

fn slot_trouble() -> impl Strategy<Value = Input> {
    let result = prop_oneof![
        Just(SlotResult::TooLarge { limit: 1 }),
        Just(SlotResult::NotFound),
        Just(SlotResult::Unavailable("reset".into())),
        Just(SlotResult::Failed),
    ];
    (0..4_usize, result).prop_map(|(slot, result)| Input::Stored(SlotId(slot), result))
}
