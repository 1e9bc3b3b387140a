//! The ComfyUI servers, and what they are shown.

use super::parse;
use crate::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The ComfyUI servers.
#[derive(Clone, PartialEq, Debug)]
pub struct BackendSettings {
    /// Their base URLs, each only once.
    pub addresses: Vec<Url>,
    /// Whether somebody has named them.
    pub are_named: Said,
    /// The file that defines further ones.
    pub file: Option<PathBuf>,
    /// How many prompts are kept on each of them at once, the running one included.
    pub queue: usize,
    /// How often each of them is asked which nodes and models it has.
    pub object_info_every: Duration,
    /// How often each of them is asked how it is.
    pub health_every: Duration,
    /// How often the metrics agent of each of them is asked how busy its machine is; none where agents are not asked.
    pub agent_every: Option<Duration>,
    /// After how many failures in a row one is given no more graphs of that structure for a while; 0 for never.
    pub block_after: u32,
    /// How long a job that none of them can run waits for one that may join.
    pub wait_for_others: Duration,
    /// What all of them are shown as a bearer token.
    pub token: Option<Secret>,
    /// The same, as it stood in a file.
    pub token_file: Option<Secret>,
    /// The file that says how all of them are reached: credentials, proxy, TLS.
    pub route_file: Option<PathBuf>,
    /// What partner nodes are given for jobs that bring no key of their own.
    pub partner_key: Option<Secret>,
}

/// Whether somebody has said something. What was said is the same whoever said it, so this makes no settings differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said(pub bool);

impl PartialEq for Said {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl BackendSettings {
    /// Returns the bearer token, wherever it was said.
    pub fn bearer(&self) -> Option<&Secret> {
        self.token.as_ref().or(self.token_file.as_ref())
    }
}

impl Default for BackendSettings {
    fn default() -> Self {
        Self {
            addresses: vec![parse::backend("http://127.0.0.1:8188").expect("a URL by its text")],
            are_named: Said(false),
            file: None,
            queue: 2,
            object_info_every: Duration::from_mins(5),
            health_every: Duration::from_secs(30),
            agent_every: Some(Duration::from_secs(15)),
            block_after: 1,
            wait_for_others: Duration::ZERO,
            token: None,
            token_file: None,
            route_file: None,
            partner_key: None,
        }
    }
}
