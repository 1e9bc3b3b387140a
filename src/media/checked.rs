//! Blobs that are looked at before they are kept: what does not pass leaves nothing behind.

use super::blobs::{BlobError, Blobs, PutError, blocking};
use super::folder::Draft;
use crate::job::BlobId;
use bytes::Bytes;
use futures_util::Stream;
use std::fs::File;
use std::io::Write;

/// Why the bytes of a stream were not kept.
#[derive(Debug, thiserror::Error)]
pub enum CheckedError<E: std::error::Error + 'static, R> {
    /// They did not arrive, are too many, or could not be written.
    #[error(transparent)]
    Put(#[from] PutError<E>),
    /// They did not pass the look.
    #[error("the bytes are refused")]
    Refused(R),
}

impl Blobs {
    /// Keeps the bytes of a stream, at most `limit` of them, if `look` finds them good; it may block. Returns what it found too.
    pub async fn put_checked<S, E, T, R>(
        &self,
        stream: S,
        limit: u64,
        look: impl FnOnce(&mut File) -> Result<T, R> + Send + 'static,
    ) -> Result<(BlobId, u64, T), CheckedError<E, R>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
        T: Send + 'static,
        R: Send + 'static,
    {
        let draft = self.draft(stream, limit).await?;
        let kept = blocking(move || match look(&mut draft.reread()?) {
            Ok(found) => draft.keep().map(|(blob, bytes)| Ok((blob, bytes, found))),
            Err(refused) => Ok(Err(refused)),
        });
        kept.await.map_err(PutError::Blob)?.map_err(CheckedError::Refused)
    }

    /// Makes a blob out of another: `work` reads that one and writes the new one, on one of the few threads for such work; it
    /// may block. Where it says that none is needed, or fails, it leaves nothing behind.
    pub async fn make<R: Send + 'static>(
        &self,
        from: &BlobId,
        work: impl FnOnce(File, &mut dyn Write) -> Result<bool, R> + Send + 'static,
    ) -> Result<Result<Option<(BlobId, u64)>, R>, BlobError> {
        let (folder, path) = (self.folder(), self.checked_path(from)?);
        let from = from.clone();
        let place = std::sync::Arc::clone(self.bench()).acquire_owned().await.ok();
        blocking(move || {
            let file = File::open(&path).map_err(|error| super::blobs::missing(&from, &path, error))?;
            let mut draft = Draft::new(folder)?;
            let worked = work(file, &mut draft);
            drop(place);
            match worked {
                Ok(true) => draft.keep().map(|made| Ok(Some(made))),
                Ok(false) => Ok(Ok(None)),
                Err(refused) => Ok(Err(refused)),
            }
        })
        .await
    }
}
