//! Reads what an agent answers to `GET /orchestrator/metrics` (`agent/README.md` has the fields), believing none of it: what makes no
//! sense is left out, field by field.

use crate::lenient;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// How many GPUs of a backend are taken in.
const MOST_GPUS: usize = 16;

/// The largest number of a GPU.
const HIGHEST_INDEX: u64 = 1023;

/// The longest name that is kept, in characters.
const LONGEST_NAME: usize = 100;

/// No machine has as much of anything.
const ABSURD: f64 = 1e15;

/// No chip is as hot, in degrees Celsius.
const MOLTEN: f64 = 500.0;

/// The bytes of a unit of `_mb`.
const MEBIBYTE: f64 = 1_048_576.0;

/// What a backend's agent tells. All that it did not tell, or that made no sense, is none.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AgentMetrics {
    /// The agent's version.
    pub version: Option<String>,
    /// How long it has been running, in seconds.
    pub uptime_seconds: Option<f64>,
    /// It could not ask everything in time, so that what it tells may be old.
    pub is_stale: bool,
    /// How busy all processors are together, from 0 to 100.
    pub cpu_percent: Option<f64>,
    /// The machine's memory in MiB.
    pub ram_total_mb: Option<f64>,
    /// How much of it is taken.
    pub ram_used_mb: Option<f64>,
    /// How much of it this ComfyUI has.
    pub process_rss_mb: Option<f64>,
    /// Its GPUs, each index once.
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Gpu {
    /// Which one, as the agent counts.
    pub index: u64,
    /// What it is called.
    pub name: Option<String>,
    /// Its memory in MiB.
    pub memory_total_mb: Option<f64>,
    /// How much of it is taken.
    pub memory_used_mb: Option<f64>,
    /// How busy it is, from 0 to 100.
    pub utilization_percent: Option<f64>,
    /// How hot it is, in degrees Celsius.
    pub temperature_c: Option<f64>,
}

/// The answer is not an agent's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "what it answers to GET /orchestrator/metrics is not an agent's; see whether the agent's folder is in custom_nodes"
)]
pub struct Unreadable;

impl AgentMetrics {
    /// Reads an answer.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let answer = lenient::parse(text).map_err(|_| Unreadable)?;
        let fields = answer.as_object().ok_or(Unreadable)?;
        let read = Self {
            version: name(fields, "agent_version"),
            uptime_seconds: number(fields, "uptime_seconds", ABSURD),
            is_stale: fields.get("stale").and_then(Value::as_bool).unwrap_or(false),
            cpu_percent: number(fields, "cpu_percent", 100.0),
            ram_total_mb: number(fields, "ram_total_mb", ABSURD),
            ram_used_mb: number(fields, "ram_used_mb", ABSURD),
            process_rss_mb: number(fields, "process_rss_mb", ABSURD),
            gpus: gpus(fields),
        };
        let nothing = Self { is_stale: read.is_stale, ..Self::default() };
        if read == nothing { Err(Unreadable) } else { Ok(read) }
    }

    /// Writes all that is known, with the names that an agent uses.
    pub(super) fn write(&self, view: &mut Map<String, Value>) {
        put(view, "agent_version", self.version.as_deref());
        put(view, "uptime_seconds", self.uptime_seconds);
        put(view, "cpu_percent", self.cpu_percent);
        put(view, "ram_total_mb", self.ram_total_mb);
        put(view, "ram_used_mb", self.ram_used_mb);
        put(view, "process_rss_mb", self.process_rss_mb);
        let gpus = self.gpus.iter().map(Gpu::view).collect();
        view.insert("gpus".into(), Value::Array(gpus));
    }

    /// Returns how busy the processors are, from 0 to 1.
    pub fn cpu_ratio(&self) -> Option<f64> {
        self.cpu_percent.map(ratio)
    }

    /// Returns the machine's memory in bytes.
    pub fn memory_total_bytes(&self) -> Option<f64> {
        self.ram_total_mb.map(bytes)
    }

    /// Returns how much of it is taken, in bytes.
    pub fn memory_used_bytes(&self) -> Option<f64> {
        self.ram_used_mb.map(bytes)
    }
}

impl Gpu {
    /// Returns how busy it is, from 0 to 1.
    pub fn utilization_ratio(&self) -> Option<f64> {
        self.utilization_percent.map(ratio)
    }

    /// Returns its memory in bytes.
    pub fn memory_total_bytes(&self) -> Option<f64> {
        self.memory_total_mb.map(bytes)
    }

    /// Returns how much of it is taken, in bytes.
    pub fn memory_used_bytes(&self) -> Option<f64> {
        self.memory_used_mb.map(bytes)
    }

    fn read(index: u64, fields: &Map<String, Value>, prefix: &str) -> Self {
        let named = |what: &str| format!("{prefix}{what}");
        Self {
            index,
            name: name(fields, &named("name")),
            memory_total_mb: number(fields, &named("memory_total_mb"), ABSURD),
            memory_used_mb: number(fields, &named("memory_used_mb"), ABSURD),
            utilization_percent: number(fields, &named("utilization_percent"), 100.0),
            temperature_c: number(fields, &named("temperature_c"), MOLTEN),
        }
    }

    fn view(&self) -> Value {
        let mut view = Map::new();
        view.insert("index".into(), json!(self.index));
        put(&mut view, "name", self.name.as_deref());
        put(&mut view, "memory_total_mb", self.memory_total_mb);
        put(&mut view, "memory_used_mb", self.memory_used_mb);
        put(&mut view, "utilization_percent", self.utilization_percent);
        put(&mut view, "temperature_c", self.temperature_c);
        Value::Object(view)
    }
}

/// Reads the list of GPUs; without a list, the one whose fields stand beside the machine's.
fn gpus(fields: &Map<String, Value>) -> Vec<Gpu> {
    let Some(Value::Array(list)) = fields.get("gpus") else {
        let first = Gpu::read(0, fields, "gpu_");
        return if first == Gpu::default() { Vec::new() } else { vec![first] };
    };
    let mut gpus: Vec<Gpu> = Vec::new();
    for (place, fields) in (0..).zip(list).take(MOST_GPUS) {
        let Some(fields) = fields.as_object() else { continue };
        let index = fields.get("index").map_or(Some(place), Value::as_u64).filter(|index| *index <= HIGHEST_INDEX);
        let Some(index) = index else { continue };
        if gpus.iter().all(|gpu| gpu.index != index) {
            gpus.push(Gpu::read(index, fields, ""));
        }
    }
    gpus
}

fn number(fields: &Map<String, Value>, name: &str, most: f64) -> Option<f64> {
    fields.get(name)?.as_f64().filter(|number| (0.0..=most).contains(number))
}

fn name(fields: &Map<String, Value>, name: &str) -> Option<String> {
    let name = fields.get(name)?.as_str()?;
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
    (!name.is_empty()).then_some(name)
}

fn put(view: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        view.insert(name.into(), value.into());
    }
}

fn ratio(percent: f64) -> f64 {
    percent / 100.0
}

fn bytes(mebibytes: f64) -> f64 {
    mebibytes * MEBIBYTE
}
