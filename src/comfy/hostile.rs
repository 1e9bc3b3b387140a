//! What a broken or hostile backend may send: each of it has an answer, none is a panic, and nothing is made up from it.

use super::wire::{self, HistoryEnd};
use super::{Event, NodeError, NodeOutput, Refusal, SocketOptions, decode_binary, decode_text};
use crate::lenient;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every kind of text frame that means something.
const KINDS: [&str; 11] = [
    "status",
    "feature_flags",
    "execution_start",
    "execution_cached",
    "progress_state",
    "executing",
    "progress",
    "executed",
    "execution_success",
    "execution_error",
    "execution_interrupted",
];

/// Every field that any of them has.
const FIELDS: [&str; 17] = [
    "prompt_id",
    "node",
    "node_id",
    "node_type",
    "display_node",
    "nodes",
    "output",
    "value",
    "max",
    "state",
    "status",
    "sid",
    "exception_type",
    "exception_message",
    "traceback",
    "supports_preview_metadata",
    "timestamp",
];

#[test]
fn numbers_that_json_does_not_know_are_read_as_none() {
    let progress = r#"{"type":"progress","data":{"prompt_id":"p","node":"3","value":NaN,"max":Infinity}}"#;
    let expected = Event::Progress { prompt: Some("p".into()), node: Some("3".into()), value: 0.0, max: 0.0 };
    assert_eq!(decode_text(progress), expected);
    let status = r#"{"type":"status","data":{"status":{"exec_info":{"queue_remaining":-Infinity}}}}"#;
    assert_eq!(decode_text(status), Event::Status { queue_remaining: None, sid: None });
    assert_eq!(wire::queue_remaining(r#"{"exec_info": {"queue_remaining": NaN}}"#), None);
    assert_eq!(wire::accepted(r#"{"prompt_id": "p", "number": NaN}"#).unwrap().prompt_id, "p");
    let system = r#"{"system": {"comfyui_version": null}, "devices": [{"name": "gpu", "vram_free": NaN}]}"#;
    assert_eq!(wire::system_stats(system).unwrap().devices[0].vram_free, None);
}

#[test]
fn a_nan_beside_a_file_does_not_hide_the_file() {
    let output =
        r#"{"values": [NaN, Infinity, -Infinity, 1e999, "\ud800"], "images": [{"filename": "a.png", "x": NaN}]}"#;
    let executed = format!(r#"{{"type":"executed","data":{{"prompt_id":"p","node":"3","output":{output}}}}}"#);
    let Event::Executed { output: told, .. } = decode_text(&executed) else { panic!("no output") };
    assert_eq!(told.files[0].filename, "a.png");
    let history = format!(r#"{{"p": {{"outputs": {{"3": {output}}}, "status": {{"x": NaN}}}}}}"#);
    assert_eq!(wire::history(&history, "p").unwrap().unwrap().outputs, [("3".to_owned(), told)]);
}

#[test]
fn a_lone_surrogate_becomes_the_replacement_character() {
    let message =
        r#"{"type":"execution_error","data":{"prompt_id":"\udfff","node_id":"3","exception_message":"a\ud800b"}}"#;
    let Event::Failed { prompt, error } = decode_text(message) else { panic!("no error") };
    assert_eq!((prompt.as_str(), error.message.as_str()), ("\u{fffd}", "a\u{fffd}b"));
}

#[test]
fn an_event_of_nulls_is_noise_or_says_nothing() {
    for kind in KINDS {
        let nulls: Value = FIELDS.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
        let event = decode_text(&json!({"type": kind, "data": nulls}).to_string());
        let says_nothing = match &event {
            Event::Noise { .. } => true,
            Event::Status { queue_remaining, sid } => queue_remaining.is_none() && sid.is_none(),
            Event::FeatureFlags { previews_have_metadata } => !previews_have_metadata,
            Event::Idle { prompt } => prompt.is_none() && kind == "executing",
            Event::Progress { prompt, node, .. } => prompt.is_none() && node.is_none(),
            Event::Started { .. }
            | Event::Cached { .. }
            | Event::ProgressState { .. }
            | Event::Executing { .. }
            | Event::Executed { .. }
            | Event::Succeeded { .. }
            | Event::Failed { .. }
            | Event::Interrupted { .. }
            | Event::Image(_)
            | Event::Text { .. } => false,
        };
        assert!(says_nothing, "{kind}: {event:?}");
        for data in [json!(null), json!([]), json!("x"), json!(3)] {
            assert!(is_noise(&decode_text(&json!({"type": kind, "data": data}).to_string())), "{kind} {data}");
        }
    }
}

#[test]
fn answers_of_nulls_are_errors_or_say_nothing() {
    assert!(wire::queue(r#"{"queue_running": null, "queue_pending": null}"#).is_err());
    let empty_items = wire::queue(r#"{"queue_running": [[]], "queue_pending": [[null, null, null]]}"#).unwrap();
    assert_eq!(empty_items, wire::Queue::default());
    assert_eq!(wire::accepted(r#"{"prompt_id": null, "node_errors": null}"#), None);
    assert_eq!(wire::accepted(r#"{"prompt_id": "p", "node_errors": null}"#).unwrap().to_warning(), None);
    assert_eq!(wire::accepted(r#"{"prompt_id": "p", "node_errors": []}"#).unwrap().to_warning(), None);
    assert_eq!(wire::queue_remaining(r#"{"exec_info": null}"#), None);
    let entry = wire::history(r#"{"p": {"outputs": null, "status": null}}"#, "p").unwrap().unwrap();
    assert_eq!((entry.end, entry.outputs.len()), (HistoryEnd::Unknown, 0));
    let failed =
        r#"{"p": {"outputs": {"3": null}, "status": {"messages": [null, ["execution_error", null], [null]]}}}"#;
    let entry = wire::history(failed, "p").unwrap().unwrap();
    assert_eq!(entry.end, HistoryEnd::Failed(NodeError::default()));
    assert_eq!(entry.outputs, [("3".to_owned(), NodeOutput::default())]);
}

#[test]
fn nodes_whose_errors_are_not_listed_are_still_named() {
    let body = r#"{"error": {"type": null, "message": 3}, "node_errors": {"4": null, "5": {"errors": [null]}}}"#;
    let refusal = Refusal::from_answer(400, body);
    let named: Vec<&str> = refusal.problems.iter().map(|problem| problem.node.as_str()).collect();
    assert_eq!(named, ["4", "5"]);
    assert!(refusal.to_failure().message.contains("node `4`"));
}

#[test]
fn a_binary_frame_of_less_than_eight_bytes_or_unknown_type_is_noise() {
    for length in 0..8 {
        for kind in 0..10 {
            assert!(is_noise(&decode_binary(Bytes::from([0, 0, 0, kind, 0, 0, 0, 2][..length].to_vec()))));
        }
    }
    for kind in [0, 2, 5, 99, u32::MAX] {
        let frame = [&kind.to_be_bytes()[..], &[0, 0, 0, 2], b"\x89PNG\r\n"].concat();
        assert!(is_noise(&decode_binary(Bytes::from(frame))), "{kind}");
    }
}

#[test]
fn a_frame_of_300_mib_is_within_the_limit_and_not_copied() {
    let size = 300 << 20;
    assert!(SocketOptions::default().largest_frame > size + 8);
    let mut frame = vec![0; size + 8];
    frame.splice(..8, [0, 0, 0, 1, 0, 0, 0, 2]);
    let frame = Bytes::from(frame);
    let Event::Image(image) = decode_binary(frame.clone()) else { panic!("no image") };
    assert_eq!((image.bytes.len(), image.bytes.as_ptr()), (size, frame[8..].as_ptr()));
}

#[test]
fn an_output_nested_without_end_does_not_hide_how_the_prompt_ended() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let outputs = format!(r#"{{"3": {{"images": [{{"filename": "a.png"}}], "deep": {deep}}}}}"#);
    let history =
        format!(r#"{{"p": {{"outputs": {outputs}, "status": {{"messages": [["execution_success", {{}}]]}}}}}}"#);
    let entry = wire::history(&history, "p").unwrap().unwrap();
    assert_eq!(entry.end, HistoryEnd::Succeeded);
    assert_eq!(entry.outputs[0].1.files[0].filename, "a.png");
    let error = format!(
        r#"{{"type":"execution_error","data":{{"prompt_id":"p","current_inputs":{deep},"exception_message":"m"}}}}"#
    );
    assert!(matches!(decode_text(&error), Event::Failed { error, .. } if error.message == "m"));
}

#[test]
fn half_an_object_is_never_read_as_a_whole_one() {
    let whole = r#"{"type":"execution_success","data":{"prompt_id":"p"}}"#;
    assert_eq!(decode_text(whole), Event::Succeeded { prompt: "p".into() });
    for length in 0..whole.len() {
        assert!(is_noise(&decode_text(whole.get(..length).unwrap())), "{length}");
    }
    for twice in [format!("{whole}{whole}"), format!("{whole},"), format!("\u{feff}{whole}")] {
        assert!(is_noise(&decode_text(&twice)), "{twice}");
    }
}

#[test]
fn names_and_messages_of_megabytes_are_cut_where_they_are_shown() {
    let long = "x".repeat(1 << 20);
    let Event::Noise { what } = decode_text(&json!({"type": long, "data": {}}).to_string()) else { panic!("known") };
    assert!(what.chars().count() <= 100);
    let error = json!({"type": "execution_error", "data": {"prompt_id": "p", "exception_message": long}});
    let Event::Failed { error, .. } = decode_text(&error.to_string()) else { panic!("no error") };
    assert!(error.message.chars().count() <= 500);
    let body = json!({"error": {"type": "t", "message": long}, "node_errors": {"1": {"class_type": "C", "errors": [
        {"type": "t", "message": long, "extra_info": {"received_value": long}}]}}});
    let failure = Refusal::from_answer(400, &body.to_string()).to_failure();
    assert!(failure.message.chars().count() <= 500);
}

proptest! {
    #[test]
    fn no_json_is_a_panic_and_no_prompt_is_made_up(kind in prop::sample::select(&KINDS[..]), data in object()) {
        let frame = json!({"type": kind, "data": data}).to_string();
        if let Some(prompt) = decode_text(&frame).prompt() {
            let said = lenient::parse(&frame).unwrap()["data"]["prompt_id"].take();
            prop_assert_eq!(prompt, said.as_str().map_or_else(|| said.to_string(), str::to_owned));
        }
    }

    #[test]
    fn no_binary_frame_is_a_panic(kind in 0u8..6, length in 0u8..40, rest in any::<Vec<u8>>()) {
        let _ = decode_binary(Bytes::from(rest.clone()));
        let frame = [vec![0, 0, 0, kind, 0, 0, 0, length], rest].concat();
        let _ = decode_binary(Bytes::from(frame));
    }

    #[test]
    fn no_text_frame_is_a_panic(text in any::<String>(), kind in "[a-z_]{0,20}", data in "[\\[\\]{}:,\"a-z0-9]*") {
        let _ = decode_text(&text);
        let _ = decode_text(&format!(r#"{{"type":"{kind}","data":{data}}}"#));
    }

    #[test]
    fn no_answer_is_a_panic(body in object()) {
        let text = body.to_string();
        let _ = (wire::queue(&text), wire::accepted(&text), wire::queue_remaining(&text), wire::system_stats(&text));
        let _ = (Refusal::from_answer(400, &text).to_failure(), lenient::parse(&text).unwrap());
        let _ = wire::history(&json!({"p": body}).to_string(), "p").unwrap().unwrap();
        let _ = wire::queue(&json!({"queue_running": [[1, body]], "queue_pending": [[body, "p"]]}).to_string()).unwrap();
    }
}

fn is_noise(event: &Event) -> bool {
    matches!(event, Event::Noise { .. })
}

/// Any object; its keys are often those that ComfyUI uses.
fn object() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        prop::sample::select(&FIELDS[..]).prop_map(str::to_owned),
        ".{0,3}",
        prop::sample::select(vec![
            "outputs",
            "messages",
            "exec_info",
            "queue_remaining",
            "error",
            "node_errors",
            "errors",
            "extra_info"
        ])
        .prop_map(str::to_owned)
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,5}".prop_map(Value::from),
        prop::sample::select(&KINDS[..]).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 40, 6, {
        let key = key.clone();
        move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        }
    });
    prop::collection::btree_map(key, value, 0..6).prop_map(|map| map.into_iter().collect())
}
