//! `comfygate convert`: a workflow as ComfyUI saves it, written as ComfyUI executes it.

use super::nodes::{self, NodeArgs};
use super::write_out;
use crate::convert::{Converted, Format, read};
use crate::lenient::{self, unmarked};
use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(super) struct ConvertArgs {
    /// The workflow as ComfyUI saves it; - reads stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the graph is written, instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    nodes: NodeArgs,
}

/// Runs the command: the graph to stdout, what is odd about it to stderr.
pub(super) fn run(args: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let text = nodes::read(&args.file)?;
    let name = if nodes::is_stdin(&args.file) { "stdin".to_owned() } else { args.file.display().to_string() };
    let saved = match read(&text).with_context(|| format!("{name} is in neither of ComfyUI's formats"))? {
        Format::Saved(saved) => saved,
        Format::Executed(_) => {
            writeln!(std::io::stderr(), "note: {name} is in API format already, it stays as it is")?;
            return write(args.out.as_deref(), &text);
        }
    };
    let nodes = args.nodes.load_or_ask()?;
    let no_conversion = || format!("{name}: cannot be converted with the nodes of {}", nodes.origin);
    let Converted { graph, warnings } = saved.convert(&nodes.definitions).with_context(no_conversion)?;
    for warning in warnings {
        writeln!(std::io::stderr(), "warning: {}", super::table::tame(&warning))?;
    }
    write(args.out.as_deref(), &format!("{}\n", serde_json::to_string_pretty(&graph)?))
}

/// Reads a text as JSON; what Python writes and JSON does not know is no obstacle.
pub(super) fn workflow_of(text: &str) -> anyhow::Result<Value> {
    lenient::parse(unmarked(text)).map_err(|error| anyhow!("not valid JSON: {error}"))
}

fn write(out: Option<&Path>, text: &str) -> anyhow::Result<ExitCode> {
    match out {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?,
        None => write_out(text)?,
    }
    Ok(ExitCode::SUCCESS)
}
