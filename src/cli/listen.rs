//! `comfygate listen`: hears the relay of a gateway, and writes each event on a line. It sends nothing; where the connection breaks
//! it connects again, ever more seldom, and after many tries in a row not any more.

mod words;

use super::table::tame;
use super::{SettingArgs, write_out};
use crate::clock::{Clock, SystemClock};
use crate::lifecycle::asked_to_stop;
use crate::secret::Secret;
use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use url::Url;
use words::Picture;

/// How long a connection may take to stand.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long the gateway may say nothing: it asks every fifteen seconds whether somebody is there.
const SILENCE_LIMIT: Duration = Duration::from_mins(1);

/// How long the first wait before the next try is, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The largest message: a picture of 4096x4096 points that nothing could make smaller has 50 MB.
const LARGEST: usize = 256 << 20;

#[derive(Args, Debug)]
pub(super) struct ListenArgs {
    /// The relay, instead of /runner/ws at the address in the settings; GET /ws tells the gateway's own events.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The API key to show, instead of that of the settings. Other users of this machine may see it: better a file.
    #[arg(long, value_name = "KEY", value_parser = |text: &str| Ok::<_, Infallible>(Secret::new(text)))]
    key: Option<Secret>,
    /// A file with the API key in its first line.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,
    /// Keep every picture in this folder, numbered; it is made where it is missing.
    #[arg(long, value_name = "DIR")]
    previews: Option<PathBuf>,
    /// Write each event as JSON, as it came; of a picture what it is.
    #[arg(long)]
    json: bool,
    /// End after so many events; otherwise at Ctrl-C.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How many tries in a row may fail before it gives up.
    #[arg(long, value_name = "N", default_value_t = 20)]
    tries: u32,
}

/// Runs the command: 0 after Ctrl-C or as many events as were wished, 1 where nobody can be heard.
pub(super) fn run(args: ListenArgs) -> anyhow::Result<ExitCode> {
    let ear = Ear::new(args)?;
    super::runtime()?.block_on(async {
        tokio::select! {
            heard = ear.hear() => heard.map(|()| ExitCode::SUCCESS),
            () = asked_to_stop() => Ok(ExitCode::SUCCESS),
        }
    })
}

struct Ear {
    url: Url,
    key: Option<Secret>,
    previews: Option<PathBuf>,
    json: bool,
    count: Option<u64>,
    tries: u32,
    clock: Arc<dyn Clock>,
}

/// How a connection was over.
enum Over {
    /// As many events were heard as were wished.
    Done,
    /// It broke, and was good before, or never stood.
    Broken { was_good: bool, why: String },
}

impl Ear {
    fn new(args: ListenArgs) -> anyhow::Result<Self> {
        let is_all_said = args.url.is_some() && (args.key.is_some() || args.key_file.is_some());
        let settings =
            if is_all_said { crate::settings::Settings::default() } else { SettingArgs::default().load()? };
        let url = if let Some(url) = args.url {
            url
        } else {
            let mut address = settings.server.address;
            if address.ip().is_unspecified() {
                // It listens on all addresses of this machine, of which this is one.
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            format!("ws://{address}/runner/ws").parse()?
        };
        if !matches!(url.scheme(), "ws" | "wss") {
            bail!("the relay is reached by ws:// or wss://, not by {}://", url.scheme());
        }
        let key = match (args.key, args.key_file) {
            (Some(key), _) => Some(key),
            (None, Some(path)) => Some(super::deliveries::key_in(&path)?),
            (None, None) => settings.access.key,
        };
        if let Some(folder) = &args.previews {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        }
        let (previews, json, count, tries) = (args.previews, args.json, args.count, args.tries);
        Ok(Self { url, key, previews, json, count, tries, clock: SystemClock::start() })
    }

    async fn hear(&self) -> anyhow::Result<()> {
        let (mut heard, mut failed, mut wait) = (0, 0, FIRST_WAIT);
        loop {
            let why = match self.connection(&mut heard).await? {
                Over::Done => return Ok(()),
                Over::Broken { was_good, why } => {
                    (failed, wait) = if was_good { (1, FIRST_WAIT) } else { (failed + 1, wait) };
                    why
                }
            };
            if failed >= self.tries.max(1) {
                bail!("nobody can be heard at {} ({why}); start the gateway, or say with --url where it is", self.url);
            }
            let soon = humantime::format_duration(wait);
            writeln!(std::io::stderr(), "{}: {}; trying again in {soon}", self.url, tame(&why))?;
            self.clock.sleep_until(self.clock.now() + wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Hears one connection to its end. An error is one that no other try would mend.
    async fn connection(&self, heard: &mut u64) -> anyhow::Result<Over> {
        let mut request = self.url.as_str().into_client_request()?;
        if let Some(key) = &self.key {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            request.headers_mut().insert(AUTHORIZATION, value.context("the key cannot stand in a header")?);
        }
        let config = WebSocketConfig::default().max_frame_size(Some(LARGEST)).max_message_size(Some(LARGEST));
        let opening = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
        let broken = |was_good, why: &str| Ok(Over::Broken { was_good, why: why.to_owned() });
        let mut stream = match tokio::time::timeout(CONNECT_LIMIT, Box::pin(opening)).await {
            Ok(Ok((stream, _))) => stream,
            Ok(Err(Error::Http(answer))) => {
                let status = answer.status();
                let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                if may_pass {
                    return broken(false, &format!("status {}", status.as_u16()));
                }
                let said = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                bail!("{} answers with status {}: {}", self.url, status.as_u16(), tame(&said));
            }
            Ok(Err(error)) => return broken(false, &error.to_string()),
            Err(_) => return broken(false, "no answer in time"),
        };
        loop {
            let message = match tokio::time::timeout(SILENCE_LIMIT, stream.next()).await {
                Err(_) => return broken(true, "nothing was heard for a minute"),
                Ok(None) => return broken(true, "the connection was closed"),
                Ok(Some(Err(error))) => return broken(true, &error.to_string()),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => self.tell_text(&text)?,
                Message::Binary(bytes) => self.tell_binary(&bytes, *heard)?,
                Message::Close(reason) => {
                    let why = reason.map(|reason| reason.reason.to_string()).unwrap_or_default();
                    return broken(true, &format!("the gateway ends it: {why}"));
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            }
            *heard += 1;
            if Some(*heard) == self.count {
                return Ok(Over::Done);
            }
        }
    }

    fn tell_text(&self, text: &str) -> anyhow::Result<()> {
        let line = if self.json { tame(text) } else { tame(&words::of_text(text)) };
        Ok(write_out(&format!("{line}\n"))?)
    }

    fn tell_binary(&self, bytes: &Bytes, heard: u64) -> anyhow::Result<()> {
        let picture = Picture::read(bytes);
        let file = match (&self.previews, &picture) {
            (Some(folder), Some(picture)) => Some(keep(folder, picture, heard)?),
            (Some(_) | None, _) => None,
        };
        let line = if self.json {
            words::json_of(bytes, picture.as_ref(), file.as_deref())
        } else {
            words::of_binary(bytes, picture.as_ref(), file.as_deref())
        };
        Ok(write_out(&format!("{}\n", tame(&line)))?)
    }
}

/// Writes a picture under a number that no other has.
fn keep(folder: &Path, picture: &Picture<'_>, first: u64) -> anyhow::Result<PathBuf> {
    for number in first.. {
        let path = folder.join(format!("{number:06}.{}", picture.ending()));
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(picture.image).with_context(|| format!("cannot write `{}`", path.display()))?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write `{}`", path.display())),
        }
    }
    bail!("no number is free in `{}`", folder.display())
}
