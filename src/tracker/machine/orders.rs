//! Every order of what can end a run: the first thing that does counts, and nothing after it changes anything.

use super::rig::{PROMPT, node_error, plan, stored};
use super::*;
use crate::comfy::event::{Event, NodeOutput};
use crate::comfy::{HistoryEnd, HistoryEntry, Timeline};
use crate::job::{FailureCode, FileRef};
use crate::tracker::evidence::Evidence;
use crate::tracker::limits::{CANCEL_LIMIT, DEAF_AFTER};
use std::time::Duration;

/// Things that may happen to a run, each at most once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Success,
    Error,
    Interrupted,
    Deleted,
    History,
    Timeout,
    Cancel,
    SocketLost,
}

const WORDS: [Word; 8] = [
    Word::Success,
    Word::Error,
    Word::Interrupted,
    Word::Deleted,
    Word::History,
    Word::Timeout,
    Word::Cancel,
    Word::SocketLost,
];

/// How a run ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Success,
    Failure(FailureCode),
    Cancelled,
    Again,
}

#[test]
fn in_every_order_the_first_end_counts() {
    let mut orders = 0_u32;
    let mut seen = Vec::new();
    permute(&mut WORDS.to_vec(), 0, &mut |order| {
        orders += 1;
        let end = told(order);
        assert_eq!(end, expected(order), "{order:?}");
        if !seen.contains(&end) {
            seen.push(end);
        }
    });
    assert_eq!(orders, 40_320);
    assert_eq!(seen.len(), 6, "{seen:?}");
}

/// Tells a running prompt, whose image is stored, these things one after the other; returns the only end.
fn told(order: &[Word]) -> End {
    let mut now = Timestamp::from_millis(0);
    let mut run = Run::about_to_submit(plan(), now);
    step(&mut run, Input::Submitted(SubmitResult::Accepted(None)), now);
    let output = NodeOutput { files: vec![file()], texts: Vec::new() };
    let (node, display_node) = ("9".to_owned(), "9".to_owned());
    step(&mut run, Input::Event(Event::Executed { prompt: PROMPT.into(), node, display_node, output }), now);
    step(&mut run, stored(0), now);
    let mut ends = Vec::new();
    for word in order {
        now = now + Duration::from_millis(1);
        match word {
            Word::Timeout => now = now + plan().limits.run,
            // Right after an event it might only mean that the frames that tell the end are still on their way.
            Word::Deleted if run.heard => now = now + DEAF_AFTER,
            Word::Deleted
            | Word::Success
            | Word::Error
            | Word::Interrupted
            | Word::History
            | Word::Cancel
            | Word::SocketLost => {}
        }
        let effects = step(&mut run, input(*word), now);
        if !ends.is_empty() {
            assert_eq!(effects, [], "{word:?} after the end, in {order:?}");
        }
        ends.extend(effects.iter().filter_map(end_of));
        assert_eq!(run.is_done(), !ends.is_empty());
    }
    // Whatever is still open ends by asking and by deadlines.
    while let Some((at, _)) = run.next_deadline() {
        now = now.max(at);
        for effect in step(&mut run, Input::Tick, now) {
            ends.extend(end_of(&effect));
        }
    }
    assert_eq!(ends.len(), 1, "{order:?}");
    ends.remove(0)
}

/// What the first thing that decides makes of the run.
fn expected(order: &[Word]) -> End {
    let (mut wanted, mut heard, mut ended_well) = (false, true, false);
    for word in order {
        match word {
            Word::Cancel => wanted = true,
            Word::SocketLost => heard = heard && ended_well,
            // The history is believed where the socket may have missed something.
            Word::Success if !heard => ended_well = true,
            Word::Success => return End::Success,
            Word::History if !heard => return End::Success,
            // It has ended, so it cannot fail, be interrupted or be deleted any more, nor run too long.
            Word::Error | Word::Interrupted | Word::Deleted if ended_well => {}
            Word::Timeout | Word::Interrupted | Word::Deleted if wanted => return End::Cancelled,
            Word::Timeout if ended_well => return End::Again,
            Word::Timeout => return End::Failure(FailureCode::TimeoutRun),
            Word::Error => return End::Failure(FailureCode::NodeError),
            Word::Interrupted => return End::Failure(FailureCode::Interrupted),
            Word::Deleted => return End::Again,
            Word::History => {}
        }
    }
    unreachable!("a timeout decides")
}

fn input(word: Word) -> Input {
    let prompt = PROMPT.to_owned();
    match word {
        Word::Success => Input::Event(Event::Succeeded { prompt }),
        Word::Error => Input::Event(Event::Failed { prompt, error: node_error("ValueError") }),
        Word::Interrupted => Input::Event(Event::Interrupted { prompt, node: None }),
        Word::Deleted => Input::Evidence(Evidence::Absent),
        Word::History => {
            let outputs = vec![("9".to_owned(), NodeOutput { files: vec![file()], texts: Vec::new() })];
            let entry = HistoryEntry { end: HistoryEnd::Succeeded, outputs, timeline: Timeline::default() };
            Input::Evidence(Evidence::Ended(entry))
        }
        Word::Timeout => Input::Tick,
        Word::Cancel => Input::Cancel,
        Word::SocketLost => Input::SocketLost { another_ran: false },
    }
}

fn end_of(effect: &Effect) -> Option<End> {
    match effect {
        Effect::Finish(Outcome::Succeeded(_)) => Some(End::Success),
        Effect::Finish(Outcome::Failed(failure, _)) => Some(End::Failure(failure.code)),
        Effect::Finish(Outcome::Cancelled) => Some(End::Cancelled),
        Effect::Requeue { .. } | Effect::Elsewhere { .. } => Some(End::Again),
        Effect::Started | Effect::LookUp | Effect::Reconnect | Effect::StopUpstream | Effect::Collect(..) => None,
    }
}

fn file() -> FileRef {
    FileRef { filename: "a.png".into(), subfolder: String::new(), folder: "output".into() }
}

fn permute(words: &mut Vec<Word>, from: usize, visit: &mut impl FnMut(&[Word])) {
    if from == words.len() {
        return visit(words);
    }
    for at in from..words.len() {
        words.swap(from, at);
        permute(words, from + 1, visit);
        words.swap(from, at);
    }
}

#[test]
fn the_wait_for_a_cancel_is_shorter_than_any_run() {
    assert!(CANCEL_LIMIT < plan().limits.run, "the order of a timeout and a cancel above rests on it");
}
