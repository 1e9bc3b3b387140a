//! The command line of `comfygate run`, and what it means.

use crate::runner::{FrameRange, Given, ValidationError, params_of};
use crate::secret::Secret;
use crate::settings::Settings;
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// What `comfygate run` is told.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and none excludes another but where it says so")]
#[derive(Args, Debug)]
pub(in crate::cli) struct RunArgs {
    /// A graph (.json, or a .png that ComfyUI has saved), the mapping file of a pair (.yaml), or the name of a workflow of the catalogue.
    #[arg(short, long, value_name = "FILE|NAME")]
    pub(super) workflow: String,
    /// Parameters by the names of the mapping, by well-known names (`Steps`, `Seed`, `PositivePrompt`), or by node and input (6.text);
    /// @FILE takes them from a JSON file.
    #[arg(short, long = "param", value_name = "NAME=VALUE", num_args = 1.., value_parser = param)]
    pub(super) param: Vec<Param>,
    /// A JSON file of parameters by their names; what -p says goes before it.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Where it runs: on a server that is there, or on one that is started for it in `COMFYUI_HOME`. Without this, a server
    /// that is named, else one in `COMFYUI_HOME`.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// The ComfyUI server, instead of that of the settings.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The bearer token that the server asks for; better in `COMFYUI_TOKEN`, where nobody sees it.
    #[arg(long, value_name = "TOKEN", value_parser = secret)]
    token: Option<Secret>,
    /// The folder for the outputs; nothing in it is overwritten.
    #[arg(short, long, default_value = "output", value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Take the outputs of these nodes only, under a name if you like.
    #[arg(long, value_name = "[NAME:]NODE", value_parser = output)]
    pub(super) output: Vec<(Option<String>, String)>,
    /// Run it so many times: a seed that is given goes up by one each time, others are drawn each time.
    #[arg(long, value_name = "N")]
    pub(super) batch: Option<usize>,
    /// Run it for each of these frames, such as 1-100 or 1-100:2; #### and {frame} in parameters become the number.
    #[arg(long, value_name = "FIRST-LAST[:STEP]")]
    pub(super) frame_range: Option<FrameRange>,
    /// Stop all others when one has failed.
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Do not ask the server for its nodes and check the graph against them.
    #[arg(long)]
    pub(super) no_check: bool,
    /// How long one run may take from its beginning.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// How long the server may take to be reachable.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) wait: Duration,
    /// Write one JSON object per line to stdout, and nothing else.
    #[arg(long, conflicts_with = "quiet")]
    pub(super) json: bool,
    /// Show no progress: only the paths of the outputs, and errors.
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// Where orders run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Mode {
    /// On a ComfyUI that is started for it, and ended after it.
    Local,
    /// On a ComfyUI that is there.
    Remote,
}

/// A parameter of the command line, or a file of them.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Param {
    Value(String, String),
    File(PathBuf),
}

impl RunArgs {
    /// Returns the settings with what the command line says over them.
    pub(super) fn settings(&self, mut settings: Settings) -> anyhow::Result<Settings> {
        if let Some(url) = &self.url {
            let whole = if url.contains("://") { url.clone() } else { format!("http://{url}") };
            let url =
                whole.parse().with_context(|| format!("--url `{url}` is no address; write http://127.0.0.1:8188"))?;
            settings.backends.addresses = vec![url];
        }
        if let Some(token) = &self.token {
            settings.backends.token = Some(token.clone());
        }
        Ok(settings)
    }

    /// Returns the name of the executor.
    pub(super) fn mode(&self, settings: &Settings) -> &'static str {
        let is_named = self.url.is_some() || settings.backends.are_named.0;
        match self.mode {
            Some(Mode::Local) => "local",
            None if !is_named && settings.local.home.is_some() => "local",
            Some(Mode::Remote) | None => "remote",
        }
    }

    /// Returns how many runs are asked for.
    pub(super) fn runs(&self) -> usize {
        self.frame_range.map_or(1, |range| range.count()).saturating_mul(self.batch.unwrap_or(1))
    }

    /// Returns all parameters, those that count more later.
    pub(super) fn params(&self) -> Result<Vec<(String, Given)>, ValidationError> {
        let mut params = match &self.params {
            Some(path) => params_of(path)?,
            None => Vec::new(),
        };
        for param in &self.param {
            match param {
                Param::Value(name, value) => params.push((name.clone(), Given::Word(value.clone()))),
                Param::File(path) => params.extend(params_of(path)?),
            }
        }
        Ok(params)
    }
}

fn param(text: &str) -> Result<Param, String> {
    if let Some(path) = text.strip_prefix('@') {
        return Ok(Param::File(path.into()));
    }
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok(Param::Value(name.trim().to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("`{text}` is not NAME=VALUE, such as Steps=50, nor @FILE")),
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    let is_plain = !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic());
    if is_plain { Ok(Secret::new(text)) } else { Err("a token has visible ASCII characters only".to_owned()) }
}

fn output(text: &str) -> Result<(Option<String>, String), String> {
    match text.rsplit_once(':') {
        Some((name, node)) if !name.is_empty() && !node.is_empty() => Ok((Some(name.to_owned()), node.to_owned())),
        None if !text.is_empty() => Ok((None, text.to_owned())),
        Some(_) | None => Err(format!("`{text}` names no node; write 9, or images:9")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{FileChoice, Sources};
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn a_server_that_is_named_is_used_also_where_it_is_the_usual_one() {
        let settings = |said: &[(&str, &str)]| {
            let env = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let (env, cli) = (env.collect::<Vec<_>>(), std::collections::BTreeMap::new());
            Settings::load(Sources { cli, env, dotenv: FileChoice::None, file: FileChoice::None }).unwrap()
        };
        let mode = |more: &[&str], said: &[(&str, &str)]| {
            let line = Line::parse_from([&["run", "-w", "x"], more].concat());
            line.run.mode(&settings(said))
        };
        let (home, usual) = (("COMFYUI_HOME", "/comfy"), ("COMFYUI_ADDRESS", "http://127.0.0.1:8188"));
        assert_eq!(mode(&[], &[home]), "local");
        assert_eq!(mode(&[], &[home, ("COMFYUI_ADDRESS", "")]), "local");
        assert_eq!(mode(&[], &[home, usual]), "remote");
        assert_eq!(mode(&["--mode", "local"], &[home, usual]), "local");
        assert_eq!(mode(&["--url", "gpu:8188"], &[home]), "remote");
        assert_eq!(mode(&[], &[]), "remote");
    }
}
