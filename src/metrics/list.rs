//! Every metric on one screen: its name as a query has it, what it is, its labels, and what it says.

/// A metric with so many labels.
#[derive(Debug)]
pub(super) struct Metric<const N: usize> {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: [&'static str; N],
    pub(super) help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often there were values up to each bound.
    Histogram,
}

/// A metric, for those who tell of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name in a query; for a histogram without `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What its rows differ by.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl Kind {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Declares the metrics and the list of them, so that none is missing in it.
macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal,)*) => {
        $(pub(super) const $constant: Metric<{ <[&str]>::len(&[$($label),*]) }> =
            Metric { name: $name, kind: Kind::$kind, labels: [$($label),*], help: $help };)*

        /// Every metric, in the order in which they are told.
        pub const METRICS: &[Listed] =
            &[$(Listed { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help }),*];
    };
}

metrics! {
    JOBS_ACCEPTED: Counter "comfygate_jobs_accepted_total" [] "Jobs taken in",
    JOBS_REFUSED: Counter "comfygate_jobs_refused_total" ["reason"] "Requests for a job that were refused, by the code of the answer",
    JOBS_ENDED: Counter "comfygate_jobs_ended_total" ["workflow", "status", "code"] "Jobs that have ended, by how they did",
    OUTPUTS: Counter "comfygate_outputs_total" [] "Outputs that jobs have ended with",
    OUTPUT_BYTES: Counter "comfygate_output_bytes_total" [] "Bytes of those outputs",
    QUEUE_JOBS: Gauge "comfygate_queue_jobs" ["state"] "Jobs that have not ended: waiting for a backend, or on one",
    QUEUE_OLDEST: Gauge "comfygate_queue_oldest_seconds" [] "How long the oldest waiting job has waited, 0 where none waits",
    QUEUE_WAITING: Gauge "comfygate_queue_waiting_jobs" ["why"] "Waiting jobs that dispatch knows of, by why they wait",
    QUEUE_PAUSED: Gauge "comfygate_queue_paused" [] "1 while no job is given to any backend",
    QUEUE_WAIT: Histogram "comfygate_queue_wait_seconds" [] "From a job's being taken in until its first run began to execute",
    RUNS: Counter "comfygate_runs_total" ["backend", "outcome"] "Runs that are over, by how they were",
    RUN_SECONDS: Histogram "comfygate_run_seconds" ["backend"] "From the moment a run began to execute until it was over",
    MODEL_SWAPS: Counter "comfygate_model_swaps_total" ["backend"] "Runs that began after one of a graph of another structure there",
    CACHED_NODES: Counter "comfygate_cached_nodes_total" ["backend"] "Nodes that did not run, since their results were there",
    EXECUTED_NODES: Counter "comfygate_executed_nodes_total" ["backend"] "Nodes that began to run",
    NOISE: Counter "comfygate_backend_noise_total" ["backend"] "Frames of its socket that were passed over: unknown, cut or unreadable",
    BACKENDS: Gauge "comfygate_backends" [] "Backends that there are, however they are",
    BACKEND_UP: Gauge "comfygate_backend_up" ["backend"] "1 while there is a socket to it and it answers",
    BACKEND_STANDING: Gauge "comfygate_backend_standing" ["backend", "state"] "1 for how it is all in all, 0 for all that it is not",
    BACKEND_SOCKET: Gauge "comfygate_backend_socket" ["backend", "state"] "1 for how its socket is, 0 for all that it is not",
    BACKEND_MISSES: Gauge "comfygate_backend_probe_misses" ["backend"] "Questions in a row that it left without an answer",
    BACKEND_PROBE: Gauge "comfygate_backend_probe_seconds" ["backend"] "How long its last answer took",
    BACKEND_PROMPTS: Gauge "comfygate_backend_prompts" ["backend"] "Prompts that it holds for the gateway",
    BACKEND_FOREIGN: Gauge "comfygate_backend_foreign_prompts" ["backend"] "Prompts of others there, as it said last",
    BACKEND_SLOTS: Gauge "comfygate_backend_slots" ["backend"] "Prompts that it runs at once",
    BACKEND_DRAINING: Gauge "comfygate_backend_draining" ["backend"] "1 while it ends what it has and gets no more",
    BACKEND_BLOCKED: Gauge "comfygate_backend_blocked_structures" ["backend"] "Structures of graphs that it failed, and gets none or one of for a while",
    BACKEND_VRAM: Gauge "comfygate_backend_vram_bytes" ["backend", "device"] "Memory of a device, by its place in the list of them",
    BACKEND_VRAM_FREE: Gauge "comfygate_backend_vram_free_bytes" ["backend", "device"] "How much of it is free",
    BACKEND_CPU: Gauge "comfygate_backend_cpu_ratio" ["backend"] "How busy its processors are, from 0 to 1, as its agent tells",
    BACKEND_MEMORY: Gauge "comfygate_backend_memory_bytes" ["backend"] "Memory of its machine, as its agent tells",
    BACKEND_MEMORY_USED: Gauge "comfygate_backend_memory_used_bytes" ["backend"] "How much of it is taken",
    GPU_BUSY: Gauge "comfygate_backend_gpu_utilization_ratio" ["backend", "gpu"] "How busy a GPU is, from 0 to 1, as its agent tells",
    GPU_MEMORY: Gauge "comfygate_backend_gpu_memory_bytes" ["backend", "gpu"] "Memory of a GPU, as its agent tells",
    GPU_MEMORY_USED: Gauge "comfygate_backend_gpu_memory_used_bytes" ["backend", "gpu"] "How much of it is taken",
    GPU_CELSIUS: Gauge "comfygate_backend_gpu_temperature_celsius" ["backend", "gpu"] "How hot a GPU is, as its agent tells",
    BACKEND_EVENTS: Counter "comfygate_backend_events_total" ["backend", "event"] "What happened to it",
    DELIVERIES: Counter "comfygate_deliveries_total" ["outcome"] "Webhooks that have ended, by how they did",
    DELIVERIES_PENDING: Gauge "comfygate_deliveries_pending" [] "Webhooks that have not arrived and are not given up",
    DELIVERY_ATTEMPTS: Counter "comfygate_delivery_attempts_total" ["answer"] "Calls of receivers, by their answers",
    DELIVERY_ATTEMPT: Histogram "comfygate_delivery_attempt_seconds" [] "How long a call of a receiver took",
    DELIVERY_LAG: Histogram "comfygate_delivery_first_attempt_seconds" [] "From a job's end until the first call of its receiver",
    HOSTS_DOWN: Gauge "comfygate_webhook_hosts_down" [] "Hosts of receivers that do not answer and are left alone for a while",
    COMMIT_JOBS: Histogram "comfygate_store_commit_writes" [] "How many writes one transaction of the store had",
    COMMIT_SECONDS: Histogram "comfygate_store_commit_seconds" [] "How long a transaction of the store took, its writes and the sync of the disk included",
    STORE_BYTES: Gauge "comfygate_store_bytes" ["file"] "How large the database is, and its log, which is folded in when nothing is written",
    HTTP_REQUESTS: Counter "comfygate_http_requests_total" ["route", "method", "status"] "Requests answered, by route and class of the status",
    HTTP_SECONDS: Histogram "comfygate_http_request_seconds" ["route"] "From the head of a request until the head of its answer",
    LISTENERS: Gauge "comfygate_listeners" [] "Streams of events that are open",
    LISTENERS_CUT: Counter "comfygate_listeners_cut_off_total" [] "Streams that were ended since their listeners could not follow",
    PARTNER_KEYS: Gauge "comfygate_partner_keys" [] "Keys of callers for partner nodes that are held in memory",
    PANICS: Counter "comfygate_panics_total" [] "Panics that were contained: please report them",
    BUILD_INFO: Gauge "comfygate_build_info" ["version"] "1, with the version of this gateway",
    START_TIME: Gauge "process_start_time_seconds" [] "When the gateway started, in seconds since 1970",
    CPU_SECONDS: Counter "process_cpu_seconds_total" [] "Processor time, the system's for it included",
    MEMORY: Gauge "process_resident_memory_bytes" [] "Memory in use",
    OPEN_FILES: Gauge "process_open_fds" [] "Open files and sockets",
    MOST_FILES: Gauge "process_max_fds" [] "How many there may be",
}
