//! Patience with a store that cannot write at the moment: what happened once is offered to it again until it is stored.

use super::StoreError;
use crate::clock::Clock;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// How long to wait before the store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a write that panics is tried.
const PANICS: u32 = 3;

/// Asks the store again every second until it answers or `stop`; what is then not stored is found again at the next
/// start, from the run's intent. A store that is damaged is not asked twice, and a write that panics only a few times.
/// Returns none where nothing was stored.
pub async fn persist<T, F>(
    clock: &dyn Clock,
    stop: &CancellationToken,
    what: &'static str,
    mut write: impl FnMut() -> F,
) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut panics = 0;
    loop {
        match write().await {
            Ok(value) => return Some(value),
            Err(error @ (StoreError::Busy { .. } | StoreError::Unavailable(_))) => {
                warn!(%error, what, "not stored, trying again");
            }
            Err(error @ StoreError::Panicked(_)) if panics + 1 < PANICS => {
                panics += 1;
                error!(%error, what, "not stored, trying again");
            }
            Err(
                error @ (StoreError::Panicked(_)
                | StoreError::Damaged(_)
                | StoreError::KeyReused(_)
                | StoreError::IdInUse(_)
                | StoreError::UploadsFull { .. }),
            ) => {
                error!(%error, what, "cannot be stored");
                return None;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = clock.sleep_until(clock.now() + PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[tokio::test]
    async fn a_store_that_cannot_write_is_asked_again_until_it_can() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let stop = CancellationToken::new();
        let mut asked = 0;
        let write = || {
            asked += 1;
            let full = || StoreError::Unavailable("the disk is full".into());
            std::future::ready(if asked == 4 { Ok(asked) } else { Err(full()) })
        };
        let time = async {
            for _ in 0..1000 {
                clock.advance(PAUSE);
                tokio::task::yield_now().await;
            }
        };
        let stored = tokio::select! {
            stored = persist(clock.as_ref(), &stop, "it", write) => stored,
            () = time => None,
        };
        assert_eq!(stored, Some(4));
    }

    #[tokio::test]
    async fn a_damaged_store_and_a_stop_are_the_end_of_patience() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let stop = CancellationToken::new();
        let damaged = || std::future::ready(Err::<(), _>(StoreError::Damaged("a row".into())));
        assert_eq!(persist(clock.as_ref(), &stop, "it", damaged).await, None);
        stop.cancel();
        let busy = || std::future::ready(Err::<(), _>(StoreError::Busy { waiting: 1 }));
        assert_eq!(persist(clock.as_ref(), &stop, "it", busy).await, None);
    }
}
