//! `comfygate workflows`: which workflows the folders hold, and what each takes and gives. Asks no gateway and no server.

use super::table::{Table, tame};
use super::{SettingArgs, nodes, write_out};
use crate::job::ParamValue;
use crate::names::{cut, hint, shown};
use crate::settings::Settings;
use crate::workflow::{Catalog, Kind, Pair, Parameter};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The longest text of a column, in characters.
const WIDE: usize = 60;

/// The most choices that are shown to people.
const CHOICES: usize = 12;

#[derive(Subcommand, Debug)]
pub(super) enum WorkflowsCommand {
    /// List the workflows by name.
    List(ListArgs),
    /// Show what a workflow takes and gives.
    Show(ShowArgs),
}

/// Where the folders of workflows are named.
#[derive(Args, Debug, Default)]
pub(super) struct FolderArgs {
    /// Any setting, by its name, such as `COMFYGATE_CONFIGS`.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::assignment)]
    assignments: Vec<(String, String)>,
    /// A settings file instead of ./comfygate.yaml.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// An environment file instead of ./.env.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Write JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folders: FolderArgs,
}

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// The workflow, by any of its names.
    name: String,
    /// Write JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folders: FolderArgs,
}

impl FolderArgs {
    /// Loads the settings.
    pub(super) fn load(self) -> anyhow::Result<Settings> {
        let Self { assignments, settings, env_file } = self;
        SettingArgs { assignments, settings, env_file, ..SettingArgs::default() }.load()
    }
}

/// Runs one of the commands.
pub(super) fn run(command: WorkflowsCommand) -> anyhow::Result<ExitCode> {
    match command {
        WorkflowsCommand::List(args) => list(args),
        WorkflowsCommand::Show(args) => show(args),
    }
}

/// Says that there is no such workflow, and which is near.
pub(super) fn unknown(catalog: &Catalog, name: &str, configs: &Path, templates: &Path) -> anyhow::Error {
    let (own, others) = (catalog.names(), catalog.other_names());
    let known = own.iter().chain(others.keys()).map(String::as_str);
    let folders = format!("in `{}` and `{}`", configs.display(), templates.display());
    anyhow!("there is no workflow `{}` {folders}{}", shown(name), hint(name, known))
}

fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let settings = args.folders.load()?;
    let catalog = load(&settings)?;
    let pairs = catalog.names().into_iter().filter_map(|name| catalog.workflow(&name)).collect::<Vec<_>>();
    let default = &settings.workflows.default;
    if args.json {
        let workflows: Vec<Value> = pairs.iter().map(|pair| summary(&catalog, pair, default)).collect();
        let problems = catalog.problems();
        let broken = problems.iter().filter(|(name, _)| !pairs.iter().any(|pair| pair.name() == **name));
        let broken: Vec<Value> = broken
            .map(|(name, problems)| json!({ "name": name, "problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>() }))
            .collect();
        write_out(&format!("{:#}\n", json!({ "workflows": workflows, "broken": broken })))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["NAME", "ALSO", "PARAMETERS", "OUTPUTS", "DESCRIPTION"]);
    for pair in &pairs {
        let parameters: Vec<&str> = pair.parameters().map(|parameter| parameter.name.as_str()).collect();
        let outputs = pair.outputs().map_or("all".to_owned(), |outputs| outputs.join(", "));
        table.row([
            tame(pair.name()),
            tame(&cut(&other_names(&catalog, pair.name()).join(", "), WIDE)),
            tame(&cut(&parameters.join(", "), WIDE)),
            tame(&cut(&outputs, WIDE)),
            tame(&cut(pair.description().unwrap_or_default(), WIDE)),
        ]);
    }
    let mut text = Vec::new();
    table.write(&mut text)?;
    write_out(&String::from_utf8_lossy(&text))?;
    for problem in catalog.problems().values().flatten() {
        writeln!(std::io::stderr(), "problem: {}", tame(&problem.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let settings = args.folders.load()?;
    let catalog = load(&settings)?;
    let Some(pair) = catalog.workflow(&args.name) else {
        let problems = catalog.problems();
        if let Some(problems) = problems.get(&args.name) {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(anyhow!("workflow `{}` cannot be used: {}", shown(&args.name), all.join("; ")));
        }
        return Err(unknown(&catalog, &args.name, &settings.workflows.configs, &settings.workflows.templates));
    };
    let mut told = summary(&catalog, &pair, &settings.workflows.default);
    if args.json {
        told["parameters"] = pair.parameters().map(|parameter| in_full(&pair, parameter)).collect();
        write_out(&format!("{told:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    people(&mut text, &catalog, &pair)?;
    write_out(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

fn people(out: &mut impl Write, catalog: &Catalog, pair: &Pair) -> std::io::Result<()> {
    let outputs: Option<Vec<String>> = pair.outputs().map(|outputs| {
        let named = |id: &String| match pair.output_names().get(id) {
            Some(name) => format!("{name} (node {id})"),
            None => format!("node {id}"),
        };
        outputs.iter().map(named).collect()
    });
    let facts = [
        ("name", pair.name().to_owned()),
        ("also", other_names(catalog, pair.name()).join(", ")),
        ("description", pair.description().unwrap_or_default().to_owned()),
        ("outputs", outputs.map_or("every output node".to_owned(), |outputs| outputs.join(", "))),
        ("tags", pair.required_tags().join(", ")),
        ("revision", pair.revision().to_owned()),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<13}{}", tame(value))?;
    }
    for warning in pair.warnings() {
        writeln!(out, "{:<13}{}", "warning", tame(warning))?;
    }
    writeln!(out)?;
    let mut table = Table::new(["PARAMETER", "TYPE", "DEFAULT", "TAKES", "SETS", "DESCRIPTION"]);
    for parameter in pair.parameters() {
        let targets: Vec<String> =
            parameter.targets.iter().map(|target| format!("{}.{}", target.node, target.input)).collect();
        let default = match pair.default_of(parameter) {
            _ if parameter.required => "required".to_owned(),
            Some(Value::String(text)) => cut(&text, WIDE),
            Some(value) => value.to_string(),
            None if parameter.kind == Kind::Seed => "drawn".to_owned(),
            None => "-".to_owned(),
        };
        table.row([
            tame(&parameter.name),
            parameter.kind.as_str().to_owned(),
            tame(&default),
            tame(&cut(&takes(parameter), WIDE)),
            tame(&cut(&targets.join(", "), WIDE)),
            tame(parameter.description.as_deref().unwrap_or_default()),
        ]);
    }
    table.write(out)
}

fn load(settings: &Settings) -> anyhow::Result<Catalog> {
    let learnt = nodes::learnt(settings)?;
    Ok(Catalog::load_with(&settings.workflows.configs, &settings.workflows.templates, learnt))
}

fn summary(catalog: &Catalog, pair: &Pair, default: &str) -> Value {
    let output = |id: &String| json!({ "node": id, "name": pair.output_names().get(id) });
    let is_default = catalog.workflow(default).is_some_and(|default| default.name() == pair.name());
    json!({
        "name": pair.name(),
        "version": pair.version(),
        "other_names": other_names(catalog, pair.name()),
        "default": is_default,
        "description": pair.description(),
        "revision": pair.revision(),
        "parameters": pair.parameters().map(|parameter| parameter.name.as_str()).collect::<Vec<_>>(),
        "outputs": pair.outputs().map(|outputs| outputs.iter().map(output).collect::<Vec<_>>()),
        "timeouts": pair.timeouts(),
        "tags": pair.required_tags(),
        "warnings": pair.warnings(),
    })
}

fn in_full(pair: &Pair, parameter: &Parameter) -> Value {
    let choices = |values: &[ParamValue]| values.iter().filter_map(ParamValue::to_json).collect::<Vec<_>>();
    let target = |target: &crate::workflow::Target| json!({ "node": target.node, "input": target.input });
    json!({
        "name": parameter.name,
        "type": parameter.kind.as_str(),
        "required": parameter.required,
        "default": pair.default_of(parameter),
        "min": parameter.min.as_ref().and_then(ParamValue::to_json),
        "max": parameter.max.as_ref().and_then(ParamValue::to_json),
        "choices": choices(&parameter.choices),
        "suggested": choices(&parameter.suggested),
        "description": parameter.description,
        "targets": parameter.targets.iter().map(target).collect::<Vec<_>>(),
    })
}

/// Says which values a parameter takes.
fn takes(parameter: &Parameter) -> String {
    let choices = if parameter.choices.is_empty() { &parameter.suggested } else { &parameter.choices };
    if !choices.is_empty() {
        let mut all: Vec<String> = choices.iter().take(CHOICES).map(word).collect();
        all.extend((choices.len() > CHOICES).then(|| format!("and {} more", choices.len() - CHOICES)));
        return all.join(", ");
    }
    let is_text = matches!(parameter.kind, Kind::Text | Kind::Filename | Kind::Image);
    let unit = if is_text { " characters" } else { "" };
    match (&parameter.min, &parameter.max) {
        (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
        (Some(min), None) => format!("{min} or more{unit}"),
        (None, Some(max)) => format!("up to {max}{unit}"),
        (None, None) => String::new(),
    }
}

fn word(value: &ParamValue) -> String {
    match value {
        ParamValue::Text(text) => text.clone(),
        ParamValue::Boolean(_) | ParamValue::Integer(_) | ParamValue::Number(_) => value.to_string(),
    }
}

fn other_names(catalog: &Catalog, name: &str) -> Vec<String> {
    catalog.other_names().into_iter().filter(|(_, own)| own == name).map(|(other, _)| other).collect()
}
