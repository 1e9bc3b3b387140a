//! `comfygate backends` and `comfygate queue`: what an operator says of the backends and of the queue before them, in the data
//! folder itself. A gateway that runs there does so within a second. Whoever may write the folder is the operator, so no key is
//! asked for.

use super::data::DataArgs;
use super::table::{Table, tame};
use super::{SettingArgs, runtime};
use crate::app::{self, ConfiguredBackend};
use crate::clock::{Clock, SystemClock};
use crate::names;
use crate::pool::{Definition, Mistake, read_file};
use crate::secret::Secret;
use crate::store::{KeptBackend, Leaving, PoolStore, SqliteStore, open_beside};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Subcommand, Debug)]
pub(super) enum BackendsCommand {
    /// List the backends that were added, and those of the settings; how each stands is at `GET /backends`.
    List(DataArgs),
    /// Add a backend, or all of a file.
    Add(AddArgs),
    /// Remove a backend that was added, once its runs have ended.
    Remove(RemoveArgs),
    /// Have a backend end what it has and get no more jobs.
    Drain(NameArgs),
    /// Have a backend get jobs again.
    Resume(NameArgs),
}

#[derive(Subcommand, Debug)]
pub(super) enum QueueCommand {
    /// Say whether the queue is paused, and how many jobs there are.
    Status(DataArgs),
    /// Give no job to any backend.
    Pause(DataArgs),
    /// End the pause.
    Resume(DataArgs),
}

#[derive(Args, Debug)]
pub(super) struct AddArgs {
    /// Where the ComfyUI is.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    url: Option<String>,
    /// What it is called; its URL without it.
    #[arg(long, conflicts_with = "from")]
    name: Option<String>,
    /// A tag of it; may be given more than once.
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "from")]
    tags: Vec<String>,
    /// How many prompts it runs at once.
    #[arg(long, value_name = "N", conflicts_with = "from")]
    slots: Option<u64>,
    /// How many prompts wait there besides.
    #[arg(long, value_name = "N", conflicts_with = "from")]
    ahead: Option<u64>,
    /// A file of backends, as `COMFYGATE_BACKENDS_FILE` names one; this is the way for credentials.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    folder: DataArgs,
}

#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// The backend's name.
    name: String,
    /// At once: its runs are stopped, and their jobs wait for other backends.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    folder: DataArgs,
}

#[derive(Args, Debug)]
pub(super) struct NameArgs {
    /// The backend's name.
    name: String,
    #[command(flatten)]
    folder: DataArgs,
}

/// Runs one of the commands about backends.
pub(super) fn run(command: &BackendsCommand) -> anyhow::Result<ExitCode> {
    let folder = match command {
        BackendsCommand::List(folder) => folder,
        BackendsCommand::Add(args) => &args.folder,
        BackendsCommand::Remove(args) => &args.folder,
        BackendsCommand::Drain(args) | BackendsCommand::Resume(args) => &args.folder,
    };
    let store = open_beside(&folder.folder()?)?;
    runtime()?.block_on(async {
        let done = match command {
            BackendsCommand::List(args) => list(&store, args).await,
            BackendsCommand::Add(args) => add(&store, args).await,
            BackendsCommand::Remove(args) => remove(&store, args).await,
            BackendsCommand::Drain(args) => set_draining(&store, args, true).await,
            BackendsCommand::Resume(args) => set_draining(&store, args, false).await,
        };
        store.close().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

/// Runs one of the commands about the queue.
pub(super) fn run_queue(command: &QueueCommand) -> anyhow::Result<ExitCode> {
    let (folder, paused) = match command {
        QueueCommand::Status(folder) => (folder, None),
        QueueCommand::Pause(folder) => (folder, Some(true)),
        QueueCommand::Resume(folder) => (folder, Some(false)),
    };
    let store = open_beside(&folder.folder()?)?;
    runtime()?.block_on(async {
        let done = queue(&store, folder, paused).await;
        store.close().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

async fn list(store: &SqliteStore, args: &DataArgs) -> anyhow::Result<()> {
    let kept = store.kept_backends().await?;
    let configured = configured()?;
    let is_unsaid = |one: &&ConfiguredBackend| kept.iter().all(|kept| kept.name != one.name);
    let unsaid = configured.iter().filter(is_unsaid).map(|one| KeptBackend {
        name: one.name.clone(),
        definition: None,
        is_draining: false,
        leaving: None,
        trouble: None,
    });
    let known = |kept: &&KeptBackend| kept.definition.is_some() || find(&configured, &kept.name).is_some();
    let all: Vec<Map<String, Value>> =
        unsaid.chain(kept.iter().filter(known).cloned()).map(|kept| view(&kept, &configured)).collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", json!({ "backends": all }))?;
        return Ok(());
    }
    let mut table = Table::new(["NAME", "SOURCE", "DUTY", "URL", "TAGS", "TROUBLE"]);
    for view in &all {
        let tags = view["tags"].as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str);
        let duty = if view["leaving"] == json!(true) { "leaving" } else { text(view, "duty") };
        let row = [text(view, "name"), text(view, "source"), duty, text(view, "url"), text(view, "trouble")].map(tame);
        let [name, source, duty, url, trouble] = row;
        table.row([name, source, duty, url, tame(&tags.collect::<Vec<_>>().join(",")), trouble]);
    }
    table.write(&mut out)?;
    Ok(())
}

async fn add(store: &SqliteStore, args: &AddArgs) -> anyhow::Result<()> {
    let definitions = match (&args.from, &args.url) {
        (Some(file), _) => read_file(file)?,
        (None, Some(url)) => vec![definition(url, args).map_err(|mistakes| wrong(&mistakes))?],
        (None, None) => Vec::new(),
    };
    let (kept, configured) = (store.kept_backends().await?, configured()?);
    for definition in &definitions {
        if find(&configured, &definition.name).is_some() {
            bail!("the settings have a backend `{}` already; choose another name", definition.name);
        }
        if let Some(there) = configured.iter().find(|there| there.url.as_ref() == Some(&definition.url)) {
            bail!("the backend `{}` of the settings is at {} already", there.name, definition.url);
        }
        if let Some(there) =
            kept.iter().find(|kept| view(kept, &[]).get("url") == Some(&json!(definition.url.to_string())))
        {
            bail!("the backend `{}` is at {} already", there.name, definition.url);
        }
        let exposed = Secret::new(definition.exposed().to_string());
        if !store.keep_backend(&definition.name, exposed, SystemClock::start().now()).await? {
            bail!("there is a backend `{}` already; remove it first, or choose another name", definition.name);
        }
        let what = format!(
            "{} is added; a running gateway connects to it within a second, or says in `backends list` why it cannot",
            definition.name
        );
        tell(&args.folder, &definition.name, json!({ "added": true }), &what)?;
    }
    Ok(())
}

async fn remove(store: &SqliteStore, args: &RemoveArgs) -> anyhow::Result<()> {
    let how = if args.now { Leaving::Now } else { Leaving::Drained };
    if !store.set_leaving(&args.name, how).await? {
        let name = names::shown(&args.name);
        bail!(
            "no backend `{name}` was added; see comfygate backends list. One of the settings is drained, and taken out there"
        );
    }
    let when = if args.now { "at once" } else { "once its runs have ended" };
    let what = format!("{} gets no more jobs; a running gateway lets it go {when}", args.name);
    tell(&args.folder, &args.name, json!({ "leaving": how.as_str() }), &what)
}

async fn set_draining(store: &SqliteStore, args: &NameArgs, is_draining: bool) -> anyhow::Result<()> {
    let (kept, configured) = (store.kept_backends().await?, configured()?);
    if find(&configured, &args.name).is_none() && kept.iter().all(|kept| kept.name != args.name) {
        let known = configured.iter().map(|one| one.name.as_str()).chain(kept.iter().map(|kept| kept.name.as_str()));
        let hint = names::hint(&args.name, known.collect::<Vec<_>>());
        bail!("there is no backend `{}`{hint}", names::shown(&args.name));
    }
    store.set_draining(&args.name, is_draining, SystemClock::start().now()).await?;
    let (duty, what) = if is_draining { ("draining", "gets no more jobs") } else { ("serving", "gets jobs again") };
    tell(&args.folder, &args.name, json!({ "duty": duty }), &format!("{} {what}", args.name))
}

async fn queue(store: &SqliteStore, args: &DataArgs, paused: Option<bool>) -> anyhow::Result<()> {
    if let Some(paused) = paused {
        store.set_paused(paused).await?;
    }
    let (paused, counts) = (store.is_paused().await?, store.queue_counts(None).await?);
    let queued: u64 = counts.waiting.iter().map(|(_, jobs)| jobs).sum();
    let mut out = std::io::stdout().lock();
    if args.json {
        let (submitted, running) = (counts.submitted, counts.running);
        let view = json!({ "paused": paused, "queued": queued, "submitted": submitted, "running": running });
        writeln!(out, "{view:#}")?;
    } else {
        let state = if paused { "paused" } else { "open" };
        writeln!(out, "{state}: {queued} wait, {} are submitted, {} run", counts.submitted, counts.running)?;
    }
    Ok(())
}

/// Returns the backends of the settings.
fn configured() -> anyhow::Result<Vec<ConfiguredBackend>> {
    app::configured_backends(&SettingArgs::default().load()?).context("the settings do not say who the backends are")
}

fn find<'a>(configured: &'a [ConfiguredBackend], name: &str) -> Option<&'a ConfiguredBackend> {
    configured.iter().find(|one| one.name == name)
}

fn definition(url: &str, args: &AddArgs) -> Result<Definition, Vec<Mistake>> {
    let mut object = Map::new();
    object.insert("url".into(), json!(url));
    object.insert("name".into(), json!(args.name));
    object.insert("tags".into(), json!(args.tags));
    object.insert("slots".into(), json!(args.slots));
    object.insert("ahead".into(), json!(args.ahead));
    Definition::from_object(object)
}

fn wrong(mistakes: &[Mistake]) -> anyhow::Error {
    let texts: Vec<&str> = mistakes.iter().map(|mistake| mistake.text.as_str()).collect();
    anyhow::anyhow!("the backend is not added: {}", texts.join("; "))
}

/// Shows what is said of a backend, without its credentials.
fn view(kept: &KeptBackend, configured: &[ConfiguredBackend]) -> Map<String, Value> {
    let read = |definition: &Secret| serde_json::from_str::<Value>(definition.expose()).ok();
    let definition = kept.definition.as_ref().and_then(read).unwrap_or_default();
    let is_configured = find(configured, &kept.name).is_some();
    let mut view = Map::new();
    view.insert("name".into(), json!(kept.name));
    view.insert("source".into(), json!(if is_configured { "settings" } else { "added" }));
    view.insert("duty".into(), json!(if kept.is_draining { "draining" } else { "serving" }));
    view.insert("leaving".into(), json!(kept.leaving.is_some()));
    view.insert("trouble".into(), json!(kept.trouble));
    for field in ["url", "tags", "slots"] {
        view.insert(field.into(), definition.get(field).cloned().unwrap_or_default());
    }
    view
}

fn text<'a>(view: &'a Map<String, Value>, field: &str) -> &'a str {
    view.get(field).and_then(Value::as_str).unwrap_or("-")
}

/// Writes what was done.
fn tell(folder: &DataArgs, name: &str, mut view: Value, what: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if folder.json {
        view["name"] = json!(name);
        writeln!(out, "{view:#}")?;
    } else {
        writeln!(out, "{}", tame(what))?;
    }
    Ok(())
}
