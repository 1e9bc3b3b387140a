//! What several commands need of files and servers: a text from a file or stdin, and the node definitions of a ComfyUI.

use super::SettingArgs;
use crate::clock::SystemClock;
use crate::comfy::{Client, ComfyUrl, Route};
use crate::convert::{self, Source};
use crate::definitions::Definitions;
use crate::inventory::Inventory;
use crate::local;
use crate::secret::Secret;
use crate::settings::Settings;
use anyhow::{Context, bail};
use clap::Args;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The largest file that is read; node definitions of a server with many custom nodes have some ten megabytes.
const MOST_BYTES: u64 = 256 << 20;

/// Where node definitions come from.
#[derive(Args, Debug, Default)]
pub(super) struct NodeArgs {
    /// A running ComfyUI, to be asked which nodes and models it has.
    #[arg(long, value_name = "URL", conflicts_with = "object_info")]
    backend: Option<String>,
    /// The bearer token that it asks for; better in `COMFYUI_TOKEN`, where nobody sees it.
    #[arg(long, value_name = "TOKEN", requires = "backend", value_parser = |text: &str| Ok::<_, Infallible>(Secret::new(text)))]
    token: Option<Secret>,
    /// A file with what a ComfyUI answers to `GET /object_info`, instead of asking one.
    #[arg(long, value_name = "FILE")]
    object_info: Option<PathBuf>,
}

/// Node definitions, and whose they are.
pub(super) struct Nodes {
    /// The definitions.
    pub(super) definitions: Definitions,
    /// The server's address, or the file's name.
    pub(super) origin: String,
}

impl NodeArgs {
    /// Reads or asks what is named on the command line; none where nothing is.
    pub(super) fn load(&self) -> anyhow::Result<Option<Nodes>> {
        match (&self.object_info, &self.backend) {
            (Some(path), _) => {
                let origin = path.display().to_string();
                let definitions = Definitions::parse(&read(path)?).with_context(|| format!("`{origin}`"))?;
                Ok(Some(Nodes { definitions, origin }))
            }
            (None, Some(url)) => {
                let route = match &self.token {
                    Some(token) => Route::bearer(token)?,
                    None => Route::of(&SettingArgs::default().load()?.backends, SystemClock::start())?,
                };
                let whole = if url.contains("://") { url.clone() } else { format!("http://{url}") };
                let address = whole
                    .parse()
                    .with_context(|| format!("--backend `{url}` is no address; write http://127.0.0.1:8188"))?;
                ask(address, route).map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

impl NodeArgs {
    /// Does the same; where nothing is named, the first ComfyUI of the settings is asked.
    pub(super) fn load_or_ask(&self) -> anyhow::Result<Nodes> {
        if let Some(nodes) = self.load()? {
            return Ok(nodes);
        }
        let settings = SettingArgs::default().load()?;
        let address = settings.backends.addresses.first().context("the settings name no ComfyUI")?;
        ask(address.as_str().parse()?, Route::of(&settings.backends, SystemClock::start())?)
            .context("node definitions are needed: name a running ComfyUI by --backend, or a file by --object-info")
    }
}

/// Returns what a gateway with these settings has learnt of its backends so far; nothing where it has never run.
pub(super) fn learnt(settings: &Settings) -> anyhow::Result<Definitions> {
    let name = |address: &url::Url| Ok(address.as_str().parse::<ComfyUrl>()?.to_string());
    let backends = if settings.local.enabled {
        vec![local::NAME.to_owned()]
    } else {
        settings.backends.addresses.iter().map(name).collect::<anyhow::Result<Vec<_>>>()?
    };
    Ok(Inventory::open(&settings.storage.folder, backends, SystemClock::start()).known())
}

/// Reads a text from a file, or from stdin for `-`.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(bytes(path, &whole)?).with_context(|| format!("{} is not UTF-8 text", name(path)))
}

/// Reads a workflow, in whichever format, from a file or stdin: its text, or a picture that carries it, which is told.
pub(super) fn read_workflow(path: &Path) -> anyhow::Result<String> {
    let bytes = bytes(path, &|from| convert::take(from, MOST_BYTES))?;
    if is_stdin(path) {
        // Who writes there shall not be cut off before the pixels.
        io::copy(&mut io::stdin().lock().take(MOST_BYTES), &mut io::sink())?;
    }
    let source = Source::read(bytes).with_context(|| format!("{} is no workflow", name(path)))?;
    if let Some(what) = convert::taken(&source) {
        writeln!(io::stderr(), "note: taken from {}: {what}", name(path))?;
    }
    Ok(source.text)
}

fn whole(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
}

fn bytes(path: &Path, take: &dyn Fn(&mut dyn Read) -> io::Result<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let name = name(path);
    let read = if is_stdin(path) {
        take(&mut io::stdin().lock())
    } else if path.is_dir() {
        bail!("cannot read {name}: it is a folder; name the file in it");
    } else {
        File::open(path).and_then(|mut file| take(&mut file))
    };
    let bytes = read.with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > MOST_BYTES {
        bail!("{name} has more than {MOST_BYTES} bytes, which are not read");
    }
    Ok(bytes)
}

fn name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { format!("`{}`", path.display()) }
}

/// Says whether stdin is meant.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn ask(address: ComfyUrl, route: Route) -> anyhow::Result<Nodes> {
    let origin = address.to_string();
    let client = Client::by(address, route)?;
    // One call needs no threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime
        .block_on(client.object_info())
        .with_context(|| format!("{origin} does not say which nodes it has; is ComfyUI running there?"))?;
    let definitions = Definitions::parse(&text).with_context(|| origin.clone())?;
    Ok(Nodes { definitions, origin })
}
