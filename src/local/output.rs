//! Reads what a process writes, for as long as it writes: into the tail, and into a file that does not grow without end.

use super::tail::{Cutter, Tail};
use crate::lifecycle::Lifecycle;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How large the file becomes before it is put aside for a new one.
const FILE_BYTES: u64 = 16 << 20;

/// What a process writes, in both of its streams.
#[derive(Clone, Debug)]
pub(super) struct Output {
    tail: Arc<Mutex<Tail>>,
    file: Arc<tokio::sync::Mutex<Option<LogFile>>>,
    /// Whoever reads stops.
    enough: CancellationToken,
}

/// Tells when a stream has been read to its end.
#[derive(Debug)]
pub(super) struct Drained(CancellationToken);

impl Drained {
    /// Ends when nothing more is read.
    pub(super) async fn wait(&self) {
        self.0.cancelled().await;
    }
}

impl Output {
    /// Begins with nothing read; what comes is written to the file at `path` too.
    pub(super) async fn open(path: Option<&Path>) -> Self {
        let file = match path {
            None => None,
            Some(path) => LogFile::begin(path).await,
        };
        let file = Arc::new(tokio::sync::Mutex::new(file));
        Self { tail: Arc::default(), file, enough: CancellationToken::new() }
    }

    /// Reads a stream until its end, or until it is enough.
    pub(super) fn read(&self, stream: impl AsyncRead + Send + Unpin + 'static, lifecycle: &Lifecycle) -> Drained {
        let drained = CancellationToken::new();
        let (output, end, stop) = (self.clone(), drained.clone().drop_guard(), lifecycle.stop());
        lifecycle.spawn("comfyui output", async move {
            let _end = end;
            let enough = output.enough.clone();
            // What outlives everything may keep the stream open.
            tokio::select! {
                () = output.follow(stream) => {}
                () = enough.cancelled() => {}
                () = stop.cancelled() => {}
            }
        });
        Drained(drained)
    }

    /// Returns the last lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }

    /// Returns the last line.
    pub(super) fn last(&self) -> Option<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).last().map(str::to_owned)
    }

    /// Ends the reading.
    pub(super) fn enough(&self) {
        self.enough.cancel();
    }

    async fn follow(&self, mut stream: impl AsyncRead + Unpin) {
        let mut cutter = Cutter::default();
        let mut piece = vec![0; 8 << 10];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            let bytes = piece.get(..length).unwrap_or_default();
            cutter.feed(bytes, &mut self.tail.lock().unwrap_or_else(PoisonError::into_inner));
            self.write(bytes).await;
        }
        cutter.end(&mut self.tail.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn write(&self, bytes: &[u8]) {
        let mut file = self.file.lock().await;
        let Some(open) = file.as_mut() else { return };
        if let Err(error) = open.write(bytes).await {
            warn!(%error, "what ComfyUI writes is not kept in its file any more");
            *file = None;
        }
    }
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Begins a new file; the one before is kept under another name.
    async fn begin(path: &Path) -> Option<Self> {
        match Self::make(path).await {
            Ok(file) => Some(Self { path: path.to_owned(), file, bytes: 0 }),
            Err(error) => {
                warn!(path = %path.display(), %error, "what ComfyUI writes is not kept in a file");
                None
            }
        }
    }

    async fn make(path: &Path) -> std::io::Result<File> {
        // It may not be there.
        let _ = tokio::fs::rename(path, path.with_extension("log.1")).await;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        options.mode(0o600);
        options.open(path).await
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.bytes > FILE_BYTES {
            self.file = Self::make(&self.path).await?;
            self.bytes = 0;
        }
        self.file.write_all(bytes).await?;
        self.file.flush().await?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
