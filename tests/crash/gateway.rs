//! `comfygate serve` as a process that is killed, dies at a named point, or is asked to stop.

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to answer, to stop, or to come to the point at which it is to die.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it logs at the end is shown where it did something wrong.
const SHOWN: usize = 4000;

/// A gateway that runs; it is killed when this value is dropped.
pub(crate) struct Gateway {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// What is not done yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Backlog {
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) deliveries: u64,
}

impl Gateway {
    /// Starts it on the data in `folder`; `comfyui` are the addresses of its backends, `order` says at which
    /// point it is to die.
    pub(crate) fn start(
        folder: &Path,
        address: SocketAddr,
        comfyui: &str,
        settings: &[(&str, &str)],
        order: Option<&str>,
    ) -> anyhow::Result<Self> {
        let log = folder.join("gateway.log");
        let output = File::options().create(true).append(true).open(&log)?;
        // An abort leaves no core behind.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_comfygate"), "serve"]);
        command.args(["--address", &address.to_string(), "--comfyui", comfyui]);
        for (name, value) in settings {
            command.args(["--set", &format!("{name}={value}")]);
        }
        command.env_clear().current_dir(folder);
        if let Some(order) = order {
            command.env("COMFYGATE_CRASH_AT", order);
        }
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
        Ok(Self { child, address, log })
    }

    /// Kills it at this very moment; an error where it was dead before.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the gateway ended by itself with {status}:\n{}", self.end_of_log());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has died at its point.
    pub(crate) fn dies(mut self) -> anyhow::Result<()> {
        let status = self.ended(PATIENCE).context("it never came to the point at which it was to die")?;
        ensure!(is_abort(status), "the gateway ended with {status}:\n{}", self.end_of_log());
        Ok(())
    }

    /// Waits until it has died at its point, and kills it where that takes too long. Returns whether it came there.
    pub(crate) fn dies_within(mut self, patience: Duration) -> anyhow::Result<bool> {
        let ended = self.ended(patience);
        // It may have come to its point between the last look and now.
        if let Some(status) = ended.ok().or(self.child.try_wait()?) {
            ensure!(is_abort(status), "the gateway ended with {status}:\n{}", self.end_of_log());
            return Ok(true);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        ensure!(!status.success(), "the gateway ended by itself");
        Ok(is_abort(status))
    }

    /// Asks it to stop, and waits until it has ended well.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(asked.success(), "the gateway cannot be asked to stop");
        let status = self.ended(PATIENCE)?;
        ensure!(status.success(), "the gateway stopped with {status}:\n{}", self.end_of_log());
        Ok(())
    }

    /// Waits until it is ready for jobs.
    pub(crate) fn until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway ended by itself with {status}:\n{}", self.end_of_log());
            }
            if self.backlog().is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the gateway was not ready within {PATIENCE:?}:\n{}", self.end_of_log())
    }

    /// Asks what is not done yet; none where it does not answer or is not ready.
    pub(crate) fn backlog(&self) -> Option<Backlog> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET /ready HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())??;
        let count = |name: &str| body["backlog"][name].as_u64();
        Some(Backlog { queued: count("queued")?, running: count("running")?, deliveries: count("deliveries")? })
    }

    /// Returns what it logged last.
    pub(crate) fn end_of_log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(SHOWN)..]).into_owned()
    }

    fn ended(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("the gateway did not end within {patience:?}:\n{}", self.end_of_log())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_abort(status: ExitStatus) -> bool {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&status) == Some(6);
    #[cfg(not(unix))]
    return !status.success();
}
