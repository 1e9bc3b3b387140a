//! Builds every frame that ComfyUI sends, as bytes; who receives it is decided elsewhere.

use bytes::Bytes;

use super::json::Json;

/// How far a node is, as `progress_state` reports it.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    id: String,
    value: Json,
    max: Json,
    finished: bool,
}

/// The nodes of a prompt that have begun, in that order.
#[derive(Clone, Debug, Default)]
pub(super) struct ProgressState {
    nodes: Vec<NodeState>,
}

/// An image inside a frame.
#[derive(Clone, Debug)]
pub(super) struct FrameImage<'a> {
    pub(super) prompt: &'a str,
    pub(super) node: &'a str,
    pub(super) bytes: &'a Bytes,
}

impl ProgressState {
    /// Notes that a node begins.
    pub(super) fn begin(&mut self, id: &str) {
        self.put(NodeState { id: id.to_owned(), value: Json::float(0.0), max: Json::float(1.0), finished: false });
    }

    /// Notes a step of a node.
    pub(super) fn tick(&mut self, id: &str, value: u32, max: u32) {
        let (value, max) = (u64::from(value).into(), u64::from(max).into());
        self.put(NodeState { id: id.to_owned(), value, max, finished: false });
    }

    /// Notes that a node has ended, or was taken from the cache without having begun.
    pub(super) fn finish(&mut self, id: &str) {
        match self.nodes.iter_mut().find(|node| node.id == id) {
            Some(node) => {
                node.value = node.max.clone();
                node.finished = true;
            }
            None => {
                self.nodes.push(NodeState {
                    id: id.to_owned(),
                    value: 1_u64.into(),
                    max: 1_u64.into(),
                    finished: true,
                });
            }
        }
    }

    /// Makes the `progress_state` frame.
    pub(super) fn frame(&self, prompt: &str) -> String {
        let nodes = self.nodes.iter().map(|node| (node.id.clone(), node.json(prompt))).collect();
        message("progress_state", &Json::object([("prompt_id", prompt.into()), ("nodes", Json::Object(nodes))]))
    }

    fn put(&mut self, state: NodeState) {
        match self.nodes.iter_mut().find(|node| node.id == state.id) {
            Some(node) => *node = state,
            None => self.nodes.push(state),
        }
    }
}

impl NodeState {
    fn json(&self, prompt: &str) -> Json {
        Json::object([
            ("value", self.value.clone()),
            ("max", self.max.clone()),
            ("state", if self.finished { "finished" } else { "running" }.into()),
            ("node_id", self.id.as_str().into()),
            ("prompt_id", prompt.into()),
            ("display_node_id", self.id.as_str().into()),
            ("parent_node_id", Json::Null),
            ("real_node_id", self.id.as_str().into()),
        ])
    }
}

/// Makes a text frame.
pub(super) fn message(kind: &str, data: &Json) -> String {
    format!("{{\"type\": \"{kind}\", \"data\": {data}}}")
}

/// Makes a `status` frame; only the first one of a socket has a `sid`.
pub(super) fn status(queue_remaining: usize, sid: Option<&str>) -> String {
    let mut data = Json::object([(
        "status",
        Json::object([("exec_info", Json::object([("queue_remaining", queue_remaining.into())]))]),
    )]);
    if let Some(sid) = sid {
        data.set("sid", sid.into());
    }
    message("status", &data)
}

/// What the server can do, as `/features` and the handshake say it.
pub(super) fn features() -> Json {
    Json::object([("supports_preview_metadata", true.into()), ("max_upload_size", 104_857_600_u64.into())])
}

/// Makes an `executing` frame; `None` ends a prompt.
pub(super) fn executing(prompt: &str, node: Option<&str>) -> String {
    let data = match node {
        Some(node) => {
            Json::object([("node", node.into()), ("display_node", node.into()), ("prompt_id", prompt.into())])
        }
        None => Json::object([("node", Json::Null), ("prompt_id", prompt.into())]),
    };
    message("executing", &data)
}

/// Makes the frame that a socket gets which opens while its prompt runs.
pub(super) fn replay(node: &str) -> String {
    message("executing", &Json::object([("node", node.into())]))
}

/// Makes a `progress` frame.
pub(super) fn progress(prompt: &str, node: &str, value: u32, max: u32) -> String {
    let data = Json::object([
        ("value", u64::from(value).into()),
        ("max", u64::from(max).into()),
        ("prompt_id", prompt.into()),
        ("node", node.into()),
    ]);
    message("progress", &data)
}

/// Makes an `executed` frame.
pub(super) fn executed(prompt: &str, node: &str, output: Option<&Json>) -> String {
    let data = Json::object([
        ("node", node.into()),
        ("display_node", node.into()),
        ("output", output.cloned().unwrap_or_default()),
        ("prompt_id", prompt.into()),
    ]);
    message("executed", &data)
}

/// Makes the binary frame of an image without (type 1) or with (type 4) a description.
pub(super) fn image(image: &FrameImage<'_>, with_metadata: bool) -> Bytes {
    let png = image.bytes.starts_with(&[0x89, b'P', b'N', b'G']);
    let mut out = Vec::with_capacity(image.bytes.len() + 256);
    if with_metadata {
        let metadata = Json::object([
            ("node_id", image.node.into()),
            ("prompt_id", image.prompt.into()),
            ("display_node_id", image.node.into()),
            ("parent_node_id", Json::Null),
            ("real_node_id", image.node.into()),
            ("image_type", if png { "image/png" } else { "image/jpeg" }.into()),
        ])
        .to_string();
        out.extend(4_u32.to_be_bytes());
        out.extend(u32::try_from(metadata.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(metadata.as_bytes());
    } else {
        out.extend(1_u32.to_be_bytes());
        out.extend(if png { 2_u32 } else { 1_u32 }.to_be_bytes());
    }
    out.extend(image.bytes);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_began_ends_in_its_own_units_and_a_cached_one_in_whole_ones() {
        let mut progress = ProgressState::default();
        progress.begin("1");
        progress.finish("1");
        progress.begin("2");
        progress.tick("2", 1, 3);
        progress.finish("2");
        progress.finish("3");
        let ends: Vec<_> = progress.nodes.iter().map(|node| (node.value.to_string(), node.max.to_string())).collect();
        let pair = |value: &str| (value.to_owned(), value.to_owned());
        assert_eq!(ends, [pair("1.0"), pair("3"), pair("1")]);
    }

    #[test]
    fn frames_are_spaced_like_pythons() {
        assert_eq!(
            status(0, Some("a\u{e9}")),
            r#"{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "a\u00e9"}}"#
        );
        assert_eq!(executing("p", None), r#"{"type": "executing", "data": {"node": null, "prompt_id": "p"}}"#);
    }

    #[test]
    fn an_image_frame_says_where_it_is_from_only_if_asked_to() {
        let bytes = Bytes::from_static(b"\x89PNG rest");
        let parts = FrameImage { prompt: "p", node: "2", bytes: &bytes };
        assert_eq!(&image(&parts, false)[..], b"\0\0\0\x01\0\0\0\x02\x89PNG rest");
        let described = image(&parts, true);
        assert!(described.starts_with(b"\0\0\0\x04\0\0\0"));
        assert!(described.ends_with(b"\"real_node_id\": \"2\", \"image_type\": \"image/png\"}\x89PNG rest"));
    }
}
