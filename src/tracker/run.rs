//! The task of one backend: feeds the machines of its runs and wakes at their deadlines. What they answer with is done in
//! `perform`.
//!
//! Whatever takes time (asking the backend, fetching files, writing the store) happens in units of its own that report
//! back, so the events of the socket are taken in as fast as they come.

use super::account::Accounts;
use super::attribution::Attribution;
use super::command::{Command, Tracker, Watching};
use super::desk::{Desk, Held, Progress};
use super::early::EarlyCancels;
use super::harvest::SlotResult;
use super::limits::STANDSTILL;
use super::machine::{Input, Run, SubmitResult, step};
use super::orphans::{self, Orphans};
use super::telling::heard;
use crate::clock::{Clock, Timestamp};
use crate::comfy::{Client, SocketEvent};
use crate::crash::{self, Point};
use crate::job::{Advance, Announce, Audience, BodyRules, Happening, Job, JobId, Learn, News, PromptId, Tap, Tenant};
use crate::lifecycle::{Lifecycle, Panicked};
use crate::media::Blobs;
use crate::store::Store;
use crate::vault::Vault;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

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
    /// What final objects are written by.
    pub bodies: Arc<BodyRules>,
    /// The keys for partner nodes, which end with their jobs.
    pub vault: Arc<Vault>,
    /// Takes what receivers want to be told of before the end; never waits.
    pub announce: Announce,
    /// Hears how each run went that has ended its job.
    pub learn: Learn,
    /// Hears what happens to every run, whether a receiver wants to be told or not.
    pub tap: Tap,
    /// Hears what every run that is over has shown of its backend.
    pub accounts: Accounts,
}

/// A run that is followed.
pub(super) struct Watched {
    pub(super) run: Run,
    pub(super) job: Job,
    pub(super) held: Arc<Held>,
    /// Who is told of it before its end, where somebody wants to be.
    pub(super) audience: Option<Arc<Audience>>,
    /// Tells whoever submits it that it is not watched any more.
    _ended: DropGuard,
}

/// All that the task knows.
pub(super) struct Room {
    pub(super) parts: Parts,
    pub(super) tracker: Tracker,
    pub(super) watched: HashMap<PromptId, Watched>,
    pub(super) client_id: Option<String>,
    /// Wishes that came before their run was watched.
    early_cancels: EarlyCancels,
    /// Runs that ended before the answer of their submission came: if it is taken all the same, it must be stopped.
    abandoned: HashSet<PromptId>,
    /// Whom frames without metadata belong to.
    attribution: Attribution,
    /// What was given up and must not run on.
    pub(super) orphans: Arc<Orphans>,
    /// The backend is being asked whether it is well again.
    is_asking: bool,
    /// When a run last began here.
    pub(super) last_begun: Option<Timestamp>,
    /// The runs that ended last, of which frames may still come.
    pub(super) lately: VecDeque<(PromptId, JobId, Tenant)>,
}

/// How many of those are known.
const LATELY: usize = 32;

/// Runs the tracker of one backend until told to stop.
pub async fn run(
    parts: Parts,
    tracker: Tracker,
    mut commands: mpsc::Receiver<Command>,
    mut socket: mpsc::Receiver<SocketEvent>,
    stop: CancellationToken,
) {
    let clock = Arc::clone(&parts.clock);
    let orphans = Arc::new(Orphans::default());
    let tools = orphans::Tools {
        client: parts.client.clone(),
        store: Arc::clone(&parts.store),
        clock: Arc::clone(&clock),
        desk: Arc::clone(&parts.desk),
        queue_bell: Arc::clone(&parts.queue_bell),
    };
    parts.lifecycle.spawn_station("orphans", orphans::run(Arc::clone(&orphans), tools, stop.clone()));
    let mut room = Room {
        parts,
        tracker,
        watched: HashMap::new(),
        client_id: None,
        early_cancels: EarlyCancels::default(),
        abandoned: HashSet::new(),
        attribution: Attribution::default(),
        orphans,
        is_asking: false,
        last_begun: None,
        lately: VecDeque::new(),
    };
    loop {
        let deadline = room.next_deadline();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(event) = socket.recv() => room.contained(|room| room.take_socket(event)),
            Some(command) = commands.recv() => room.contained(|room| room.take_command(command)),
            () = sleep_until(clock.as_ref(), deadline) => room.contained(Room::tick),
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
        let runs = self.watched.values().filter_map(|watched| watched.run.next_deadline()).map(|(at, _)| at);
        runs.chain(self.ask_at()).min()
    }

    /// When to ask a backend that rests whether it is well again. Without a socket it is given nothing anyway.
    fn ask_at(&self) -> Option<Timestamp> {
        self.parts.desk.ask_at().filter(|_| self.client_id.is_some() && !self.is_asking)
    }

    /// Takes in one message. Should that panic, the message is lost and everything else goes on; a run that is lost with it
    /// is found by dispatch.
    fn contained(&mut self, take_in: impl FnOnce(&mut Self)) {
        let lifecycle = self.parts.lifecycle.clone();
        if lifecycle.contain_now("tracker", || take_in(self)) == Err(Panicked) {
            self.watched.retain(|_, watched| !watched.run.is_done());
        }
    }

    fn take_socket(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::Connected { client_id } => {
                info!(backend = %self.parts.backend, "connected to ComfyUI");
                self.attribution = Attribution::default();
                self.client_id = Some(client_id);
                self.for_each_run(&Input::SocketUp);
                self.parts.desk.connected(self.parts.clock.now());
                self.orphans.connected();
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
            SocketEvent::Event(event, raw) => {
                self.parts.count_noise(&event);
                let event = self.attribution.of(event);
                let prompt = event.prompt().map(|id| PromptId(id.to_owned()));
                if let Some(raw) = raw {
                    self.hand_on(prompt.as_ref(), raw);
                }
                let Some(prompt) = prompt else { return };
                self.feed(&prompt, Input::Event(event));
            }
        }
    }

    fn take_command(&mut self, command: Command) {
        match command {
            Command::Watch { run, job, watching } => {
                let prompt = run.plan().prompt.clone();
                let wants_cancel = self.early_cancels.contains(job.id) || job.cancel_requested;
                let held = Arc::new(self.parts.desk.hold(job.id));
                let audience = Audience::of(&job, run.plan().number);
                let ended = CancellationToken::new();
                let watched = Watched { run: *run, job: *job, held, audience, _ended: ended.clone().drop_guard() };
                self.parts.tap.tell(|| watched.tapped(self.parts.clock.now(), watched.followed()));
                self.watched.insert(prompt.clone(), watched);
                if self.client_id.is_some() {
                    self.feed(&prompt, Input::SocketUp);
                } else {
                    self.feed(&prompt, Input::SocketLost { another_ran: false });
                }
                if wants_cancel {
                    self.feed(&prompt, Input::Cancel);
                }
                // What has ended already must not be submitted.
                let client_id = self.client_id.clone().filter(|_| self.watched.contains_key(&prompt));
                // A dispatcher that stopped waiting has ended, and with it the whole gateway.
                let _ = watching.send(client_id.map(|client_id| Watching { client_id, ended }));
            }
            Command::Placed { prompt, sends } => {
                let is_placing = self.watched.get(&prompt).is_some_and(|watched| watched.run.is_placing());
                // Whoever asks and does not wait for the answer does not send.
                if sends.send(is_placing).is_ok() && is_placing {
                    self.feed(&prompt, Input::Placing(false));
                }
            }
            Command::Happened { prompt, input } => {
                let is_watched = self.watched.contains_key(&prompt);
                if let Input::Submitted(result) = input.as_ref()
                    && (is_watched || matches!(result, SubmitResult::Accepted(_)))
                {
                    self.note_submission(result);
                }
                let was_sent = !matches!(*input, Input::Submitted(SubmitResult::GivenUp));
                if matches!(*input, Input::Submitted(_)) && self.abandoned.remove(&prompt) && was_sent {
                    self.orphans.add(prompt, self.parts.clock.now());
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
            Command::Asked(answer) => {
                self.is_asking = false;
                match answer {
                    Ok(()) => {
                        self.parts.desk.answers();
                        self.parts.queue_bell.notify_one();
                    }
                    Err(reason) => self.parts.desk.did_not_answer(&reason, self.parts.clock.now()),
                }
            }
        }
    }

    fn tick(&mut self) {
        self.for_each_run(&Input::Tick);
        if self.ask_at().is_some_and(|at| at <= self.parts.clock.now()) {
            self.is_asking = true;
            let (parts, tracker) = (self.parts.clone(), self.tracker.clone());
            self.parts.lifecycle.spawn("ask", async move {
                let answer = match parts.lifecycle.contain("ask", parts.client.probe()).await {
                    Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
                    Err(Panicked) => Err("the gateway failed while it asked".to_owned()),
                };
                tracker.asked(answer).await;
            });
        }
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
        let waiting_since = watched.run.waiting_since();
        let stored = match &input {
            Input::Stored(slot, SlotResult::Stored { .. }) => Some(*slot),
            Input::Stored(..)
            | Input::Event(_)
            | Input::Receiving
            | Input::Placing(_)
            | Input::Submitted(_)
            | Input::Evidence(_)
            | Input::SocketLost { .. }
            | Input::SocketUp
            | Input::Cancel
            | Input::Tick => None,
        };
        self.parts.count_heard(&input);
        let heard = if self.parts.tap.is_there() { heard(&input, watched.run.plan()) } else { None };
        let run = &mut watched.run;
        let was_taken = run.is_taken();
        let decided = self.parts.lifecycle.contain_now("step", || {
            crash::pass(Point::Stepping);
            (step(run, input, now), run.progress())
        });
        let (effects, progress) = decided.unwrap_or_else(|Panicked| (watched.run.break_off(), None));
        let changes = watched.run.take_changes();
        let is_taken = !was_taken && watched.run.is_taken();
        if let Some(fraction) = progress {
            let is_weighed = watched.run.is_weighed();
            self.parts.desk.progress(watched.job.id, Progress { fraction, is_weighed });
        }
        if waiting_since.is_some_and(|since| now >= since + STANDSTILL) {
            self.note_standstill(&effects, now);
        }
        // Its events may come before the answer of its submission.
        let taken =
            is_taken.then(|| Happening::Submitted { backend: self.parts.backend.clone(), prompt: prompt.clone() });
        for told in taken.into_iter().chain(heard) {
            self.tap(prompt, now, told);
        }
        if let Some(slot) = stored {
            self.tell(prompt, now, |watched| watched.run.output(slot).map(News::Output));
        }
        if let Some(watched) = self.watched.get(prompt) {
            // Before the job is back in the queue, so that what follows from it holds for its next run.
            self.account_for(watched, &effects, now);
        }
        for effect in effects {
            self.perform(prompt, effect, now);
        }
        self.tell_nodes(prompt, now, changes);
        if let Some(fraction) = progress {
            let node = |watched: &Watched| watched.run.at_node();
            self.tell(prompt, now, |watched| Some(News::Progress(Advance { fraction, node: node(watched) })));
        }
        if self.watched.get(prompt).is_some_and(|watched| watched.run.is_done())
            && let Some(done) = self.watched.remove(prompt)
        {
            self.parts.desk.forget(done.job.id);
            self.lately.truncate(LATELY - 1);
            self.lately.push_front((prompt.clone(), done.job.id, done.job.tenant));
            if answer_was_open && !is_answer {
                self.abandoned.insert(prompt.clone());
            }
        }
        self.publish_load();
    }
}
