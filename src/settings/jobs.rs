//! What jobs are made of, how long and how large they may be, and where they are kept.

use crate::job::Limits;
use std::path::PathBuf;
use std::time::Duration;

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
