//! What is not counted but looked at when somebody asks: how things stand at that moment.

use super::list::{
    BACKEND_DRAINING, BACKEND_PROMPTS, BACKEND_SLOTS, BACKEND_UP, BUILD_INFO, CPU_SECONDS, DELIVERIES_PENDING,
    HOSTS_DOWN, MEMORY, MOST_FILES, OPEN_FILES, PANICS, PARTNER_KEYS, QUEUE_JOBS, QUEUE_OLDEST, QUEUE_PAUSED,
    START_TIME,
};
use super::process::Process;
use super::sheet::{Sheet, flag, number, size};
use std::fmt;
use std::time::Duration;

/// How things stand.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Seen {
    /// What the store counts; none where it does not answer.
    pub store: Option<SeenStore>,
    /// Nothing is given to any backend.
    pub is_paused: bool,
    /// The backends.
    pub backends: Vec<SeenBackend>,
    /// How many hosts of receivers are left alone.
    pub hosts_down: usize,
    /// How many keys for partner nodes are held.
    pub partner_keys: usize,
    /// How many panics were contained.
    pub panics: u64,
    /// When the gateway started, in milliseconds since 1970.
    pub started_at: i64,
}

/// How much there is to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeenStore {
    /// Jobs that wait for a backend.
    pub queued: u64,
    /// Jobs on backends.
    pub running: u64,
    /// Webhooks that have not arrived.
    pub deliveries: u64,
    /// How long the oldest waiting job has waited.
    pub oldest: Duration,
}

/// How a backend stands.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeenBackend {
    /// Its name.
    pub name: String,
    /// There is a socket to it.
    pub is_up: bool,
    /// It gets no more jobs.
    pub is_draining: bool,
    /// How many prompts it runs at once.
    pub slots: usize,
    /// How many it holds.
    pub prompts: usize,
}

impl Seen {
    /// Writes it, and what the system says of the process.
    pub(super) fn write(&self, process: &Process, sheet: &mut Sheet<'_>) -> fmt::Result {
        let store = self.store.as_ref();
        let jobs = store.map(|store| [(["queued"], number(store.queued)), (["running"], number(store.running))]);
        sheet.gauge(&QUEUE_JOBS, jobs.into_iter().flatten())?;
        sheet.gauge(&QUEUE_OLDEST, store.map(|store| ([], store.oldest.as_secs_f64())))?;
        sheet.gauge(&QUEUE_PAUSED, [([], flag(self.is_paused))])?;
        let each = |of: fn(&SeenBackend) -> f64| {
            self.backends.iter().map(move |backend| ([backend.name.as_str()], of(backend))).collect::<Vec<_>>()
        };
        sheet.gauge(&BACKEND_UP, each(|backend| flag(backend.is_up)))?;
        sheet.gauge(&BACKEND_PROMPTS, each(|backend| size(backend.prompts)))?;
        sheet.gauge(&BACKEND_SLOTS, each(|backend| size(backend.slots)))?;
        sheet.gauge(&BACKEND_DRAINING, each(|backend| flag(backend.is_draining)))?;
        sheet.gauge(&DELIVERIES_PENDING, store.map(|store| ([], number(store.deliveries))))?;
        sheet.gauge(&HOSTS_DOWN, [([], size(self.hosts_down))])?;
        sheet.gauge(&PARTNER_KEYS, [([], size(self.partner_keys))])?;
        sheet.counter(&PANICS, [([], self.panics)])?;
        sheet.gauge(&BUILD_INFO, [([env!("CARGO_PKG_VERSION")], 1.0)])?;
        let started_at = u64::try_from(self.started_at).unwrap_or(0);
        sheet.gauge(&START_TIME, [([], number(started_at) / 1000.0)])?;
        sheet.counter_f64(&CPU_SECONDS, process.cpu_seconds.map(|seconds| ([], seconds)))?;
        sheet.gauge(&MEMORY, process.memory.map(|bytes| ([], number(bytes))))?;
        sheet.gauge(&OPEN_FILES, process.open_files.map(|count| ([], size(count))))?;
        sheet.gauge(&MOST_FILES, process.most_files.map(|count| ([], number(count))))
    }
}
