//! The role of one backend of many: a simulated ComfyUI that writes down each prompt when it begins and when it ends, and that
//! goes deaf when it is told to.

use crate::now;
use crate::roles::{Role, input};
use anyhow::Context;
use comfygate::sim::{Fault, Moment, Sim, SimOptions, Witness};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What this role is called, and the word that makes it deaf.
pub(crate) const ROLE: &str = "play-gpu";
const DEAF: &str = "deaf";

/// The only model of a backend that lacks the usual ones.
const OTHER_MODEL: &str = "another.safetensors";

/// Something that happened to a prompt, as it is written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    /// When, in milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) prompt: String,
    /// The number that the job has in its graph.
    pub(crate) job: Option<u64>,
    pub(crate) what: What,
}

/// What happened to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    Begun,
    Succeeded,
    Failed,
}

/// Plays it until the input is closed. `step` is how many milliseconds a node works; `lacks` says whether it lacks the models
/// that others have.
pub(crate) async fn play(addr: SocketAddr, log: &Path, step: u64, lacks: bool) -> anyhow::Result<()> {
    let file = Mutex::new(File::options().create(true).append(true).open(log)?);
    let witness = Witness::new(move |run| {
        let what = match run.moment {
            Moment::Begun => What::Begun,
            Moment::Succeeded => What::Succeeded,
            Moment::Failed => What::Failed,
        };
        let note = Note { at: now(), prompt: run.prompt.clone(), job: number(&run.graph), what };
        let line = serde_json::to_string(&note).expect("plain fields") + "\n";
        // One write, so that a death leaves whole lines.
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()).expect("the log is on a disk");
    });
    let options = SimOptions {
        addr,
        step: Duration::from_millis(step),
        previews: false,
        noise_image_bytes: 1,
        models: lacks.then(|| vec![OTHER_MODEL.to_owned()]),
        witness: Some(witness),
        ..SimOptions::default()
    };
    let sim = Sim::start(options).await?;
    println!("ready");
    let mut input = input();
    while let Some(line) = input.recv().await {
        if line == DEAF {
            sim.inject(Fault::DeafSocket);
        }
    }
    Ok(())
}

/// Returns the number by which a job is known: the colour of its picture, or its seed.
fn number(graph: &str) -> Option<u64> {
    let graph: Value = serde_json::from_str(graph).ok()?;
    let inputs = graph.as_object()?.values().filter_map(|node| node["inputs"].as_object());
    inputs.into_iter().find_map(|inputs| ["color", "seed"].iter().find_map(|name| inputs.get(*name)?.as_u64()))
}

/// Lets the socket of whoever sends the next prompt hear nothing any more.
pub(crate) fn deafen(role: &mut Role) -> anyhow::Result<()> {
    role.tell(DEAF)
}

/// Stops a process where it stands, or lets it go on: its connections stay, and nobody answers on them.
pub(crate) fn freeze(role: &Role, is_frozen: bool) -> anyhow::Result<()> {
    let signal = if is_frozen { "-STOP" } else { "-CONT" };
    let sent = Command::new("kill").args([signal, &role.id().to_string()]).status().context("there is no `kill`")?;
    anyhow::ensure!(sent.success(), "the process cannot be sent {signal}");
    Ok(())
}
