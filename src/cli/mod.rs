//! The commands; each is a few calls into the library.

mod backends;
mod check;
mod convert;
mod data;
mod deliveries;
mod keys;
mod listen;
mod nodes;
mod report;
mod run;
mod table;
mod validate;
mod webhook;
mod workflows;

use crate::app::App;
use crate::clock::SystemClock;
use crate::demo;
use crate::fsck;
use crate::lifecycle::{Lifecycle, StopSignals, asked_to_stop};
use crate::settings::{FileChoice, LogSettings, Settings, Sources, process_environment, reference};
use crate::sim::{Sim, SimOptions};
use crate::telemetry;
use anyhow::Context;
use backends::{BackendsCommand, QueueCommand};
use clap::{Args, Parser, Subcommand};
use convert::ConvertArgs;
use deliveries::DeliveriesCommand;
use keys::KeysCommand;
use listen::ListenArgs;
use run::RunArgs;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use validate::ValidateArgs;
use webhook::WebhookCommand;
use workflows::WorkflowsCommand;

/// What `fsck` ends with where a folder cannot be checked.
const CANNOT_CHECK: u8 = 2;

/// A webhook-delivery asynchronous generation gateway in front of ComfyUI.
#[derive(Parser, Debug)]
#[command(name = "comfygate", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve the gateway.
    Serve(ServeArgs),
    /// Run a workflow once or many times and keep its outputs: 0 if all went well, 1 if not, 130 after Ctrl-C.
    Run(RunArgs),
    /// Check the settings and the workflows, and say what is wrong with them.
    Check(ServeArgs),
    /// Convert a workflow as ComfyUI saves it into a graph as it executes it (API format).
    Convert(ConvertArgs),
    /// Check one workflow without running it: 0 if all is well, 1 if not, 2 if it cannot be checked.
    Validate(ValidateArgs),
    /// List the workflows of the folders, and show what one takes and gives.
    #[command(subcommand, visible_alias = "templates")]
    Workflows(WorkflowsCommand),
    /// List every setting with its default and what may be written.
    Settings,
    /// Check the data folder of a gateway that does not run: 0 for no problems, 1 for some, 2 if it cannot be checked.
    Fsck(FsckArgs),
    /// List, show and send again the webhooks of a running gateway.
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// Hear what ComfyUI tells of its runs, by the relay of a running gateway, and write each event on a line.
    Listen(ListenArgs),
    /// Make API keys, list them and take them back, in a data folder, whether a gateway runs there or not.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Add backends, remove them and have them drained, in a data folder, whether a gateway runs there or not.
    #[command(subcommand)]
    Backends(BackendsCommand),
    /// Hold all jobs back from the backends, in a data folder, whether a gateway runs there or not.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// The secrets that sign webhooks, and the check of a recorded webhook.
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Serve a simulated ComfyUI that draws real pictures without a model.
    Sim(SimArgs),
    /// Show the whole journey in one process: simulator, gateway, webhook receiver, three requests.
    Demo(DemoArgs),
}

#[derive(Args, Debug, Default)]
struct SettingArgs {
    /// Where the gateway listens.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// The ComfyUI servers, separated by commas.
    #[arg(long, value_name = "URL")]
    comfyui: Option<String>,
    /// The data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The workflow of requests that name none.
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Any other setting, by its name.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    assignments: Vec<(String, String)>,
    /// A settings file instead of ./comfygate.yaml.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// An environment file instead of ./.env.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ServeArgs {
    #[command(flatten)]
    settings: SettingArgs,
    /// With a ComfyUI that the gateway starts, keeps running, and uses instead of --comfyui.
    #[arg(long)]
    local: bool,
    /// The folder of that ComfyUI, with its main.py.
    #[arg(long, value_name = "DIR", requires = "local")]
    home: Option<String>,
}

#[derive(Args, Debug)]
struct FsckArgs {
    /// The data folder, instead of that of the settings.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Remove what is nobody's: outputs that no job names, and half-written ones.
    #[arg(long)]
    repair: bool,
    /// Look at the sizes of outputs only, not at their contents.
    #[arg(long)]
    quick: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct SimArgs {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8188", value_name = "HOST:PORT")]
    address: SocketAddr,
    /// How long each step of a node takes.
    #[arg(long, default_value = "50ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    step: Duration,
    /// A model file that it has; without any it lists none, and takes every name.
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
}

#[derive(Args, Debug)]
struct DemoArgs {
    /// The folder for the pictures and the data.
    #[arg(long, default_value = "comfygate-demo", value_name = "DIR")]
    out: PathBuf,
    /// Go on serving afterwards, until Ctrl-C, so that you can send requests of your own.
    #[arg(long)]
    stay: bool,
}

impl Cli {
    /// Runs the command and returns the process's exit code.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve(args),
            Command::Run(args) => run::run(args),
            Command::Check(args) => check::run(&args.load()?),
            Command::Convert(args) => convert::run(&args),
            Command::Validate(args) => validate::run(args),
            Command::Workflows(command) => workflows::run(command),
            Command::Settings => {
                std::io::stdout().write_all(reference().as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Fsck(args) => check_data(&args),
            Command::Deliveries(command) => deliveries::run(command),
            Command::Listen(args) => listen::run(args),
            Command::Keys(command) => keys::run(command),
            Command::Backends(command) => backends::run(&command),
            Command::Queue(command) => backends::run_queue(&command),
            Command::Webhook(command) => webhook::run(command),
            Command::Sim(args) => sim(&args),
            Command::Demo(args) => {
                telemetry::init(&LogSettings { filter: "error".into(), ..LogSettings::default() });
                runtime()?.block_on(demo::run(&args.out, args.stay))
            }
        }
    }
}

impl ServeArgs {
    fn load(self) -> anyhow::Result<Settings> {
        let mut settings = self.settings;
        if self.local {
            settings.assignments.push(("COMFYGATE_LOCAL".to_owned(), "true".to_owned()));
        }
        settings.assignments.extend(self.home.map(|home| ("COMFYUI_HOME".to_owned(), home)));
        settings.load()
    }
}

impl SettingArgs {
    fn load(self) -> anyhow::Result<Settings> {
        let mut cli: BTreeMap<String, String> = self.assignments.into_iter().collect();
        let flags = [
            ("COMFYGATE_ADDRESS", self.address),
            ("COMFYUI_ADDRESS", self.comfyui),
            ("COMFYGATE_DATA", self.data),
            ("COMFYGATE_WORKFLOW", self.workflow),
        ];
        for (name, value) in flags {
            if let Some(value) = value {
                cli.insert(name.to_owned(), value);
            }
        }
        let choice = |given: Option<PathBuf>, usual: &str| match given {
            Some(path) => FileChoice::Required(path),
            None => FileChoice::Optional(usual.into()),
        };
        let sources = Sources {
            cli,
            env: process_environment(),
            dotenv: choice(self.env_file, ".env"),
            file: choice(self.settings, "comfygate.yaml"),
        };
        Ok(Settings::load(sources)?)
    }
}

fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let settings = args.load()?;
    telemetry::init(&settings.logging);
    runtime()?.block_on(async {
        let app = App::build(&settings, SystemClock::start(), Lifecycle::new()).await?;
        let mut signals = StopSignals::listen();
        let asked = CancellationToken::new();
        let stop = asked.clone();
        tokio::select! {
            is_well = app.run(stop.cancelled_owned()) => {
                Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            second = async {
                signals.next().await;
                asked.cancel();
                signals.next().await
            } => {
                // Whoever asks twice wants no grace. What is on disk is as whole as after a kill.
                tracing::warn!("asked to stop a second time: ending at once");
                std::process::exit(second.exit_code().into())
            }
        }
    })
}

#[expect(
    clippy::print_stderr,
    reason = "why a folder cannot be checked belongs to stderr, with an exit code of its own"
)]
fn check_data(args: &FsckArgs) -> anyhow::Result<ExitCode> {
    let folder = data::folder(args.data.as_deref())?;
    match fsck::check(&folder, fsck::Options { quick: args.quick, repair: args.repair }) {
        Ok(report) => {
            let text = if args.json { format!("{:#}\n", report.json()) } else { report.text() };
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(CANNOT_CHECK))
        }
    }
}

fn sim(args: &SimArgs) -> anyhow::Result<ExitCode> {
    telemetry::init(&LogSettings::default());
    let models = (!args.models.is_empty()).then(|| args.models.clone());
    let options = SimOptions { addr: args.address, step: args.step, models, ..SimOptions::default() };
    runtime()?.block_on(async {
        let sim = Sim::start(options).await.with_context(|| format!("cannot listen on {}", args.address))?;
        tracing::info!(address = %sim.addr(), "a simulated ComfyUI is listening");
        asked_to_stop().await;
        sim.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Writes to stdout. Whoever reads, such as `head`, may have enough.
fn write_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
