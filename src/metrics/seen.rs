//! What is not counted but looked at when somebody asks: how things stand at that moment.

use super::list::{
    BACKEND_BLOCKED, BACKEND_CPU, BACKEND_DRAINING, BACKEND_FOREIGN, BACKEND_MEMORY, BACKEND_MEMORY_USED,
    BACKEND_MISSES, BACKEND_PROBE, BACKEND_PROMPTS, BACKEND_SLOTS, BACKEND_SOCKET, BACKEND_STANDING, BACKEND_UP,
    BACKEND_VRAM, BACKEND_VRAM_FREE, BACKENDS, BUILD_INFO, CPU_SECONDS, DELIVERIES_PENDING, GPU_BUSY, GPU_CELSIUS,
    GPU_MEMORY, GPU_MEMORY_USED, HOSTS_DOWN, LISTENERS, LISTENERS_CUT, MEMORY, MOST_FILES, Metric, OPEN_FILES, PANICS,
    PARTNER_KEYS, QUEUE_JOBS, QUEUE_OLDEST, QUEUE_PAUSED, QUEUE_WAITING, START_TIME,
};
use super::process::Process;
use super::sheet::{Sheet, flag, number, size};
use std::fmt;
use std::time::Duration;

/// The devices of which is told, by their places: a backend lists as many as it likes.
const DEVICES: [&str; 16] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];

/// How things stand.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Seen {
    /// What the store counts; none where it does not answer.
    pub store: Option<SeenStore>,
    /// How many jobs wait, by the word for why they do.
    pub waiting: Vec<(&'static str, usize)>,
    /// Nothing is given to any backend.
    pub is_paused: bool,
    /// The backends.
    pub backends: Vec<SeenBackend>,
    /// How many hosts of receivers are left alone.
    pub hosts_down: usize,
    /// How many streams of events are open, and how many were ended since their listeners could not follow.
    pub listeners: (usize, u64),
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

/// How many bytes a device has in all, and how many of them are free; none where it does not say.
pub type DeviceMemory = (Option<u64>, Option<u64>);

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
    /// With how many structures of graphs it is left alone for a while.
    pub blocked: usize,
    /// How many of others are there; none where it does not say.
    pub foreign: Option<u64>,
    /// How it is all in all: every word for it, and whether that is it.
    pub standing: Vec<(&'static str, bool)>,
    /// The same for its socket.
    pub socket: Vec<(&'static str, bool)>,
    /// How many questions in a row it left without an answer.
    pub misses: u32,
    /// How long its last answer took.
    pub answer: Option<Duration>,
    /// The memory of its devices in bytes, and how much of it is free.
    pub memory: Vec<DeviceMemory>,
    /// What its agent tells; all none where there is no agent.
    pub agent: SeenAgent,
}

/// How busy a machine is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeenAgent {
    /// Its processors, from 0 to 1.
    pub cpu: Option<f64>,
    /// Its memory in bytes.
    pub memory: Option<f64>,
    /// How much of it is taken.
    pub memory_used: Option<f64>,
    /// Its GPUs; more than 16 are not told of.
    pub gpus: Vec<SeenGpu>,
}

/// How busy a GPU is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeenGpu {
    /// Which one.
    pub index: u64,
    /// How busy it is, from 0 to 1.
    pub busy: Option<f64>,
    /// Its memory in bytes.
    pub memory: Option<f64>,
    /// How much of it is taken.
    pub memory_used: Option<f64>,
    /// How hot it is.
    pub celsius: Option<f64>,
}

impl Seen {
    /// Writes it, and what the system says of the process.
    pub(super) fn write(&self, process: &Process, sheet: &mut Sheet<'_>) -> fmt::Result {
        let store = self.store.as_ref();
        let jobs = store.map(|store| [(["queued"], number(store.queued)), (["running"], number(store.running))]);
        sheet.gauge(&QUEUE_JOBS, jobs.into_iter().flatten())?;
        sheet.gauge(&QUEUE_OLDEST, store.map(|store| ([], store.oldest.as_secs_f64())))?;
        sheet.gauge(&QUEUE_WAITING, self.waiting.iter().map(|(why, count)| ([*why], size(*count))))?;
        sheet.gauge(&QUEUE_PAUSED, [([], flag(self.is_paused))])?;
        self.write_backends(sheet)?;
        sheet.gauge(&DELIVERIES_PENDING, store.map(|store| ([], number(store.deliveries))))?;
        sheet.gauge(&HOSTS_DOWN, [([], size(self.hosts_down))])?;
        sheet.gauge(&LISTENERS, [([], size(self.listeners.0))])?;
        sheet.counter(&LISTENERS_CUT, [([], self.listeners.1)])?;
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

    fn write_backends(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.gauge(&BACKENDS, [([], size(self.backends.len()))])?;
        sheet.gauge(&BACKEND_UP, self.each(|backend| Some(flag(backend.is_up))))?;
        sheet.gauge(&BACKEND_STANDING, self.states(|backend| &backend.standing))?;
        sheet.gauge(&BACKEND_SOCKET, self.states(|backend| &backend.socket))?;
        sheet.gauge(&BACKEND_MISSES, self.each(|backend| Some(f64::from(backend.misses))))?;
        sheet.gauge(&BACKEND_PROBE, self.each(|backend| backend.answer.map(|took| took.as_secs_f64())))?;
        sheet.gauge(&BACKEND_PROMPTS, self.each(|backend| Some(size(backend.prompts))))?;
        sheet.gauge(&BACKEND_FOREIGN, self.each(|backend| backend.foreign.map(number)))?;
        sheet.gauge(&BACKEND_SLOTS, self.each(|backend| Some(size(backend.slots))))?;
        sheet.gauge(&BACKEND_DRAINING, self.each(|backend| Some(flag(backend.is_draining))))?;
        sheet.gauge(&BACKEND_BLOCKED, self.each(|backend| Some(size(backend.blocked))))?;
        sheet.gauge(&BACKEND_VRAM, self.devices(|(total, _)| *total))?;
        sheet.gauge(&BACKEND_VRAM_FREE, self.devices(|(_, free)| *free))?;
        sheet.gauge(&BACKEND_CPU, self.each(|backend| backend.agent.cpu))?;
        sheet.gauge(&BACKEND_MEMORY, self.each(|backend| backend.agent.memory))?;
        sheet.gauge(&BACKEND_MEMORY_USED, self.each(|backend| backend.agent.memory_used))?;
        self.gpus(&GPU_BUSY, sheet, |gpu| gpu.busy)?;
        self.gpus(&GPU_MEMORY, sheet, |gpu| gpu.memory)?;
        self.gpus(&GPU_MEMORY_USED, sheet, |gpu| gpu.memory_used)?;
        self.gpus(&GPU_CELSIUS, sheet, |gpu| gpu.celsius)
    }

    fn each(&self, of: fn(&SeenBackend) -> Option<f64>) -> impl Iterator<Item = ([&str; 1], f64)> {
        self.backends.iter().filter_map(move |backend| Some(([backend.name.as_str()], of(backend)?)))
    }

    fn states(&self, of: fn(&SeenBackend) -> &Vec<(&'static str, bool)>) -> impl Iterator<Item = ([&str; 2], f64)> {
        let each = move |backend| of(backend).iter().map(move |(word, is_it)| (backend, word, is_it));
        self.backends.iter().flat_map(each).map(|(backend, word, is_it)| ([backend.name.as_str(), *word], flag(*is_it)))
    }

    fn devices(&self, of: fn(&DeviceMemory) -> Option<u64>) -> impl Iterator<Item = ([&str; 2], f64)> {
        self.backends.iter().flat_map(move |backend| {
            let told = DEVICES.into_iter().zip(&backend.memory);
            told.filter_map(move |(place, memory)| Some(([backend.name.as_str(), place], number(of(memory)?))))
        })
    }

    fn gpus(&self, metric: &Metric<2>, sheet: &mut Sheet<'_>, of: fn(&SeenGpu) -> Option<f64>) -> fmt::Result {
        let mut told = Vec::new();
        for backend in &self.backends {
            let gpus = backend.agent.gpus.iter().take(DEVICES.len());
            told.extend(gpus.filter_map(|gpu| Some((backend.name.as_str(), gpu.index.to_string(), of(gpu)?))));
        }
        sheet.gauge(metric, told.iter().map(|(name, index, value)| ([*name, index.as_str()], *value)))
    }
}
