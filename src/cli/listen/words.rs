//! Events of the relay in words for a person, a line each. Pure; what an event is not known for is shown as it came.

use crate::lenient;
use crate::names::cut;
use serde_json::{Value, json};
use std::path::Path;

/// The longest line.
const LONGEST: usize = 400;

/// What the first four bytes of a binary message say.
const IMAGE: u32 = 1;
const TEXT: u32 = 3;
const IMAGE_WITH_METADATA: u32 = 4;

/// A picture of a binary message.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Picture<'a> {
    pub(super) image: &'a [u8],
    /// What is said of it, where something is.
    metadata: Option<Value>,
}

impl<'a> Picture<'a> {
    /// Finds the picture in a message; none where there is none.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = head(bytes)?;
        let (second, rest) = head(rest)?;
        match kind {
            IMAGE => Some(Self { image: rest, metadata: None }),
            IMAGE_WITH_METADATA => {
                let (metadata, image) = rest.split_at_checked(usize::try_from(second).ok()?)?;
                Some(Self { image, metadata: serde_json::from_slice(metadata).ok() })
            }
            _ => None,
        }
    }

    /// Returns how the name of its file ends.
    pub(super) fn ending(&self) -> &'static str {
        if self.image.starts_with(b"\x89PNG") { "png" } else { "jpg" }
    }

    fn told(&self, name: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(name)?.as_str()
    }
}

/// Says what a text message tells.
pub(super) fn of_text(text: &str) -> String {
    let Ok(event) = lenient::parse(text) else { return cut(text, LONGEST) };
    let (kind, data) = (event["type"].as_str().unwrap_or_default(), &event["data"]);
    let word = |name: &str| shown(&data[name]);
    let what = match kind {
        "status" if data["status"].is_object() => {
            return format!("queue: {} prompts", shown(&data["status"]["exec_info"]["queue_remaining"]));
        }
        "runner_request" => return format!("request: {} {}", word("method"), word("path")),
        "execution_start" => "starts".to_owned(),
        "execution_cached" => format!("{} nodes are known already", data["nodes"].as_array().map_or(0, Vec::len)),
        "executing" if data["node"].is_null() => "has run all its nodes".to_owned(),
        "executing" => format!("node {} runs", word("node")),
        "progress" if data["value"].is_number() => {
            format!("node {}: {} of {}", word("node"), word("value"), word("max"))
        }
        "progress_state" => progress(&data["nodes"]),
        "executed" => format!("node {} gave {}", word("node"), given(&data["output"])),
        "execution_success" => "succeeded".to_owned(),
        "execution_complete" => "complete".to_owned(),
        "execution_interrupted" => "was interrupted".to_owned(),
        "execution_error" => {
            format!("node {} ({}) failed: {}", word("node_id"), word("node_type"), word("exception_message"))
        }
        _ => return cut(&format!("{kind}: {data}"), LONGEST),
    };
    cut(&format!("{}: {what}", run(data)), LONGEST)
}

/// Says what a binary message is, and where its picture was kept.
pub(super) fn of_binary(bytes: &[u8], picture: Option<&Picture<'_>>, file: Option<&Path>) -> String {
    let Some(picture) = picture else {
        return match text(bytes) {
            Some((node, text)) => cut(&format!("node {node} says: {text}"), LONGEST),
            None => format!("{} bytes of something else", bytes.len()),
        };
    };
    let of = picture.told("node_id").map(|node| format!(" of node {node}")).unwrap_or_default();
    let kept = file.map(|file| format!(", kept as {}", file.display())).unwrap_or_default();
    format!("picture{of}: {}, {} bytes{kept}", picture.ending(), picture.image.len())
}

/// The same for programs.
pub(super) fn json_of(bytes: &[u8], picture: Option<&Picture<'_>>, file: Option<&Path>) -> String {
    let mut data = json!({ "bytes": bytes.len() });
    if let Some(picture) = picture {
        data["format"] = json!(picture.ending());
        data["bytes"] = json!(picture.image.len());
        if let Some(metadata) = &picture.metadata {
            data["metadata"] = metadata.clone();
        }
        if let Some(file) = file {
            data["file"] = json!(file.display().to_string());
        }
        return json!({ "type": "picture", "data": data }).to_string();
    }
    if let Some((node, text)) = text(bytes) {
        (data["node"], data["text"]) = (json!(node), json!(text));
    }
    json!({ "type": "binary", "data": data }).to_string()
}

/// Names a run by the end of its id, which is what differs between those that were begun one after the other.
fn run(data: &Value) -> String {
    let Some(id) = data["prompt_id"].as_str() else { return "a run".to_owned() };
    let end: String = id.chars().skip(id.chars().count().saturating_sub(8)).collect();
    format!("run ..{end}")
}

fn progress(nodes: &Value) -> String {
    let in_state = |state: &str| {
        let nodes = nodes.as_object().into_iter().flatten();
        nodes.filter(|(_, node)| node["state"] == state).count()
    };
    format!("{} nodes run, {} have ended", in_state("running"), in_state("finished"))
}

fn given(output: &Value) -> String {
    let lists = output.as_object().into_iter().flatten().filter_map(|(_, list)| list.as_array());
    let names: Vec<String> = lists.flatten().map(|one| one.get("filename").map_or_else(|| shown(one), shown)).collect();
    if names.is_empty() { "nothing to show".to_owned() } else { names.join(", ") }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(bytes: &[u8]) -> Option<(String, String)> {
    let (TEXT, rest) = head(bytes)? else { return None };
    let (length, rest) = head(rest)?;
    let (node, text) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((String::from_utf8_lossy(node).into_owned(), String::from_utf8_lossy(text).into_owned()))
}

fn head(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_comfyui_has_words() {
        let event = |kind: &str, mut data: Value| {
            data["prompt_id"] = json!("019aa4f0-c1e8-7cc2-b1f3-a80f6a0d2c11");
            of_text(&json!({ "type": kind, "data": data }).to_string())
        };
        let files = json!({ "images": [{ "filename": "a.png" }, { "filename": "b.png" }], "animated": [true] });
        for (kind, data, said) in [
            ("execution_start", json!({}), "starts"),
            ("execution_cached", json!({ "nodes": ["1", "2"] }), "2 nodes are known already"),
            ("executing", json!({ "node": "3" }), "node 3 runs"),
            ("executing", json!({ "node": null }), "has run all its nodes"),
            ("progress", json!({ "node": "3", "value": 5, "max": 20 }), "node 3: 5 of 20"),
            ("progress_state", json!({ "nodes": { "3": { "state": "running" } } }), "1 nodes run, 0 have ended"),
            ("executed", json!({ "node": "9", "output": files }), "node 9 gave true, a.png, b.png"),
            ("executed", json!({ "node": "9", "output": null }), "node 9 gave nothing to show"),
            ("execution_success", json!({}), "succeeded"),
            ("execution_complete", json!({}), "complete"),
            ("execution_interrupted", json!({}), "was interrupted"),
            (
                "execution_error",
                json!({ "node_id": "3", "node_type": "KSampler", "exception_message": "no" }),
                "node 3 (KSampler) failed: no",
            ),
        ] {
            assert_eq!(event(kind, data), format!("run ..6a0d2c11: {said}"));
        }
        let status = r#"{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 2}}}}"#;
        assert_eq!(of_text(status), "queue: 2 prompts");
        let request = r#"{"type": "runner_request", "data": {"method": "POST", "path": "/interrupt", "at": "x"}}"#;
        assert_eq!(of_text(request), "request: POST /interrupt");
        assert_eq!(of_text(r#"{"type": "crystools", "data": {"x": NaN}}"#), r#"crystools: {"x":null}"#);
        assert_eq!(of_text("no JSON"), "no JSON");
    }

    #[test]
    fn a_picture_is_found_behind_either_head_and_nothing_else_is_one() {
        let plain = b"\0\0\0\x01\0\0\0\x02\x89PNG..";
        let picture = Picture::read(plain).unwrap();
        assert_eq!((picture.image, picture.ending()), (&plain[8..], "png"));
        assert_eq!(
            of_binary(plain, Some(&picture), Some(Path::new("p/1.png"))),
            "picture: png, 6 bytes, kept as p/1.png"
        );
        let with = b"\0\0\0\x04\0\0\0\x0f{\"node_id\":\"3\"}\xff\xd8";
        let picture = Picture::read(with).unwrap();
        assert_eq!(of_binary(with, Some(&picture), None), "picture of node 3: jpg, 2 bytes");
        let text = b"\0\0\0\x03\0\0\0\x0277working";
        assert_eq!((Picture::read(text), of_binary(text, None, None).as_str()), (None, "node 77 says: working"));
        for short in [&b""[..], b"\0\0\0\x01", b"\0\0\0\x04\xff\xff\xff\xff{}", b"\0\0\0\x09\0\0\0\0"] {
            assert_eq!(Picture::read(short), None);
            assert!(of_binary(short, None, None).ends_with("bytes of something else"));
        }
    }
}
