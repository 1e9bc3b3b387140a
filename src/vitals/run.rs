//! Asks the agent of one backend: when its socket comes up, and every few seconds while it has one.

use super::{AgentMetrics, Vitals};
use crate::clock::Clock;
use crate::comfy::{Client, ClientError};
use crate::lifecycle::changed;
use crate::tracker::Desk;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// What lies at least between two questions, for a backend whose socket comes and goes.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a backend without an agent is asked whether it has one by now. It may be installed only while ComfyUI does not
/// run, so the socket tells of it sooner.
const SELDOM: Duration = Duration::from_mins(5);

/// What the station works with.
pub struct Parts {
    /// The backend's name.
    pub backend: String,
    /// The way to it.
    pub client: Client,
    /// Whether it has a socket.
    pub desk: Arc<Desk>,
    /// Where its answers go.
    pub vitals: Arc<Vitals>,
    /// How often it is asked.
    pub every: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Keeps what is known of a backend's machine fresh, until told to stop.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let mut connected = parts.desk.connections();
    // The socket may have come up before anybody listened here.
    connected.mark_changed();
    let mut due = parts.clock.now() + parts.every;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = parts.clock.sleep_until(due) => {}
            () = changed(&mut connected) => {}
        }
        // Without a socket nobody is there who could answer, or somebody else.
        if !parts.desk.is_connected() {
            due = parts.clock.now() + parts.every.max(PAUSE);
            continue;
        }
        let wait = tokio::select! {
            () = stop.cancelled() => return,
            wait = ask(&parts) => wait,
        };
        let now = parts.clock.now();
        due = now + wait;
        tokio::select! {
            () = stop.cancelled() => return,
            () = parts.clock.sleep_until(now + PAUSE) => {}
        }
    }
}

/// Asks once. Returns how long to wait before asking again.
async fn ask(parts: &Parts) -> Duration {
    let Parts { backend, vitals, every, .. } = parts;
    let told = match parts.client.agent_metrics().await {
        Ok(text) => AgentMetrics::read(&text).map_err(|error| error.to_string()),
        Err(ClientError::NotFound) => {
            if vitals.gone() {
                info!(backend, "the backend has no metrics agent any more");
            } else {
                debug!(backend, "the backend has no metrics agent");
            }
            return SELDOM.max(*every);
        }
        Err(error) => Err(error.to_string()),
    };
    match told {
        Ok(metrics) => {
            if vitals.last().is_none() {
                info!(backend, version = metrics.version, "the backend has a metrics agent");
            }
            vitals.told(metrics, parts.clock.now(), *every);
        }
        Err(error) => {
            if vitals.failed(error.clone()) {
                debug!(backend, error, "the backend's metrics agent did not tell how it is");
            }
        }
    }
    *every
}
