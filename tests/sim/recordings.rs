//! Which recorded sessions are played against the simulator, which are not and why, and the server that they need.

use comfygate::sim::SimOptions;
use serde_json::{Value, json};

/// Recordings that are played, in groups that share one server, each with the requests that are left out.
pub(crate) const PLAYED: &[&[(&str, &[u64])]] = &[
    &[("01-success-saveimage", &[]), ("02-cached-rerun-saveimage", &[])],
    &[("03-success-websocket-image-legacy", &[]), ("04-rerun-websocket-image", &[])],
    &[("05-websocket-image-metadata", &[])],
    &[("06-preview-frames-legacy", &[])],
    &[("07-preview-frames-metadata", &[])],
    &[("08-preview-image-node", &[])],
    &[("09-upload-load-scale-save", &[])],
    &[("12-identical-output-nodes", &[])],
    &[("15-cached-but-file-deleted", &[])],
    &[("16-saveimage-prefix-errors", &[])],
    &[("17-identical-inner-nodes", &[])],
    &[("18-graph-metadata", &[])],
    // 14, 15: a custom node's own check of its inputs.
    &[("20-validation-errors", &[14, 15])],
    // 11, 12: the bodies (bad UTF-8, gzip) are recorded as text and cannot be sent again.
    &[("21-malformed-bodies", &[11, 12])],
    &[("22-partially-valid", &[])],
    &[("23-execution-error", &[]), ("24-error-rerun", &[])],
    &[("25-oom-error", &[])],
    &[("30-interrupt-global", &[])],
    &[("31-interrupt-targeted", &[])],
    &[("32-interrupt-uninterruptible-node", &[])],
    &[("33-queue-delete", &[])],
    &[("34-queue-clear", &[])],
    &[("40-targeting-with-client-id", &[])],
    &[("41-no-client-id-in-prompt", &[])],
    &[("42-same-client-id-twice", &[])],
    &[("50-client-chosen-prompt-id", &[])],
    &[("51-duplicate-prompt-id", &[])],
    &[("52-number-and-front", &[])],
    &[("53-extra-data", &[])],
    &[("54-partial-execution-targets", &[])],
    // 2, 3, 4, 6: the simulator does not encode a stored picture anew.
    &[("60-upload", &[]), ("61-view", &[2, 3, 4, 6])],
    &[("62-origin-host", &[])],
    // 29: asks for a prompt whose submission is not recorded.
    &[("63-history-queue-free-misc", &[29])],
    // 4: a request to a port that is closed at that moment.
    &[("70-server-sigint", &[4])],
    &[("70-server-sigkill", &[4])],
    &[("70-server-sigterm", &[4])],
    &[("71-client-id-null", &[])],
    &[("71-extra-data-list", &[])],
    &[("71-extra-data-null", &[])],
    &[("71-extra-data-number", &[])],
    &[("71-extra-data-string", &[])],
];

/// Recordings that the simulator cannot play, and why.
pub(crate) const NOT_PLAYED: &[(&str, &str)] = &[
    ("10-text-output-and-type3-frame", "a custom node sends a text frame of its own"),
    ("11-subgraph-expansion", "the simulator's nodes do not expand into subgraphs"),
    ("13-media-outputs", "the simulator makes no audio, video or animation"),
    ("14-async-nodes", "the simulator runs one node at a time"),
    ("19-async-previews", "the simulator runs one node at a time"),
    ("26-execution-blocked", "the simulator has no ExecutionBlocker; `SuccessThenError` comes near"),
    ("43-reconnect-during-execution", "which tick a late socket sees is chance; `journeys` has the same by hand"),
    (
        "44-reconnect-after-finish",
        "the moment of reconnecting is a pause, not an event; `journeys` has the same by hand",
    ),
    ("45-late-socket", "which tick a late socket sees is chance; `journeys` has the same by hand"),
    ("46-replay-wrong-client", "which tick a late socket sees is chance; `journeys` has the same by hand"),
    ("71-client-id-array", "the real server crashes; `Restart` stands for that"),
    ("71-client-id-object", "the real server crashes; `Restart` stands for that"),
    ("71-nan-in-ui", "a custom node puts NaN into its output; `NanInOutputs` stands for that"),
    ("71-node-systemexit", "a custom node ends the worker thread; the `71-extra-data` recordings do the same"),
    ("71-subgraph-cycle", "the simulator's nodes do not expand into subgraphs"),
    ("71-subgraph-inner-error", "the simulator's nodes do not expand into subgraphs"),
    ("71-subgraph-unknown-class", "the simulator's nodes do not expand into subgraphs"),
    ("72-json-oddities", "bodies with NaN and lone surrogates are recorded as summaries"),
    ("80-size-limits", "bodies of 100 MB are recorded by their size only"),
    ("81-websocket-details", "recorded as notes only"),
    ("82-slow-reader-blocks-everyone", "sockets of the simulator do not hold up each other"),
];

/// The probe nodes that the recordings use, and no model at all: the recorded server had none.
pub(crate) fn options() -> SimOptions {
    let image = json!(["IMAGE"]);
    let seed = json!(["INT", { "default": 0, "min": 0, "max": u64::MAX }]);
    let seconds = json!(["FLOAT", { "default": 1.0, "min": 0.0, "max": 600.0 }]);
    let text = json!(["STRING", {}]);
    let probe = |inputs: Value, is_output: bool| json!({ "input": { "required": inputs }, "output": ["IMAGE"], "output_node": is_output });
    let classes = json!({
        "ProbeSleep": probe(json!({ "image": image, "seconds": seconds, "steps": ["INT", { "min": 1 }],
            "preview": [["none", "jpeg", "png"]], "seed": seed }), false),
        "ProbeHardSleep": probe(json!({ "image": image, "seconds": seconds, "seed": seed }), false),
        "ProbeHardSleepOut": probe(json!({ "image": image, "seconds": seconds, "seed": seed }), true),
        "ProbeFail": probe(json!({ "image": image, "message": text, "kind": text }), false),
        "ProbeValidate": probe(json!({ "image": image, "name": text }), false),
    });
    SimOptions { classes: Some(classes.to_string()), models: Some(Vec::new()), ..SimOptions::default() }
}
