//! Recorded prompts between events of other prompts, broken frames, repetitions and late words: each ends as without them.

use crate::recording::{Heard, Trace, traces};
use crate::tracked::follow;
use bytes::Bytes;
use comfygate::clock::Timestamp;
use comfygate::comfy::{Event, decode_binary, decode_text};
use comfygate::tracker::{Input, step};
use serde_json::Value;
use std::sync::LazyLock;

/// How often each recorded prompt is followed, each time with other noise.
const ROUNDS: u64 = 8;

/// Frames that are broken, or that no tracker knows; `PROMPT` stands for the prompt that is followed.
const BROKEN: &[&str] = &[
    "",
    "{\"type\": ",
    "[]",
    "null",
    "{}",
    r#"{"type":"executed"}"#,
    r#"{"type":"executed","data":null}"#,
    r#"{"type":"executed","data":{"prompt_id":"PROMPT"}}"#,
    r#"{"type":"executed","data":{"prompt_id":"PROMPT","node":"2","output":null}}"#,
    r#"{"type":"executed","data":{"prompt_id":"PROMPT","node":"2","output":{"images":"none"}}}"#,
    r#"{"type":"execution_success","data":{}}"#,
    r#"{"type":"execution_success","data":{"prompt_id":7}}"#,
    r#"{"type":"execution_success","data":{"prompt_id":["PROMPT"]}}"#,
    r#"{"type":"execution_error","data":"PROMPT"}"#,
    r#"{"type":"execution_interrupted","data":[]}"#,
    r#"{"type":"progress","data":{"prompt_id":"PROMPT","value":"x","max":null}}"#,
    r#"{"type":"progress_state","data":{"prompt_id":"PROMPT","nodes":[1,2]}}"#,
    r#"{"type":"crystools.monitor","data":{"prompt_id":"PROMPT"}}"#,
    r#"{"type":"status","data":{"status":{"exec_info":{"queue_remaining":0}}}}"#,
    r#"{"type":7,"data":{"prompt_id":"PROMPT"}}"#,
];

/// Every event of every recording that names a prompt, with that prompt.
static EVENTS: LazyLock<Vec<(String, Event)>> = LazyLock::new(|| {
    let events = traces().iter().flat_map(Trace::events);
    events.filter_map(|event| Some((event.prompt()?.to_owned(), event.clone()))).collect()
});

#[test]
fn noise_around_a_recorded_prompt_changes_nothing() {
    let mut followed = 0;
    for (trace, heard, graph) in recorded() {
        let own: Vec<Event> = trace.heard_by(&heard.socket).cloned().collect();
        let (expected, _) = follow(trace, &heard, graph, own.iter().cloned());
        for round in 0..ROUNDS {
            let mut chance = Chance(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ followed);
            let noisy = with_noise(&own, &heard.prompt, &mut chance);
            assert!(noisy.len() > own.len());
            let (end, _) = follow(trace, &heard, graph, noisy.into_iter());
            assert_eq!(end, expected, "{}, prompt {}, round {round}", trace.name, heard.prompt);
        }
        followed += 1;
    }
    assert!(followed > 60, "only {followed} prompts are recorded");
}

#[test]
fn whatever_is_said_of_a_prompt_after_its_end_changes_nothing() {
    for (trace, heard, graph) in recorded() {
        let own: Vec<Event> = trace.heard_by(&heard.socket).cloned().collect();
        let (_, mut run) = follow(trace, &heard, graph, own.iter().cloned());
        let ended = run.clone();
        for event in own {
            let late = step(&mut run, Input::Event(event), Timestamp::from_millis(1 << 40));
            assert_eq!((late, &run), (Vec::new(), &ended), "{}, prompt {}", trace.name, heard.prompt);
        }
    }
}

fn recorded() -> impl Iterator<Item = (&'static Trace, Heard, &'static Value)> {
    traces().iter().flat_map(|trace| {
        let submitted = trace.submitted();
        let known = move |heard: Heard| {
            let (_, graph) = submitted.iter().find(|(prompt, _)| *prompt == heard.prompt)?;
            Some((trace, heard, *graph))
        };
        trace.prompts().into_iter().filter_map(known)
    })
}

/// Says some events twice, and puts others between them.
fn with_noise(own: &[Event], prompt: &str, chance: &mut Chance) -> Vec<Event> {
    let mut noisy = Vec::new();
    let mut bar_is_open = false;
    for event in own {
        // A server that does not name the node of an image says its progress bar just before: nothing comes between.
        if !bar_is_open {
            for _ in 0..chance.below(4) {
                noisy.push(noise(prompt, chance));
            }
        }
        noisy.push(event.clone());
        if chance.below(3) == 0 {
            noisy.push(event.clone());
        }
        bar_is_open = matches!(event, Event::Progress { .. });
    }
    noisy
}

fn noise(prompt: &str, chance: &mut Chance) -> Event {
    match chance.below(4) {
        0 => decode_text(&BROKEN[chance.below(BROKEN.len())].replace("PROMPT", prompt)),
        1 => decode_binary(Bytes::from(vec![0; chance.below(12)])),
        _ => loop {
            let (of, event) = &EVENTS[chance.below(EVENTS.len())];
            if of != prompt {
                return event.clone();
            }
        },
    }
}

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}
