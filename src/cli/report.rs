//! What was found wrong with a workflow, written for people, node by node, and for programs.

use crate::check::{self, Severity};
use crate::cli::table::tame;
use crate::graph::PromptError;
use crate::names::shown;
use crate::workflow;
use serde_json::{Value, json};
use std::fmt::Write;

/// The longest value that is shown, in characters.
const SHOWN: usize = 100;

/// What was found.
pub(in crate::cli) struct Report {
    workflow: String,
    /// Whose nodes the graph was held against; none: only the graph was looked at.
    against: Option<String>,
    faults: Vec<Fault>,
}

/// One thing that is wrong, or strange.
pub(in crate::cli) enum Fault {
    /// With the files of a workflow of the catalogue.
    File(workflow::Problem),
    /// With a workflow in UI format, which could not be converted.
    Unconverted(String),
    /// With the graph itself.
    Graph(PromptError),
    /// With the graph, held against a server's nodes.
    Checked(check::Problem),
    /// Something strange.
    Strange(String),
}

impl Report {
    pub(in crate::cli) fn new(workflow: &str, against: Option<String>) -> Self {
        Self { workflow: workflow.to_owned(), against, faults: Vec::new() }
    }

    pub(in crate::cli) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(in crate::cli) fn warn(&mut self, text: impl Into<String>) {
        self.faults.push(Fault::Strange(text.into()));
    }

    /// Says whether nothing is wrong; what is strange does not count.
    pub(in crate::cli) fn is_good(&self) -> bool {
        self.errors() == 0
    }

    pub(in crate::cli) fn json(&self) -> Value {
        json!({
            "workflow": self.workflow,
            "good": self.is_good(),
            "checked_against": self.against,
            "errors": self.errors(),
            "warnings": self.faults.len() - self.errors(),
            "problems": self.faults.iter().map(Fault::json).collect::<Vec<_>>(),
        })
    }

    pub(in crate::cli) fn text(&self) -> String {
        let mut text = format!("{}: {}", tame(&self.workflow), self.verdict());
        let _ = match &self.against {
            Some(origin) => writeln!(text, " (checked against {})", tame(origin)),
            None => writeln!(text, " (the graph alone; --backend or --object-info checks it against a server's nodes)"),
        };
        let mut headings: Vec<String> = Vec::new();
        for fault in &self.faults {
            let heading = fault.heading();
            if !headings.contains(&heading) {
                headings.push(heading);
            }
        }
        for heading in headings {
            let _ = writeln!(text, "{}", tame(&heading));
            for fault in self.faults.iter().filter(|fault| fault.heading() == heading) {
                let kind = if fault.is_error() { "error" } else { "warning" };
                let _ = writeln!(text, "  {kind}: {}", tame(&fault.line()));
            }
        }
        text
    }

    fn verdict(&self) -> String {
        let (errors, all) = (self.errors(), self.faults.len());
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        match (errors, all - errors) {
            (0, 0) => "good".to_owned(),
            (0, warnings) => format!("good, {}", count(warnings, "warning")),
            (errors, 0) => count(errors, "error"),
            (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
        }
    }

    fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.is_error()).count()
    }
}

impl Fault {
    fn is_error(&self) -> bool {
        match self {
            Self::File(_) | Self::Unconverted(_) | Self::Graph(_) => true,
            Self::Checked(problem) => problem.severity == Severity::Error,
            Self::Strange(_) => false,
        }
    }

    /// Returns the node or the file under which it is listed.
    fn heading(&self) -> String {
        let node = |node: &str| format!("node `{}`", shown(node));
        match self {
            Self::File(problem) => problem.line.map_or(problem.file.clone(), |line| format!("{}:{line}", problem.file)),
            Self::Graph(error) => error.node().map_or("the graph".to_owned(), node),
            Self::Checked(problem) => {
                let Some(id) = &problem.node else { return "the graph".to_owned() };
                let class = problem.class_type.as_ref().map(|class| format!(" ({})", shown(class)));
                let titled = problem.title.as_ref().filter(|title| Some(*title) != problem.class_type.as_ref());
                let title = titled.map(|title| format!(" `{}`", shown(title)));
                node(id) + &class.unwrap_or_default() + &title.unwrap_or_default()
            }
            Self::Unconverted(_) | Self::Strange(_) => "the graph".to_owned(),
        }
    }

    fn line(&self) -> String {
        match self {
            Self::File(problem) => problem.reason.clone(),
            Self::Graph(error) => error.to_string(),
            Self::Checked(problem) => {
                let input = problem.input.as_ref().map(|input| format!("input `{}`: ", shown(input)));
                let details = problem.details.as_ref().map(|details| format!(" ({details})"));
                let suggestion = problem.suggestion.as_ref().map(|value| format!("; did you mean {}?", brief(value)));
                let parts = [input, Some(problem.message.clone()), details, suggestion];
                let line: String = parts.into_iter().flatten().collect();
                format!("{line} -> {}", problem.mend)
            }
            Self::Unconverted(text) | Self::Strange(text) => text.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::File(problem) => json!({
                "severity": "error", "type": "workflow_file", "file": problem.file, "line": problem.line,
                "node": problem.node, "input": problem.input, "message": problem.reason,
            }),
            Self::Graph(error) => json!({
                "severity": "error", "type": error.code(), "node": error.node(), "input": error.input(),
                "message": error.to_string(),
            }),
            Self::Checked(problem) => json!(problem),
            Self::Unconverted(text) => json!({ "severity": "error", "type": "not_convertible", "message": text }),
            Self::Strange(text) => json!({ "severity": "warning", "type": "strange", "message": text }),
        }
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    let mut brief: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        brief.push_str("...");
    }
    brief
}
