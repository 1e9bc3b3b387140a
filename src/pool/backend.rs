//! What the gateway knows of one backend: how to reach it, who follows its runs, and how much more it may hold.

use crate::clock::Timestamp;
use crate::comfy::Client;
use crate::health::Health;
use crate::lifecycle::Lifecycle;
use crate::tracker::{Desk, Tracker};
use crate::vitals::Vitals;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Whether a backend is given jobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Duty {
    /// It is.
    Serving,
    /// It ends what it has and gets no more.
    Draining,
}

/// Who says that a backend is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The settings: an address, or the ComfyUI that is started here.
    Settings,
    /// The file of backends.
    File,
    /// An operator, while the gateway ran.
    Added,
}

impl Source {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::File => "file",
            Self::Added => "added",
        }
    }
}

impl Duty {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// One ComfyUI server.
#[derive(Debug)]
pub struct Backend {
    /// Its name in logs, answers and the store: never given to another server while jobs name it.
    pub name: String,
    /// Its HTTP side.
    pub client: Client,
    /// Follows its runs.
    pub tracker: Tracker,
    /// What its tracker knows.
    pub desk: Arc<Desk>,
    /// How it is.
    pub health: Arc<Health>,
    /// What its metrics agent tells.
    pub vitals: Arc<Vitals>,
    /// What a workflow may ask a backend to have, such as `flux` or `24gb`.
    pub tags: BTreeSet<String>,
    /// How many prompts it runs at once: 1, unless its address leads to several workers.
    pub slots: usize,
    /// How many prompts wait there besides those that run, so that it never idles.
    pub ahead: usize,
    /// Ends all that is done for it: its socket, its tracker, its health checks.
    pub stop: CancellationToken,
    /// All tasks that are there for it.
    pub life: Lifecycle,
    /// Who says that it is there.
    pub source: Source,
    /// How it is reached, as it may be shown: its secrets are three stars.
    pub route: Map<String, Value>,
    is_draining: AtomicBool,
}

impl Backend {
    /// Makes a backend with one slot, no tags, and nothing waiting ahead.
    pub fn new(name: impl Into<String>, client: Client, tracker: Tracker, desk: Arc<Desk>) -> Self {
        Self {
            name: name.into(),
            client,
            tracker,
            desk,
            health: Arc::new(Health::new(Timestamp::from_millis(0))),
            vitals: Arc::default(),
            tags: BTreeSet::new(),
            slots: 1,
            ahead: 0,
            stop: CancellationToken::new(),
            life: Lifecycle::new(),
            source: Source::Settings,
            route: Map::new(),
            is_draining: AtomicBool::new(false),
        }
    }

    /// Returns how many prompts it may hold.
    pub fn depth(&self) -> usize {
        self.slots.saturating_add(self.ahead)
    }

    /// Returns how many more prompts it may be given now.
    pub fn room(&self, now: Timestamp) -> usize {
        match self.duty() {
            Duty::Serving => self.desk.room(self.depth(), now),
            Duty::Draining => 0,
        }
    }

    /// Returns how many of them may have input images.
    pub fn room_for_images(&self) -> usize {
        self.desk.room_for_images(self.depth())
    }

    /// Says whether it is given jobs.
    pub fn duty(&self) -> Duty {
        if self.is_draining.load(Ordering::Acquire) { Duty::Draining } else { Duty::Serving }
    }

    /// Says whether it may be given a job now or once it has room: it serves, and takes prompts.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.duty() == Duty::Serving && self.desk.is_open(now)
    }

    /// Changes whether it is given jobs, and returns what held before.
    pub fn set_duty(&self, duty: Duty) -> Duty {
        let was = self.is_draining.swap(duty == Duty::Draining, Ordering::AcqRel);
        if was { Duty::Draining } else { Duty::Serving }
    }
}
