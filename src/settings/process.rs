//! What the process logs, and how it ends.

use std::time::Duration;

/// What is logged, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct LogSettings {
    /// The filter, such as `info` or `info,comfygate::notifier=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Human }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For eyes.
    Human,
    /// One JSON object a line.
    Json,
}

/// How the gateway ends.
#[derive(Clone, PartialEq, Debug)]
pub struct ShutdownSettings {
    /// How long what is under way may go on after the signal to stop.
    pub grace: Duration,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30) }
    }
}
