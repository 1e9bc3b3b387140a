//! What the tracker makes of each recorded prompt: its end, and how many outputs of which nodes.

use crate::recording::{Heard, Trace, traces};
use comfygate::clock::Timestamp;
use comfygate::comfy::wire;
use comfygate::job::{BlobId, JobId, Limits, Outcome, PromptId};
use comfygate::tracker::{Attribution, Effect, Evidence, Input, Plan, Run, SlotResult, Source, SubmitResult, step};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// For each prompt that a socket heard of and whose graph is recorded: how it ended, and the node of each output.
const TRACKED: &[(&str, &str)] = &[];

#[test]
fn every_recorded_prompt_ends_as_it_did_and_with_its_outputs() {
    let mut tracked = Vec::new();
    for trace in traces() {
        let submitted = trace.submitted();
        let ends: Vec<String> = trace
            .prompts()
            .iter()
            .filter_map(|heard| {
                let (_, graph) = submitted.iter().find(|(prompt, _)| *prompt == heard.prompt)?;
                Some(track(trace, heard, graph))
            })
            .collect();
        if !ends.is_empty() {
            tracked.push((trace.name.as_str(), ends.join("; ")));
        }
    }
    let tracked: Vec<(&str, &str)> = tracked.iter().map(|(name, ends)| (*name, ends.as_str())).collect();
    assert_eq!(tracked, TRACKED);
}

/// Follows one prompt as its socket heard of it; what is asked is answered from the recording.
fn track(trace: &Trace, heard: &Heard, graph: &Value) -> String {
    let mut now = Timestamp::from_millis(0);
    let mut run = Run::about_to_submit(plan(&heard.prompt, graph), now);
    let mut effects = step(&mut run, Input::Submitted(SubmitResult::Accepted(None)), now);
    let mut attribution = Attribution::default();
    for event in trace.heard_by(&heard.socket) {
        now = now + Duration::from_millis(1);
        effects.extend(step(&mut run, Input::Event(attribution.of(event.clone())), now));
        if let Some(end) = perform(&mut run, &mut effects, trace, now) {
            return end;
        }
    }
    for _ in 0..10_000 {
        let (at, _) = run.next_deadline().expect("a run that has not ended has a deadline");
        now = now.max(at);
        effects.extend(step(&mut run, Input::Tick, now));
        if let Some(end) = perform(&mut run, &mut effects, trace, now) {
            return end;
        }
    }
    panic!("{}: no end", trace.name);
}

/// Does what is wanted until nothing is, and returns the end if it came.
fn perform(run: &mut Run, effects: &mut Vec<Effect>, trace: &Trace, now: Timestamp) -> Option<String> {
    while !effects.is_empty() {
        let input = match effects.remove(0) {
            Effect::Finish(outcome) => return Some(shown(&outcome)),
            Effect::Requeue { failure, .. } => return Some(format!("again: {}", failure.code.as_str())),
            Effect::LookUp => Input::Evidence(evidence(trace, run.plan().prompt.as_str())),
            Effect::Collect(slot, source) => Input::Stored(slot, stored(&source)),
            Effect::Started | Effect::Reconnect | Effect::StopUpstream => continue,
        };
        effects.extend(step(run, input, now));
    }
    None
}

fn evidence(trace: &Trace, prompt: &str) -> Evidence {
    let history = trace.histories().filter(|(of, _)| of == prompt).last();
    match history.and_then(|(_, body)| wire::history(body, prompt).unwrap()) {
        Some(entry) => Evidence::Ended(entry),
        None => Evidence::Absent,
    }
}

fn stored(source: &Source) -> SlotResult {
    let (content_type, bytes) = match source {
        Source::Frame { content_type, bytes } => (content_type.clone(), bytes.len() as u64),
        Source::Text(text) => ("text/plain".to_owned(), text.len() as u64),
        Source::File(file) if file.filename.ends_with(".png") => ("image/png".to_owned(), 1),
        Source::File(_) => ("application/octet-stream".to_owned(), 1),
    };
    SlotResult::Stored { content_type, bytes, sha256: BlobId(String::new()) }
}

fn shown(outcome: &Outcome) -> String {
    let mut text = match outcome {
        Outcome::Succeeded(_) => "succeeded".to_owned(),
        Outcome::Failed(failure, _) => failure.code.as_str().to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
    };
    for output in outcome.outputs() {
        write!(text, " {}", output.node_id).unwrap();
    }
    text
}

fn plan(prompt: &str, graph: &Value) -> Plan {
    let nodes = graph.as_object().unwrap();
    let sends = |(id, node): (&String, &Value)| (node["class_type"] == "SaveImageWebsocket").then(|| id.clone());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    Plan {
        job: JobId::from_bytes([1; 16]),
        number: 1,
        prompt: PromptId(prompt.into()),
        nodes: nodes.keys().cloned().collect(),
        websocket_nodes: nodes.iter().filter_map(sends).collect::<BTreeSet<String>>(),
        declared: None,
        expected_images: None,
        limits: Limits { queue: minutes(60), start: minutes(5), silence: minutes(2), run: minutes(30) },
        queued_since: Timestamp::from_millis(0),
        may_retry: true,
    }
}
