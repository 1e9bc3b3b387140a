//! The worker: takes one prompt after another and leads it from `execution_start` to its history entry.
//!
//! How a single node works is `labour`'s matter, how an event reaches its listeners `voice`'s.

use std::collections::HashMap;
use std::sync::Arc;

use super::Moment;
use super::engine::{Item, Kept};
use super::frames::{self, ProgressState};
use super::graph::{Agenda, Graph, Node, Signature};
use super::json::Json;
use super::labour::{self, Work};
use super::mask;
use super::nodes;
use super::script::Fault;
use super::voice::{To, Voice};
use super::world::World;

/// Works the queue until the lifecycle ends.
pub(super) async fn work(world: Arc<World>) {
    let stop = world.lifecycle.stop();
    loop {
        let (item, faults, epoch) = tokio::select! {
            () = stop.cancelled() => return,
            taken = world.take() => taken,
        };
        let mut run = Run::new(&world, item, faults);
        tokio::select! {
            () = stop.cancelled() => return,
            () = epoch.cancelled() => {}
            () = run.lead() => {}
        }
    }
}

/// Why a prompt ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Somebody interrupted it.
    Interrupted,
    /// A node raised.
    Raised {
        /// The exception's text.
        message: String,
        /// Its type.
        kind: String,
    },
}

/// One prompt being executed.
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) item: Arc<Item>,
    pub(super) graph: Graph,
    pub(super) voice: Voice,
    pub(super) progress: ProgressState,
    signatures: HashMap<String, Signature>,
    cached: Vec<String>,
    executed: Vec<String>,
    outputs: Json,
    meta: Json,
    messages: Vec<Json>,
}

impl Run {
    fn new(world: &Arc<World>, item: Arc<Item>, faults: Vec<Fault>) -> Self {
        let graph = Graph::read(&item.graph);
        let signatures = graph.signatures(salt_of(&item));
        let loses = |fault: &Fault| if let Fault::LoseInterrupts(count) = fault { Some(*count) } else { None };
        let cached = world.change(|state| {
            state.engine.interrupts_to_lose = faults.iter().find_map(loses).unwrap_or(0);
            state.engine.prune_cache(&graph, &signatures)
        });
        Self {
            world: Arc::clone(world),
            voice: Voice::new(Arc::clone(world), &item, faults),
            item,
            graph,
            progress: ProgressState::default(),
            signatures,
            cached,
            executed: Vec::new(),
            outputs: Json::Object(Vec::new()),
            meta: Json::Object(Vec::new()),
            messages: Vec::new(),
        }
    }

    async fn lead(&mut self) {
        if !matches!(self.item.extra_data, Json::Object(_)) {
            // ComfyUI's worker thread dies of this; the server goes on answering and nothing runs any more.
            std::future::pending::<()>().await;
        }
        self.voice.moment("taken").await;
        // ComfyUI forgets here what came since the prompt was taken.
        self.world.change(|state| state.engine.interrupted = false);
        self.message("execution_start", Json::Object(Vec::new())).await;
        let cached = Json::object([("nodes", Json::texts(&self.cached))]);
        self.message("execution_cached", cached).await;
        match self.execute().await {
            Ok(()) => self.message("execution_success", Json::Object(Vec::new())).await,
            Err((node, Stop::Interrupted)) => self.interrupted(&node).await,
            Err((node, Stop::Raised { message, kind })) => self.raised(&node, &message, &kind).await,
        }
        self.end().await;
    }

    async fn execute(&mut self) -> Result<(), (Node, Stop)> {
        let cached = std::mem::take(&mut self.cached);
        let is_cached = |id: &str| cached.iter().any(|known| known == id);
        let mut agenda = Agenda::plan(&self.graph, &self.item.outputs, &is_cached, &self.world.classes);
        while let Some(node) = agenda.next(&self.graph).cloned() {
            let signature = self.signatures.get(&node.id).copied();
            let kept =
                signature.and_then(|signature| self.world.look(|state| state.engine.cache.get(&signature).cloned()));
            match kept {
                Some(kept) => self.recall(&node, &kept).await,
                None => self.perform(&node, signature).await.map_err(|stop| (node.clone(), stop))?,
            }
            agenda.done(&self.graph, &node.id);
        }
        Ok(())
    }

    /// Takes a node's result from the cache.
    async fn recall(&mut self, node: &Node, kept: &Kept) {
        let frame = frames::executed(&self.item.prompt, &node.id, kept.output.as_ref());
        self.voice.say(To::Listener, "executed", &frame).await;
        if let Some(output) = &kept.output {
            self.put_output(&node.id, output, &kept.node);
        }
        self.progress.finish(&node.id);
        self.tell_progress().await;
    }

    /// Lets a node work.
    async fn perform(&mut self, node: &Node, signature: Option<Signature>) -> Result<(), Stop> {
        self.progress.begin(&node.id);
        self.tell_progress().await;
        let client = self.item.extra_data.get("client_id").and_then(Json::text).map(str::to_owned);
        self.world.change(|state| state.engine.last_node = client.map(|client| (client, node.id.clone())));
        let frame = frames::executing(&self.item.prompt, Some(&node.id));
        self.voice.say(To::Listener, "executing", &frame).await;

        let essence = self.world.look(|state| {
            let kept = |id: &str| state.engine.cache.get(self.signatures.get(id)?);
            let mut essence = nodes::essence(node, &|id| Some(kept(id)?.essence.clone()));
            if node.class == "LoadImage" {
                let file = node.input("image").and_then(Json::text).and_then(|name| state.files.written(name));
                (essence.width, essence.height) = file.and_then(|bytes| mask::size(bytes)).unzip();
            }
            essence
        });
        let output = labour::work(self, &Work { node, essence: &essence }).await?;

        if let Some(output) = &output {
            let said = if self.voice.suffers(&Fault::NullOutputs) { None } else { Some(output) };
            let frame = frames::executed(&self.item.prompt, &node.id, said);
            self.voice.say(To::Listener, "executed", &frame).await;
            self.put_output(&node.id, output, &node.id);
        }
        self.progress.finish(&node.id);
        self.tell_progress().await;
        self.executed.insert(0, node.id.clone());
        if let Some(signature) = signature {
            let kept = Kept { essence, output, node: node.id.clone() };
            self.world.change(|state| state.engine.cache.insert(signature, kept));
        }
        Ok(())
    }

    async fn interrupted(&mut self, node: &Node) {
        let data = self.about(node);
        // Without a client id this event alone goes to everybody.
        self.message_to(To::Spectators, "execution_interrupted", data).await;
    }

    async fn raised(&mut self, node: &Node, message: &str, kind: &str) {
        let mut data = self.about(node);
        for (key, value) in labour::exception(self, node, &self.executed, (message, kind)) {
            data.set(key, value);
        }
        self.message("execution_error", data).await;
    }

    fn about(&self, node: &Node) -> Json {
        Json::object([
            ("node_id", node.id.as_str().into()),
            ("node_type", node.class.as_str().into()),
            ("executed", Json::texts(&self.executed)),
        ])
    }

    /// Writes the history, counts the queue down, and says so.
    async fn end(&mut self) {
        let last = self.messages.last().and_then(|message| message.items().first()).and_then(Json::text);
        let is_success = last == Some("execution_success");
        if is_success && self.voice.suffers(&Fault::SuccessThenError) {
            let node = self.graph.nodes().first().cloned();
            let messages = self.messages.clone();
            if let Some(node) = node {
                self.raised(&node, "too late", "RuntimeError").await;
            }
            self.messages = messages;
        }
        let status = Json::object([
            ("status_str", if is_success { "success" } else { "error" }.into()),
            ("completed", is_success.into()),
            ("messages", Json::List(std::mem::take(&mut self.messages))),
        ]);
        let (outputs, meta) = (std::mem::take(&mut self.outputs), std::mem::take(&mut self.meta));
        self.world.witness(&self.item, if is_success { Moment::Succeeded } else { Moment::Failed });
        let delay = self.voice.history_delay();
        self.world.change(|state| {
            if delay.is_none() {
                state.engine.remember(&self.item, outputs.clone(), status.clone(), meta.clone());
            }
            state.engine.end();
            state.tell_status();
        });
        let frame = frames::executing(&self.item.prompt, None);
        self.voice.say(To::Listener, "idle", &frame).await;
        if let Some(delay) = delay {
            let (world, item) = (Arc::clone(&self.world), Arc::clone(&self.item));
            let stop = self.world.lifecycle.stop();
            self.world.lifecycle.spawn("simulator's late history", async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(delay) => {
                        world.change(|state| state.engine.remember(&item, outputs, status, meta));
                    }
                }
            });
        }
    }

    /// Says an event that the history keeps too.
    async fn message(&mut self, kind: &str, data: Json) {
        self.message_to(To::Listener, kind, data).await;
    }

    async fn message_to(&mut self, to: To, kind: &str, data: Json) {
        let mut whole = Json::object([("prompt_id", self.item.prompt.as_str().into())]);
        for (key, value) in data.fields() {
            whole.set(key, value.clone());
        }
        whole.set("timestamp", self.world.timestamp().into());
        self.voice.say(to, kind, &frames::message(kind, &whole)).await;
        self.messages.push(Json::List(vec![kind.into(), whole]));
    }

    /// Says how far every node is.
    pub(super) async fn tell_progress(&mut self) {
        let frame = self.progress.frame(&self.item.prompt);
        self.voice.say(To::Spectators, "progress_state", &frame).await;
    }

    fn put_output(&mut self, node: &str, output: &Json, worker: &str) {
        let mut output = output.clone();
        if self.voice.suffers(&Fault::NullOutputs) {
            output = Json::object([("images", Json::Null), ("text", Json::List(vec![Json::Null]))]);
        }
        self.outputs.set(node, output);
        let meta = Json::object([
            ("node_id", worker.into()),
            ("display_node", worker.into()),
            ("parent_node", Json::Null),
            ("real_node_id", worker.into()),
        ]);
        self.meta.set(node, meta);
    }
}

/// Differs between any two prompts, so that `SaveImageWebsocket` is never served from the cache.
fn salt_of(item: &Item) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (&item.prompt, item.number.to_string()).hash(&mut hasher);
    hasher.finish()
}
