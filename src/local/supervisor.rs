//! Keeps a ComfyUI running beside the gateway: starts it, starts it again after its end, ever later where it does not live, and
//! ends it with the gateway. Tells how it stands.

use super::error::ServerNotReady;
use super::options::{Launch, LocalOptions, beside};
use super::predecessor::outwait;
use super::start::{Local, Parts};
use crate::clock::Clock;
use crate::comfy::ComfyUrl;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, info, warn};

/// The pause before the first new start; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Whoever was ready for so long did not fail at its start, however long it loaded: the pauses begin anew.
const LIVED: Duration = Duration::from_mins(2);
/// In the data folder: the port that was drawn, so that it stays the same.
const PORT_FILE: &str = "comfyui.port";
/// In the data folder: what ComfyUI writes.
const LOG_FILE: &str = "comfyui.log";
/// In the data folder: locked as long as a ComfyUI lives that was started from here.
const LOCK_FILE: &str = "comfyui.lock";

/// How the local ComfyUI stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Where it is reached.
    pub address: String,
    /// What it does now.
    pub condition: Condition,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it ended last, or did not start; none where it never did.
    pub trouble: Option<String>,
}

/// What a local ComfyUI does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It was started and does not answer yet.
    Starting,
    /// It answered, and goes on.
    Running,
    /// It has ended, and will be started again after a pause.
    Waiting,
    /// It has ended with the gateway.
    Stopped,
}

impl Condition {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

/// Looks after one ComfyUI.
#[derive(Debug)]
pub struct Supervisor {
    launch: Launch,
    url: ComfyUrl,
    ready_within: Duration,
    standing: watch::Sender<Standing>,
    is_up: watch::Sender<bool>,
}

impl Supervisor {
    /// Looks whether a ComfyUI can be started, and settles where it will listen; starts nothing yet. Where the gateway before this
    /// one was killed and its ComfyUI still has the port, its end is waited for. In `data` are the port that was drawn before, the
    /// log, and the lock by which the one before is known.
    pub async fn prepare(mut options: LocalOptions, data: &Path, clock: &dyn Clock) -> Result<Self, ServerNotReady> {
        options.log_file.get_or_insert_with(|| data.join(LOG_FILE));
        let lock = options.lock_file.get_or_insert_with(|| data.join(LOCK_FILE)).clone();
        let note = data.join(PORT_FILE);
        let drawn = std::fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok());
        if let Some(port) = options.port.or(drawn) {
            outwait(options.at(port), &lock, clock).await;
        }
        let (is_drawn, ready_within) = (options.port.is_none(), options.ready_within);
        let launch = beside(move || options.settle(drawn)).await?;
        let port = launch.address.port();
        if is_drawn && drawn != Some(port) {
            note_port(&note, port);
        }
        let url = launch.url()?;
        let first = Standing { address: url.to_string(), condition: Condition::Starting, restarts: 0, trouble: None };
        let (standing, is_up) = (watch::Sender::new(first), watch::Sender::new(false));
        Ok(Self { launch, url, ready_within, standing, is_up })
    }

    /// Returns where the ComfyUI is reached, in this life and in all further ones.
    pub fn url(&self) -> &ComfyUrl {
        &self.url
    }

    /// Returns what always knows how it stands.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Returns what always knows whether the server at the address is ours, and answers.
    pub fn is_up(&self) -> watch::Receiver<bool> {
        self.is_up.subscribe()
    }

    /// Keeps it running until everything is told to stop, and ends it then. `random` spreads the pauses.
    pub async fn run(self, parts: Parts, random: fn() -> u64) {
        let stop = parts.lifecycle.stop();
        let mut failures = 0;
        loop {
            self.stand(Condition::Starting, None);
            let trouble = match Local::launch(&self.launch, self.ready_within, &parts).await {
                Ok(mut local) => {
                    let ready = parts.clock.now();
                    self.stand(Condition::Running, None);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {
                            local.stop().await;
                            info!("ComfyUI was stopped");
                            return self.stand(Condition::Stopped, None);
                        }
                        () = local.exited() => {}
                    }
                    // Whoever listens there from now on is somebody else.
                    self.is_up.send_replace(false);
                    let ended = local.ended().await;
                    let last = ended.log.last().map(String::as_str);
                    warn!(status = ended.status, last, "ComfyUI has ended and is started again");
                    if parts.clock.now().since(ready) >= LIVED {
                        failures = 0;
                    }
                    format!("it ended ({})", ended.status)
                }
                Err(ServerNotReady::Stopped) => return self.stand(Condition::Stopped, None),
                Err(reason) => {
                    error!(%reason, "ComfyUI could not be started; it is tried again");
                    first_line(&reason)
                }
            };
            self.stand(Condition::Waiting, Some(trouble));
            let pause = pause(failures, random());
            failures = failures.saturating_add(1);
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.stand(Condition::Stopped, None),
                () = parts.clock.sleep_until(parts.clock.now() + pause) => {}
            }
            self.standing.send_modify(|standing| standing.restarts = standing.restarts.saturating_add(1));
        }
    }

    fn stand(&self, condition: Condition, trouble: Option<String>) {
        self.is_up.send_replace(condition == Condition::Running);
        self.standing.send_modify(|standing| {
            standing.condition = condition;
            if trouble.is_some() {
                standing.trouble = trouble;
            }
        });
    }
}

/// Returns the pause before the next start: doubling, limited, and in its upper half left to `chance`.
fn pause(failures: u32, chance: u64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    let half = doubled / 2;
    let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    half + Duration::from_millis(chance % span)
}

/// What others may read: without the lines that ComfyUI wrote.
fn first_line(reason: &ServerNotReady) -> String {
    let text = reason.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split("; it wrote").next().unwrap_or_default().to_owned()
}

fn note_port(note: &PathBuf, port: u16) {
    let parent = note.parent().map(std::fs::create_dir_all);
    if let Some(Err(error)) = parent {
        return warn!(%error, "the port of ComfyUI is not noted; the next start draws another one");
    }
    if let Err(error) = std::fs::write(note, format!("{port}\n")) {
        warn!(%error, "the port of ComfyUI is not noted; the next start draws another one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_who_is_served_waits_while_it_is_looked_who_has_the_port() {
        use crate::clock::{ManualClock, Timestamp};
        let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(home.path().join("main.py"), "").unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let python = std::env::current_exe().ok();
        let free = LocalOptions { python, ..LocalOptions::new(home.path()) };
        let options = LocalOptions { port: Some(taken.local_addr().unwrap().port()), ..free.clone() };
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let preparing = Supervisor::prepare(options, data.path(), clock.as_ref());
        tokio::pin!(preparing);
        assert!(futures_util::poll!(&mut preparing).is_pending(), "it was looked for on this thread");
        assert!(matches!(preparing.await, Err(ServerNotReady::PortTaken { .. })));
        let lifecycle = crate::lifecycle::Lifecycle::new();
        let parts = Parts {
            clock: std::sync::Arc::<ManualClock>::clone(&clock),
            lifecycle,
            tell: std::sync::Arc::new(|_: &str| ()),
        };
        let launch = Launch { address: taken.local_addr().unwrap(), ..free.settle(None).unwrap() };
        let launching = Local::launch(&launch, Duration::ZERO, &parts);
        tokio::pin!(launching);
        assert!(futures_util::poll!(&mut launching).is_pending(), "it was looked for on this thread");
        assert!(matches!(launching.await, Err(ServerNotReady::PortTaken { .. })));
    }

    #[test]
    fn pauses_grow_up_to_a_minute_and_differ() {
        for (failures, longest) in [(0, 1), (1, 2), (3, 8), (6, 60), (40, 60)] {
            let longest = Duration::from_secs(longest);
            assert_eq!(pause(failures, 0), longest / 2);
            let half = u64::try_from((longest / 2).as_millis()).unwrap();
            assert_eq!(pause(failures, half), longest);
            assert!(pause(failures, u64::MAX) <= longest);
        }
    }

    #[test]
    fn what_comfyui_wrote_stays_in_the_log() {
        let log = vec!["Traceback in /home/somebody".to_owned()];
        let line = first_line(&ServerNotReady::Ended { status: "exit status: 1".into(), log });
        assert_eq!(line, "ComfyUI ended before it was ready (exit status: 1)");
    }
}
