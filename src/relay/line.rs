//! One job as listeners see it: what they are told of what happens to it, what they would be told if they came now, and what those
//! may have missed who come back. Pure.

use super::ear::{Ear, Listener};
use super::event::{Facts, NodeName, NodeState, Place, Status, Told, percent};
use super::pace::{Pace, Remaining};
use crate::clock::Timestamp;
use crate::job::{self, Advance, Happening, JobState, NodeLabel, Preview, Tenant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How many events of a job are kept for those who come back.
const REPLAY: usize = 256;

/// Between two previews, and between two progress events that differ in less than a hundredth.
const PAUSE: Duration = Duration::from_millis(250);

/// What a listener of one job begins with.
#[derive(Debug)]
pub struct Followed {
    /// What follows.
    pub listener: Listener<Told>,
    /// What it missed, or else how things stand; none where only the store knows.
    pub before: Option<Vec<Arc<Told>>>,
    /// The number of the last event that there was before what follows.
    pub id: u64,
}

/// One job.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) tenant: Tenant,
    pub(super) workflow: String,
    pub(super) ears: Vec<Ear<Told>>,
    state: Option<JobState>,
    run: Option<u32>,
    followed: Option<job::Followed>,
    started_at: Option<Timestamp>,
    over: BTreeSet<String>,
    place: Option<Place>,
    advanced: Option<Advanced>,
    shown_at: Option<Timestamp>,
    /// What is told to those who come now.
    now: Now,
    replay: VecDeque<Arc<Told>>,
    /// The number of the last event that is not in `replay` any more, or was before it.
    dropped: u64,
}

/// What was told last of how far the run is.
#[derive(Debug)]
struct Advanced {
    at: Timestamp,
    percent: u8,
    node: Option<String>,
    bar: Option<(f64, f64)>,
}

#[derive(Debug, Default)]
struct Now {
    status: Option<Arc<Told>>,
    progress: Option<Arc<Told>>,
    preview: Option<Arc<Told>>,
    running: BTreeMap<String, Arc<Told>>,
    outputs: Vec<Arc<Told>>,
}

impl Line {
    /// A job of which nothing was told before the event after `id`.
    pub(super) fn new(tenant: Tenant, workflow: String, id: u64) -> Self {
        Self {
            tenant,
            workflow,
            ears: Vec::new(),
            state: None,
            run: None,
            followed: None,
            started_at: None,
            over: BTreeSet::new(),
            place: None,
            advanced: None,
            shown_at: None,
            now: Now::default(),
            replay: VecDeque::new(),
            dropped: id,
        }
    }

    /// Takes in what happened, and returns what listeners are told of it.
    pub(super) fn hear(&mut self, run: Option<u32>, at: Timestamp, what: Happening, left: &Remaining) -> Vec<Facts> {
        if self.has_ended() || run.is_some() && run < self.run {
            return Vec::new();
        }
        match what {
            Happening::Queued if self.run.is_none() => self.status(Status::of(JobState::Queued)),
            Happening::Queued => Vec::new(),
            Happening::Followed(followed) => {
                self.forget_run();
                (self.run, self.started_at) = (run, followed.started_at);
                self.followed = Some(followed);
                Vec::new()
            }
            Happening::Submitted { .. } => self.running(JobState::Submitted),
            Happening::Started => {
                self.started_at = Some(at);
                self.running(JobState::Running)
            }
            Happening::Cached(nodes) => nodes.iter().filter_map(|node| self.node(node, NodeState::Cached)).collect(),
            Happening::Node { id, is_running } => {
                let state = if is_running { NodeState::Running } else { NodeState::Finished };
                self.node(&id, state).into_iter().collect()
            }
            Happening::Progress { advance, is_weighed } => {
                self.progress(&advance, is_weighed, at, left).into_iter().collect()
            }
            Happening::Preview(preview) => self.preview(preview, at).into_iter().collect(),
            Happening::Output { output, name } => vec![Facts::Output { output, name }],
            Happening::Again { reason } => {
                self.forget_run();
                self.status(Status { again: Some(reason), ..Status::of(JobState::Queued) })
            }
            Happening::Ended { state, failure } => {
                let run = self.run_and_backend();
                self.status(Status { run, failure, ..Status::of(state) })
            }
        }
    }

    /// Takes in how the job waits; returns what listeners are told of it.
    pub(super) fn wait(&mut self, place: Place) -> Vec<Facts> {
        if !self.is_waiting()
            || self.place.as_ref().is_some_and(|before| before.position == place.position && before.why == place.why)
        {
            return Vec::new();
        }
        let again = self.now.status.as_ref().and_then(|told| match &told.facts {
            Facts::Status(status) => status.again.clone(),
            Facts::Node { .. }
            | Facts::Progress { .. }
            | Facts::Preview { .. }
            | Facts::Output { .. }
            | Facts::Backend { .. } => None,
        });
        self.status(Status { place: Some(place), again, ..Status::of(JobState::Queued) })
    }

    /// Keeps what listeners were told.
    pub(super) fn keep(&mut self, told: &Arc<Told>) {
        match &told.facts {
            Facts::Status(_) => self.now.status = Some(Arc::clone(told)),
            Facts::Progress { .. } => self.now.progress = Some(Arc::clone(told)),
            Facts::Output { .. } => self.now.outputs.push(Arc::clone(told)),
            Facts::Node { node, state: NodeState::Running, .. } => {
                self.now.running.insert(node.id.clone(), Arc::clone(told));
            }
            Facts::Node { node, .. } => {
                self.now.running.remove(&node.id);
            }
            // One is enough, and it is large.
            Facts::Preview { .. } => return self.now.preview = Some(Arc::clone(told)),
            Facts::Backend { .. } => {}
        }
        self.replay.push_back(Arc::clone(told));
        if self.replay.len() > REPLAY
            && let Some(first) = self.replay.pop_front()
        {
            self.dropped = first.id;
        }
    }

    /// Returns what is told to those who come now, in the order in which it happened; none where nothing is known here.
    pub(super) fn snapshot(&self) -> Option<Vec<Arc<Told>>> {
        let status = self.now.status.as_ref()?;
        let lasting = self.now.outputs.iter().chain([status]);
        let passing = self.now.running.values().chain(&self.now.progress).chain(&self.now.preview);
        let mut told: Vec<Arc<Told>> =
            if self.has_ended() { lasting.cloned().collect() } else { lasting.chain(passing).cloned().collect() };
        told.sort_by_key(|told| told.id);
        Some(told)
    }

    /// Returns what happened after the event of this number; none where that is not certain any more.
    pub(super) fn since(&self, id: u64) -> Option<Vec<Arc<Told>>> {
        (id >= self.dropped).then(|| self.replay.iter().filter(|told| told.id > id).cloned().collect())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.is_some_and(JobState::is_final)
    }

    /// Says whether it waits, as far as is known.
    pub(super) fn is_waiting(&self) -> bool {
        self.run.is_none() && !self.has_ended()
    }

    fn forget_run(&mut self) {
        self.run = None;
        self.followed = None;
        self.started_at = None;
        self.over.clear();
        self.advanced = None;
        self.now.progress = None;
        self.now.preview = None;
        self.now.running.clear();
        self.now.outputs.clear();
    }

    fn status(&mut self, status: Status) -> Vec<Facts> {
        self.state = Some(status.state);
        self.place.clone_from(&status.place);
        vec![Facts::Status(status)]
    }

    fn running(&mut self, state: JobState) -> Vec<Facts> {
        let run = self.run_and_backend();
        self.status(Status { run, ..Status::of(state) })
    }

    fn run_and_backend(&self) -> Option<(u32, Option<String>)> {
        Some((self.run?, self.followed.as_ref().map(|followed| followed.backend.clone())))
    }

    fn node(&mut self, id: &str, state: NodeState) -> Option<Facts> {
        let labels = &self.followed.as_ref()?.labels;
        let total = labels.len();
        let node = labels.contains_key(id).then(|| name(labels, id))?;
        let is_news = match state {
            NodeState::Running => true,
            NodeState::Finished | NodeState::Cached => self.over.insert(node.id.clone()),
        };
        is_news.then(|| Facts::Node { node, state, done: self.over.len(), total })
    }

    fn progress(&mut self, advance: &Advance, is_weighed: bool, at: Timestamp, left: &Remaining) -> Option<Facts> {
        let fraction = advance.fraction;
        let (id, bar) = advance.node.as_ref().map_or((None, None), |node| (Some(node.id.clone()), node.bar));
        let news = Advanced { at, percent: percent(fraction), node: id.clone(), bar };
        if self.advanced.as_ref().is_some_and(|before| !news.is_worth_telling_after(before)) {
            return None;
        }
        self.advanced = Some(news);
        let usual = self.followed.as_ref().and_then(|followed| followed.usual);
        let node = id.map(|id| self.name(&id));
        let ends_at = self.started_at.and_then(|started| {
            let pace = Pace { elapsed: at.since(started), usual, fraction, is_weighed };
            Some(at + left(&pace)?)
        });
        Some(Facts::Progress { fraction, node, bar, ends_at })
    }

    fn preview(&mut self, preview: Preview, at: Timestamp) -> Option<Facts> {
        if self.shown_at.is_some_and(|before| at.since(before) < PAUSE) {
            return None;
        }
        self.shown_at = Some(at);
        let node = preview.node.as_ref().map(|id| self.name(id));
        Some(Facts::Preview { node, preview })
    }

    fn name(&self, id: &str) -> NodeName {
        match &self.followed {
            Some(followed) => name(&followed.labels, id),
            None => NodeName { id: id.to_owned(), ..NodeName::default() },
        }
    }
}

impl Advanced {
    /// Each hundredth is told at once, what lies between now and then, and nothing twice.
    fn is_worth_telling_after(&self, before: &Self) -> bool {
        let is_same_node = self.node == before.node && self.bar == before.bar;
        self.percent != before.percent || !is_same_node && self.at.since(before.at) >= PAUSE
    }
}

fn name(labels: &BTreeMap<String, NodeLabel>, id: &str) -> NodeName {
    let label = labels.get(id);
    let (class, title) = label.map(|label| (label.class.clone(), label.title.clone())).unzip();
    NodeName { id: id.to_owned(), class, title: title.flatten() }
}
