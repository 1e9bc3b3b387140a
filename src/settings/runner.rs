//! The remote control of one workflow in memory: which workflow, on which ports, and who writes prompts for it.

use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// The remote control.
#[derive(Clone, PartialEq, Debug)]
pub struct RunnerSettings {
    /// Where it listens besides, for its calls alone.
    pub address: Option<SocketAddr>,
    /// Where it listens besides, for those who only hear.
    pub ws_address: Option<SocketAddr>,
    /// The workflow that it runs; none for the one of requests that name none.
    pub workflow: Option<String>,
    /// The section of its mapping in which names of nodes are looked for first.
    pub section: Option<String>,
    /// The service that writes prompts.
    pub prompt_url: Option<Url>,
    /// How long that may take.
    pub prompt_timeout: Duration,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            address: None,
            ws_address: None,
            workflow: None,
            section: None,
            prompt_url: None,
            prompt_timeout: Duration::from_mins(1),
        }
    }
}
