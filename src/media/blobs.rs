//! Blobs: bytes named by their SHA-256, on disk before their name is told. The files themselves are `folder`'s business;
//! which blobs are needed, and for how long, is the store's.

use super::folder::{Draft, Folder, name};
use super::holds::Holds;
use crate::job::BlobId;
use crate::lifecycle::half_of_the_cores;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A stream's bytes are gathered to about this many before a thread is asked to write them.
const GATHERED: usize = 256 * 1024;

/// Why a blob could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The id is not 64 lower-case hex digits, so it names no blob.
    #[error("`{0}` is not the id of a blob: 64 lower-case hex digits are")]
    BadId(String),
    /// There are no such bytes.
    #[error("blob `{0}` is missing")]
    Missing(BlobId),
    /// The disk said no.
    #[error("`{}` cannot be read or written: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// Why a stream did not become a blob; nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError<E: std::error::Error + 'static> {
    /// The stream broke off.
    #[error("the bytes did not arrive: {0}")]
    Stream(#[source] E),
    /// The stream is longer than allowed.
    #[error("the bytes are more than the limit of {limit}")]
    TooLarge {
        /// The most that is allowed.
        limit: u64,
    },
    /// They could not be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// The blobs in their folder.
#[derive(Debug)]
pub struct Blobs {
    folder: Arc<Folder>,
    /// Where outputs are worked on before they are kept, which takes a processor and memory.
    bench: Arc<Semaphore>,
    holds: Holds,
}

impl Blobs {
    /// Opens `blobs` in the data folder `folder`, made where it is missing. What a crash left half written is removed,
    /// so only one process may have it open; the store's lock sees to that. Blocks.
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        let folder = Arc::new(Folder::open(folder, folder.join("blobs"))?);
        Ok(Self { folder, bench: Arc::new(Semaphore::new(half_of_the_cores())), holds: Holds::default() })
    }

    /// Keeps the bytes; returns their name and size once both would survive a loss of power.
    pub async fn put(&self, bytes: Bytes) -> Result<(BlobId, u64), BlobError> {
        let folder = Arc::clone(&self.folder);
        blocking(move || {
            let id = name(&Sha256::digest(&bytes).into());
            folder.note_put(&id);
            if folder.holds(&id, bytes.len() as u64)? {
                return Ok((id, bytes.len() as u64));
            }
            let mut draft = Draft::new(folder)?;
            draft.append(&bytes)?;
            draft.keep()
        })
        .await
    }

    /// Keeps the bytes of a stream, at most `limit` of them; never holds more than a few chunks in memory.
    pub async fn put_stream<S, E>(&self, stream: S, limit: u64) -> Result<(BlobId, u64), PutError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let draft = self.draft(stream, limit).await?;
        Ok(blocking(move || draft.keep()).await?)
    }

    /// Writes the bytes of a stream aside, at most `limit` of them.
    pub(super) async fn draft<S, E>(&self, mut stream: S, limit: u64) -> Result<Draft, PutError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let folder = Arc::clone(&self.folder);
        let mut draft = blocking(move || Draft::new(folder)).await?;
        let mut gathered = Vec::new();
        let mut gathered_bytes = 0;
        let mut arrived: u64 = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(PutError::Stream)?;
            arrived = arrived.saturating_add(chunk.len() as u64);
            if arrived > limit {
                return Err(PutError::TooLarge { limit });
            }
            gathered_bytes += chunk.len();
            gathered.push(chunk);
            if gathered_bytes >= GATHERED {
                let chunks = std::mem::take(&mut gathered);
                gathered_bytes = 0;
                draft = blocking(move || draft.append_all(&chunks)).await?;
            }
        }
        Ok(blocking(move || draft.append_all(&gathered)).await?)
    }

    /// Opens a blob for reading.
    pub async fn open_blob(&self, id: &BlobId) -> Result<tokio::fs::File, BlobError> {
        let path = self.folder.path(id)?;
        tokio::fs::File::open(&path).await.map_err(|source| missing(id, &path, source))
    }

    /// Returns the size of a blob in bytes.
    pub async fn size(&self, id: &BlobId) -> Result<u64, BlobError> {
        let path = self.folder.path(id)?;
        let metadata = tokio::fs::metadata(&path).await.map_err(|source| missing(id, &path, source))?;
        Ok(metadata.len())
    }

    /// Returns where a blob lies, or would lie. An id that is not 64 lower-case hex digits gets a place below the folder
    /// of blobs at which nothing is ever put.
    pub fn path(&self, id: &BlobId) -> PathBuf {
        self.folder.path(id).unwrap_or_else(|_| self.folder.nowhere())
    }

    pub(super) fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.folder)
    }

    pub(super) fn held(&self) -> &Holds {
        &self.holds
    }

    pub(super) fn bench(&self) -> &Arc<Semaphore> {
        &self.bench
    }

    /// Returns where a blob lies, or would lie.
    pub(super) fn checked_path(&self, id: &BlobId) -> Result<PathBuf, BlobError> {
        self.folder.path(id)
    }
}

/// Runs `work` on a thread that may block.
pub async fn blocking<T, F>(work: F) -> Result<T, BlobError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, BlobError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // A fault of ours is no fault of the disk: trying again for long would not help.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(BlobError::Io { path: PathBuf::from("blobs"), cause: io::Error::other(error) }),
    }
}

/// Says that a blob is missing where the error means that, and which file failed otherwise.
pub(super) fn missing(id: &BlobId, path: &Path, source: io::Error) -> BlobError {
    if source.kind() == io::ErrorKind::NotFound {
        BlobError::Missing(id.clone())
    } else {
        BlobError::Io { path: path.to_owned(), cause: source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use futures_util::stream;
    use std::convert::Infallible;
    use tempfile::TempDir;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn bytes_are_found_under_the_hash_of_their_content() {
        let (_folder, blobs) = blobs();
        let (id, bytes) = blobs.put(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(id.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(bytes, 3);
        assert_eq!(blobs.size(&id).await.unwrap(), 3);
        assert_eq!(content(&blobs, &id).await, b"abc");
        assert!(blobs.path(&id).ends_with(format!("blobs/ba/{}", id.as_str().split_at(2).1)));
    }

    #[tokio::test]
    async fn a_stream_becomes_the_same_blob_as_its_bytes() {
        let (folder, blobs) = blobs();
        let whole: Vec<u8> = (0..=250).cycle().take(1_000_000).collect();
        let chunks: Vec<_> =
            whole.chunks(7_777).map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk))).collect();
        let (streamed, bytes) = blobs.put_stream(stream::iter(chunks), 1_000_000).await.unwrap();
        assert_eq!(bytes, 1_000_000);
        assert_eq!(content(&blobs, &streamed).await, whole);
        assert_eq!(blobs.put(whole.into()).await.unwrap(), (streamed, 1_000_000));
        assert_eq!(drafts(&folder), 0);
    }

    #[tokio::test]
    async fn a_stream_over_the_limit_leaves_nothing() {
        let (folder, blobs) = blobs();
        let chunks = (0..100).map(|_| Ok::<_, Infallible>(Bytes::from(vec![1; 10_000])));
        let answer = blobs.put_stream(stream::iter(chunks), 999_999).await;
        assert!(matches!(answer, Err(PutError::TooLarge { limit: 999_999 })));
        assert_eq!(drafts(&folder), 0);
        assert_eq!(files(&folder), 0);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_leaves_nothing() {
        let (folder, blobs) = blobs();
        let chunks = vec![Ok(Bytes::from(vec![1; 600_000])), Err(io::Error::other("reset"))];
        let answer = blobs.put_stream(stream::iter(chunks), u64::MAX).await;
        assert!(matches!(answer, Err(PutError::Stream(error)) if error.to_string() == "reset"));
        assert_eq!(drafts(&folder), 0);
        assert_eq!(files(&folder), 0);
    }

    #[tokio::test]
    async fn the_same_content_put_at_once_is_one_file() {
        let (folder, blobs) = blobs();
        let puts = (0..32).map(|_| blobs.put(Bytes::from(vec![9; 100_000])));
        let ids: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(files(&folder), 1);
        assert_eq!(drafts(&folder), 0);
    }

    #[tokio::test]
    async fn content_that_is_there_is_not_written_again_unless_it_is_cut_short() {
        let (_folder, blobs) = blobs();
        let (id, _) = blobs.put(Bytes::from_static(b"steady")).await.unwrap();
        let path = blobs.path(&id);
        // Other bytes of the same length tell whether the file was touched.
        std::fs::write(&path, b"marked").unwrap();
        blobs.put(Bytes::from_static(b"steady")).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"marked");
        std::fs::write(&path, b"cut").unwrap();
        blobs.put(Bytes::from_static(b"steady")).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"steady");
    }

    #[tokio::test]
    async fn opening_removes_what_a_crash_left_half_written() {
        let (folder, first) = blobs();
        let (id, _) = first.put(Bytes::from_static(b"kept")).await.unwrap();
        std::fs::write(folder.path().join("blobs/tmp/0"), b"half").unwrap();
        let again = Blobs::open(folder.path()).unwrap();
        assert_eq!(drafts(&folder), 0);
        assert_eq!(content(&again, &id).await, b"kept");
        again.put(Bytes::from_static(b"new")).await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_blob_is_named_and_a_bad_id_never_becomes_a_path() {
        let (_folder, blobs) = blobs();
        let absent = BlobId("ab".repeat(32));
        let error = blobs.open_blob(&absent).await.unwrap_err();
        assert!(matches!(&error, BlobError::Missing(id) if *id == absent));
        assert!(error.to_string().contains(absent.as_str()));
        for bad in ["", "ab", "../../etc/passwd", &"AB".repeat(32), &"äb".repeat(21), &format!("..{}", "/".repeat(62))]
        {
            assert!(!blobs.path(&BlobId(bad.into())).exists(), "{bad}");
            assert!(matches!(blobs.open_blob(&BlobId(bad.into())).await, Err(BlobError::BadId(_))), "{bad}");
            assert!(matches!(blobs.size(&BlobId(bad.into())).await, Err(BlobError::BadId(_))), "{bad}");
        }
    }

    fn blobs() -> (TempDir, Blobs) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        (folder, blobs)
    }

    async fn content(blobs: &Blobs, id: &BlobId) -> Vec<u8> {
        let mut content = Vec::new();
        blobs.open_blob(id).await.unwrap().read_to_end(&mut content).await.unwrap();
        content
    }

    fn drafts(folder: &TempDir) -> usize {
        std::fs::read_dir(folder.path().join("blobs/tmp")).unwrap().count()
    }

    fn files(folder: &TempDir) -> usize {
        let fan_outs = std::fs::read_dir(folder.path().join("blobs")).unwrap().map(|entry| entry.unwrap().path());
        fan_outs.filter(|path| !path.ends_with("tmp")).map(|path| std::fs::read_dir(path).unwrap().count()).sum()
    }
}
