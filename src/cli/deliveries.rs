//! `comfygate deliveries`: asks a running gateway about its webhooks, and has some sent again. Speaks HTTP as any other
//! caller does, so that it needs neither the data folder nor the lock on it.

use super::table::{Table, tame};
use super::{SettingArgs, runtime};
use crate::job::JobId;
use crate::secret::Secret;
use crate::settings::Settings;
use anyhow::Context;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

/// The exit code where nobody answers; 1 says that the gateway refused, 2 that the command line is wrong.
const NOBODY: u8 = 3;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_mins(5);

/// The largest page that the gateway gives.
const PAGE: u32 = 200;

const STATES: [&str; 4] = ["pending", "delivered", "gone", "undeliverable"];

#[derive(Subcommand, Debug)]
pub(super) enum DeliveriesCommand {
    /// List webhooks, those of the newest jobs first.
    List(ListArgs),
    /// Show a job's webhook with every attempt.
    Show(ShowArgs),
    /// Send webhooks again, with the same webhook-id and the same bytes.
    Replay(ReplayArgs),
}

#[derive(Args, Debug)]
struct GatewayArgs {
    /// The gateway's URL, instead of the address in the settings.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The API key to show, instead of that of the settings. Other users of this machine may see it: better a file.
    #[arg(long, value_name = "KEY", value_parser = |text: &str| Ok::<_, Infallible>(Secret::new(text)))]
    key: Option<Secret>,
    /// A file with the API key in its first line.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,
    /// Write JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only those in this state.
    #[arg(long, value_parser = PossibleValuesParser::new(STATES))]
    state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// The job, by its id or by its webhook-id.
    #[arg(value_parser = job)]
    job: JobId,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// The jobs, by their ids or by their webhook-ids.
    #[arg(value_name = "JOB", value_parser = job, required_unless_present = "all", conflicts_with = "all")]
    jobs: Vec<JobId>,
    /// All that match, instead of single ones.
    #[arg(long)]
    all: bool,
    /// With --all: those in this state.
    #[arg(long, conflicts_with = "jobs", default_value = "undeliverable", value_parser = PossibleValuesParser::new(STATES))]
    state: String,
    /// With --all: only those to this host, or to this host and port.
    #[arg(long, conflicts_with = "jobs", value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// With --all: only those whose job ended then or later, such as 2026-11-21T08:00:00Z.
    #[arg(long, conflicts_with = "jobs", value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Runs one of the commands.
pub(super) fn run(command: DeliveriesCommand) -> anyhow::Result<ExitCode> {
    let args = match &command {
        DeliveriesCommand::List(args) => &args.gateway,
        DeliveriesCommand::Show(args) => &args.gateway,
        DeliveriesCommand::Replay(args) => &args.gateway,
    };
    let gateway = Gateway::new(args)?;
    let mut out = std::io::stdout().lock();
    let done = runtime()?.block_on(async {
        match command {
            DeliveriesCommand::List(args) => list(&gateway, &args, &mut out).await,
            DeliveriesCommand::Show(args) => show(&gateway, &args, &mut out).await,
            DeliveriesCommand::Replay(args) if args.all => replay_all(&gateway, &args, &mut out).await,
            DeliveriesCommand::Replay(args) => replay(&gateway, &args, &mut out).await,
        }
    });
    match done {
        Ok(code) => Ok(code),
        // Whoever reads, such as `head`, has enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Failure::Output(error)) => Err(error.into()),
        Err(failure) => {
            writeln!(std::io::stderr(), "error: {failure}")?;
            Ok(failure.code())
        }
    }
}

/// Why a command did not do what it was to do.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("nobody answers at {url} ({reason}); start the gateway, or say with --url where it is")]
    Nobody { url: String, reason: String },
    #[error("what answers at {url} is no comfygate: status {status} and no JSON; say with --url where the gateway is")]
    Stranger { url: String, status: u16 },
    #[error("{message} ({code})")]
    Refused { code: String, message: String },
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Nobody { .. } => ExitCode::from(NOBODY),
            Self::Stranger { .. } | Self::Refused { .. } | Self::Output(_) => ExitCode::FAILURE,
        }
    }
}

/// A running gateway.
struct Gateway {
    client: Client,
    base: String,
    key: Option<Secret>,
}

impl Gateway {
    fn new(args: &GatewayArgs) -> anyhow::Result<Self> {
        let is_all_said = args.url.is_some() && (args.key.is_some() || args.key_file.is_some());
        let settings = if is_all_said { Settings::default() } else { SettingArgs::default().load()? };
        let base = if let Some(url) = &args.url {
            url.as_str().trim_end_matches('/').to_owned()
        } else {
            let mut address = settings.server.address;
            if address.ip().is_unspecified() {
                // It listens on all addresses of this machine, of which this is one.
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            format!("http://{address}")
        };
        let key = match (&args.key, &args.key_file) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(path)) => Some(key_in(path)?),
            (None, None) => settings.access.key,
        };
        let client = Client::builder().no_proxy().connect_timeout(CONNECT_LIMIT).timeout(ANSWER_LIMIT).build()?;
        Ok(Self { client, base, key })
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        self.call(Method::POST, path, body).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let nobody = |error: &reqwest::Error| {
            let mut reason: &dyn std::error::Error = error;
            while let Some(source) = reason.source() {
                reason = source;
            }
            Failure::Nobody { url: self.base.clone(), reason: reason.to_string() }
        };
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| nobody(&error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| nobody(&error))?;
        let stranger = || Failure::Stranger { url: self.base.clone(), status: status.as_u16() };
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| stranger())?;
        if status.is_success() {
            return Ok(value);
        }
        match (value["code"].as_str(), value["error"].as_str()) {
            (Some(code), Some(message)) => Err(Failure::Refused { code: tame(code), message: tame(message) }),
            (_, _) => Err(stranger()),
        }
    }
}

async fn list(gateway: &Gateway, args: &ListArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let mut found: Vec<Value> = Vec::new();
    let mut cursor = None;
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    while found.len() < wanted {
        let limit = u32::try_from(wanted - found.len()).unwrap_or(PAGE).min(PAGE);
        let state = args.state.as_deref().map(|state| format!("&state={state}")).unwrap_or_default();
        let after = cursor.map(|cursor: String| format!("&cursor={cursor}")).unwrap_or_default();
        let mut page = gateway.get(&format!("/deliveries?limit={limit}{state}{after}")).await?;
        if let Some(Value::Array(deliveries)) = page.get_mut("deliveries").map(Value::take) {
            found.extend(deliveries);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if args.gateway.json {
        writeln!(out, "{:#}", json!({ "deliveries": found }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["JOB", "STATE", "ATTEMPTS", "LAST", "WHEN", "URL"]);
    for entry in &found {
        let last = match (&entry["last_status"], &entry["last_code"]) {
            (Value::Null, code) => word(code),
            (status, _) => word(status),
        };
        let attempts = word(&entry["attempt_count"]);
        table.row([word(&entry["prompt_id"]), word(&entry["state"]), attempts, last, when(entry), word(&entry["url"])]);
    }
    table.write(out)?;
    Ok(ExitCode::SUCCESS)
}

async fn show(gateway: &Gateway, args: &ShowArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let found = gateway.get(&format!("/jobs/{}/deliveries", args.job)).await?;
    if args.gateway.json {
        writeln!(out, "{found:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let deliveries = found["deliveries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if deliveries.is_empty() {
        writeln!(out, "job {} has no webhook: it has not ended, or named no webhook_url", args.job)?;
    }
    for delivery in deliveries {
        for (name, value) in [
            ("job", word(&delivery["prompt_id"])),
            ("webhook-id", word(&delivery["id"])),
            ("url", word(&delivery["url"])),
            ("state", format!("{} {}", word(&delivery["state"]), when(delivery))),
            ("replays", word(&delivery["replays"])),
        ] {
            writeln!(out, "{name:<12}{}", value.trim_end())?;
        }
        let mut table = Table::new(["NO", "BEGAN", "MS", "STATUS", "CODE", "ANSWER"]);
        for attempt in delivery["attempts"].as_array().into_iter().flatten() {
            let said = if attempt["answer"].is_null() { &attempt["error"] } else { &attempt["answer"] };
            let columns = ["number", "started_at", "duration_ms", "status", "code"].map(|name| word(&attempt[name]));
            let [number, began, took, status, code] = columns;
            table.row([number, began, took, status, code, word(said)]);
        }
        table.write(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Replays one after the other. What the gateway refuses is told, and the others go on.
async fn replay(gateway: &Gateway, args: &ReplayArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let mut answers = Vec::new();
    let mut all_done = true;
    for job in &args.jobs {
        let answer = gateway.post(&format!("/jobs/{job}/deliveries/{}/replay", job.webhook_id()), None).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::Refused { code, message }) => {
                all_done = false;
                json!({ "prompt_id": job.to_string(), "code": code, "error": message })
            }
            Err(failure) => return Err(failure),
        };
        if args.gateway.json {
            answers.push(answer);
        } else if let Some(error) = answer["error"].as_str() {
            writeln!(std::io::stderr(), "error: {error}")?;
        } else {
            writeln!(out, "{job} was {} and is due now", word(&answer["was"]))?;
        }
    }
    if args.gateway.json {
        writeln!(out, "{:#}", json!({ "replays": answers }))?;
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn replay_all(gateway: &Gateway, args: &ReplayArgs, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let body = json!({ "state": args.state, "host": args.host, "since": args.since });
    let answer = gateway.post("/deliveries/replay", Some(body)).await?;
    if args.gateway.json {
        writeln!(out, "{answer:#}")?;
    } else {
        writeln!(out, "{} due now", word(&answer["replayed"]))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says when something happens next, or when it ended.
fn when(delivery: &Value) -> String {
    match (delivery["next_attempt_at"].as_str(), delivery["ended_at"].as_str()) {
        (Some(next), _) => format!("next {}", tame(next)),
        (None, Some(ended)) => format!("since {}", tame(ended)),
        (None, None) => String::new(),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => tame(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

pub(super) fn key_in(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(Secret::new(text.lines().next().unwrap_or_default().trim()))
}

fn job(text: &str) -> Result<JobId, String> {
    let id = text.strip_prefix("msg_").unwrap_or(text);
    id.parse().map_err(|_| "it is neither a job's id nor a webhook-id".to_owned())
}
