//! Brings one output to the disk, with patience: a backend that is away for a moment still has the file afterwards, and a
//! full disk is not the job's fault.

use super::harvest::{SlotResult, Source};
use super::limits::{COLLECT_LIMIT, FETCH_PATIENCE, STORE_PAUSE};
use crate::clock::Clock;
use crate::comfy::Client;
use crate::media::{BlobError, Blobs, Fetched, Treatment, fetch};
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
    /// What is done to it on its way.
    pub(super) treatment: Treatment,
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
        let mut was_away = false;
        loop {
            let tried = self.try_once(source).await;
            let waited = self.clock.now().since(began);
            match tried {
                // It was there before: another run makes it anew.
                Tried::Over(SlotResult::NotFound) if was_away => {
                    let reason = "the backend was away for a moment and came back without the file";
                    return Some(SlotResult::Unavailable(reason.to_owned()));
                }
                Tried::Over(result) => return Some(result),
                Tried::NotFetched(reason) if waited >= FETCH_PATIENCE => return Some(SlotResult::Unavailable(reason)),
                Tried::NotFetched(reason) => {
                    was_away = true;
                    debug!(reason, "an output was not fetched, trying again");
                }
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
            Source::File(file) => match fetch(self.blobs, self.client, file, self.max_output, self.treatment).await {
                Fetched::Stored(kept) => Tried::Over(SlotResult::Stored(kept)),
                Fetched::TooLarge => Tried::Over(SlotResult::TooLarge { limit: self.max_output }),
                Fetched::NotFound => Tried::Over(SlotResult::NotFound),
                Fetched::Unavailable(reason) => Tried::NotFetched(reason),
                Fetched::NotStored(error) => Tried::NotStored(error),
            },
        }
    }

    async fn keep(self, content_type: String, content: Bytes) -> Tried {
        match self.blobs.keep(content_type, content, self.treatment).await {
            Ok(kept) => Tried::Over(SlotResult::Stored(kept)),
            Err(error) => Tried::NotStored(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::job::FileRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_file_that_is_gone_when_its_backend_comes_back_may_be_had_by_another_run() {
        assert!(matches!(ask(1).await, SlotResult::Unavailable(reason) if reason.contains("came back without")));
        assert_eq!(ask(0).await, SlotResult::NotFound);
    }

    /// Fetches a file from a backend that breaks off so many connections, and then has no such file.
    async fn ask(broken: usize) -> SlotResult {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(url.parse().unwrap()).unwrap();
        let clock = SystemClock::start();
        let storing = Storing {
            blobs: &blobs,
            client: &client,
            clock: clock.as_ref(),
            max_output: 1000,
            treatment: Treatment::default(),
        };
        let file = FileRef { filename: "a.png".into(), subfolder: String::new(), folder: "output".into() };
        let (source, stop) = (Source::File(file), CancellationToken::new());
        let backend = async {
            for _ in 0..broken {
                drop(listener.accept().await.unwrap());
            }
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let _ = connection.read(&mut [0; 4096]).await.unwrap();
                connection.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        };
        tokio::select! {
            result = storing.store(&source, &stop) => result.unwrap(),
            () = backend => unreachable!(),
        }
    }
}
