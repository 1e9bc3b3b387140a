//! `comfygate check`: says of settings and workflows what is wrong with them, without serving.

use super::nodes;
use crate::app;
use crate::local::LocalOptions;
use crate::settings::Settings;
use crate::workflow::Catalog;
use std::io::Write;
use std::process::ExitCode;

/// Runs the command: 0 where all is good, 1 where anything is not.
pub(super) fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let learnt = nodes::learnt(settings)?;
    let catalog = Catalog::load_with(&settings.workflows.configs, &settings.workflows.templates, learnt);
    let mut out = std::io::stdout();
    let is_local_good = check_local(settings, &mut out)?;
    let backends = app::check_backends(settings);
    let problems = catalog.problems();
    for name in catalog.names() {
        writeln!(out, "{name}: good")?;
    }
    for problem in problems.values().flatten() {
        writeln!(out, "{problem}")?;
    }
    let has_default = catalog.workflow(&settings.workflows.default).is_some();
    if !has_default {
        writeln!(out, "the default workflow `{}` is not there", settings.workflows.default)?;
    }
    let remote = remote_trouble(settings, &catalog);
    for reason in &remote {
        writeln!(out, "the remote control: {reason}")?;
    }
    if let Err(error) = &backends {
        writeln!(out, "the backends: {error:#}")?;
    }
    Ok(if problems.is_empty() && has_default && is_local_good && backends.is_ok() && remote.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says what of the remote control's settings leads nowhere.
fn remote_trouble(settings: &Settings, catalog: &Catalog) -> Vec<String> {
    let (named, section) = (&settings.runner.workflow, &settings.runner.section);
    let name = named.as_ref().unwrap_or(&settings.workflows.default);
    match (catalog.workflow(name), section) {
        (None, _) if named.is_some() => vec![format!("COMFYGATE_RUNNER_WORKFLOW: there is no workflow `{name}`")],
        (Some(workflow), Some(section)) if workflow.sections().of(section).next().is_none() => {
            vec![format!("COMFYGATE_RUNNER_SECTION: the workflow `{name}` has no section `{section}`")]
        }
        (_, _) => Vec::new(),
    }
}

/// Looks whether the local ComfyUI could be started, where one is wished for, and tells what is missing.
fn check_local(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<bool> {
    let Some(home) = settings.local.home.as_ref().filter(|_| settings.local.enabled) else { return Ok(true) };
    match LocalOptions::of(home.clone(), &settings.local).look() {
        Ok(found) => {
            writeln!(out, "the local ComfyUI: good ({} in {})", found.python.display(), found.home.display())?;
            Ok(true)
        }
        Err(missing) => {
            for reason in missing {
                writeln!(out, "the local ComfyUI: {reason}")?;
            }
            Ok(false)
        }
    }
}
