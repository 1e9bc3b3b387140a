//! The queue, the history and the node cache: what ComfyUI remembers between two requests.
//!
//! Pure: no sockets, no time of its own, no waiting. `run` works the queue, `prompts` fills it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::graph::{Graph, Signature};
use super::hub::Audience;
use super::json::Json;
use super::nodes::Essence;

/// ComfyUI evicts the oldest history entries beyond this many.
const LONGEST_HISTORY: usize = 10_001;

/// Returned for a prompt that ComfyUI's heap cannot compare with one that waits: it is queued, and the call crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Incomparable;

/// A prompt in the queue.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The priority as it is shown: an integer, or a float if the caller gave it.
    pub(super) number: Json,
    pub(super) prompt: String,
    pub(super) graph: Json,
    pub(super) extra_data: Json,
    pub(super) outputs: Vec<String>,
}

/// What the cache keeps of a node.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) essence: Essence,
    pub(super) output: Option<Json>,
    /// The node that did the work, for the history's `meta`.
    pub(super) node: String,
}

/// Everything that a restart forgets.
#[derive(Debug, Default)]
pub(super) struct Engine {
    counter: u64,
    pending: Vec<Arc<Item>>,
    running: Option<Arc<Item>>,
    history: BTreeMap<u64, (String, Arc<Json>)>,
    history_keys: HashMap<String, u64>,
    history_next: u64,
    pub(super) cache: HashMap<Signature, Kept>,
    /// What the next step of the running prompt looks at.
    pub(super) interrupted: bool,
    /// So many interrupts of the running prompt come to nothing.
    pub(super) interrupts_to_lose: usize,
    /// The node that a socket is told about which opens while its prompt runs.
    pub(super) last_node: Option<(String, String)>,
}

impl Item {
    /// Returns who hears the prompt's events: `execution_*`, `executing` and `executed`.
    pub(super) fn listener(&self) -> Audience {
        match self.extra_data.get("client_id") {
            Some(Json::Text(client)) => Audience::Client(client.clone()),
            Some(_) | None => Audience::Nobody,
        }
    }

    /// Returns who sees the prompt's progress and images: without a client id that is everyone.
    pub(super) fn spectators(&self) -> Audience {
        match self.extra_data.get("client_id") {
            None | Some(Json::Null) => Audience::Everyone,
            Some(_) => self.listener(),
        }
    }

    /// Returns the item as `/queue` shows it.
    fn json(&self, extra_data: Json) -> Json {
        Json::List(vec![
            self.number.clone(),
            self.prompt.as_str().into(),
            self.graph.clone(),
            extra_data,
            Json::texts(&self.outputs),
        ])
    }

    fn order(&self, other: &Self) -> Ordering {
        let number = |item: &Self| item.number.number().unwrap_or(0.0);
        number(self).total_cmp(&number(other)).then_with(|| self.prompt.cmp(&other.prompt))
    }
}

impl Engine {
    /// Counts a submission, refused or not, and returns its number.
    pub(super) fn count(&mut self) -> u64 {
        let number = self.counter;
        self.counter += 1;
        number
    }

    /// Queues a prompt.
    pub(super) fn push(&mut self, item: Item) -> Result<(), Incomparable> {
        let is_tie = self.pending.iter().any(|other| other.order(&item).is_eq());
        self.pending.push(Arc::new(item));
        self.rise(self.pending.len() - 1, 0);
        if is_tie { Err(Incomparable) } else { Ok(()) }
    }

    /// Takes the next prompt to run it.
    pub(super) fn take(&mut self) -> Option<Arc<Item>> {
        if self.running.is_some() || self.pending.is_empty() {
            return None;
        }
        let item = self.pending.swap_remove(0);
        self.sink(0);
        self.running = Some(Arc::clone(&item));
        self.interrupted = false;
        self.interrupts_to_lose = 0;
        self.last_node = None;
        Some(item)
    }

    /// Moves an item of the heap up, at most to `top`, as Python's `heapq` does: `/queue` shows the heap as it lies.
    fn rise(&mut self, from: usize, top: usize) {
        let mut at = from;
        while at > top {
            let parent = (at - 1) / 2;
            let is_less = match (self.pending.get(at), self.pending.get(parent)) {
                (Some(item), Some(above)) => item.order(above).is_lt(),
                _ => false,
            };
            if !is_less {
                return;
            }
            self.pending.swap(at, parent);
            at = parent;
        }
    }

    /// Moves an item of the heap down to a leaf along the lesser children, then up to its place.
    fn sink(&mut self, from: usize) {
        let mut at = from;
        while let Some(left) = self.pending.get(2 * at + 1) {
            let right = self.pending.get(2 * at + 2);
            let child = if right.is_some_and(|right| !left.order(right).is_lt()) { 2 * at + 2 } else { 2 * at + 1 };
            self.pending.swap(at, child);
            at = child;
        }
        self.rise(at, from);
    }

    /// Returns the number of prompts that wait or run.
    pub(super) fn remaining(&self) -> usize {
        self.pending.len() + usize::from(self.running.is_some())
    }

    /// Notes that the running prompt has ended.
    pub(super) fn end(&mut self) {
        self.running = None;
        self.last_node = None;
    }

    /// Deletes the first waiting prompt with an id; returns whether there was one, and whether it was the last waiting.
    pub(super) fn delete(&mut self, prompt: &str) -> Option<bool> {
        let at = self.pending.iter().position(|item| item.prompt == prompt)?;
        self.pending.remove(at);
        for parent in (0..self.pending.len() / 2).rev() {
            self.sink(parent);
        }
        Some(self.pending.is_empty())
    }

    /// Deletes every waiting prompt.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// Interrupts what runs, or only a certain prompt.
    pub(super) fn interrupt(&mut self, prompt: Option<&str>) {
        if self.running.as_ref().is_some_and(|running| prompt.is_none_or(|prompt| running.prompt == prompt)) {
            match self.interrupts_to_lose.checked_sub(1) {
                Some(left) => self.interrupts_to_lose = left,
                None => self.interrupted = true,
            }
        }
    }

    /// Returns the body of `GET /queue`.
    pub(super) fn queue(&self) -> Json {
        let shown = |item: &Arc<Item>| item.json(item.extra_data.clone());
        Json::object([
            ("queue_running", Json::List(self.running.iter().map(shown).collect())),
            ("queue_pending", Json::List(self.pending.iter().map(shown).collect())),
        ])
    }

    /// Writes a prompt's history entry.
    pub(super) fn remember(&mut self, item: &Item, outputs: Json, status: Json, meta: Json) {
        let mut extra_data = item.extra_data.clone();
        extra_data.remove("api_key_comfy_org");
        extra_data.remove("auth_token_comfy_org");
        let entry =
            Json::object([("prompt", item.json(extra_data)), ("outputs", outputs), ("status", status), ("meta", meta)]);
        let key = *self.history_keys.entry(item.prompt.clone()).or_insert_with(|| {
            self.history_next += 1;
            self.history_next
        });
        self.history.insert(key, (item.prompt.clone(), Arc::new(entry)));
        while self.history.len() > LONGEST_HISTORY {
            if let Some((_, (oldest, _))) = self.history.pop_first() {
                self.history_keys.remove(&oldest);
            }
        }
    }

    /// Returns the body of `GET /history/{id}`.
    pub(super) fn history_of(&self, prompt: &str) -> Json {
        let entry = self.history_keys.get(prompt).and_then(|key| self.history.get(key));
        Json::Object(entry.map(|(prompt, entry)| (prompt.clone(), entry.as_ref().clone())).into_iter().collect())
    }

    /// Returns the body of `GET /history`, oldest first.
    pub(super) fn history(&self, max_items: Option<i64>, offset: Option<i64>) -> Json {
        let total = i64::try_from(self.history.len()).unwrap_or(i64::MAX);
        let most = max_items.unwrap_or(total);
        let first = match offset.filter(|offset| *offset >= 0) {
            Some(offset) => offset,
            None if max_items.is_some() => (total - most).max(0),
            None => 0,
        };
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        let take = usize::try_from(most).unwrap_or(0);
        let entries = self.history.values().skip(skip).take(take);
        Json::Object(entries.map(|(prompt, entry)| (prompt.clone(), entry.as_ref().clone())).collect())
    }

    /// Deletes a history entry.
    pub(super) fn forget(&mut self, prompt: &str) {
        if let Some(key) = self.history_keys.remove(prompt) {
            self.history.remove(&key);
        }
    }

    /// Deletes every history entry.
    pub(super) fn forget_all(&mut self) {
        self.history.clear();
        self.history_keys.clear();
    }

    /// Keeps in the cache only what the nodes of this graph can use, and returns those of them that are kept.
    pub(super) fn prune_cache(&mut self, graph: &Graph, signatures: &HashMap<String, Signature>) -> Vec<String> {
        let wanted: HashSet<&Signature> = signatures.values().collect();
        self.cache.retain(|signature, _| wanted.contains(signature));
        let is_kept = |id: &&String| signatures.get(*id).is_some_and(|signature| self.cache.contains_key(signature));
        graph.nodes().iter().map(|node| &node.id).filter(is_kept).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: &str, prompt: &str) -> Item {
        Item {
            number: Json::Number(number.to_owned()),
            prompt: prompt.to_owned(),
            graph: Json::Object(Vec::new()),
            extra_data: Json::parse(br#"{"client_id": "a", "api_key_comfy_org": "secret"}"#).unwrap(),
            outputs: vec!["9".to_owned()],
        }
    }

    #[test]
    fn smaller_numbers_run_first_and_equal_ones_in_the_order_of_their_ids() {
        let mut engine = Engine::default();
        for (number, prompt) in [("29", "n1"), ("-31", "front1"), ("-32", "front2"), ("7.5", "text"), ("29", "a")] {
            assert_eq!(engine.push(item(number, prompt)), Ok(()));
        }
        assert_eq!(engine.push(item("29", "a")), Err(Incomparable));
        let mut order = Vec::new();
        while let Some(item) = engine.take() {
            order.push(item.prompt.clone());
            engine.end();
        }
        assert_eq!(order, ["front2", "front1", "text", "a", "a", "n1"]);
    }

    #[test]
    fn history_is_cut_as_it_was_measured_and_keeps_no_keys() {
        let mut engine = Engine::default();
        for prompt in ["h0", "h1", "h2", "h3"] {
            engine.remember(&item("0", prompt), Json::Null, Json::Null, Json::Null);
        }
        let names = |max_items, offset| {
            let history = engine.history(max_items, offset);
            history.fields().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(None, None).len(), 4);
        assert_eq!(names(Some(2), None), ["h2", "h3"]);
        assert_eq!(names(Some(2), Some(1)), ["h1", "h2"]);
        assert_eq!(names(None, Some(3)), ["h3"]);
        assert!(names(Some(0), None).is_empty() && names(Some(-1), None).is_empty());
        assert!(!engine.history_of("h0").to_string().contains("secret"));
        engine.forget("h1");
        assert_eq!(engine.history_of("h1"), Json::Object(Vec::new()));
    }

    #[test]
    fn only_the_running_prompt_can_be_interrupted() {
        let mut engine = Engine::default();
        engine.interrupt(None);
        assert!(!engine.interrupted);
        engine.push(item("0", "a")).unwrap();
        engine.take();
        engine.interrupt(Some("b"));
        assert!(!engine.interrupted);
        engine.interrupt(Some("a"));
        assert!(engine.interrupted);
    }

    #[test]
    fn only_the_first_prompt_with_an_id_is_deleted() {
        let mut engine = Engine::default();
        engine.push(item("0", "a")).unwrap();
        engine.push(item("1", "a")).unwrap();
        assert_eq!(engine.delete("a"), Some(false));
        assert_eq!(engine.delete("a"), Some(true));
        assert_eq!(engine.delete("a"), None);
    }
}
