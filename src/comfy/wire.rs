//! The bodies of ComfyUI's HTTP interface as types. Pure: the client carries them.
//!
//! Other people's graphs are in most answers: they are skipped unread, whatever is in them (T12).

use super::decode::{id, node_error, node_output};
use super::event::{NodeError, NodeOutput};
use super::refusal::{NodeProblem, failure, problems};
use crate::job::Failure;
use crate::lenient;
use crate::lenient::Pruned;
use crate::secret::Secret;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Error, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// The body of `POST /prompt`. All three are always there and the ids are always text: other types crash the server or
/// make it deaf (T5, T6, T7).
#[derive(Serialize, Debug)]
pub struct PromptRequest<'a, G: ?Sized> {
    /// The graph in API format.
    pub prompt: &'a G,
    /// Whose socket hears of it.
    pub client_id: &'a str,
    /// The id that it will have.
    pub prompt_id: &'a str,
    /// What goes with it.
    #[serde(skip_serializing_if = "ExtraData::is_empty")]
    pub extra_data: ExtraData<'a>,
}

/// What goes with a prompt besides its graph. Always an object, as anything else kills the server's worker (T6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtraData<'a> {
    /// The key for partner nodes. Everybody who reaches the server can read it in `GET /queue` until the prompt has ended (T34).
    pub api_key_comfy_org: Option<&'a Secret>,
}

impl ExtraData<'_> {
    fn is_empty(&self) -> bool {
        self.api_key_comfy_org.is_none()
    }
}

impl Serialize for ExtraData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = self.api_key_comfy_org.map(|key| ("api_key_comfy_org", key.expose()));
        serializer.collect_map(key)
    }
}

/// The answer 200 to `POST /prompt`: it is queued, as a whole or in part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The id that it has; not ours where the server is too old to let us choose it.
    pub prompt_id: String,
    /// The outputs that will not run, and why (T13).
    pub node_errors: Vec<NodeProblem>,
}

/// Which prompts a server runs and will run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Queue {
    /// The running prompt, or none.
    pub running: Vec<String>,
    /// The waiting prompts in the order in which they will run (T32).
    pub pending: Vec<String>,
}

/// What the history says of one prompt.
#[derive(Clone, PartialEq, Debug)]
pub struct HistoryEntry {
    /// How it ended.
    pub end: HistoryEnd,
    /// What each node gave, also of a prompt that failed later.
    pub outputs: Vec<(String, NodeOutput)>,
    /// When it began, by the server's clock, in milliseconds since 1970.
    pub execution_start_ms: Option<i64>,
}

/// How a prompt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HistoryEnd {
    /// All that was not blocked has run.
    Succeeded,
    /// A node raised.
    Failed(NodeError),
    /// Somebody interrupted it.
    Interrupted,
    /// The entry does not say.
    Unknown,
}

/// What `GET /system_stats` tells of a server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemStats {
    /// The version of ComfyUI.
    pub version: Option<String>,
    /// Its GPUs, or its CPU.
    pub devices: Vec<Device>,
}

/// One device of a server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// `cuda`, `cpu` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The bytes of its memory.
    pub vram_total: Option<u64>,
    /// The bytes of it that are free.
    pub vram_free: Option<u64>,
}

impl Accepted {
    /// Returns why outputs of this prompt may be missing; none where all of it was accepted.
    pub fn to_warning(&self) -> Option<Failure> {
        failure("ComfyUI left out a part of the graph", &self.node_errors)
    }
}

/// Reads the answer 200 to `POST /prompt`; none where this is not how a ComfyUI answers.
pub fn accepted(body: &str) -> Option<Accepted> {
    let body = lenient::parse(body).ok()?;
    let prompt_id = body.get("prompt_id").and_then(id)?;
    Some(Accepted { prompt_id, node_errors: problems(body.get("node_errors")) })
}

/// Reads `GET /prompt`: how many prompts run or wait; none where this is not how a ComfyUI answers.
pub fn queue_remaining(body: &str) -> Option<u64> {
    lenient::parse(body).ok()?.get("exec_info")?.get("queue_remaining")?.as_u64()
}

/// Reads `GET /queue`.
pub fn queue(body: &str) -> Result<Queue, Error> {
    let body: QueueBody = lenient::from_str(body)?;
    let mut pending = body.queue_pending;
    pending.sort_by(Item::order);
    Ok(Queue { running: ids(body.queue_running), pending: ids(pending) })
}

/// Reads `GET /history/{prompt_id}`; none where the history does not have it.
pub fn history(body: &str, prompt_id: &str) -> Result<Option<HistoryEntry>, Error> {
    let mut body: BTreeMap<String, EntryBody> = lenient::from_str(body)?;
    Ok(body.remove(prompt_id).map(HistoryEntry::from))
}

/// Reads `GET /system_stats`.
pub fn system_stats(body: &str) -> Result<SystemStats, Error> {
    let body: StatsBody = lenient::from_str(body)?;
    Ok(SystemStats { version: body.system.comfyui_version, devices: body.devices })
}

#[derive(Deserialize)]
struct QueueBody {
    queue_running: Vec<Item>,
    queue_pending: Vec<Item>,
}

/// `[number, prompt_id, graph, extra_data, outputs]`, of which only the first two are kept.
struct Item {
    number: Option<f64>,
    prompt_id: Option<String>,
}

#[derive(Deserialize)]
struct EntryBody {
    #[serde(default)]
    outputs: Pruned,
    #[serde(default)]
    status: Pruned,
}

#[derive(Deserialize)]
struct StatsBody {
    system: SystemBody,
    #[serde(default)]
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct SystemBody {
    comfyui_version: Option<String>,
}

impl Item {
    /// ComfyUI's own order; a number that is none comes last.
    fn order(&self, other: &Self) -> Ordering {
        let number = |item: &Self| item.number.unwrap_or(f64::INFINITY);
        number(self).total_cmp(&number(other)).then_with(|| self.prompt_id.cmp(&other.prompt_id))
    }
}

fn ids(items: Vec<Item>) -> Vec<String> {
    items.into_iter().filter_map(|item| item.prompt_id).collect()
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a queue item")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
                let Pruned(number) = items.next_element()?.unwrap_or_default();
                let Pruned(prompt_id) = items.next_element()?.unwrap_or_default();
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item { number: number.as_f64(), prompt_id: id(&prompt_id) })
            }
        }
        deserializer.deserialize_seq(ItemVisitor)
    }
}

impl From<EntryBody> for HistoryEntry {
    fn from(body: EntryBody) -> Self {
        let (Pruned(status), Pruned(outputs)) = (body.status, body.outputs);
        let messages = status.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let outputs = outputs.as_object().into_iter().flatten();
        Self {
            end: end(messages).unwrap_or_else(|| end_without_message(&status)),
            outputs: outputs.map(|(node, output)| (node.clone(), node_output(output))).collect(),
            execution_start_ms: messages.iter().find_map(started_at),
        }
    }
}

/// Judges by the last message that tells of an end: `status_str` and `completed` call an interrupted prompt an error,
/// and some failed ones a success (T10).
fn end(messages: &[Value]) -> Option<HistoryEnd> {
    let end_of = |message: &Value| match message.get(0).and_then(Value::as_str)? {
        "execution_success" => Some(HistoryEnd::Succeeded),
        "execution_interrupted" => Some(HistoryEnd::Interrupted),
        "execution_error" => {
            Some(HistoryEnd::Failed(message.get(1).and_then(Value::as_object).map(node_error).unwrap_or_default()))
        }
        _ => None,
    };
    messages.iter().rev().find_map(end_of)
}

/// Without a message, an error still is no success.
fn end_without_message(status: &Value) -> HistoryEnd {
    if status.get("status_str").and_then(Value::as_str) != Some("error") {
        return HistoryEnd::Unknown;
    }
    HistoryEnd::Failed(NodeError { message: "ComfyUI did not say why it failed".to_owned(), ..NodeError::default() })
}

fn started_at(message: &Value) -> Option<i64> {
    if message.get(0)?.as_str()? != "execution_start" {
        return None;
    }
    message.get(1)?.get("timestamp")?.as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pending_prompts_come_in_the_order_in_which_they_will_run() {
        let body = r#"{"queue_running": [[3, "r", {"1": {"inputs": {"x": NaN}}}, {}, ["1"]]],
            "queue_pending": [[-5.0, "b", {}, {}, []], [7, "d", {"deep": [[[1e999]]]}], [-5, "a"], [NaN, "z"], [6, "\ud800"], []]}"#;
        let expected =
            Queue { running: vec!["r".into()], pending: ["a", "b", "\u{fffd}", "d", "z"].map(str::to_owned).to_vec() };
        assert_eq!(queue(body).unwrap(), expected);
    }

    #[test]
    fn a_foreign_graph_nested_without_end_does_not_hide_the_queue() {
        let graph = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let body = format!(r#"{{"queue_running": [], "queue_pending": [[1, "p", {graph}, {{}}, []]]}}"#);
        assert_eq!(queue(&body).unwrap().pending, ["p"]);
    }

    #[test]
    fn what_is_no_queue_is_an_error() {
        for body in ["", "{}", "[]", r#"{"queue_running": 3, "queue_pending": []}"#, "<html>"] {
            assert!(queue(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_prompt_ends_as_its_last_message_says() {
        let error = json!(["execution_error", {"node_id": "4", "node_type": "C", "exception_type": "E", "exception_message": "m\n"}]);
        let failed = HistoryEnd::Failed(NodeError {
            node: "4".into(),
            class: "C".into(),
            exception: "E".into(),
            message: "m".into(),
        });
        let start = json!(["execution_start", {"timestamp": 17}]);
        let cases = [
            (json!([start, ["execution_success", {}]]), "success", HistoryEnd::Succeeded),
            (json!([start, ["execution_interrupted", {}]]), "error", HistoryEnd::Interrupted),
            (json!([start, error]), "error", failed.clone()),
            (json!([start, error]), "success", failed),
            (json!([start]), "success", HistoryEnd::Unknown),
            (json!(null), "success", HistoryEnd::Unknown),
            (json!([null, 3, []]), "", HistoryEnd::Unknown),
            (
                json!([start]),
                "error",
                HistoryEnd::Failed(NodeError {
                    message: "ComfyUI did not say why it failed".into(),
                    ..NodeError::default()
                }),
            ),
        ];
        for (messages, status, expected) in cases {
            let body =
                json!({"p": {"prompt": [1], "outputs": {}, "status": {"status_str": status, "messages": messages}}});
            let entry = history(&body.to_string(), "p").unwrap().unwrap();
            assert_eq!(entry.end, expected, "{body}");
        }
    }

    #[test]
    fn an_entry_tells_its_outputs_and_its_start() {
        let body = json!({"p": {"outputs": {"2": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}, "3": null},
            "status": {"messages": [["execution_start", {"timestamp": 17}], ["execution_success", {}]]}}});
        let entry = history(&body.to_string(), "p").unwrap().unwrap();
        assert_eq!(entry.execution_start_ms, Some(17));
        assert_eq!(entry.outputs[0].1.files[0].filename, "a.png");
        assert_eq!(entry.outputs[1], ("3".into(), NodeOutput::default()));
        assert_eq!(history("{}", "p").unwrap(), None);
        assert_eq!(history(r#"{"other": {}}"#, "p").unwrap(), None);
        assert!(history("[]", "p").is_err());
        assert_eq!(history(r#"{"p": {"status": null, "outputs": 3}}"#, "p").unwrap().unwrap().end, HistoryEnd::Unknown);
    }

    #[test]
    fn a_prompt_request_always_has_both_ids_as_text() {
        let graph = json!({});
        let mut body =
            PromptRequest { prompt: &graph, client_id: "c", prompt_id: "p", extra_data: ExtraData::default() };
        assert_eq!(serde_json::to_value(&body).unwrap(), json!({"prompt": {}, "client_id": "c", "prompt_id": "p"}));
        let key = Secret::new("k");
        body.extra_data.api_key_comfy_org = Some(&key);
        assert_eq!(serde_json::to_value(&body).unwrap()["extra_data"], json!({"api_key_comfy_org": "k"}));
        assert!(!format!("{body:?}").contains("\"k\""));
    }

    #[test]
    fn stats_name_version_and_devices() {
        let body = json!({"system": {"comfyui_version": "0.3.64", "ram_total": 1}, "devices": [
            {"name": "cpu", "type": "cpu", "index": null, "vram_total": 8, "vram_free": 3}]});
        let device = Device { name: "cpu".into(), kind: "cpu".into(), vram_total: Some(8), vram_free: Some(3) };
        let expected = SystemStats { version: Some("0.3.64".into()), devices: vec![device] };
        assert_eq!(system_stats(&body.to_string()).unwrap(), expected);
    }
}
