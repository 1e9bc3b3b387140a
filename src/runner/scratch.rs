//! A folder of its own for one life of a runner, gone with it.

use super::error::OutputError;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A folder that is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder where the system has its temporary files; nobody else can read it.
    pub(super) fn make() -> Result<Self, OutputError> {
        let path = std::env::temp_dir().join(format!("comfygate-run-{}", Uuid::new_v4().simple()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| OutputError { path: path.clone(), reason: error.to_string() })?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clear, as all in this place.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
