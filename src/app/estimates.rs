//! What is learnt of how long graphs run is read at the start and written now and then, so that no run waits for it.

use crate::clock::Clock;
use crate::pool::Estimates;
use crate::store::EstimateStore;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often what is learnt is written: as much is learnt anew after a crash.
const EVERY: Duration = Duration::from_secs(5);

/// Returns what was learnt before. Where it cannot be read it is learnt anew.
pub(super) async fn load(store: &dyn EstimateStore) -> Arc<Estimates> {
    let stored = store.estimates().await.unwrap_or_else(|error| {
        warn!(%error, "how long graphs run is not known any more, and learnt anew");
        Vec::new()
    });
    Arc::new(Estimates::of(stored))
}

/// Writes what is learnt until told to stop, and then once more.
pub(super) async fn keep(
    estimates: Arc<Estimates>,
    store: Arc<dyn EstimateStore>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let is_over = tokio::select! {
            () = stop.cancelled() => true,
            () = clock.sleep_until(clock.now() + EVERY) => false,
        };
        let changes = estimates.take_changes();
        if !changes.is_empty() {
            let kept = store.keep_estimates(changes.learnt.clone(), changes.forgotten.clone()).await;
            if let Err(error) = kept {
                warn!(%error, "how long graphs run could not be written, and is tried again");
                estimates.not_kept(changes);
            }
        }
        if is_over {
            return;
        }
    }
}
