//! Brings one output to the disk, with patience: a backend that is away for a moment still has the file afterwards, and a
//! full disk is not the job's fault.

use super::harvest::{SlotResult, Source};
use super::limits::{COLLECT_LIMIT, FETCH_PATIENCE, STORE_PAUSE};
use crate::clock::Clock;
use crate::comfy::Client;
use crate::media::{BlobError, Blobs, Fetched, fetch};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Where an output comes from, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Storing<'a> {
    pub(super) blobs: &'a Blobs,
    pub(super) client: &'a Client,
    pub(super) clock: &'a dyn Clock,
    /// The largest output that is taken, in bytes.
    pub(super) max_output: u64,
}

/// How one try went.
enum Tried {
    Over(SlotResult),
    /// The backend did not give it.
    NotFetched(String),
    /// The disk did not take it.
    NotStored(BlobError),
}

impl Storing<'_> {
    /// Stores an output, trying again as long as that may help; none where the gateway stops before.
    pub(super) async fn store(self, source: &Source, stop: &CancellationToken) -> Option<SlotResult> {
        let began = self.clock.now();
        loop {
            let tried = self.try_once(source).await;
            let waited = self.clock.now().since(began);
            match tried {
                Tried::Over(result) => return Some(result),
                Tried::NotFetched(reason) if waited >= FETCH_PATIENCE => return Some(SlotResult::Unavailable(reason)),
                Tried::NotFetched(reason) => debug!(reason, "an output was not fetched, trying again"),
                Tried::NotStored(error) if waited >= COLLECT_LIMIT => {
                    warn!(%error, "an output could not be stored");
                    let reason = "the gateway could not store it, since its disk took nothing";
                    return Some(SlotResult::Unavailable(reason.to_owned()));
                }
                Tried::NotStored(error) => warn!(%error, "an output is not stored, trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = self.clock.sleep_until(self.clock.now() + STORE_PAUSE) => {}
            }
        }
    }

    async fn try_once(self, source: &Source) -> Tried {
        match source {
            Source::Frame { bytes, .. } if bytes.len() as u64 > self.max_output => {
                Tried::Over(SlotResult::TooLarge { limit: self.max_output })
            }
            Source::Frame { content_type, bytes } => self.keep(content_type.clone(), bytes.clone()).await,
            Source::Text(text) => self.keep("text/plain; charset=utf-8".into(), Bytes::from(text.clone())).await,
            Source::File(file) => match fetch(self.blobs, self.client, file, self.max_output).await {
                Fetched::Stored { content_type, bytes, sha256 } => {
                    Tried::Over(SlotResult::Stored { content_type, bytes, sha256 })
                }
                Fetched::TooLarge => Tried::Over(SlotResult::TooLarge { limit: self.max_output }),
                Fetched::NotFound => Tried::Over(SlotResult::NotFound),
                Fetched::Unavailable(reason) => Tried::NotFetched(reason),
                Fetched::NotStored(error) => Tried::NotStored(error),
            },
        }
    }

    async fn keep(self, content_type: String, content: Bytes) -> Tried {
        match self.blobs.put(content).await {
            Ok((sha256, bytes)) => Tried::Over(SlotResult::Stored { content_type, bytes, sha256 }),
            Err(error) => Tried::NotStored(error),
        }
    }
}
