//! What the tracker makes of each recorded prompt: its end, and how many outputs of which nodes.

use crate::recording::{Heard, Trace, traces};
use comfygate::clock::Timestamp;
use comfygate::comfy::{Event, wire};
use comfygate::job::{BlobId, JobId, Limits, Outcome, PromptId};
use comfygate::media::Kept;
use comfygate::tracker::{Attribution, Effect, Evidence, Input, Plan, Run, SlotResult, Source, SubmitResult, step};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// For each prompt that a socket heard of and whose graph is recorded: how it ended, and the node of each output. `again`
/// is a run that another one must make good: the server forgot it, or its images were sent to a socket that was gone.
/// The first prompt of `71-nan-in-ui` gives numbers only, which is no output.
const TRACKED: &[(&str, &str)] = &[
    ("01-success-saveimage", "succeeded 2"),
    ("02-cached-rerun-saveimage", "succeeded 2"),
    ("03-success-websocket-image-legacy", "succeeded 2 2 2"),
    ("04-rerun-websocket-image", "succeeded 2 2 2"),
    ("05-websocket-image-metadata", "succeeded 2 2"),
    ("06-preview-frames-legacy", "succeeded 9"),
    ("07-preview-frames-metadata", "succeeded 9"),
    ("08-preview-image-node", "succeeded 2 2"),
    ("09-upload-load-scale-save", "succeeded 3"),
    ("10-text-output-and-type3-frame", "succeeded 2 77 77"),
    ("11-subgraph-expansion", "succeeded 9"),
    ("12-identical-output-nodes", "succeeded 2 3 4 5"),
    (
        "13-media-outputs",
        "succeeded 2; succeeded 2; succeeded 2; succeeded 2; succeeded 2; succeeded 2; succeeded 2; succeeded 2; succeeded 2",
    ),
    ("14-async-nodes", "succeeded 4 5 7"),
    ("15-cached-but-file-deleted", "succeeded 2; succeeded 2; succeeded 2; succeeded 2; succeeded 2"),
    ("16-saveimage-prefix-errors", "node_error; node_error; succeeded 2; succeeded 2; succeeded 2"),
    ("17-identical-inner-nodes", "succeeded 4 5"),
    ("18-graph-metadata", "succeeded 2"),
    ("19-async-previews", "succeeded 4 5; succeeded 4 5"),
    ("22-partially-valid", "succeeded 2"),
    ("23-execution-error", "node_error 2"),
    ("24-error-rerun", "node_error 2"),
    ("25-oom-error", "node_error"),
    ("26-execution-blocked", "succeeded 6; succeeded 6"),
    ("30-interrupt-global", "interrupted; succeeded 9"),
    ("31-interrupt-targeted", "interrupted; succeeded 9; succeeded 9"),
    ("32-interrupt-uninterruptible-node", "interrupted; succeeded 5; succeeded 2"),
    ("33-queue-delete", "succeeded 9"),
    ("34-queue-clear", "succeeded 9"),
    ("40-targeting-with-client-id", "succeeded 9; interrupted"),
    (
        "41-no-client-id-in-prompt",
        "succeeded 9 10; succeeded 9 10; again: backend_lost; again: backend_lost; interrupted; interrupted",
    ),
    ("42-same-client-id-twice", "succeeded 9"),
    ("43-reconnect-during-execution", "succeeded 9"),
    ("44-reconnect-after-finish", "again: output_missing"),
    ("45-late-socket", "succeeded 9"),
    ("46-replay-wrong-client", "again: backend_lost"),
    (
        "50-client-chosen-prompt-id",
        "succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9",
    ),
    ("51-duplicate-prompt-id", "succeeded 9"),
    (
        "52-number-and-front",
        "succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9; succeeded 9",
    ),
    ("53-extra-data", "succeeded 8 9; succeeded 9"),
    ("54-partial-execution-targets", "succeeded 4; succeeded 2 4; succeeded 4"),
    ("70-server-sigint", "succeeded 9; again: backend_lost"),
    ("70-server-sigkill", "succeeded 9; again: backend_lost; again: backend_lost"),
    ("70-server-sigterm", "succeeded 9; again: backend_lost; again: backend_lost"),
    ("71-client-id-null", "succeeded 9; succeeded 9; succeeded 9"),
    ("71-nan-in-ui", "output_missing; succeeded 9"),
    ("71-node-systemexit", "again: backend_lost"),
    ("71-subgraph-cycle", "node_error; succeeded 9"),
    ("71-subgraph-inner-error", "node_error; succeeded 9"),
    ("71-subgraph-unknown-class", "node_error; succeeded 9"),
    ("72-json-oddities", "succeeded 9"),
    ("82-slow-reader-blocks-everyone", "succeeded 9"),
];

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

/// Follows one prompt as its socket heard of it.
fn track(trace: &Trace, heard: &Heard, graph: &Value) -> String {
    follow(trace, heard, graph, trace.heard_by(&heard.socket).cloned()).0
}

/// Follows one prompt through these events to its end; what is asked is answered from the recording. Returns the end and
/// the run that has ended.
pub(crate) fn follow(
    trace: &Trace,
    heard: &Heard,
    graph: &Value,
    events: impl Iterator<Item = Event>,
) -> (String, Run) {
    let mut now = Timestamp::from_millis(0);
    let mut run = Run::about_to_submit(plan(&heard.prompt, graph), now);
    let mut effects = step(&mut run, Input::Submitted(SubmitResult::Accepted(None)), now);
    let mut attribution = Attribution::default();
    for event in events {
        now = now + Duration::from_millis(1);
        effects.extend(step(&mut run, Input::Event(attribution.of(event)), now));
        if let Some(end) = perform(&mut run, &mut effects, trace, now) {
            return (end, run);
        }
    }
    for _ in 0..10_000 {
        let (at, _) = run.next_deadline().expect("a run that has not ended has a deadline");
        now = now.max(at);
        effects.extend(step(&mut run, Input::Tick, now));
        if let Some(end) = perform(&mut run, &mut effects, trace, now) {
            return (end, run);
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
            Effect::Elsewhere { failure, .. } => return Some(format!("elsewhere: {}", failure.code.as_str())),
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
        Source::File(_) => ("application/octet-stream".to_owned(), 1),
    };
    SlotResult::Stored(Kept::as_it_came(content_type, bytes, BlobId(String::new())))
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

pub(crate) fn plan(prompt: &str, graph: &Value) -> Plan {
    let nodes = graph.as_object().unwrap();
    let sends = |(id, node): (&String, &Value)| (node["class_type"] == "SaveImageWebsocket").then(|| id.clone());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    Plan {
        job: JobId::from_bytes([1; 16]),
        number: 1,
        prompt: PromptId(prompt.into()),
        backend: "here".into(),
        refused: Vec::new(),
        may_join: false,
        variant: 0,
        elsewhere: false,
        alike: false,
        otherwise: false,
        nodes: nodes.keys().cloned().collect(),
        labels: Arc::default(),
        weights: Arc::default(),
        usual: None,
        websocket_nodes: nodes.iter().filter_map(sends).collect::<BTreeSet<String>>(),
        declared: None,
        expected_images: None,
        limits: Limits { queue: minutes(60), start: minutes(5), silence: minutes(2), run: minutes(30) },
        queued_since: Timestamp::from_millis(0),
        may_retry: true,
    }
}
