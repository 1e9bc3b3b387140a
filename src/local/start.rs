//! Starts one ComfyUI, waits until it answers, and ends it. Who starts it again is the supervisor's matter.

use super::error::ServerNotReady;
use super::options::{Launch, LocalOptions, beside};
use super::owner::{Owner, owner};
use super::process::Process;
use crate::clock::Clock;
use crate::comfy::{Client, ComfyUrl};
use crate::lifecycle::Lifecycle;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often a ComfyUI that starts is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long one such question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often it is told that it is still waited for.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a local ComfyUI is started with besides its options.
#[derive(Clone)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Spawns who reads what it writes. When it stops, a start is given up.
    pub lifecycle: Lifecycle,
    /// Is told how far the start is.
    pub tell: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A ComfyUI that runs. Dropped, it is told to end like by [`stop`](Self::stop), only that nobody waits for it; so it is where the
/// gateway is killed.
#[derive(Debug)]
pub struct Local {
    process: Process,
    url: ComfyUrl,
    clock: Arc<dyn Clock>,
}

/// How a ComfyUI ended that was ready before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its exit status, or the signal that ended it.
    pub status: String,
    /// The last lines that it wrote.
    pub log: Vec<String>,
}

impl Local {
    /// Starts a ComfyUI and waits until it answers, it and nobody else in its place. Where it does not, or ends, it is ended with all that it has started, and the
    /// error has its last lines.
    pub async fn start(options: &LocalOptions, parts: &Parts) -> Result<Self, ServerNotReady> {
        let asked = options.clone();
        let launch = beside(move || asked.settle(None)).await?;
        Self::launch(&launch, options.ready_within, parts).await
    }

    /// The same, settled before.
    pub(super) async fn launch(launch: &Launch, within: Duration, parts: &Parts) -> Result<Self, ServerNotReady> {
        let asked = launch.clone();
        beside(move || asked.check_port()).await?;
        let url = launch.url()?;
        let client = Client::new(url.clone()).map_err(|error| ServerNotReady::NoWarden(error.to_string()))?;
        let client = client.with_limit(ANSWER_LIMIT);
        (parts.tell)(&format!("starting ComfyUI in {} at {url}", launch.home.display()));
        let mut process = Process::spawn(launch, &parts.lifecycle).await?;
        let clock = Arc::clone(&parts.clock);
        match until_ready(&mut process, &client, launch.address.port(), within, parts).await {
            Waited::Ready => {
                (parts.tell)(&format!("ComfyUI is ready at {url}"));
                Ok(Self { process, url, clock })
            }
            Waited::Another(who) => {
                process.stop(clock.as_ref()).await;
                Err(ServerNotReady::PortTaken {
                    address: launch.address,
                    reason: format!("another server answers there ({who})"),
                })
            }
            Waited::Ended(status) => Err(ServerNotReady::Ended { status, log: process.clear(clock.as_ref()).await }),
            Waited::TooLong => Err(ServerNotReady::TimedOut { within, log: process.stop(clock.as_ref()).await }),
            Waited::Stopped => {
                process.stop(clock.as_ref()).await;
                Err(ServerNotReady::Stopped)
            }
        }
    }

    /// Returns where it is reached.
    pub fn url(&self) -> &ComfyUrl {
        &self.url
    }

    /// Returns the last lines that it wrote.
    pub fn log(&self) -> Vec<String> {
        self.process.output.lines()
    }

    /// Ends when the process has ended by itself. May be dropped and called again.
    pub async fn exited(&mut self) {
        // An error means that it cannot be waited for, and so not be looked after any more.
        let _ = self.process.wait().await;
    }

    /// Waits until it has ended by itself, and ends what it has left behind.
    pub async fn ended(mut self) -> Ended {
        let status = told(self.process.wait().await);
        Ended { status, log: self.process.clear(self.clock.as_ref()).await }
    }

    /// Ends it with all that it has started: asks first, and five seconds later makes it.
    pub async fn stop(self) {
        self.process.stop(self.clock.as_ref()).await;
    }
}

enum Waited {
    Ready,
    /// Somebody else's server answers, who took the port before ComfyUI came to it.
    Another(String),
    Ended(String),
    TooLong,
    Stopped,
}

async fn until_ready(process: &mut Process, client: &Client, port: u16, within: Duration, parts: &Parts) -> Waited {
    let (clock, stop) = (parts.clock.as_ref(), parts.lifecycle.stop());
    let began = clock.now();
    let mut told_at = began;
    let mut deadline = clock.sleep_until(began + within);
    let output = process.output.clone();
    loop {
        // Asked over and over, whatever goes wrong: it listens late, and until then something else might.
        let asking = async {
            let answer = client.system_stats().await;
            if answer.is_err() {
                clock.sleep_until(clock.now() + ASK_EVERY).await;
            }
            answer
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Waited::Stopped,
            status = process.wait() => return Waited::Ended(told(status)),
            () = &mut deadline => return Waited::TooLong,
            answer = asking => if answer.is_ok() {
                return ready(process, port).await;
            },
        }
        if clock.now().since(told_at) >= TELL_EVERY {
            told_at = clock.now();
            let waited = Duration::from_secs(told_at.since(began).as_secs());
            let last = output.last().unwrap_or_else(|| "nothing".into());
            (parts.tell)(&format!(
                "ComfyUI is not ready yet after {}; it wrote last: {last}",
                humantime::format_duration(waited)
            ));
        }
    }
}

/// Says whether the one who answered is ours; where that cannot be seen, it is.
async fn ready(process: &Process, port: u16) -> Waited {
    let group = process.group();
    match tokio::task::spawn_blocking(move || owner(port, group)).await {
        Ok(Owner::Others(who)) => Waited::Another(who),
        Ok(Owner::Ours | Owner::Unknown) | Err(_) => Waited::Ready,
    }
}

fn told(status: std::io::Result<std::process::ExitStatus>) -> String {
    status.map_or_else(|error| format!("its end cannot be waited for: {error}"), |status| status.to_string())
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("clock", &self.clock).finish_non_exhaustive()
    }
}
