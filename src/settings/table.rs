//! The one table of all settings: environment, command line, `comfygate.yaml`, `.env.example` and the documentation
//! are read from it. How a value is read is left to `parse`.

use super::{Said, Settings, callers, egress, local, parse};

/// One thing that the gateway can be told.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// An older name of the variable that still works.
    pub alias: Option<&'static str>,
    /// The section and the key of `comfygate.yaml`, with a dot between.
    pub path: &'static str,
    /// The default as one would write it; empty where there is none.
    pub default: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// What may be written.
    pub allowed: &'static str,
    /// Whether `comfygate.yaml` may give a list instead of commas.
    pub list: bool,
    /// Whether the value must not be repeated, to nobody.
    pub secret: bool,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// Returns the key that stands for this setting outside of any section, and on the command line.
    pub fn flat_key(&self) -> String {
        self.name.strip_prefix("COMFYGATE_").unwrap_or(self.name).to_lowercase()
    }

    /// Finds a setting by its variable, alias, `section.key` or flat key.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| {
            setting.name == name || setting.alias == Some(name) || setting.flat_key() == name || setting.path == name
        })
    }

    /// Returns the section of `comfygate.yaml` and the key in it.
    pub fn section_and_key(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    const fn also(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn list(mut self) -> Self {
        self.list = true;
        self
    }
}

const DURATION: &str = "a duration such as 500ms, 30s, 5m or 1h30m";
const INTERVAL: &str = "a duration of at least 1s, such as 30s, 5m or 1h";
const SIZE: &str = "a size such as 512KiB, 64MiB or 1GiB";
const SWITCH: &str = "true or false";

/// Every setting, in the order in which they are documented.
pub const SETTINGS: &[Setting] = &[
    setting(
        "COMFYGATE_ADDRESS",
        "server.address",
        "127.0.0.1:8083",
        "Where the gateway listens; without a host it is 127.0.0.1. Where other machines can reach it, callers need a key.",
        "an address with a port, such as 127.0.0.1:8083, [::1]:8083 or :8083",
        |settings, text| put(&mut settings.server.address, parse::address(text)),
    )
    .also("COMFYLITE_ADDRESS"),
    setting(
        "COMFYGATE_ALLOW_OPEN",
        "server.allow_open",
        "false",
        "Allows an address that other machines can reach although COMFYGATE_KEYS is off.",
        SWITCH,
        |settings, text| put(&mut settings.server.allow_open, parse::switch(text)),
    ),
    setting(
        "COMFYGATE_PUBLIC_URL",
        "server.public_url",
        "",
        "What links in answers and webhooks begin with; without it, http:// and the address.",
        "an http or https URL",
        |settings, text| put(&mut settings.server.public_url, parse::public_url(text).map(Some)),
    ),
    setting(
        "COMFYGATE_MAX_BODY",
        "server.max_body",
        "1MiB",
        "The largest request body; a larger one is answered with 413.",
        SIZE,
        |settings, text| put(&mut settings.server.max_body, parse::size(text)),
    ),
    setting(
        "COMFYGATE_MAX_UPLOAD",
        "inputs.max_upload",
        "32MiB",
        "The largest image that a job may work on, whether it is uploaded, fetched or part of the request.",
        SIZE,
        |settings, text| put(&mut settings.inputs.max_upload, parse::size(text)),
    ),
    setting(
        "COMFYGATE_MAX_PIXELS",
        "inputs.max_pixels",
        "100000000",
        "The most pixels, width times height, of such an image; of one that moves, those of all its frames together.",
        "a whole number from 1 to 10000000000",
        |settings, text| put(&mut settings.inputs.max_pixels, parse::whole(text, 1, 10_000_000_000)),
    ),
    setting(
        "COMFYGATE_UPLOAD_LIFE",
        "inputs.upload_life",
        "24h",
        "How long an upload is kept after it was last used; jobs that work on it keep it as long as they need.",
        DURATION,
        |settings, text| put(&mut settings.inputs.upload_life, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_UPLOAD_SPACE",
        "inputs.upload_space",
        "1GiB",
        "How much space the uploads of one tenant may take.",
        SIZE,
        |settings, text| put(&mut settings.inputs.upload_space, parse::size(text)),
    ),
    setting(
        "COMFYGATE_FETCH_TIMEOUT",
        "inputs.fetch_timeout",
        "30s",
        "How long fetching an image from a URL may take; all those of a request together twice as long.",
        DURATION,
        |settings, text| put(&mut settings.inputs.fetch_timeout, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_BRING_TIMEOUT",
        "inputs.bring_timeout",
        "1m",
        "How long bringing an image to a ComfyUI may take, besides a second for each 128 KiB of it.",
        DURATION,
        |settings, text| put(&mut settings.inputs.bring_timeout, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_KEYS",
        "access.keys",
        "auto",
        "Whether callers must show an API key; auto: where other machines can reach the gateway. One that is shown is always checked.",
        "auto, required or off",
        |settings, text| put(&mut settings.access.keys, parse::key_mode(text)),
    ),
    setting(
        "COMFYGATE_ADMIN_KEY",
        "access.admin_key",
        "",
        "A key with the scope admin that is not in the database, to begin with where nobody can run commands.",
        "32 to 200 visible ASCII characters drawn by chance, such as the output of openssl rand -hex 32",
        |settings, text| put(&mut settings.access.admin_key, parse::admin_key(text).map(Some)),
    )
    .secret(),
    setting(
        "COMFYGATE_ADMIN_KEY_FILE",
        "access.admin_key_file",
        "",
        "The file in which that key stands, instead of the key itself.",
        "a file with such a key in its first line",
        |settings, text| put(&mut settings.access.admin_key_file, parse::admin_key_file(text).map(Some)),
    )
    .secret(),
    setting(
        "COMFYGATE_KEY",
        "access.key",
        "",
        "The API key that comfygate deliveries shows to the gateway; serve does not need it.",
        "a key",
        |settings, text| put(&mut settings.access.key, parse::key(text).map(Some)),
    )
    .secret(),
    setting(
        "COMFYGATE_RATE",
        "callers.rate",
        "",
        "How many requests a caller may send, by key, or by client address where no key is shown; more are answered with 429. Without it each key has 600/m and callers without a key have no limit.",
        "a number for a second, a minute or an hour, such as 10/s, 600/m or 5000/h, or off",
        |settings, text| put(&mut settings.callers.rate, callers::rate(text)),
    ),
    setting(
        "COMFYGATE_MAX_QUEUED",
        "callers.max_queued",
        "100000",
        "How many jobs may wait, of all tenants together; further ones are answered with 503.",
        "a whole number from 1 to 1000000000",
        |settings, text| put(&mut settings.callers.max_queued, parse::whole(text, 1, 1_000_000_000)),
    ),
    setting(
        "COMFYGATE_MAX_QUEUED_PER_TENANT",
        "callers.max_queued_per_tenant",
        "10000",
        "How many jobs of one tenant may wait; further ones are answered with 429.",
        "a whole number from 1 to 1000000000, or off",
        |settings, text| put(&mut settings.callers.max_queued_per_tenant, callers::number_or_off(text)),
    ),
    setting(
        "COMFYGATE_JOBS_PER_DAY",
        "callers.jobs_per_day",
        "off",
        "How many jobs of one tenant are taken in from midnight to midnight UTC; further ones are answered with 429.",
        "a whole number from 1 to 1000000000, or off",
        |settings, text| put(&mut settings.callers.jobs_per_day, callers::number_or_off(text)),
    ),
    setting(
        "COMFYGATE_ALLOWED_ORIGINS",
        "callers.allowed_origins",
        "",
        "The web pages of other origins that may use the gateway from a browser, separated by commas.",
        "origins such as https://app.example or http://localhost:3000",
        |settings, text| put(&mut settings.callers.allowed_origins, callers::origins(text)),
    )
    .list(),
    setting(
        "COMFYGATE_ALLOWED_HOSTS",
        "callers.allowed_hosts",
        "",
        "The names by which requests may call the gateway, separated by commas, besides localhost; without it any, but on a loopback address no other.",
        "names or addresses, with a port or for any, such as gate.example or gate.example:8443",
        |settings, text| put(&mut settings.callers.allowed_hosts, callers::hosts(text)),
    )
    .list(),
    setting(
        "COMFYGATE_MAX_CONNECTIONS_PER_ADDRESS",
        "server.max_connections_per_address",
        "256",
        "How many connections one address may have open, callers behind one proxy together; 0 for any number.",
        "a whole number from 0 to 100000",
        |settings, text| put(&mut settings.server.connections_per_address, parse::whole(text, 0, 100_000)),
    ),
    setting(
        "COMFYGATE_MAX_LISTENERS",
        "server.max_listeners",
        "5000",
        "How many streams of events may be open at once; each is a connection, too.",
        "a whole number from 1 to 100000",
        |settings, text| put(&mut settings.server.max_listeners, parse::whole(text, 1, 100_000)),
    ),
    setting(
        "COMFYGATE_DASHBOARD",
        "server.dashboard",
        "true",
        "Serves the dashboard at `/`. It needs nothing; what it shows it asks for with the key of whoever uses it.",
        SWITCH,
        |settings, text| put(&mut settings.server.dashboard, parse::switch(text)),
    ),
    setting(
        "COMFYUI_ADDRESS",
        "backends.address",
        "http://127.0.0.1:8188",
        "The ComfyUI servers, separated by commas.",
        "http or https URLs, each only once",
        |settings, text| {
            settings.backends.are_named = Said(true);
            put(&mut settings.backends.addresses, parse::backends(text))
        },
    )
    .list(),
    setting(
        "COMFYGATE_BACKENDS_FILE",
        "backends.file",
        "",
        "The file that defines the ComfyUI servers with their names, tags and credentials; with it COMFYUI_ADDRESS has no default, and where it is set both count.",
        "a YAML file with a list of backends",
        |settings, text| put(&mut settings.backends.file, parse::folder(text).map(Some)),
    ),
    setting(
        "COMFYGATE_BACKEND_QUEUE",
        "backends.queue",
        "2",
        "How many prompts are kept on each ComfyUI at once, so that it never waits for the next one.",
        "a whole number from 1 to 1000",
        |settings, text| put(&mut settings.backends.queue, parse::whole(text, 1, 1000)),
    ),
    setting(
        "COMFYGATE_OBJECT_INFO_EVERY",
        "backends.object_info_every",
        "5m",
        "How often each ComfyUI is asked which nodes and models it has, besides when its socket comes up.",
        INTERVAL,
        |settings, text| put(&mut settings.backends.object_info_every, parse::interval(text)),
    ),
    setting(
        "COMFYGATE_HEALTH_EVERY",
        "backends.health_every",
        "30s",
        "How often each ComfyUI is asked how it is. Three questions in a row without an answer, and it gets no jobs until it answers.",
        INTERVAL,
        |settings, text| put(&mut settings.backends.health_every, parse::interval(text)),
    ),
    setting(
        "COMFYGATE_AGENT_EVERY",
        "backends.agent_every",
        "15s",
        "How often the metrics agent of each ComfyUI is asked how busy its machine and GPUs are; a ComfyUI without one is hardly ever asked.",
        "a duration of at least 1s, such as 15s, 1m or 5m; 0 or off to ask none",
        |settings, text| put(&mut settings.backends.agent_every, parse::pace(text)),
    ),
    setting(
        "COMFYGATE_BLOCK_AFTER",
        "backends.block_after",
        "1",
        "After how many failures in a row, such as too little memory, a ComfyUI gets no more graphs of that structure for a while, where another one can run them; 0 for never.",
        "a whole number from 0 to 1000",
        |settings, text| put(&mut settings.backends.block_after, parse::whole(text, 0, 1000)),
    ),
    setting(
        "COMFYGATE_WAIT_FOR_BACKENDS",
        "backends.wait_for_others",
        "0",
        "How long a job that none of the ComfyUI servers can run waits for one that may join; 0 ends it at once.",
        "0, or a duration such as 500ms, 30s, 5m or 1h30m",
        |settings, text| put(&mut settings.backends.wait_for_others, parse::duration_or_none(text)),
    ),
    setting(
        "COMFYUI_TOKEN",
        "backends.token",
        "",
        "What every ComfyUI of COMFYUI_ADDRESS is shown as a bearer token, where something before it asks for one.",
        "1 to 4096 visible ASCII characters",
        |settings, text| put(&mut settings.backends.token, parse::token(text).map(Some)),
    )
    .secret(),
    setting(
        "COMFYUI_TOKEN_FILE",
        "backends.token_file",
        "",
        "The file in which that token stands, instead of the token itself.",
        "a file with such a token in its first line",
        |settings, text| put(&mut settings.backends.token_file, parse::token_file(text).map(Some)),
    )
    .secret(),
    setting(
        "COMFYUI_ROUTE_FILE",
        "backends.route_file",
        "",
        "The file that says how every ComfyUI of COMFYUI_ADDRESS is reached: what it is shown, through which proxy, and how its certificate is judged.",
        "a YAML or JSON file with auth, proxy and tls, each of which may be left out",
        |settings, text| put(&mut settings.backends.route_file, parse::folder(text).map(Some)),
    ),
    setting(
        "COMFY_ORG_API_KEY",
        "backends.partner_key",
        "",
        "The comfy.org API key that partner nodes are given for jobs that bring no api_key_comfy_org of their own, so at your cost.",
        "1 to 512 visible ASCII characters",
        |settings, text| put(&mut settings.backends.partner_key, parse::partner_key(text).map(Some)),
    )
    .secret(),
    setting(
        "COMFYGATE_LOCAL",
        "local_comfyui.enabled",
        "false",
        "Starts the ComfyUI of COMFYUI_HOME beside the gateway, keeps it running, and uses it instead of COMFYUI_ADDRESS.",
        SWITCH,
        |settings, text| put(&mut settings.local.enabled, parse::switch(text)),
    ),
    setting(
        "COMFYUI_HOME",
        "local_comfyui.home",
        "",
        "The folder of the ComfyUI that is started here.",
        "a folder with a main.py",
        |settings, text| put(&mut settings.local.home, parse::folder(text).map(Some)),
    ),
    setting(
        "COMFYUI_PYTHON",
        "local_comfyui.python",
        "",
        "The Python that runs it; without it that of .venv or venv in the folder, or else python3.",
        "a program",
        |settings, text| put(&mut settings.local.python, parse::folder(text).map(Some)),
    ),
    setting(
        "COMFYUI_ARGS",
        "local_comfyui.args",
        "",
        "What is added to its command line, split into words as a shell does.",
        "words such as --cpu --output-directory '/my pictures', without --port and --listen",
        |settings, text| put(&mut settings.local.args, local::args(text)),
    ),
    setting(
        "COMFY_PORT",
        "local_comfyui.port",
        "",
        "The port on which it listens; without it one that is free.",
        "a whole number from 1 to 65535",
        |settings, text| put(&mut settings.local.port, parse::whole(text, 1, 65535).map(Some)),
    ),
    setting(
        "COMFY_LISTEN",
        "local_comfyui.listen",
        "127.0.0.1",
        "The address on which it listens; ComfyUI asks nobody for a key, so leave it at 127.0.0.1.",
        "an address such as 127.0.0.1 or 0.0.0.0",
        |settings, text| put(&mut settings.local.listen, local::listen(text)),
    ),
    setting(
        "COMFYUI_READY_WITHIN",
        "local_comfyui.ready_within",
        "5m",
        "How long it may take from its start until it answers; then it is ended and started anew.",
        DURATION,
        |settings, text| put(&mut settings.local.ready_within, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_DATA",
        "storage.folder",
        "./data",
        "The folder in which jobs and outputs are kept; one gateway at a time.",
        "a folder",
        |settings, text| put(&mut settings.storage.folder, parse::folder(text)),
    ),
    setting(
        "COMFYGATE_RETENTION",
        "storage.retention",
        "7days",
        "How long a job, its result and its outputs are kept after its end; longer where its webhook has not arrived yet.",
        "a duration such as 7days, at least a day longer than the waits of the webhook schedule together, or forever",
        |settings, text| put(&mut settings.storage.retention, parse::retention(text)),
    ),
    setting(
        "COMFYGATE_WORKFLOW",
        "workflows.default",
        "starter",
        "The workflow of a request that names none.",
        "the name of a pair in the two folders below, without its ending",
        |settings, text| put(&mut settings.workflows.default, parse::workflow(text)),
    ),
    setting(
        "COMFYGATE_CONFIGS",
        "workflows.configs",
        "./configs",
        "The folder of the mappings, one <name>.yaml for each workflow.",
        "a folder",
        |settings, text| put(&mut settings.workflows.configs, parse::folder(text)),
    ),
    setting(
        "COMFYGATE_TEMPLATES",
        "workflows.templates",
        "./templates",
        "The folder of the graphs, one <name>.json for each workflow.",
        "a folder",
        |settings, text| put(&mut settings.workflows.templates, parse::folder(text)),
    ),
    setting(
        "COMFYGATE_RAW_GRAPHS",
        "workflows.raw_graphs",
        "false",
        "Lets requests bring a graph of their own instead of a workflow's name; such a graph may run every node that ComfyUI has.",
        SWITCH,
        |settings, text| put(&mut settings.workflows.raw_graphs, parse::switch(text)),
    ),
    setting(
        "COMFYGATE_RUNNER_ADDRESS",
        "runner.address",
        "",
        "Where the remote control listens besides, with its calls at the root: GET /queue instead of GET /runner/queue. Where other machines can reach it, callers need a key.",
        "an address with a port, such as 127.0.0.1:8189 or :8189",
        |settings, text| put(&mut settings.runner.address, parse::address(text).map(Some)),
    ),
    setting(
        "COMFYGATE_RUNNER_WS_ADDRESS",
        "runner.ws_address",
        "",
        "Where the remote control tells every event of ComfyUI to WebSocket clients besides, whatever their path.",
        "an address with a port, such as 127.0.0.1:8190 or :8190",
        |settings, text| put(&mut settings.runner.ws_address, parse::address(text).map(Some)),
    ),
    setting(
        "COMFYGATE_RUNNER_WORKFLOW",
        "runner.workflow",
        "",
        "The workflow that the remote control holds in memory; without it, COMFYGATE_WORKFLOW.",
        "the name of a pair in the two folders above, without its ending",
        |settings, text| put(&mut settings.runner.workflow, parse::workflow(text).map(Some)),
    ),
    setting(
        "COMFYGATE_RUNNER_SECTION",
        "runner.section",
        "",
        "The section of that workflow's node_mappings in which the remote control looks for a node's name first.",
        "the name of a section, such as text_to_image",
        |settings, text| put(&mut settings.runner.section, Ok(Some(text.to_owned()))),
    ),
    setting(
        "COMFYGATE_RUNNER_PROMPT_URL",
        "runner.prompt_url",
        "",
        "The service that writes prompts, such as a flow of Node-RED; POST /runner/generate/image forwards to it.",
        "an http or https URL, not of an address that gives out credentials",
        |settings, text| put(&mut settings.runner.prompt_url, parse::service(text).map(Some)),
    ),
    setting(
        "COMFYGATE_RUNNER_PROMPT_TIMEOUT",
        "runner.prompt_timeout",
        "1m",
        "How long that service may take to answer.",
        DURATION,
        |settings, text| put(&mut settings.runner.prompt_timeout, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_QUEUE_TIMEOUT",
        "limits.queue_timeout",
        "1h",
        "How long a job may wait before it runs.",
        DURATION,
        |settings, text| put(&mut settings.limits.usual.queue, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_START_TIMEOUT",
        "limits.start_timeout",
        "5m",
        "How long a free ComfyUI that has accepted a job may take to begin; large models load slowly.",
        DURATION,
        |settings, text| put(&mut settings.limits.usual.start, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_SILENCE_TIMEOUT",
        "limits.silence_timeout",
        "2m",
        "How long a running job may give no sign of life.",
        DURATION,
        |settings, text| put(&mut settings.limits.usual.silence, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_RUN_TIMEOUT",
        "limits.run_timeout",
        "30m",
        "How long a job may run.",
        DURATION,
        |settings, text| put(&mut settings.limits.usual.run, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_MAX_QUEUE_TIMEOUT",
        "limits.max_queue_timeout",
        "1day",
        "The longest queue timeout that a workflow or a request may ask for.",
        DURATION,
        |settings, text| put(&mut settings.limits.most.queue, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_MAX_START_TIMEOUT",
        "limits.max_start_timeout",
        "1h",
        "The longest start timeout that a workflow or a request may ask for.",
        DURATION,
        |settings, text| put(&mut settings.limits.most.start, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_MAX_SILENCE_TIMEOUT",
        "limits.max_silence_timeout",
        "1h",
        "The longest silence timeout that a workflow or a request may ask for.",
        DURATION,
        |settings, text| put(&mut settings.limits.most.silence, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_MAX_RUN_TIMEOUT",
        "limits.max_run_timeout",
        "1day",
        "The longest run timeout that a workflow or a request may ask for.",
        DURATION,
        |settings, text| put(&mut settings.limits.most.run, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_MAX_RUNS",
        "limits.max_runs",
        "3",
        "How often a job is tried before it fails, where another try may help.",
        "a whole number from 1 to 100",
        |settings, text| put(&mut settings.limits.max_runs, parse::whole(text, 1, 100)),
    ),
    setting(
        "COMFYGATE_MAX_RUNNING_PER_TENANT",
        "limits.max_running_per_tenant",
        "0",
        "How many jobs of one tenant may be on the ComfyUI servers at once, all of them together; 0 for any number.",
        "a whole number from 0 to 100000",
        |settings, text| put(&mut settings.limits.running_per_tenant, parse::whole(text, 0, 100_000)),
    ),
    setting(
        "COMFYGATE_MAX_OUTPUT",
        "limits.max_output",
        "256MiB",
        "The largest single output; a job with a larger one fails.",
        SIZE,
        |settings, text| put(&mut settings.limits.max_output, parse::size(text)),
    ),
    setting(
        "COMFYGATE_DELIVERY",
        "outputs.delivery",
        "inline",
        "How images reach the receiver where a request does not say it: in the body as base64, or as links that expire.",
        "inline, links or both",
        |settings, text| put(&mut settings.outputs.delivery, parse::delivery(text)),
    ),
    setting(
        "COMFYGATE_INLINE_MAX",
        "outputs.inline_max",
        "32MiB",
        "The largest body that has its images in it; a larger one is written without them, and its links are what remains.",
        SIZE,
        |settings, text| put(&mut settings.outputs.inline_max, parse::size(text)),
    ),
    setting(
        "COMFYGATE_LINK_LIFETIME",
        "outputs.link_lifetime",
        "7days",
        "How long after the end of a job its links can be used without a key; never longer than the job is kept.",
        DURATION,
        |settings, text| put(&mut settings.outputs.link_lifetime, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_STRIP_METADATA",
        "outputs.strip_metadata",
        "false",
        "Takes out what ComfyUI writes into files besides the content, the whole graph with its prompt above all, where a request does not say it.",
        SWITCH,
        |settings, text| put(&mut settings.outputs.strip_metadata, parse::switch(text)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_SCHEDULE",
        "webhooks.schedule",
        "5s,5m,30m,2h,5h,10h,14h,20h,24h",
        "The waits between the attempts to deliver a webhook, separated by commas; each varies by 20 percent.",
        "1 to 100 durations such as 5s,5m,1h",
        |settings, text| put(&mut settings.webhooks.schedule, parse::schedule(text)),
    )
    .list(),
    setting(
        "COMFYGATE_WEBHOOK_CONNECT_TIMEOUT",
        "webhooks.connect_timeout",
        "5s",
        "How long it may take to reach a webhook's receiver.",
        DURATION,
        |settings, text| put(&mut settings.webhooks.connect_timeout, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_TIMEOUT",
        "webhooks.attempt_timeout",
        "30s",
        "How long a whole attempt may take; every MiB of the body adds a second.",
        DURATION,
        |settings, text| put(&mut settings.webhooks.attempt_timeout, parse::duration(text)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_CONCURRENCY",
        "webhooks.concurrency",
        "32",
        "How many webhooks are sent at once.",
        "a whole number from 1 to 10000",
        |settings, text| put(&mut settings.webhooks.concurrency, parse::whole(text, 1, 10_000)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_PER_HOST",
        "webhooks.per_host",
        "4",
        "How many webhooks are sent to one host at once, so that one slow receiver cannot take every place.",
        "a whole number from 1 to 10000",
        |settings, text| put(&mut settings.webhooks.per_host, parse::whole(text, 1, 10_000)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_MEMORY",
        "webhooks.memory",
        "64MiB",
        "How much memory the webhooks that are being sent may take together; others wait for their turn.",
        SIZE,
        |settings, text| put(&mut settings.webhooks.memory, parse::size(text)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_HTTPS_ONLY",
        "webhooks.https_only",
        "false",
        "Refuses webhook URLs that are not https.",
        SWITCH,
        |settings, text| put(&mut settings.webhooks.https_only, parse::switch(text)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_SIGNING",
        "webhooks.signing",
        "true",
        "Signs webhooks, so that receivers can tell them from those of strangers; false sends them unsigned.",
        SWITCH,
        |settings, text| put(&mut settings.webhooks.signing, parse::switch(text)),
    ),
    setting(
        "COMFYGATE_WEBHOOK_ED25519",
        "webhooks.ed25519",
        "false",
        "Signs webhooks with Ed25519 too, for receivers that shall have no secret; GET /.well-known/jwks.json has the keys.",
        SWITCH,
        |settings, text| put(&mut settings.webhooks.ed25519, parse::switch(text)),
    ),
    setting(
        "COMFYGATE_EGRESS",
        "outgoing.egress",
        "auto",
        "Which addresses webhooks may go to: public ones only, or this machine and private networks too; auto is private while the gateway listens on loopback, and public when it listens wider.",
        "auto, public or private",
        |settings, text| put(&mut settings.egress.mode, egress::mode(text)),
    ),
    setting(
        "COMFYGATE_EGRESS_ALLOW",
        "outgoing.allow",
        "",
        "Addresses that webhooks may go to besides, separated by commas.",
        "addresses or ranges such as 10.0.0.5,192.168.1.0/24,fd12:3456::/32, without those that are never called",
        |settings, text| put(&mut settings.egress.allow, egress::allowed(text)),
    )
    .list(),
    setting(
        "COMFYGATE_EGRESS_ALLOW_HOSTS",
        "outgoing.allow_hosts",
        "",
        "Hosts that webhooks may go to although they lead to this machine or a private network, separated by commas.",
        "names such as receiver,hooks.example.com,*.corp.example",
        |settings, text| put(&mut settings.egress.allow_hosts, egress::hosts(text)),
    )
    .list(),
    setting(
        "COMFYGATE_EGRESS_DENY",
        "outgoing.deny",
        "",
        "Addresses that webhooks never go to, whatever else is said, separated by commas.",
        "addresses or ranges such as 10.0.0.5,203.0.113.0/24",
        |settings, text| put(&mut settings.egress.deny, egress::networks(text)),
    )
    .list(),
    setting(
        "COMFYGATE_LOG",
        "logging.filter",
        "info",
        "What is logged: error, warn, info, debug or trace, for all or for single modules.",
        "a filter such as info or info,comfygate::notifier=debug",
        |settings, text| put(&mut settings.logging.filter, parse::filter(text)),
    ),
    setting(
        "COMFYGATE_LOG_FORMAT",
        "logging.format",
        "human",
        "How a line of the log looks.",
        "human or json",
        |settings, text| put(&mut settings.logging.format, parse::log_format(text)),
    ),
    setting(
        "COMFYGATE_SHUTDOWN_GRACE",
        "shutdown.grace",
        "30s",
        "How long what is under way may go on after the signal to stop.",
        DURATION,
        |settings, text| put(&mut settings.shutdown.grace, parse::duration(text)),
    ),
];

const fn setting(
    name: &'static str,
    path: &'static str,
    default: &'static str,
    about: &'static str,
    allowed: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
) -> Setting {
    Setting { name, alias: None, path, default, about, allowed, list: false, secret: false, set }
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}
