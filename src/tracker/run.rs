//! The task of one backend: feeds the machines of its runs, performs their effects, wakes at their deadlines.
//!
//! Whatever takes time (asking the backend, fetching files, writing the store) happens in units of its own that report
//! back, so the events of the socket are taken in as fast as they come.

use super::attribution::Attribution;
use super::desk::{Desk, Progress};
use super::early::EarlyCancels;
use super::evidence::{self, Evidence};
use super::harvest::{SlotId, Source};
use super::limits::{LATE_LIMIT, STANDSTILL};
use super::machine::{Effect, Input, Run, SubmitResult, step};
use super::stopping::Stopping;
use super::storing::Storing;
use crate::clock::{Clock, Timestamp};
use crate::comfy::{Accepted, Client, ClientError, SocketEvent, SubmitError};
use crate::job::{FailureCode, Job, JobId, Outcome, PromptId, freeze};
use crate::lifecycle::Lifecycle;
use crate::media::Blobs;
use crate::store::{Ending, Store, persist};
use crate::telemetry::job_span;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// What the tracker of a backend works with.
#[derive(Clone)]
pub struct Parts {
    /// The backend's name in logs and in the store.
    pub backend: String,
    /// Its HTTP side.
    pub client: Client,
    /// Where ends are stored.
    pub store: Arc<dyn Store>,
    /// Where outputs are stored.
    pub blobs: Arc<Blobs>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Spawns the units.
    pub lifecycle: Lifecycle,
    /// What the rest of the gateway may know of this backend.
    pub desk: Arc<Desk>,
    /// Rung when the socket should be replaced.
    pub reconnect: Arc<Notify>,
    /// Rung when a delivery was created.
    pub delivery_bell: Arc<Notify>,
    /// Rung when a job went back into the queue, or a place on the backend became free.
    pub queue_bell: Arc<Notify>,
    /// The largest output that is taken, in bytes.
    pub max_output: u64,
    /// What links to outputs begin with.
    pub base_url: String,
}

/// What others ask of a backend's tracker.
#[derive(Debug)]
pub enum Command {
    /// Watch a run that is about to be submitted, or was submitted in an earlier life of the gateway.
    Watch {
        /// The run.
        run: Box<Run>,
        /// Its job.
        job: Box<Job>,
        /// Answered with the client id to submit under; none while there is no socket.
        watching: oneshot::Sender<Option<String>>,
    },
    /// Something happened to a run; what the units report comes this way too.
    Happened {
        /// The run's prompt id.
        prompt: PromptId,
        /// What happened.
        input: Box<Input>,
    },
    /// The caller wants a job cancelled.
    Cancel(JobId),
}

/// Speaks to the tracker of one backend.
#[derive(Clone, Debug)]
pub struct Tracker {
    commands: mpsc::Sender<Command>,
}

impl Tracker {
    /// Makes the handle and the end that [`run`] reads.
    pub fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(1024);
        (Self { commands }, inbox)
    }

    /// Has a run watched. Returns the client id to submit under; none where there is no socket or the tracker ended.
    pub async fn watch(&self, run: Run, job: Job) -> Option<String> {
        let (watching, answer) = oneshot::channel();
        let command = Command::Watch { run: Box::new(run), job: Box::new(job), watching };
        self.commands.send(command).await.ok()?;
        answer.await.ok()?
    }

    /// Tells how `POST /prompt` ended.
    pub async fn submitted(&self, prompt: PromptId, result: SubmitResult) {
        self.happened(prompt, Input::Submitted(result)).await;
    }

    /// Tells that the caller wants a job cancelled.
    pub async fn cancel(&self, job: JobId) {
        // A tracker that has ended needs no telling: the wish is in the store and is read at the next start.
        let _ = self.commands.send(Command::Cancel(job)).await;
    }

    async fn happened(&self, prompt: PromptId, input: Input) {
        let _ = self.commands.send(Command::Happened { prompt, input: Box::new(input) }).await;
    }
}

struct Watched {
    run: Run,
    job: Job,
}

struct Room {
    parts: Parts,
    tracker: Tracker,
    watched: HashMap<PromptId, Watched>,
    client_id: Option<String>,
    /// Wishes that came before their run was watched.
    early_cancels: EarlyCancels,
    /// Runs that ended before the answer of their submission came: if it is taken all the same, it must be stopped.
    abandoned: HashSet<PromptId>,
    /// Whom frames without metadata belong to.
    attribution: Attribution,
    /// When a run last began here.
    last_begun: Option<Timestamp>,
}

/// Runs the tracker of one backend until told to stop.
pub async fn run(
    parts: Parts,
    tracker: Tracker,
    mut commands: mpsc::Receiver<Command>,
    mut socket: mpsc::Receiver<SocketEvent>,
    stop: CancellationToken,
) {
    let clock = Arc::clone(&parts.clock);
    let mut room = Room {
        parts,
        tracker,
        watched: HashMap::new(),
        client_id: None,
        early_cancels: EarlyCancels::default(),
        abandoned: HashSet::new(),
        attribution: Attribution::default(),
        last_begun: None,
    };
    loop {
        let deadline = room.next_deadline();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(event) = socket.recv() => room.take_socket(event),
            Some(command) = commands.recv() => room.take_command(command),
            () = sleep_until(clock.as_ref(), deadline) => room.tick(),
        }
    }
}

async fn sleep_until(clock: &dyn Clock, deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Room {
    fn next_deadline(&self) -> Option<Timestamp> {
        self.watched.values().filter_map(|watched| watched.run.next_deadline()).map(|(at, _)| at).min()
    }

    fn take_socket(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::Connected { client_id } => {
                info!(backend = %self.parts.backend, "connected to ComfyUI");
                self.attribution = Attribution::default();
                self.client_id = Some(client_id);
                self.for_each_run(&Input::SocketUp);
                self.parts.desk.connected(self.parts.clock.now());
                self.parts.queue_bell.notify_one();
            }
            SocketEvent::Unreachable { reason } => self.parts.desk.disconnected(&reason),
            SocketEvent::Lost { reason, .. } => {
                if self.client_id.take().is_some() {
                    warn!(backend = %self.parts.backend, reason, "lost the connection to ComfyUI");
                }
                self.parts.desk.disconnected(&reason);
                let another_ran = self.watched.values().any(|watched| watched.run.is_running());
                self.for_each_run(&Input::SocketLost { another_ran });
            }
            SocketEvent::Receiving => self.for_each_run(&Input::Receiving),
            SocketEvent::Event(event) => {
                let event = self.attribution.of(event);
                let Some(prompt) = event.prompt().map(|id| PromptId(id.to_owned())) else { return };
                self.feed(&prompt, Input::Event(event));
            }
        }
    }

    fn take_command(&mut self, command: Command) {
        match command {
            Command::Watch { run, job, watching } => {
                let prompt = run.plan().prompt.clone();
                let wants_cancel = self.early_cancels.contains(job.id) || job.cancel_requested;
                self.watched.insert(prompt.clone(), Watched { run: *run, job: *job });
                if self.client_id.is_some() {
                    self.feed(&prompt, Input::SocketUp);
                } else {
                    self.feed(&prompt, Input::SocketLost { another_ran: false });
                }
                if wants_cancel {
                    self.feed(&prompt, Input::Cancel);
                }
                // A dispatcher that stopped waiting has ended, and with it the whole gateway.
                let _ = watching.send(self.client_id.clone());
            }
            Command::Happened { prompt, input } => {
                if let Input::Submitted(result) = input.as_ref() {
                    self.note_submission(result);
                }
                if matches!(*input, Input::Submitted(_)) && self.abandoned.remove(&prompt) {
                    self.stop_until_gone(prompt, LATE_LIMIT);
                } else {
                    self.feed(&prompt, *input);
                }
            }
            Command::Cancel(job) => {
                let found = self.watched.iter().find(|(_, watched)| watched.job.id == job);
                match found.map(|(prompt, _)| prompt.clone()) {
                    Some(prompt) => self.feed(&prompt, Input::Cancel),
                    None => self.early_cancels.remember(job),
                }
            }
        }
    }

    /// A backend that does not take a prompt is given the next one a little later. Without a socket it is given none anyway.
    fn note_submission(&self, result: &SubmitResult) {
        match result {
            SubmitResult::Accepted(_) | SubmitResult::Refused(_) => self.parts.desk.took_prompt(),
            SubmitResult::Unreachable(reason) | SubmitResult::Ambiguous(reason) | SubmitResult::Unanswered(reason)
                if self.client_id.is_some() =>
            {
                self.parts.desk.did_not_take_prompt(reason, self.parts.clock.now());
            }
            SubmitResult::Unreachable(_) | SubmitResult::Ambiguous(_) | SubmitResult::Unanswered(_) => {}
        }
    }

    fn tick(&mut self) {
        self.for_each_run(&Input::Tick);
    }

    fn for_each_run(&mut self, input: &Input) {
        let prompts: Vec<PromptId> = self.watched.keys().cloned().collect();
        for prompt in prompts {
            self.feed(&prompt, input.clone());
        }
    }

    fn feed(&mut self, prompt: &PromptId, input: Input) {
        let Some(watched) = self.watched.get_mut(prompt) else { return };
        let now = self.parts.clock.now();
        let is_answer = matches!(input, Input::Submitted(_));
        let answer_was_open = watched.run.answer_is_open();
        let may_arrive_late = watched.run.may_arrive_late() && !matches!(input, Input::Evidence(Evidence::Ended(_)));
        let waiting_since = watched.run.waiting_since();
        let effects = step(&mut watched.run, input, now);
        if let Some(fraction) = watched.run.progress() {
            self.parts.desk.progress(watched.job.id, Progress { fraction });
        }
        if waiting_since.is_some_and(|since| now >= since + STANDSTILL) {
            self.note_standstill(&effects, now);
        }
        for effect in effects {
            self.perform(prompt, effect, now);
        }
        if self.watched.get(prompt).is_some_and(|watched| watched.run.is_done())
            && let Some(done) = self.watched.remove(prompt)
        {
            self.parts.desk.forget(done.job.id);
            if answer_was_open && !is_answer {
                self.abandoned.insert(prompt.clone());
            }
            if may_arrive_late && !is_answer {
                self.stop_until_gone(prompt.clone(), LATE_LIMIT);
            }
        }
        self.publish_load();
    }

    /// Notes a run that waited on the backend until its time was over, where nothing of ours has begun there for long.
    fn note_standstill(&self, effects: &[Effect], now: Timestamp) {
        let failures = effects.iter().filter_map(|effect| match effect {
            Effect::Finish(Outcome::Failed(failure, _)) => Some(failure),
            Effect::Finish(Outcome::Succeeded(_) | Outcome::Cancelled)
            | Effect::Started
            | Effect::LookUp
            | Effect::Reconnect
            | Effect::StopUpstream
            | Effect::Collect(..)
            | Effect::Requeue { .. } => None,
        });
        let runs_another = self.watched.values().any(|watched| watched.run.is_running());
        let stands_still = !runs_another && self.last_begun.is_none_or(|at| now >= at + STANDSTILL);
        for failure in failures {
            if stands_still && matches!(failure.code, FailureCode::TimeoutStart | FailureCode::TimeoutQueue) {
                self.parts.desk.runs_none(&failure.message, now);
            }
        }
    }

    fn publish_load(&self) {
        let occupied = self.watched.values().filter(|watched| watched.run.occupies_backend()).count();
        if self.parts.desk.occupied(occupied) {
            self.parts.queue_bell.notify_one();
        }
    }

    fn perform(&mut self, prompt: &PromptId, effect: Effect, now: Timestamp) {
        let Some(watched) = self.watched.get_mut(prompt) else { return };
        let (id, number) = (watched.job.id, watched.run.plan().number);
        let span = job_span(id);
        let _in_span = span.enter();
        match effect {
            Effect::Started => {
                watched.job.started_at = Some(now);
                self.last_begun = Some(now);
                self.parts.desk.runs_prompts();
                let store = Arc::clone(&self.parts.store);
                self.parts.lifecycle.spawn("note start", async move {
                    if let Err(error) = store.started(id, number, now).await {
                        debug!(%error, "the start was not noted");
                    }
                });
            }
            Effect::LookUp => {
                let (client, tracker, prompt) = (self.parts.client.clone(), self.tracker.clone(), prompt.clone());
                self.parts.lifecycle.spawn("look up", async move {
                    let evidence = look_up(&client, &prompt).await;
                    tracker.happened(prompt, Input::Evidence(evidence)).await;
                });
            }
            Effect::Reconnect => self.replace_socket(),
            // One that is still watched is told again as long as it is there.
            Effect::StopUpstream if watched.run.is_done() => self.stop_until_gone(prompt.clone(), Duration::ZERO),
            Effect::StopUpstream => self.stop_once(prompt.clone()),
            Effect::Collect(slot, source) => self.collect(prompt.clone(), slot, source),
            Effect::Finish(outcome) => {
                info!(backend = %self.parts.backend, state = outcome.state().as_str(), "run ended");
                let ending = Ending {
                    job: id,
                    run: Some(number),
                    body: freeze(&watched.job, &outcome, now, &self.parts.base_url),
                    outcome,
                    ended_at: now,
                };
                let parts = self.parts.clone();
                let prompt = prompt.clone();
                self.parts.lifecycle.spawn("finish", async move { finish(&parts, ending, &prompt).await });
            }
            Effect::Requeue { failure, counts } => {
                warn!(backend = %self.parts.backend, reason = failure.message, counts, "run goes back into the queue");
                let parts = self.parts.clone();
                self.parts.lifecycle.spawn("requeue", async move { requeue(&parts, id, number, counts).await });
            }
        }
    }

    /// Gives up a socket that hears nothing. It is no socket any more from this moment on, however long its end takes:
    /// whatever is submitted under its name would be lost too.
    fn replace_socket(&mut self) {
        let reason = "the socket was deaf";
        if self.client_id.take().is_some() {
            warn!(backend = %self.parts.backend, reason, "replacing the connection to ComfyUI");
        }
        self.parts.desk.disconnected(reason);
        self.parts.reconnect.notify_one();
    }

    fn stop_once(&self, prompt: PromptId) {
        let parts = self.parts.clone();
        self.parts.lifecycle.spawn("stop", async move { stopping(&parts, &prompt).once().await });
    }

    fn stop_until_gone(&self, prompt: PromptId, late: Duration) {
        let (parts, stop) = (self.parts.clone(), self.parts.lifecycle.stop());
        self.parts.lifecycle.spawn("stop for good", async move {
            stopping(&parts, &prompt).until_gone(late, &stop).await;
            parts.queue_bell.notify_one();
        });
    }

    fn collect(&self, prompt: PromptId, slot: SlotId, source: Source) {
        let (parts, tracker) = (self.parts.clone(), self.tracker.clone());
        self.parts.lifecycle.spawn("collect", async move {
            let (client, clock) = (&parts.client, parts.clock.as_ref());
            let storing = Storing { blobs: &parts.blobs, client, clock, max_output: parts.max_output };
            if let Some(result) = storing.store(&source, &parts.lifecycle.stop()).await {
                tracker.happened(prompt, Input::Stored(slot, result)).await;
            }
        });
    }
}

async fn look_up(client: &Client, prompt: &PromptId) -> Evidence {
    let queue = match client.queue().await {
        Ok(queue) => queue,
        Err(error) => return no_answer(&error),
    };
    if let Some(evidence) = evidence::from_queue(&queue, prompt) {
        return evidence;
    }
    match client.history(prompt.as_str()).await {
        Ok(Some(entry)) => Evidence::Ended(entry),
        Ok(None) => Evidence::Absent,
        Err(error) => no_answer(&error),
    }
}

fn no_answer(error: &ClientError) -> Evidence {
    if matches!(error, ClientError::Unreachable(_)) { Evidence::Unreachable } else { Evidence::Hung }
}

fn stopping<'a>(parts: &'a Parts, prompt: &'a PromptId) -> Stopping<'a> {
    Stopping { client: &parts.client, clock: parts.clock.as_ref(), desk: &parts.desk, prompt }
}

/// Stores the end; a store that cannot write is asked again, since the run will not end a second time.
async fn finish(parts: &Parts, ending: Ending, prompt: &PromptId) {
    let succeeded = matches!(ending.outcome, Outcome::Succeeded(_));
    let stored =
        persist(parts.clock.as_ref(), &parts.lifecycle.stop(), "the end", || parts.store.finish(ending.clone())).await;
    if stored == Some(true) {
        parts.delivery_bell.notify_one();
        // ComfyUI keeps whole graphs in its history; ours are not needed there any more.
        if succeeded && let Err(error) = parts.client.forget(prompt.as_str()).await {
            debug!(%error, "the prompt stays in the backend's history");
        }
    }
}

async fn requeue(parts: &Parts, id: JobId, number: u32, counts: bool) {
    let now = parts.clock.now();
    let write = || parts.store.requeue(id, number, counts, now);
    persist(parts.clock.as_ref(), &parts.lifecycle.stop(), "the requeue", write).await;
    parts.queue_bell.notify_one();
}

/// Turns ComfyUI's answer to `POST /prompt` into what the machine takes in.
pub fn submit_result(answer: Result<Accepted, SubmitError>) -> SubmitResult {
    match answer {
        Ok(accepted) => SubmitResult::Accepted(accepted.to_warning()),
        Err(SubmitError::Refused(refusal)) => SubmitResult::Refused(refusal.to_failure()),
        Err(SubmitError::Unreachable(reason)) => SubmitResult::Unreachable(reason),
        Err(SubmitError::Ambiguous(reason)) => SubmitResult::Ambiguous(reason),
        Err(SubmitError::Unanswered(reason)) => SubmitResult::Unanswered(reason),
    }
}
