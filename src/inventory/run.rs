//! Asks one backend for its node definitions: when its socket comes up, every few minutes, and when somebody wishes.

use super::{Inventory, InventoryError, Shelf};
use crate::clock::Clock;
use crate::comfy::Client;
use crate::lifecycle::changed;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// What lies at least between two questions, for a backend whose socket comes and goes.
const PAUSE: Duration = Duration::from_secs(1);

/// How soon a backend that did not answer is asked again.
const SOON: Duration = Duration::from_secs(10);

/// What the station works with.
pub struct Parts {
    /// The backend's name.
    pub backend: String,
    /// The way to it.
    pub client: Client,
    /// Where its answers go.
    pub inventory: Arc<Inventory>,
    /// Changes whenever its socket has come up.
    pub connected: watch::Receiver<u64>,
    /// How often it is asked although nothing has happened.
    pub every: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Keeps what is known of a backend fresh, until told to stop.
pub async fn run(mut parts: Parts, stop: CancellationToken) {
    let inventory = Arc::clone(&parts.inventory);
    inventory.admit(&parts.backend);
    let Some(shelf) = inventory.shelf(&parts.backend) else { return };
    let mut due = parts.clock.now() + parts.every;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = parts.clock.sleep_until(due) => {}
            () = shelf.wish.notified() => {}
            () = changed(&mut parts.connected) => {}
        }
        let is_told = tokio::select! {
            () = stop.cancelled() => return,
            is_told = ask(&parts, &shelf) => is_told,
        };
        let now = parts.clock.now();
        due = now + if is_told { parts.every } else { parts.every.min(SOON) };
        tokio::select! {
            () = stop.cancelled() => return,
            () = parts.clock.sleep_until(now + PAUSE) => {}
        }
    }
}

/// Returns whether the backend has told it.
async fn ask(parts: &Parts, shelf: &Shelf) -> bool {
    let backend = &parts.backend;
    let answer = parts.client.object_info().await;
    let is_told = answer.is_ok();
    match answer {
        Ok(text) => match taken(parts, text).await {
            Ok(true) => info!(backend, "the backend's node definitions are new"),
            Ok(false) => debug!(backend, "the backend's node definitions are as they were"),
            Err(error) => {
                warn!(backend, %error, "the backend's node definitions make no sense; the last good ones stay");
            }
        },
        Err(error) => debug!(backend, %error, "the backend did not tell its node definitions"),
    }
    shelf.was_asked(parts.clock.now());
    is_told
}

async fn taken(parts: &Parts, text: String) -> Result<bool, InventoryError> {
    let (inventory, backend) = (Arc::clone(&parts.inventory), parts.backend.clone());
    // A panic in there is told by the runtime, and the last good definitions stay.
    tokio::task::spawn_blocking(move || inventory.take(&backend, &text)).await.unwrap_or(Ok(false))
}
