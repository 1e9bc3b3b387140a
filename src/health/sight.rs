//! What is known of how a backend is, for whoever shows or counts it: never waits, never asks.

use crate::clock::Timestamp;
use crate::comfy::{Device, SystemStats};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError, RwLock};

/// How a backend is, all in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// It was not reached yet, and it is too early to say that it cannot be.
    #[default]
    Connecting,
    /// Its socket stands and it answers.
    Up,
    /// It answers one way and not the other, or has left a question or two without an answer: busy, perhaps.
    Silent,
    /// It has left several questions in a row without an answer.
    Down,
}

/// How the socket of a backend is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// It never stood, and no try has failed.
    #[default]
    Connecting,
    /// It stands.
    Connected,
    /// The last try failed; there are more, without end.
    Disconnected,
    /// It stood and was lost, and no try has failed since.
    Reconnecting,
}

/// The socket's side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketSight {
    /// How it is.
    pub link: Link,
    /// Since when.
    pub since: Timestamp,
    /// How many tries have failed in a row.
    pub tries: u32,
    /// How often it has stood.
    pub connections: u64,
    /// Why it does not stand.
    pub reason: Option<String>,
}

/// The side of questions and answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpSight {
    /// How many questions in a row had no answer.
    pub misses: u32,
    /// Why the last of them had none.
    pub reason: Option<String>,
    /// When it answered last.
    pub answered_at: Option<Timestamp>,
    /// How long that answer took, in milliseconds.
    pub took_ms: Option<u64>,
}

/// How a backend is at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// All in all.
    pub standing: Standing,
    /// Since when.
    pub since: Timestamp,
    /// Why it is not up.
    pub reason: Option<String>,
    /// Its socket.
    pub socket: SocketSight,
    /// Its answers.
    pub http: HttpSight,
    /// How many prompts run or wait there, everybody's included, when it answered last; none while it does not answer.
    pub queue_remaining: Option<u64>,
    /// How many of those are not ours.
    pub foreign: Option<u64>,
    /// What it said of itself last, in its life or an earlier one.
    pub system: Option<Arc<SystemStats>>,
}

/// The place where it is kept.
#[derive(Debug)]
pub struct Health {
    sight: RwLock<Arc<Sight>>,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 4] = [Self::Connecting, Self::Up, Self::Silent, Self::Down];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Down => "down",
        }
    }
}

impl Link {
    /// Every way that it can be.
    pub const ALL: [Self; 4] = [Self::Connecting, Self::Connected, Self::Disconnected, Self::Reconnecting];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Reconnecting => "reconnecting",
        }
    }
}

impl Sight {
    /// Of a backend of which nothing is known yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            standing: Standing::default(),
            since: now,
            reason: None,
            socket: SocketSight { link: Link::default(), since: now, tries: 0, connections: 0, reason: None },
            http: HttpSight::default(),
            queue_remaining: None,
            foreign: None,
            system: None,
        }
    }

    /// Returns the first device of the backend.
    pub fn device(&self) -> Option<&Device> {
        self.system.as_ref()?.devices.first()
    }

    /// Returns the name of its first device; `Unknown` where it has told none.
    pub fn gpu(&self) -> &str {
        self.device().map(|device| device.name.as_str()).filter(|name| !name.is_empty()).unwrap_or("Unknown")
    }
}

impl Health {
    /// Of a backend of which nothing is known yet.
    pub fn new(now: Timestamp) -> Self {
        Self { sight: RwLock::new(Arc::new(Sight::new(now))) }
    }

    /// Returns how the backend is; as cheap as a counted reference.
    pub fn look(&self) -> Arc<Sight> {
        Arc::clone(&self.sight.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how many prompts of others run or wait there, as far as it is known.
    pub fn foreign(&self) -> u64 {
        self.look().foreign.unwrap_or(0)
    }

    /// Shows it to an operator.
    pub fn view(&self) -> Value {
        let sight = self.look();
        let (socket, http) = (&sight.socket, &sight.http);
        json!({
            "state": sight.standing.as_str(),
            "since": sight.since.rfc3339(),
            "reason": sight.reason,
            "socket": {
                "state": socket.link.as_str(),
                "since": socket.since.rfc3339(),
                "failed_tries": socket.tries,
                "connections": socket.connections,
                "reason": socket.reason,
            },
            "http": {
                "misses": http.misses,
                "reason": http.reason,
                "answered_at": http.answered_at.map(Timestamp::rfc3339),
                "took_ms": http.took_ms,
            },
            "queue": { "remaining": sight.queue_remaining, "foreign": sight.foreign },
            "gpu": gpu(&sight),
            "system": sight.system.as_deref().map(system),
        })
    }

    /// Puts what is known now in the place of what was known.
    pub(super) fn set(&self, sight: Sight) {
        *self.sight.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sight);
    }
}

/// Shows the device that jobs run on.
fn gpu(sight: &Sight) -> Value {
    let device = sight.device();
    json!({
        "name": sight.gpu(),
        "type": device.map(|device| &device.kind),
        "vram_total_mb": device.and_then(|device| device.vram_total).map(megabytes),
        "vram_free_mb": device.and_then(|device| device.vram_free).map(megabytes),
    })
}

/// Shows what a backend said of itself.
fn system(stats: &SystemStats) -> Value {
    let devices = stats.devices.iter().map(|device| {
        json!({
            "name": device.name,
            "type": device.kind,
            "vram_total_mb": device.vram_total.map(megabytes),
            "vram_free_mb": device.vram_free.map(megabytes),
        })
    });
    json!({
        "comfyui": stats.version,
        "python": stats.python,
        "pytorch": stats.pytorch,
        "os": stats.os,
        "ram_total_mb": stats.ram_total.map(megabytes),
        "ram_free_mb": stats.ram_free.map(megabytes),
        "devices": devices.collect::<Vec<_>>(),
    })
}

/// Bytes as mebibytes, which everybody who sells memory calls megabytes.
fn megabytes(bytes: u64) -> u64 {
    bytes >> 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_device_is_shown_in_megabytes() {
        let health = Health::new(Timestamp::from_millis(0));
        let device = |name: &str, free| Device {
            name: name.to_owned(),
            kind: "cuda".to_owned(),
            vram_total: Some(24 << 30),
            vram_free: free,
        };
        let devices = vec![device("RTX 4090", Some((8 << 20) + 5)), device("RTX 3060", None)];
        let system = SystemStats { ram_total: Some(64 << 30), devices, ..SystemStats::default() };
        health.set(Sight { system: Some(Arc::new(system)), ..Sight::new(Timestamp::from_millis(0)) });
        let view = health.view();
        let gpu = json!({"name": "RTX 4090", "type": "cuda", "vram_total_mb": 24576, "vram_free_mb": 8});
        assert_eq!(view["gpu"], gpu);
        assert_eq!(view["system"]["ram_total_mb"], 65536);
        assert_eq!(view["system"]["devices"][1]["vram_free_mb"], Value::Null);
    }

    #[test]
    fn a_backend_without_a_device_has_one_that_is_unknown() {
        let health = Health::new(Timestamp::from_millis(0));
        assert_eq!(health.view()["gpu"]["name"], "Unknown");
        let system = SystemStats { devices: vec![Device::default()], ..SystemStats::default() };
        health.set(Sight { system: Some(Arc::new(system)), ..Sight::new(Timestamp::from_millis(0)) });
        assert_eq!(health.view()["gpu"]["name"], "Unknown");
    }
}
