//! How busy the GPUs of one backend were in the last hour: a look every few seconds, of which the oldest go. Where an agent tells
//! of them its numbers are taken, else what ComfyUI says of its devices; nobody is asked for this alone.

use super::{AgentMetrics, Gpu, Vitals};
use crate::clock::{Clock, Timestamp};
use crate::comfy::{Device, SystemStats};
use crate::tracker::Desk;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How far back it goes, how many looks that may be, and of how many GPUs.
const KEPT_FOR: Duration = Duration::from_hours(1);
const MOST: usize = 720;
const MOST_GPUS: usize = 16;
/// How often a look is taken, whatever an agent is asked.
const LEAST: Duration = Duration::from_secs(1);
const USUAL: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_mins(1);
const MEBIBYTE: f64 = 1_048_576.0;

/// What the station works with.
pub struct Watched {
    /// Where looks are kept, and what the agent told.
    pub vitals: Arc<Vitals>,
    /// Says whether there is a socket, and how many prompts are there.
    pub desk: Arc<Desk>,
    /// Says what ComfyUI told of its devices last.
    pub stats: Arc<dyn Fn() -> Option<Arc<SystemStats>> + Send + Sync>,
    /// How often the agent is asked; none where it is not.
    pub every: Option<Duration>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The last looks.
#[derive(Debug)]
pub(super) struct Samples {
    every: Duration,
    looks: VecDeque<Look>,
}

/// How busy a backend was at some time.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Look {
    pub(super) at: Timestamp,
    /// None where nothing was known.
    pub(super) gpus: Vec<Gpu>,
    pub(super) prompts: usize,
}

/// Takes a look every few seconds, until told to stop.
pub async fn sample(watched: Watched, stop: CancellationToken) {
    let every = watched.every.unwrap_or(USUAL).clamp(LEAST, LONGEST);
    watched.vitals.begin_looks(every);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = watched.clock.sleep_until(watched.clock.now() + every) => {}
        }
        let at = watched.clock.now();
        let gpus = if watched.desk.is_connected() {
            gpus(watched.vitals.fresh(at).as_deref(), watched.stats.as_ref())
        } else {
            // What is known of it is of another time.
            Vec::new()
        };
        watched.vitals.note_look(Look { at, gpus, prompts: watched.desk.load() });
    }
}

impl Samples {
    pub(super) fn begin(&mut self, every: Duration) {
        *self = Self { every, looks: VecDeque::new() };
    }

    pub(super) fn note(&mut self, look: Look) {
        let oldest = look.at.back_by(KEPT_FOR);
        self.looks.push_back(look);
        while self.looks.len() > MOST || self.looks.front().is_some_and(|look| look.at <= oldest) {
            self.looks.pop_front();
        }
    }

    pub(super) fn view(&self) -> Value {
        let samples: Vec<Value> = self.looks.iter().map(Look::view).collect();
        json!({ "every_seconds": self.every.as_secs_f64(), "samples": samples })
    }
}

impl Default for Samples {
    fn default() -> Self {
        Self { every: USUAL, looks: VecDeque::new() }
    }
}

impl Look {
    fn view(&self) -> Value {
        let gpus: Vec<Value> = self.gpus.iter().map(view_of_gpu).collect();
        json!({ "at": self.at.rfc3339(), "gpus": gpus, "prompts": self.prompts })
    }
}

/// Returns what the agent told, or where it has told nothing of GPUs, what ComfyUI did.
fn gpus(told: Option<&AgentMetrics>, stats: &dyn Fn() -> Option<Arc<SystemStats>>) -> Vec<Gpu> {
    match told.filter(|told| !told.is_stale && !told.gpus.is_empty()) {
        Some(told) => told.gpus.clone(),
        None => stats().map(|stats| of_devices(&stats.devices)).unwrap_or_default(),
    }
}

fn of_devices(devices: &[Device]) -> Vec<Gpu> {
    let of_device = |(index, device): (u64, &Device)| Gpu {
        index,
        name: Some(device.name.clone()).filter(|name| !name.is_empty()),
        memory_total_mb: device.vram_total.map(mebibytes),
        memory_used_mb: device
            .vram_total
            .zip(device.vram_free)
            .map(|(total, free)| mebibytes(total.saturating_sub(free))),
        ..Gpu::default()
    };
    (0..).zip(devices).map(of_device).take(MOST_GPUS).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a byte more or less of so many is not seen")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}

fn view_of_gpu(gpu: &Gpu) -> Value {
    let mut view = Map::new();
    view.insert("index".into(), json!(gpu.index));
    let numbers = [
        ("vram_used_mb", gpu.memory_used_mb),
        ("vram_total_mb", gpu.memory_total_mb),
        ("temperature_c", gpu.temperature_c),
        ("utilization_percent", gpu.utilization_percent),
    ];
    let name = gpu.name.as_ref().map(|name| ("name", json!(name)));
    let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, json!(number?))));
    view.extend(name.into_iter().chain(numbers).map(|(name, value)| (name.to_owned(), value)));
    Value::Object(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn the_last_hour_is_kept_and_no_more_looks_than_may_be() {
        for (every, count) in [(1, 720), (5, 720), (15, 240), (60, 60)] {
            let mut samples = Samples::default();
            let every = Duration::from_secs(every);
            samples.begin(every);
            let mut at = START;
            for prompts in 0..2000 {
                samples.note(Look { at, gpus: Vec::new(), prompts });
                at = at + every;
            }
            let view = samples.view();
            let told = view["samples"].as_array().unwrap();
            assert_eq!((told.len(), &told[count - 1]["prompts"]), (count, &json!(1999)), "{every:?}");
            assert_eq!(view["every_seconds"], json!(every.as_secs_f64()));
        }
    }

    #[test]
    fn what_is_known_of_a_gpu_is_told_and_nothing_else() {
        let devices = [
            Device { name: "Card".into(), vram_total: Some(8 << 20), vram_free: Some(2 << 20), ..Device::default() },
            Device { vram_total: Some(1 << 20), ..Device::default() },
        ];
        let told: Vec<Value> = of_devices(&devices).iter().map(view_of_gpu).collect();
        let first = json!({ "index": 0, "name": "Card", "vram_used_mb": 6.0, "vram_total_mb": 8.0 });
        assert_eq!(told, [first, json!({ "index": 1, "vram_total_mb": 1.0 })]);
        assert_eq!(of_devices(&vec![Device::default(); 64]).len(), MOST_GPUS);
    }

    #[test]
    fn an_agents_numbers_go_before_those_of_comfyui() {
        let device = Device { name: "of ComfyUI".into(), ..Device::default() };
        let system = Arc::new(SystemStats { devices: vec![device], ..SystemStats::default() });
        let stats = || Some(Arc::clone(&system));
        let name = |told: Option<&str>| {
            let told = told.map(|text| AgentMetrics::read(text).unwrap());
            gpus(told.as_ref(), &stats)[0].name.clone().unwrap()
        };
        assert_eq!(name(Some(r#"{"gpus": [{"name": "of the agent"}]}"#)), "of the agent");
        assert_eq!(name(None), "of ComfyUI");
        assert_eq!(name(Some(r#"{"cpu_percent": 5}"#)), "of ComfyUI", "the agent knows of no GPU");
        assert_eq!(name(Some(r#"{"stale": true, "gpus": [{"name": "of the agent"}]}"#)), "of ComfyUI");
        assert_eq!(gpus(None, &|| None), []);
    }
}
