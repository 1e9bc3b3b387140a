//! Where bytes that are at hand are measured and summed: away from the threads that serve, and only so many at once that the others have
//! a processor core left. What comes meanwhile waits; nothing is kept.

use super::desk::{Found, Limits, Refused, Why};
use super::fetch::too_large;
use super::kind::{Measured, measure};
use super::source::Fault;
use crate::hex;
use crate::job::BlobId;
use crate::lifecycle::half_of_the_cores;
use crate::media::blocking;
use sha2::{Digest, Sha256};
use std::io::Cursor;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Measures bytes.
pub(super) struct Scale {
    places: Arc<Semaphore>,
}

impl Default for Scale {
    /// Measures half as many at once as there are processor cores.
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(half_of_the_cores())) }
    }
}

impl Scale {
    /// Says what bytes are, as soon as there is a place.
    pub(super) async fn measured(&self, bytes: Vec<u8>, limits: Limits) -> Result<Found, Why> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let work = move || {
            // Goes with the work: whoever wished it may be gone before it ends.
            let _place = place;
            Ok(found(&bytes, limits))
        };
        let found = blocking(work).await.map_err(|error| Why::Refused(Refused::Blob(error)))?;
        found.map_err(Why::Fault)
    }
}

fn found(bytes: &[u8], limits: Limits) -> Result<Found, Fault> {
    if bytes.len() as u64 > limits.bytes {
        return Err(too_large(limits.bytes));
    }
    let Measured { kind, width, height, .. } =
        measure(&mut Cursor::new(bytes), limits.pixels).map_err(|no_image| (no_image.code(), no_image.to_string()))?;
    let blob = BlobId(hex::of(Sha256::digest(bytes)));
    Ok(Found { blob, bytes: bytes.len() as u64, content_type: kind.content_type().to_owned(), width, height })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: Limits =
        Limits { bytes: 1 << 30, pixels: 1_000, life: Duration::ZERO, space: 0, fetch: Duration::ZERO };

    /// Bytes that take a while to sum.
    fn gif() -> Vec<u8> {
        [&b"GIF89a\x05\0\x07\0\0\0\0;"[..], &vec![0; 8 << 20]].concat()
    }

    #[tokio::test]
    async fn bytes_are_measured_where_nobody_is_served_and_only_so_many_at_once() {
        let scale = Scale::default();
        let all =
            Arc::clone(&scale.places).acquire_many_owned(u32::try_from(scale.places.available_permits()).unwrap());
        let all = all.await.unwrap();
        let mut measuring = std::pin::pin!(scale.measured(gif(), LIMITS));
        let waited = tokio::time::timeout(Duration::from_millis(500), &mut measuring).await;
        assert!(waited.is_err(), "there is no place");
        drop(all);
        assert!(futures_util::poll!(&mut measuring).is_pending(), "this thread goes on while another one sums");
        let found = tokio::time::timeout(Duration::from_secs(30), measuring).await.unwrap();
        assert!(found.is_ok_and(|found| (found.width, found.height) == (5, 7)));
        assert_eq!(scale.places.available_permits(), Scale::default().places.available_permits(), "it is free again");
    }
}
