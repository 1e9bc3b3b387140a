//! What the sockets said: the meaning of each frame, the end of each prompt, the node of each image and error.

use crate::recording::{all_events, error_of, trace, traces};
use comfygate::comfy::{Event, NodeError};

/// The traces with frames of prompts, and for each prompt of each socket how it ended: S succeeded, B blocked, F failed,
/// X interrupted, I `executing` without a node, - nothing was heard of an end.
const ENDS: &[(&str, &str)] = &[
    ("01-success-saveimage", "SI"),
    ("02-cached-rerun-saveimage", "SI"),
    ("03-success-websocket-image-legacy", "SI"),
    ("04-rerun-websocket-image", "SI"),
    ("05-websocket-image-metadata", "SI"),
    ("06-preview-frames-legacy", "SI"),
    ("07-preview-frames-metadata", "SI"),
    ("08-preview-image-node", "SI"),
    ("09-upload-load-scale-save", "SI"),
    ("10-text-output-and-type3-frame", "SI"),
    ("11-subgraph-expansion", "SI"),
    ("12-identical-output-nodes", "SI"),
    ("13-media-outputs", "SI SI SI SI SI SI SI SI SI"),
    ("14-async-nodes", "SI"),
    ("15-cached-but-file-deleted", "SI SI SI SI SI"),
    ("16-saveimage-prefix-errors", "FI FI SI SI SI"),
    ("17-identical-inner-nodes", "SI"),
    ("18-graph-metadata", "SI"),
    ("19-async-previews", "SI SI"),
    ("22-partially-valid", "SI"),
    ("23-execution-error", "FI"),
    ("24-error-rerun", "FI"),
    ("25-oom-error", "FI"),
    ("26-execution-blocked", "BSI SI"),
    ("30-interrupt-global", "XI SI"),
    ("31-interrupt-targeted", "XI SI SI"),
    ("32-interrupt-uninterruptible-node", "XI SI SI"),
    ("33-queue-delete", "SI"),
    ("34-queue-clear", "SI"),
    ("40-targeting-with-client-id", "SI XI"),
    // Prompts without a client id: the end is told to nobody, an interrupt to everybody.
    ("41-no-client-id-in-prompt", "- - - - X X"),
    ("42-same-client-id-twice", "SI"),
    ("43-reconnect-during-execution", "SI"),
    ("44-reconnect-after-finish", "-"),
    ("45-late-socket", "SI"),
    ("46-replay-wrong-client", "-"),
    ("50-client-chosen-prompt-id", "SI SI SI SI SI SI SI SI SI"),
    ("51-duplicate-prompt-id", "SISI"),
    ("52-number-and-front", "SI SI SI SI SI SI SI SI SI SISI"),
    ("53-extra-data", "SI SI"),
    ("54-partial-execution-targets", "SI SI SI"),
    ("70-server-sigint", "SI -"),
    ("70-server-sigkill", "SI - -"),
    ("70-server-sigterm", "SI - -"),
    ("71-client-id-null", "- - SI"),
    ("71-nan-in-ui", "SI SI"),
    ("71-node-systemexit", "-"),
    ("71-subgraph-cycle", "FI SI"),
    ("71-subgraph-inner-error", "FI SI"),
    ("71-subgraph-unknown-class", "FI SI"),
    ("72-json-oddities", "SI SI SI SI SI SI SI SI SI"),
    ("82-slow-reader-blocks-everyone", "SI"),
];

/// Which node the image frames of a trace come from: as the frame says, or after `?` as the last `progress` says.
const IMAGES: &[(&str, &str)] = &[
    ("03-success-websocket-image-legacy", "?2 ?2 ?2"),
    ("04-rerun-websocket-image", "?2 ?2 ?2"),
    ("05-websocket-image-metadata", "2 2"),
    ("06-preview-frames-legacy", "?5 ?5 ?5 ?9"),
    ("07-preview-frames-metadata", "5 5 5 9"),
    ("12-identical-output-nodes", "?4 ?5"),
    ("14-async-nodes", "?6 ?6 ?7 ?5 ?4"),
    ("19-async-previews", "?3 ?2 ?3 ?2 ?3 ?5 ?2 ?4 3 2 3 2 3 5 2 4"),
    // A new connection is sent frames without metadata until its own handshake is done.
    ("43-reconnect-during-execution", "5 5 ?5 ?5 5 5 5 5 9"),
    ("45-late-socket", "?9"),
];

#[test]
fn every_recorded_frame_has_a_meaning() {
    let mut frames = 0;
    for (trace, event) in all_events() {
        assert!(!matches!(event, Event::Noise { .. }), "{trace}: {event:?}");
        frames += 1;
    }
    assert_eq!(frames, 2_198 + 110);
}

#[test]
fn prompts_end_as_their_scenario_says() {
    let heard: Vec<(&str, String)> = traces()
        .iter()
        .map(|trace| {
            let ends: Vec<String> = trace.prompts().into_iter().map(|prompt| prompt.ends).collect();
            let shown = ends.iter().map(|ends| if ends.is_empty() { "-" } else { ends.as_str() });
            (trace.name.as_str(), shown.collect::<Vec<_>>().join(" "))
        })
        .filter(|(_, ends)| !ends.is_empty())
        .collect();
    let heard: Vec<(&str, &str)> = heard.iter().map(|(name, ends)| (*name, ends.as_str())).collect();
    assert_eq!(heard, ENDS);
}

#[test]
fn images_name_their_node_or_follow_its_progress() {
    for (name, expected) in IMAGES {
        let mut from = Vec::new();
        let mut last_progress = String::new();
        for event in trace(name).events() {
            if let Event::Progress { node: Some(node), .. } = event {
                last_progress.clone_from(node);
            } else if let Event::Image(image) = event {
                let origin = image.origin.as_ref().map(|origin| origin.node.clone());
                from.push(origin.unwrap_or_else(|| format!("?{last_progress}")));
            }
        }
        assert_eq!(from.join(" "), *expected, "{name}");
    }
}

#[test]
fn images_are_what_their_content_type_says() {
    let mut images = 0;
    for (trace, event) in all_events() {
        let Event::Image(image) = event else { continue };
        let signature: &[u8] = if image.content_type == "image/png" { b"\x89PNG\r\n" } else { b"\xff\xd8\xff" };
        assert!(image.bytes.starts_with(signature), "{trace}: {}", image.content_type);
        images += 1;
    }
    assert_eq!(images, 109);
}

#[test]
fn only_what_is_replayed_to_a_late_socket_names_no_prompt() {
    let nameless = |event: &Event| match event {
        Event::Executing { prompt, .. } | Event::Idle { prompt } | Event::Progress { prompt, .. } => prompt.is_none(),
        Event::Image(_)
        | Event::Status { .. }
        | Event::FeatureFlags { .. }
        | Event::Started { .. }
        | Event::Cached { .. }
        | Event::ProgressState { .. }
        | Event::Executed { .. }
        | Event::Succeeded { .. }
        | Event::Failed { .. }
        | Event::Interrupted { .. }
        | Event::Text { .. }
        | Event::Noise { .. } => false,
    };
    let replayed: Vec<(&str, &Event)> = all_events().filter(|(_, event)| nameless(event)).collect();
    let traces: Vec<&str> = replayed.iter().map(|(trace, _)| *trace).collect();
    assert_eq!(traces, ["43-reconnect-during-execution", "45-late-socket"]);
    assert!(replayed.iter().all(|(_, event)| matches!(event, Event::Executing { .. })));
}

#[test]
fn a_progress_text_names_its_node() {
    let is_text = |event: &&Event| matches!(event, Event::Text { .. });
    let texts: Vec<&Event> = trace("10-text-output-and-type3-frame").events().filter(is_text).collect();
    assert_eq!(texts, [&Event::Text { node: "77".into(), text: "working on: abc é 6609639".into() }]);
}

#[test]
fn errors_name_node_class_and_message() {
    let outside = "**** ERROR: Saving image outside the output folder is not allowed.";
    let cases = [
        ("16-saveimage-prefix-errors", "2", "SaveImage", "Exception", outside),
        ("16-saveimage-prefix-errors", "2", "SaveImage", "Exception", outside),
        ("23-execution-error", "4", "ProbeFail", "ValueError", "boom"),
        ("24-error-rerun", "4", "ProbeFail", "ValueError", "boom"),
        ("25-oom-error", "4", "ProbeFail", "torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 9 GiB"),
        ("26-execution-blocked", "5", "SaveImage", "ExecutionBlocked", "Execution Blocked: nothing detected"),
        ("71-subgraph-cycle", "4", "ProbeExpandCycle", "graph.DependencyCycleError", "Dependency cycle detected"),
        ("71-subgraph-inner-error", "4", "ProbeExpandFail", "ValueError", "inner boom"),
        ("71-subgraph-unknown-class", "4", "ProbeExpandUnknown", "KeyError", "'NoSuchNodeClass'"),
    ];
    let told: Vec<(&str, &NodeError)> =
        all_events().filter_map(|(trace, event)| Some((trace, error_of(event)?))).collect();
    assert_eq!(told.len(), cases.len());
    for ((trace, error), (name, node, class, exception, message)) in told.into_iter().zip(cases) {
        assert_eq!((trace, error.node.as_str(), error.class.as_str()), (name, node, class));
        assert_eq!(error.exception, exception);
        assert!(error.message.starts_with(message) && !error.message.contains('\n'), "{error:?}");
        assert_eq!(error.is_block(), exception == "ExecutionBlocked");
    }
}
