//! Sends a frozen body: its text as it is, its blobs as base64 read piece by piece, never a whole image in memory.

use super::blobs::{BlobError, Blobs, blocking, missing};
use crate::job::{BlobId, FrozenBody, Segment};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, stream};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// How much of a blob is read at once: a multiple of 3, so that padding stands only at the end.
const READ: usize = 192 * 1024;
/// The most that is sent in one piece: what `READ` becomes as base64.
const SENT: usize = READ / 3 * 4;

/// Streams a body in pieces of at most 256 KiB. Its bytes are those that [`FrozenBody::content_length`] counts, or it ends
/// with an error: a blob that is missing or has another size than the body says is named in it.
pub fn body_stream(blobs: Arc<Blobs>, body: FrozenBody) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let sending = Sending { blobs, segments: body.segments.into_iter(), at: At::Between };
    stream::try_unfold(sending, |mut sending| async move {
        let piece = sending.next_piece().await.map_err(io::Error::other)?;
        Ok(piece.map(|piece| (piece, sending)))
    })
}

struct Sending {
    blobs: Arc<Blobs>,
    segments: std::vec::IntoIter<Segment>,
    at: At,
}

/// Where in the body the next piece begins.
enum At {
    Between,
    Text(Bytes),
    Blob(OpenBlob),
}

struct OpenBlob {
    id: BlobId,
    file: File,
    left: u64,
}

impl Sending {
    /// Returns the next piece, which is never empty; none at the end.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            match std::mem::replace(&mut self.at, At::Between) {
                At::Between => match self.segments.next() {
                    None => return Ok(None),
                    Some(Segment::Text(text)) => self.at = At::Text(text.into()),
                    Some(Segment::Base64(id, bytes)) => {
                        let (piece, blob) = self.open(id, bytes).await?;
                        self.at = At::Blob(blob);
                        if !piece.is_empty() {
                            return Ok(Some(piece));
                        }
                    }
                },
                At::Text(text) if text.is_empty() => {}
                At::Text(mut text) => {
                    let piece = text.split_to(text.len().min(SENT));
                    self.at = At::Text(text);
                    return Ok(Some(piece));
                }
                At::Blob(blob) if blob.left == 0 => {}
                At::Blob(blob) => {
                    let (piece, blob) = blocking(move || blob.read(READ)).await?;
                    self.at = At::Blob(blob);
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// Opens a blob and reads its first piece, so that a small one takes a single turn of a thread that may block.
    async fn open(&self, id: BlobId, bytes: u64) -> Result<(Bytes, OpenBlob), BlobError> {
        let path = self.blobs.checked_path(&id)?;
        blocking(move || {
            let file = File::open(&path).map_err(|source| missing(&id, &path, source))?;
            let found = file.metadata().map_err(|source| missing(&id, &path, source))?.len();
            if found != bytes {
                let why = io::Error::other(format!("blob `{id}` has {found} bytes, the body needs {bytes}"));
                return Err(BlobError::Io { path, cause: why });
            }
            OpenBlob { id, file, left: bytes }.read(READ)
        })
        .await
    }
}

impl OpenBlob {
    /// Reads the next `most` bytes, or what is left, as base64.
    fn read(mut self, most: usize) -> Result<(Bytes, Self), BlobError> {
        let take = usize::try_from(self.left).map_or(most, |left| left.min(most));
        let mut raw = vec![0; take];
        self.file
            .read_exact(&mut raw)
            .map_err(|cause| BlobError::Io { path: format!("blob {}", self.id).into(), cause })?;
        self.left -= take as u64;
        Ok((STANDARD.encode(raw).into(), self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;
    use std::fmt::Write;

    #[tokio::test]
    async fn a_body_is_its_text_and_the_base64_of_each_whole_blob() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        let mut segments = vec![Segment::Text(r#"{"images":["#.into())];
        let mut expected = String::from(r#"{"images":["#);
        for size in [0, 1, 2, 3, 4, READ - 1, READ, READ + 1, 3 * READ, 1_000_003] {
            let bytes: Vec<u8> = (0..=252).cycle().take(size).collect();
            write!(expected, "{}|", STANDARD.encode(&bytes)).unwrap();
            let (id, size) = blobs.put(bytes.into()).await.unwrap();
            segments.push(Segment::Base64(id, size));
            segments.push(Segment::Text("|".into()));
        }
        segments.push(Segment::Text(String::new()));
        segments.push(Segment::Text("ü".repeat(100_000)));
        expected += &"ü".repeat(100_000);
        let body = FrozenBody { segments };
        let length = body.content_length();
        let pieces: Vec<Bytes> = body_stream(Arc::clone(&blobs), body.clone()).try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= SENT));
        assert_eq!(pieces.concat(), expected.as_bytes());
        assert_eq!(length, expected.len() as u64);
        let again: Vec<Bytes> = body_stream(blobs, body).try_collect().await.unwrap();
        assert_eq!(again.concat(), expected.as_bytes());
    }

    #[tokio::test]
    async fn a_missing_blob_ends_the_body_with_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        let absent = BlobId("cd".repeat(32));
        let body = FrozenBody { segments: vec![Segment::Text("[".into()), Segment::Base64(absent.clone(), 5)] };
        let mut stream = Box::pin(body_stream(blobs, body));
        assert_eq!(stream.try_next().await.unwrap().unwrap(), "[");
        let error = stream.try_next().await.unwrap_err();
        assert!(error.to_string().contains(absent.as_str()), "{error}");
        assert!(stream.try_next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_blob_of_another_size_than_the_body_says_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        let (id, _) = blobs.put(Bytes::from_static(b"four")).await.unwrap();
        for wrong in [3, 5] {
            let body = FrozenBody { segments: vec![Segment::Base64(id.clone(), wrong)] };
            let sent: io::Result<Vec<Bytes>> = body_stream(Arc::clone(&blobs), body).try_collect().await;
            assert!(sent.unwrap_err().to_string().contains("cannot be read"));
        }
    }
}
