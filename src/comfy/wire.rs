//! The bodies of ComfyUI's HTTP interface as types. Pure: the client carries them.
//!
//! Other people's graphs are in most answers: they are skipped unread, whatever is in them (T12).

mod stats;

pub use stats::{Device, SystemStats, system_stats};

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
use std::time::Duration;

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
    /// When what happened.
    pub timeline: Timeline,
}

/// What the history says of the course of a prompt, by the server's clock in milliseconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Timeline {
    /// When it began.
    pub start_ms: Option<i64>,
    /// When it ended.
    pub end_ms: Option<i64>,
    /// The nodes that did not run, since their results were kept.
    pub cached: Vec<String>,
}

impl Timeline {
    /// Returns how long it ran; none where that is not said, or its end is said to be before its beginning.
    pub fn took(&self) -> Option<Duration> {
        let millis = self.end_ms?.checked_sub(self.start_ms?)?;
        u64::try_from(millis).ok().map(Duration::from_millis)
    }
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
            timeline: timeline(messages),
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

fn timeline(messages: &[Value]) -> Timeline {
    let mut timeline = Timeline::default();
    for message in messages {
        let at = message.get(1).and_then(|data| data.get("timestamp")).and_then(Value::as_i64);
        match message.get(0).and_then(Value::as_str).unwrap_or_default() {
            "execution_start" => timeline.start_ms = timeline.start_ms.or(at),
            "execution_success" | "execution_error" | "execution_interrupted" => timeline.end_ms = at,
            "execution_cached" => {
                let nodes = message.get(1).and_then(|data| data.get("nodes")).and_then(Value::as_array);
                timeline.cached = nodes.into_iter().flatten().filter_map(id).collect();
            }
            _ => {}
        }
    }
    timeline
}

#[cfg(test)]
mod tests;
