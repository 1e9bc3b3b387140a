//! The other processes of a measurement: each side runs in one of its own, so that neither has an advantage.

use crate::http::{Connection, get};
use anyhow::{Context, ensure};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// In what `/proc` counts processor time, on every Linux that is in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that ends with this value.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts this program in one of its roles.
    pub(crate) fn role(role: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("`{role}` said `{line}`, not its address"))?;
        Ok(Self { child, address })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `comfygate serve` as it is shipped, with the settings that it has out of the box.
pub(crate) struct Gateway {
    process: Process,
    folder: TempDir,
}

impl Gateway {
    /// Starts it in front of a ComfyUI, with an empty data folder below the build's own.
    pub(crate) fn start(comfyui: SocketAddr) -> anyhow::Result<Self> {
        Self::start_with(comfyui, &[])
    }

    /// Starts it with other settings, each as `NAME=VALUE`.
    pub(crate) fn start_with(comfyui: SocketAddr, settings: &[&str]) -> anyhow::Result<Self> {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let free = TcpListener::bind(("127.0.0.1", 0))?;
        let address = free.local_addr()?;
        drop(free);
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_comfygate"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .arg("serve")
            .arg("--address")
            .arg(address.to_string())
            .arg("--comfyui")
            .arg(format!("http://{comfyui}"))
            .arg("--data")
            .arg(folder.path().join("data"))
            // Hundreds of thousands of jobs wait while taking in is measured.
            .args(["--set", "max_queued=1000000000", "--set", "max_queued_per_tenant=off"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start comfygate")?;
        Ok(Self { process: Process { child, address }, folder })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// Waits until it answers `path` with success.
    pub(crate) async fn until(&self, path: &str) -> anyhow::Result<()> {
        for _ in 0..200 {
            if let Ok(mut connection) = Connection::open(self.address()).await
                && let Ok((200, _)) = connection.exchange(&get(self.address(), path)).await
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        anyhow::bail!("the gateway does not answer {path}; its log:\n{log}")
    }

    /// Returns the processor time that it has had so far, of all its threads, in seconds.
    pub(crate) fn processor_time(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id()))?;
        let (_, figures) = stat.rsplit_once(')').context("no name in /proc/<pid>/stat")?;
        // User and system time are the 14th and 15th figure of the line; the name is the second.
        let ticks: Vec<f64> =
            figures.split_whitespace().skip(11).take(2).filter_map(|tick| tick.parse().ok()).collect();
        ensure!(ticks.len() == 2, "no processor time in /proc/<pid>/stat");
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Returns the largest memory that it has had resident, in MB.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    /// Returns the memory that is resident now, in MB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: f64 = line.with_context(|| format!("no {name}"))?.trim().trim_end_matches(" kB").parse()?;
        ensure!(kib > 0.0, "the gateway has ended");
        Ok(kib * 1024.0 / 1e6)
    }
}
