//! `comfygate validate`: what is wrong with a workflow, without running it. Of a file the graph, of a workflow of the
//! catalogue the mapping too; with the nodes of a server all that it would refuse.

use super::nodes::{self, NodeArgs, Nodes};
use super::report::{Fault, Report};
use super::workflows::{FolderArgs, unknown};
use crate::check::check;
use crate::convert::{self, Format};
use crate::graph::Graph;
use crate::workflow::{Catalog, duplicates};
use anyhow::bail;
use clap::Args;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// The exit code where nothing could be checked; 1 says that something is wrong.
const CANNOT_CHECK: u8 = 2;

#[derive(Args, Debug)]
pub(super) struct ValidateArgs {
    /// A workflow in a file (.json, or a .png that ComfyUI has saved), or the name of one of the catalogue; - reads stdin.
    #[arg(short, long, value_name = "FILE|NAME")]
    workflow: String,
    #[command(flatten)]
    nodes: NodeArgs,
    /// Write JSON instead of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folders: FolderArgs,
}

/// Runs the command: 0 where all is well, 1 where something is wrong, 2 where it could not be checked.
pub(super) fn run(args: ValidateArgs) -> anyhow::Result<ExitCode> {
    let (json, report) = (args.json, report(args));
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error:#}")?;
            return Ok(ExitCode::from(CANNOT_CHECK));
        }
    };
    let text = if json { format!("{:#}\n", report.json()) } else { report.text() };
    super::write_out(&text)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(args: ValidateArgs) -> anyhow::Result<Report> {
    let nodes = args.nodes.load()?;
    let mut report = Report::new(&args.workflow, nodes.as_ref().map(|nodes| nodes.origin.clone()));
    if is_file(&args.workflow) {
        let text = nodes::read_workflow(Path::new(&args.workflow))?;
        if let Some(graph) = graph_of(&args.workflow, &text, nodes.as_ref(), &mut report)? {
            of_graph(&graph, nodes.as_ref(), &mut report);
        }
        return Ok(report);
    }
    let settings = args.folders.load()?;
    let (configs, templates) = (&settings.workflows.configs, &settings.workflows.templates);
    let definitions = match &nodes {
        Some(nodes) => nodes.definitions.clone(),
        None => nodes::learnt(&settings)?,
    };
    let catalog = Catalog::load_with(configs, templates, definitions);
    let problems = catalog.problems();
    let workflow = catalog.workflow(&args.workflow);
    let own = workflow.as_ref().map_or(args.workflow.as_str(), |workflow| workflow.name());
    for problem in problems.get(own).into_iter().flatten() {
        report.add(Fault::File(problem.clone()));
    }
    match workflow {
        Some(workflow) => {
            for warning in workflow.warnings() {
                report.warn(warning);
            }
            of_graph(workflow.template(), nodes.as_ref(), &mut report);
        }
        None if report.is_good() => return Err(unknown(&catalog, &args.workflow, configs, templates)),
        None => {}
    }
    Ok(report)
}

/// Reads a graph; one in UI format is converted, which takes the nodes of a server.
fn graph_of(name: &str, text: &str, nodes: Option<&Nodes>, report: &mut Report) -> anyhow::Result<Option<Graph>> {
    let read = match (convert::read(text), nodes) {
        (Err(error), _) => Err(Fault::Graph(error.into())),
        (Ok(Format::Executed(graph)), _) => {
            for problem in duplicates(text, name) {
                report.add(Fault::File(problem));
            }
            Ok(graph)
        }
        (Ok(Format::Saved(_)), None) => bail!(
            "a workflow as ComfyUI saves it (UI format) is converted first, and that takes node definitions: name a running \
             ComfyUI by --backend, or a file by --object-info"
        ),
        (Ok(Format::Saved(saved)), Some(nodes)) => match saved.convert(&nodes.definitions) {
            Ok(converted) => {
                for warning in converted.warnings {
                    report.warn(warning);
                }
                Ok(converted.graph)
            }
            Err(error) => Err(Fault::Unconverted(error.to_string())),
        },
    };
    Ok(read.map_err(|fault| report.add(fault)).ok())
}

fn of_graph(graph: &Graph, nodes: Option<&Nodes>, report: &mut Report) {
    if let Some(nodes) = nodes {
        for problem in check(graph, &nodes.definitions) {
            report.add(Fault::Checked(problem));
        }
        return;
    }
    for fault in graph.link_faults() {
        report.add(Fault::Graph(fault));
    }
    if !graph.nodes().any(|(_, node)| looks_like_an_output(&node.class_type)) {
        report.warn("no node looks like an output, and without one ComfyUI runs nothing");
    }
}

/// Says whether a class is named as those are that keep or show something.
fn looks_like_an_output(class: &str) -> bool {
    let class = class.to_lowercase();
    ["save", "preview", "output", "export", "show", "display", "combine"].iter().any(|word| class.contains(word))
}

/// Says whether a file is meant and not a name.
fn is_file(workflow: &str) -> bool {
    let path = Path::new(workflow);
    let is_meant = |ending: &std::ffi::OsStr| ["json", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    let has_ending = path.extension().is_some_and(is_meant);
    nodes::is_stdin(path) || has_ending || path.components().nth(1).is_some() || path.is_file()
}
