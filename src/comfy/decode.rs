//! Frames of the WebSocket as [`Event`]s. Pure, and every frame has an answer: nothing that a backend sends is an
//! error or a panic here.

use super::event::{Event, ImageFrame, ImageOrigin, NodeError, NodeOutput, NodeProgress};
use super::redact;
use crate::job::FileRef;
use crate::lenient;
use bytes::{Buf, Bytes};
use serde_json::{Map, Value};

/// Reads a text frame.
pub fn decode_text(frame: &str) -> Event {
    let Ok(message) = lenient::parse(frame) else {
        return noise("a text frame that is no JSON");
    };
    let (Some(kind), Some(data)) = (message.get("type").and_then(Value::as_str), message.get("data")) else {
        return noise("a text frame without `type` and `data`");
    };
    let Some(data) = data.as_object() else {
        return noise(&format!("`{kind}` whose data is no object"));
    };
    event(kind, data).unwrap_or_else(|| noise(&format!("`{kind}`, unknown or incomplete")))
}

/// Reads a binary frame; an image in it is a slice of the frame, not a copy.
pub fn decode_binary(mut frame: Bytes) -> Event {
    let length = frame.len();
    let event = match frame.try_get_u32() {
        Ok(1) => legacy_image(frame),
        Ok(3) => text(frame),
        Ok(4) => image_with_metadata(frame),
        Ok(kind) => return noise(&format!("a binary frame of type {kind}")),
        Err(_) => None,
    };
    event.unwrap_or_else(|| noise(&format!("a malformed binary frame of {length} bytes")))
}

/// Collects the files and texts of a node's output, whatever keys they stand under (T15).
pub(super) fn node_output(output: &Value) -> NodeOutput {
    let mut found = NodeOutput::default();
    for (key, value) in output.as_object().into_iter().flatten() {
        let entries = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if key == "text" {
            found.texts.extend(entries.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        if value.is_array() {
            found.files.extend(entries.iter().filter_map(file));
        }
    }
    found
}

/// Reads the data of `execution_error`, without traceback and tensors (T36).
pub(super) fn node_error(data: &Map<String, Value>) -> NodeError {
    let field = |name: &str| data.get(name).and_then(id).unwrap_or_default();
    NodeError {
        node: field("node_id"),
        class: field("node_type"),
        exception: field("exception_type"),
        message: redact(&field("exception_message")),
    }
}

/// Reads an id: text, or a number where somebody did not quote it.
pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn event(kind: &str, data: &Map<String, Value>) -> Option<Event> {
    let text = |name: &str| data.get(name).and_then(id);
    let number = |name: &str| data.get(name).and_then(Value::as_f64).unwrap_or_default();
    let prompt = text("prompt_id");
    Some(match kind {
        "status" => Event::Status { queue_remaining: queue_remaining(data), sid: text("sid") },
        "feature_flags" => Event::FeatureFlags {
            previews_have_metadata: data.get("supports_preview_metadata").and_then(Value::as_bool).unwrap_or(false),
        },
        "execution_start" => Event::Started { prompt: prompt? },
        "execution_cached" => Event::Cached {
            prompt: prompt?,
            nodes: data.get("nodes").and_then(Value::as_array).into_iter().flatten().filter_map(id).collect(),
        },
        "progress_state" => Event::ProgressState {
            prompt: prompt?,
            nodes: data.get("nodes")?.as_object()?.iter().map(|(key, entry)| node_progress(key, entry)).collect(),
        },
        "executing" if data.get("node")?.is_null() => Event::Idle { prompt },
        "executing" => {
            let node = text("node")?;
            Event::Executing { prompt, display_node: text("display_node").unwrap_or_else(|| node.clone()), node }
        }
        "progress" => Event::Progress { prompt, node: text("node"), value: number("value"), max: number("max") },
        "executed" => {
            let node = text("node")?;
            Event::Executed {
                prompt: prompt?,
                display_node: text("display_node").unwrap_or_else(|| node.clone()),
                node,
                output: data.get("output").map(node_output).unwrap_or_default(),
            }
        }
        "execution_success" => Event::Succeeded { prompt: prompt? },
        "execution_error" => Event::Failed { prompt: prompt?, error: node_error(data) },
        "execution_interrupted" => Event::Interrupted { prompt: prompt?, node: text("node_id") },
        _ => return None,
    })
}

fn queue_remaining(data: &Map<String, Value>) -> Option<u64> {
    data.get("status")?.get("exec_info")?.get("queue_remaining")?.as_u64()
}

fn node_progress(key: &str, entry: &Value) -> NodeProgress {
    let number = |name: &str| entry.get(name).and_then(Value::as_f64).unwrap_or_default();
    NodeProgress {
        node: key.to_owned(),
        display_node: entry.get("display_node_id").and_then(id).unwrap_or_else(|| key.to_owned()),
        value: number("value"),
        max: number("max"),
        finished: entry.get("state").and_then(Value::as_str) == Some("finished"),
    }
}

fn file(entry: &Value) -> Option<FileRef> {
    let field = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(FileRef {
        filename: field("filename").filter(|name| !name.is_empty())?,
        subfolder: field("subfolder").unwrap_or_default(),
        folder: field("type").unwrap_or_else(|| "output".to_owned()),
    })
}

fn legacy_image(mut frame: Bytes) -> Option<Event> {
    let content_type = match frame.try_get_u32().ok()? {
        1 => "image/jpeg",
        2 => "image/png",
        _ => return None,
    };
    image(None, content_type, frame)
}

fn image_with_metadata(mut frame: Bytes) -> Option<Event> {
    let metadata = sized(&mut frame)?;
    let metadata = lenient::parse(std::str::from_utf8(&metadata).ok()?).ok()?;
    let field = |name: &str| metadata.get(name).and_then(id);
    let node = field("node_id")?;
    let origin = ImageOrigin {
        prompt: field("prompt_id")?,
        display_node: field("display_node_id").unwrap_or_else(|| node.clone()),
        node,
    };
    let content_type = field("image_type").filter(|kind| is_image_type(kind))?;
    image(Some(origin), &content_type, frame)
}

/// Takes the type of a picture only: it becomes a header of ours one day, and a drawing with scripts in it is none.
fn is_image_type(kind: &str) -> bool {
    let subtype = kind.strip_prefix("image/").unwrap_or_default();
    !subtype.is_empty() && subtype.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

fn image(origin: Option<ImageOrigin>, content_type: &str, bytes: Bytes) -> Option<Event> {
    if bytes.is_empty() {
        return None;
    }
    Some(Event::Image(ImageFrame { origin, content_type: content_type.to_owned(), bytes }))
}

fn text(mut frame: Bytes) -> Option<Event> {
    let node = sized(&mut frame)?;
    let readable = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Event::Text { node: readable(&node), text: readable(&frame) })
}

/// Takes a length and that many bytes off the front.
fn sized(frame: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(frame.try_get_u32().ok()?).ok()?;
    (length <= frame.len()).then(|| frame.split_to(length))
}

fn noise(what: &str) -> Event {
    Event::Noise { what: what.chars().take(100).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_text_frame_is_read() {
        let p = || "p".to_owned();
        let cases = [
            (
                json!({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 3}}, "sid": "s"}}),
                Event::Status { queue_remaining: Some(3), sid: Some("s".into()) },
            ),
            (
                json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}}),
                Event::FeatureFlags { previews_have_metadata: true },
            ),
            (json!({"type": "execution_start", "data": {"prompt_id": "p"}}), Event::Started { prompt: p() }),
            (
                json!({"type": "execution_cached", "data": {"prompt_id": "p", "nodes": ["1", "5.0.0.2"]}}),
                Event::Cached { prompt: p(), nodes: vec!["1".into(), "5.0.0.2".into()] },
            ),
            (
                json!({"type": "executing", "data": {"prompt_id": "p", "node": "5.1", "display_node": "5"}}),
                Event::Executing { prompt: Some(p()), node: "5.1".into(), display_node: "5".into() },
            ),
            (
                json!({"type": "executing", "data": {"node": "5"}}),
                Event::Executing { prompt: None, node: "5".into(), display_node: "5".into() },
            ),
            (json!({"type": "executing", "data": {"prompt_id": "p", "node": null}}), Event::Idle { prompt: Some(p()) }),
            (
                json!({"type": "progress", "data": {"prompt_id": "p", "node": "3", "value": 1, "max": 4.0}}),
                Event::Progress { prompt: Some(p()), node: Some("3".into()), value: 1.0, max: 4.0 },
            ),
            (
                json!({"type": "executed", "data": {"prompt_id": "p", "node": "3", "output": null}}),
                Event::Executed {
                    prompt: p(),
                    node: "3".into(),
                    display_node: "3".into(),
                    output: NodeOutput::default(),
                },
            ),
            (json!({"type": "execution_success", "data": {"prompt_id": "p"}}), Event::Succeeded { prompt: p() }),
            (
                json!({"type": "execution_interrupted", "data": {"prompt_id": "p", "node_id": "3"}}),
                Event::Interrupted { prompt: p(), node: Some("3".into()) },
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(decode_text(&message.to_string()), expected);
        }
    }

    #[test]
    fn an_error_is_read_without_traceback_tensors_and_paths() {
        let message = json!({"type": "execution_error", "data": {
            "prompt_id": "p", "node_id": "4", "node_type": "Loader", "exception_type": "OSError",
            "exception_message": "cannot read '/srv/models/x.pt'\n", "traceback": ["File \"/srv/x.py\""],
            "current_inputs": {"image": ["tensor(...)"]}}});
        let error = NodeError {
            node: "4".into(),
            class: "Loader".into(),
            exception: "OSError".into(),
            message: "cannot read 'x.pt'".into(),
        };
        assert_eq!(decode_text(&message.to_string()), Event::Failed { prompt: "p".into(), error });
    }

    #[test]
    fn files_are_collected_from_every_key_and_the_rest_is_ignored() {
        let output = json!({
            "animated": [true], "gifs": [{"filename": "a.mp4", "subfolder": "s", "type": "temp"}],
            "images": [{"filename": "b.png"}, null, {"filename": 3}, {"filename": ""}, {"filename": "c.png"}],
            "text": ["one", 2, "three"], "values": [null, 1.5, "x"], "none": null, "one": {"filename": "no.png"}});
        let file = |filename: &str, subfolder: &str, folder: &str| FileRef {
            filename: filename.into(),
            subfolder: subfolder.into(),
            folder: folder.into(),
        };
        let expected = NodeOutput {
            files: vec![file("a.mp4", "s", "temp"), file("b.png", "", "output"), file("c.png", "", "output")],
            texts: vec!["one".into(), "three".into()],
        };
        assert_eq!(node_output(&output), expected);
    }

    #[test]
    fn unknown_and_malformed_text_is_noise() {
        let deep = format!(r#"{{"type":"status","data":{}"#, "[".repeat(100_000));
        let frames = [
            "",
            "{",
            "null",
            "[]",
            "3",
            r#"{"type":"status"}"#,
            r#"{"type":3,"data":{}}"#,
            r#"{"type":"crystools.monitor","data":{"cpu":3}}"#,
            r#"{"type":"executing","data":{}}"#,
            r#"{"type":"executing","data":{"node":{}}}"#,
            r#"{"type":"execution_start","data":{"prompt_id":null}}"#,
            r#"{"type":"executed","data":{"prompt_id":"p"}}"#,
            r#"{"type":"status","data":[]}"#,
            deep.as_str(),
        ];
        for frame in frames {
            assert!(matches!(decode_text(frame), Event::Noise { .. }), "{frame:.60}");
        }
    }

    #[test]
    fn images_are_slices_of_their_frame() {
        let legacy = Bytes::from_static(b"\0\0\0\x01\0\0\0\x02png");
        let Event::Image(image) = decode_binary(legacy.clone()) else { panic!("no image") };
        assert_eq!((image.origin, image.content_type.as_str(), &image.bytes[..]), (None, "image/png", &b"png"[..]));
        assert_eq!(image.bytes.as_ptr(), legacy[8..].as_ptr());

        let metadata = br#"{"node_id":"2","prompt_id":"p","display_node_id":null,"image_type":"image/jpeg"}"#;
        let Event::Image(image) = decode_binary(with_metadata(metadata, b"jpg")) else { panic!("no image") };
        let origin = ImageOrigin { prompt: "p".into(), node: "2".into(), display_node: "2".into() };
        assert_eq!(image.origin, Some(origin));
        assert_eq!((image.content_type.as_str(), &image.bytes[..]), ("image/jpeg", &b"jpg"[..]));
    }

    #[test]
    fn a_binary_text_names_its_node() {
        let frame = Bytes::from_static(b"\0\0\0\x03\0\0\0\x0277working");
        assert_eq!(decode_binary(frame), Event::Text { node: "77".into(), text: "working".into() });
    }

    #[test]
    fn malformed_binary_frames_are_noise() {
        let good = br#"{"node_id":"2","prompt_id":"p","image_type":"image/png"}"#;
        let mut frames: Vec<Bytes> =
            (0..8).map(|length| Bytes::from(vec![0, 0, 0, 1, 0, 0, 0, 2][..length].to_vec())).collect();
        frames.extend([
            Bytes::from_static(b"\0\0\0\x63png"),
            Bytes::from_static(b"\0\0\0\x02png"),
            Bytes::from_static(b"\0\0\0\x01\0\0\0\x09png"),
            Bytes::from_static(b"\0\0\0\x01\0\0\0\x02"),
            Bytes::from_static(b"\0\0\0\x03\xff\xff\xff\xff77"),
            Bytes::from_static(b"\0\0\0\x04\xff\xff\xff\xff{}"),
            with_metadata(b"{", b"png"),
            with_metadata(b"\xff", b"png"),
            with_metadata(br#"{"node_id":"2","image_type":"image/png"}"#, b"png"),
            with_metadata(br#"{"node_id":"2","prompt_id":"p","image_type":"text/html"}"#, b"png"),
            with_metadata(br#"{"node_id":"2","prompt_id":"p","image_type":"image/svg+xml"}"#, b"<svg>"),
            with_metadata(br#"{"node_id":"2","prompt_id":"p","image_type":"image/png\r\nx: y"}"#, b"png"),
            with_metadata(good, b""),
        ]);
        for frame in frames {
            assert!(matches!(decode_binary(frame.clone()), Event::Noise { .. }), "{frame:?}");
        }
    }

    fn with_metadata(metadata: &[u8], image: &[u8]) -> Bytes {
        let length = u32::try_from(metadata.len()).unwrap().to_be_bytes();
        Bytes::from([&[0, 0, 0, 4], &length[..], metadata, image].concat())
    }
}
