//! What the gateway can be told, and by whom: command line, environment, `.env`, `comfygate.yaml`, default, in this
//! order. Every problem of every source is found at once; what the settings mean is left to the stations.

mod backends;
mod callers;
mod docs;
mod dotenv;
mod egress;
mod error;
mod file;
mod jobs;
mod load;
mod local;
mod parse;
mod process;
mod results;
mod runner;
mod server;
mod table;

pub use backends::{BackendSettings, Said};
pub use callers::{CallerSettings, Rate, RateChoice};
pub use docs::{env_example, reference};
pub use egress::{EgressMode, EgressSettings, HostPattern, NEVER_CALLED};
pub use error::{Place, Problem, SettingsError};
pub use file::says_nothing;
pub use jobs::{InputSettings, LimitSettings, StorageSettings, WorkflowSettings};
pub use load::{FileChoice, Sources, process_environment};
pub use local::LocalSettings;
pub use process::{LogFormat, LogSettings, ShutdownSettings};
pub use results::{OutputSettings, WebhookSettings};
pub use runner::RunnerSettings;
pub use server::{AccessSettings, KeyMode, ServerSettings};
pub use table::{SETTINGS, Setting};

use std::path::PathBuf;
use std::time::Duration;

/// Everything that the gateway can be told.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    /// The HTTP server.
    pub server: ServerSettings,
    /// Who may call it.
    pub access: AccessSettings,
    /// How much callers may ask for.
    pub callers: CallerSettings,
    /// The ComfyUI servers.
    pub backends: BackendSettings,
    /// A ComfyUI that the gateway starts itself.
    pub local: LocalSettings,
    /// Where jobs and outputs are kept.
    pub storage: StorageSettings,
    /// The images that jobs work on.
    pub inputs: InputSettings,
    /// Where workflows are found.
    pub workflows: WorkflowSettings,
    /// The remote control of one workflow.
    pub runner: RunnerSettings,
    /// How long and how large a job may be.
    pub limits: LimitSettings,
    /// In which form outputs leave the gateway.
    pub outputs: OutputSettings,
    /// How webhooks are delivered.
    pub webhooks: WebhookSettings,
    /// Where calls may go whose URL came from a caller.
    pub egress: EgressSettings,
    /// What is logged, and how.
    pub logging: LogSettings,
    /// How the gateway ends.
    pub shutdown: ShutdownSettings,
}

impl Settings {
    /// Reads every source; where they disagree, the command line goes before the environment, before `.env`, before
    /// `comfygate.yaml`, before the defaults. Lists every problem of every source where there is one.
    pub fn load<E: IntoIterator<Item = (String, String)>>(sources: Sources<E>) -> Result<Self, SettingsError> {
        load::load(sources)
    }

    /// Returns how long links hold: never longer than what they lead to is kept.
    pub fn link_lifetime(&self) -> Duration {
        let lifetime = self.outputs.link_lifetime;
        self.storage.retention.map_or(lifetime, |retention| lifetime.min(retention))
    }

    /// Returns settings for a gateway inside a test: any free port, its data below `folder`.
    pub fn for_tests(folder: impl Into<PathBuf>) -> Self {
        let mut settings = Self::default();
        settings.server.address.set_port(0);
        settings.storage.folder = folder.into();
        settings.shutdown.grace = Duration::from_secs(1);
        settings
    }
}

#[cfg(test)]
mod tests;
