//! The data folder that a command works in itself, whether a gateway runs there or not.

use super::SettingArgs;
use clap::Args;
use std::path::{Path, PathBuf};

/// Which folder, and how the answer is written.
#[derive(Args, Debug)]
pub(super) struct DataArgs {
    /// The data folder, instead of that of the settings.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl DataArgs {
    /// Returns the folder.
    pub(super) fn folder(&self) -> anyhow::Result<PathBuf> {
        folder(self.data.as_deref())
    }
}

/// Returns the folder that was named, else that of the settings.
pub(super) fn folder(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    match named {
        Some(folder) => Ok(folder.to_owned()),
        None => Ok(SettingArgs::default().load()?.storage.folder),
    }
}
