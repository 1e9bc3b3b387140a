//! What this program is when it is started as a child of itself: ComfyUI, the receiver, or the loader. Each says `ready`
//! in its first line; the first two end when their input is closed. Here too is the side of the parent.

use crate::{farm, loader, sink};
use anyhow::{Context, bail, ensure};
use comfygate::sim::{Fault, Sim, SimOptions, When};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a node of the simulated ComfyUI works, so that a kill may find a prompt at any place of it.
const STEP: Duration = Duration::from_millis(2);

/// A node of this name raises.
pub(crate) const FAILING: &str = "13";

/// How often it is written down which prompts were executed.
const NOTED_EVERY: Duration = Duration::from_millis(50);

/// Plays a role to its end.
pub(crate) fn play(role: &str, arguments: &[String]) -> anyhow::Result<()> {
    let text = |place: usize| arguments.get(place).cloned().with_context(|| format!("argument {place} is missing"));
    match role {
        "play-comfyui" => runtime()?.block_on(comfyui(text(0)?.parse()?, Path::new(&text(1)?), text(2)?.parse()?)),
        "play-sink" => actix_web::rt::System::new().block_on(sink::receive(
            text(0)?.parse()?,
            Path::new(&text(1)?),
            &text(2)?,
            text(3)?.parse()?,
        )),
        "play-loader" => runtime()?.block_on(loader::load(&text(0)?, &text(1)?, Path::new(&text(2)?), &text(3)?)),
        farm::ROLE => runtime()?.block_on(farm::play(
            text(0)?.parse()?,
            Path::new(&text(1)?),
            text(2)?.parse()?,
            text(3)?.parse()?,
        )),
        _ => bail!("there is no role `{role}`"),
    }
}

/// Returns the lines that the parent writes; they end when it wants no more of this, or is gone.
pub(crate) fn input() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A simulated ComfyUI that adds to `log` which prompts it has begun, and that loses the images of its first runs.
async fn comfyui(addr: SocketAddr, log: &Path, loses: usize) -> anyhow::Result<()> {
    let options = SimOptions { addr, step: STEP, previews: false, ..SimOptions::default() };
    let sim = Sim::start(options).await?;
    for run in 0..loses {
        sim.inject_when(Fault::LoseFrames, When::After(run));
    }
    // Only one workflow has a node of this name.
    let raise =
        Fault::FailNode { node: FAILING.into(), message: "on purpose".into(), exception_type: "ValueError".into() };
    sim.inject_when(raise, When::Every);
    println!("ready");
    let mut file = std::fs::File::options().create(true).append(true).open(log)?;
    let mut noted = BTreeMap::new();
    let mut input = input();
    loop {
        let is_over = tokio::select! {
            line = input.recv() => line.is_none(),
            () = tokio::time::sleep(NOTED_EVERY) => false,
        };
        let executions = sim.executions();
        let mut lines = String::new();
        for (prompt, times) in &executions {
            for _ in noted.get(prompt).copied().unwrap_or(0)..*times {
                lines += prompt;
                lines.push('\n');
            }
        }
        file.write_all(lines.as_bytes())?;
        noted = executions;
        if is_over {
            return Ok(());
        }
    }
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// This program in a role, as a child; it is killed when this value is dropped.
pub(crate) struct Role {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
}

impl Role {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(name: &'static str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(name).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("no output")?;
        let mut role = Self { name, child, input };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("{name} did not start: {:?}", role.wait(Duration::from_secs(5)));
        }
        Ok(role)
    }

    /// Writes a line to it.
    pub(crate) fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        writeln!(input, "{line}").with_context(|| format!("{} listens no more", self.name))
    }

    /// Says that no more lines come.
    pub(crate) fn close(&mut self) {
        drop(self.input.take());
    }

    /// Returns the id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at this very moment.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Closes its input and waits until it has ended well.
    pub(crate) fn finish(mut self, patience: Duration) -> anyhow::Result<()> {
        drop(self.input.take());
        let status = self.wait(patience)?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{} did not end within {patience:?}", self.name)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
