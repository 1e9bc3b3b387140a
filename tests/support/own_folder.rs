//! A folder for one test, gone with it, whatever still runs in it.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How often its removal is tried; a few milliseconds are enough, unless the machine stands still.
const TRIES: u32 = 2_000;

/// A folder that is removed with all that is in it. What has just been told to end may still make a file there, such as
/// the log of a database, while the others are being removed: then it is done again.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            match std::fs::remove_dir_all(self.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => std::thread::sleep(Duration::from_millis(5)),
                Ok(()) | Err(_) => return,
            }
        }
    }
}
