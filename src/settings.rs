//! What the gateway can be told, and by whom: command line, environment, `.env`, `comfygate.yaml`, default, in this
//! order. Every problem of every source is found at once; what the settings mean is left to the stations.

mod callers;
mod docs;
mod dotenv;
mod egress;
mod error;
mod file;
mod load;
mod local;
mod parse;
mod table;

pub use callers::{CallerSettings, Rate, RateChoice};
pub use docs::{env_example, reference};
pub use egress::{EgressMode, EgressSettings, HostPattern, NEVER_CALLED};
pub use error::{Place, Problem, SettingsError};
pub use load::{FileChoice, Sources, process_environment};
pub use local::LocalSettings;
pub use table::{SETTINGS, Setting};

use crate::job::{DeliveryMode, Limits};
use crate::secret::Secret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

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

/// The HTTP server.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Other machines may reach it although no key is asked for.
    pub allow_open: bool,
    /// What callers write before `/jobs/..`, without a slash at the end; none means `http://` and the address.
    pub public_url: Option<String>,
    /// The largest request body in bytes.
    pub max_body: u64,
    /// How many connections one address may have open; 0 for any number.
    pub connections_per_address: usize,
}

impl ServerSettings {
    /// Returns the start of every link that the gateway hands out, given where the server really listens.
    pub fn link_base(&self, bound: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{bound}"))
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8083),
            allow_open: false,
            public_url: None,
            max_body: 1 << 20,
            connections_per_address: 256,
        }
    }
}

/// Who may call the gateway.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AccessSettings {
    /// Whether callers must show a key.
    pub keys: KeyMode,
    /// A key of the operator's that is not in the store.
    pub admin_key: Option<Secret>,
    /// The same, as it stood in a file.
    pub admin_key_file: Option<Secret>,
    /// What commands that ask a running gateway show it.
    pub key: Option<Secret>,
}

impl AccessSettings {
    /// Returns the operator's key, wherever it was said.
    pub fn operators_key(&self) -> Option<&Secret> {
        self.admin_key.as_ref().or(self.admin_key_file.as_ref())
    }

    /// Says whether callers must show a key where the gateway listens at `bound`.
    pub fn require_keys(&self, bound: SocketAddr) -> bool {
        match self.keys {
            KeyMode::Auto => !bound.ip().is_loopback(),
            KeyMode::Required => true,
            KeyMode::Off => false,
        }
    }
}

/// Whether callers must show a key. One that is shown is checked in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyMode {
    /// Where other machines can reach the gateway.
    #[default]
    Auto,
    /// Always.
    Required,
    /// Never.
    Off,
}

/// The ComfyUI servers.
#[derive(Clone, PartialEq, Debug)]
pub struct BackendSettings {
    /// Their base URLs, each only once.
    pub addresses: Vec<Url>,
    /// How many prompts are kept on each of them at once, the running one included.
    pub queue: usize,
    /// How often each of them is asked which nodes and models it has.
    pub object_info_every: Duration,
    /// What all of them are shown as a bearer token.
    pub token: Option<Secret>,
    /// The same, as it stood in a file.
    pub token_file: Option<Secret>,
    /// What partner nodes are given for jobs that bring no key of their own.
    pub partner_key: Option<Secret>,
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
            queue: 2,
            object_info_every: Duration::from_mins(5),
            token: None,
            token_file: None,
            partner_key: None,
        }
    }
}

/// Where jobs and outputs are kept.
#[derive(Clone, PartialEq, Debug)]
pub struct StorageSettings {
    /// The folder of the database and the outputs; made where it is missing.
    pub folder: PathBuf,
    /// How long a job is kept after its end; none means for ever.
    pub retention: Option<Duration>,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self { folder: PathBuf::from("./data"), retention: Some(Duration::from_hours(7 * 24)) }
    }
}

/// The images that jobs work on.
#[derive(Clone, PartialEq, Debug)]
pub struct InputSettings {
    /// The most bytes of one.
    pub max_upload: u64,
    /// The most pixels of one.
    pub max_pixels: u64,
    /// How long an upload is kept after it was last used.
    pub upload_life: Duration,
    /// The most bytes that the uploads of one tenant may have together.
    pub upload_space: u64,
    /// How long fetching one may take.
    pub fetch_timeout: Duration,
    /// How long bringing an image to a backend may take, besides the time for its bytes.
    pub bring_timeout: Duration,
}

impl Default for InputSettings {
    fn default() -> Self {
        Self {
            max_upload: 32 << 20,
            max_pixels: 100_000_000,
            upload_life: Duration::from_hours(24),
            upload_space: 1 << 30,
            fetch_timeout: Duration::from_secs(30),
            bring_timeout: Duration::from_mins(1),
        }
    }
}

/// Where workflows are found.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkflowSettings {
    /// The workflow of a request that names none.
    pub default: String,
    /// The folder of the mappings, `<name>.yaml`.
    pub configs: PathBuf,
    /// The folder of the graphs, `<name>.json`.
    pub templates: PathBuf,
    /// Whether a request may bring a graph instead of a workflow's name.
    pub raw_graphs: bool,
    /// How often the folders are looked at; a change counts when two looks have found the same. Only tests change it.
    pub look_every: Duration,
}

impl Default for WorkflowSettings {
    fn default() -> Self {
        Self {
            default: "starter".into(),
            configs: PathBuf::from("./configs"),
            templates: PathBuf::from("./templates"),
            raw_graphs: false,
            look_every: Duration::from_millis(750),
        }
    }
}

/// How long and how large a job may be.
#[derive(Clone, PartialEq, Debug)]
pub struct LimitSettings {
    /// The limits of a job whose workflow and request say nothing.
    pub usual: Limits,
    /// The longest limits that a workflow or a request may ask for.
    pub most: Limits,
    /// How often a job may be tried before it fails.
    pub max_runs: u32,
    /// How many jobs of one tenant may be on backends at once; 0 for any number.
    pub running_per_tenant: usize,
    /// The largest single output in bytes.
    pub max_output: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            usual: Limits {
                queue: Duration::from_hours(1),
                start: Duration::from_mins(5),
                silence: Duration::from_mins(2),
                run: Duration::from_mins(30),
            },
            most: Limits {
                queue: Duration::from_hours(24),
                start: Duration::from_hours(1),
                silence: Duration::from_hours(1),
                run: Duration::from_hours(24),
            },
            max_runs: 3,
            running_per_tenant: 0,
            max_output: 256 << 20,
        }
    }
}

/// In which form outputs leave the gateway.
#[derive(Clone, PartialEq, Debug)]
pub struct OutputSettings {
    /// How images reach the receiver of a job that does not say it.
    pub delivery: DeliveryMode,
    /// The most bytes that a body with images may have.
    pub inline_max: u64,
    /// How long links hold; [`Settings::link_lifetime`] is what counts.
    pub link_lifetime: Duration,
    /// Whether files of a job that does not say it are freed of what is not their content.
    pub strip_metadata: bool,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            delivery: DeliveryMode::Inline,
            inline_max: 32 << 20,
            link_lifetime: Duration::from_hours(7 * 24),
            strip_metadata: false,
        }
    }
}

/// How webhooks are delivered.
#[derive(Clone, PartialEq, Debug)]
pub struct WebhookSettings {
    /// The waits between the attempts; one attempt more than there are waits.
    pub schedule: Vec<Duration>,
    /// The limit for reaching a receiver.
    pub connect_timeout: Duration,
    /// The limit for a whole attempt; every MiB of body adds a second.
    pub attempt_timeout: Duration,
    /// How many attempts may be under way.
    pub concurrency: usize,
    /// How many attempts may be under way to one host.
    pub per_host: usize,
    /// How many bytes of memory those under way may take together.
    pub memory: u64,
    /// Refuse `webhook_url`s that are not `https`.
    pub https_only: bool,
    /// Sign webhooks.
    pub signing: bool,
    /// Sign them with Ed25519 too.
    pub ed25519: bool,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        let mut schedule = vec![Duration::from_secs(5), Duration::from_mins(5), Duration::from_mins(30)];
        schedule.extend([2, 5, 10, 14, 20, 24].map(Duration::from_hours));
        Self {
            schedule,
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(30),
            concurrency: 32,
            per_host: 4,
            memory: 64 << 20,
            https_only: false,
            signing: true,
            ed25519: false,
        }
    }
}

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
