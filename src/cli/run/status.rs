//! How far the runs are that are under way, in words for people. Pure but for the texts of time.

use crate::cli::report::{Fault, Report};
use crate::clock::Timestamp;
use crate::graph::Graph;
use crate::job::{Advance, NodeAdvance};
use crate::names::shown;
use crate::runner::{End, Ended, News, Order, RunError, Summary, UnfitError, eta};
use std::time::Duration;

/// How far one run is.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Status {
    started_at: Option<Timestamp>,
    pub(super) fraction: f64,
    pub(super) node: Option<NodeAdvance>,
    pub(super) cached: usize,
}

impl Status {
    /// Takes in what happened. Returns whether another node has begun.
    pub(super) fn take(&mut self, news: &News, at: Timestamp) -> bool {
        match news {
            News::Started => self.started_at = Some(at),
            News::Cached(nodes) => self.cached = nodes.len(),
            News::Progress(Advance { fraction, node }) => {
                let id = |node: &Option<NodeAdvance>| node.as_ref().map(|node| node.id.clone());
                let is_another = node.is_some() && id(&self.node) != id(node);
                self.fraction = *fraction;
                self.node.clone_from(node);
                return is_another;
            }
            News::Again { .. } => *self = Self::default(),
            News::Submitted { .. } | News::Output(_) | News::Ended(_) => {}
        }
        false
    }

    /// Returns how long the rest may take; none where nobody can say.
    pub(super) fn left(&self, now: Timestamp) -> Option<Duration> {
        eta(now.since(self.started_at?), self.fraction)
    }

    /// Returns whole percents.
    pub(super) fn percent(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let percent = (self.fraction * 100.0) as u64;
        percent.min(100)
    }

    /// Says which node is in work, how far it is, how long the rest may take.
    pub(super) fn text(&self, graph: &Graph, now: Timestamp) -> String {
        if self.started_at.is_none() {
            return "waiting".to_owned();
        }
        let mut parts = Vec::new();
        if let Some(node) = &self.node {
            let bar = node.bar.map(|(value, max)| format!(" {value}/{max}")).unwrap_or_default();
            parts.push(format!("{}{bar}", node_text(graph, &node.id)));
        }
        if self.cached > 0 {
            parts.push(format!("{} of {} nodes cached", self.cached, graph.nodes().count()));
        }
        parts.push(
            self.left(now).map_or_else(|| "time left unknown".to_owned(), |left| format!("{} left", seconds(left))),
        );
        parts.join(", ")
    }
}

/// Returns a node as people know it: its class, and its title where that says more.
pub(super) fn node_text(graph: &Graph, id: &str) -> String {
    let Some(node) = graph.node(id) else { return format!("node {}", shown(id)) };
    match &node.title {
        Some(title) if *title != node.class_type => format!("{} \"{}\"", shown(&node.class_type), shown(title)),
        Some(_) | None => shown(&node.class_type),
    }
}

/// Writes a duration in whole seconds.
pub(super) fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Returns `, seed 5`, or with names where there are several; nothing where there is none.
pub(super) fn seeds_text(order: &Order) -> String {
    let mut seeds = order.seeds.iter();
    match (seeds.next(), order.seeds.len()) {
        (Some((_, seed)), 1) => format!(", seed {seed}"),
        (Some(_), _) => {
            let each: Vec<String> = order.seeds.iter().map(|(name, seed)| format!("{name}={seed}")).collect();
            format!(", seeds {}", each.join(" "))
        }
        (None, _) => String::new(),
    }
}

/// Says how a run ended.
pub(super) fn end_text(ended: &Ended) -> String {
    let took = format!("{:.1} s", ended.took.as_secs_f64());
    match &ended.end {
        End::Succeeded => {
            let outputs = match ended.saved.len() {
                1 => "1 output".to_owned(),
                several => format!("{several} outputs"),
            };
            format!("{} succeeded in {took}, {outputs}", ended.name)
        }
        End::Failed(error) => format!("{} failed after {took}: {}", ended.name, error_text(error)),
        End::Cancelled => format!("{} cancelled after {took}", ended.name),
    }
}

/// Says why nothing was run: in the words of `comfygate validate` where the server would refuse the graph.
pub(super) fn failure_text(error: &RunError) -> String {
    match error {
        RunError::Unfit(error) => report_text(error),
        RunError::Validation(_)
        | RunError::NotReady(_)
        | RunError::Submission(_)
        | RunError::Connector(_)
        | RunError::Execution(_)
        | RunError::Output(_)
        | RunError::Cancelled => format!("error: {}", error_text(error)),
    }
}

fn report_text(error: &UnfitError) -> String {
    let mut report = Report::new(&error.workflow, Some(error.origin.clone()));
    for problem in &error.problems {
        report.add(Fault::Checked(problem.clone()));
    }
    report.text().trim_end().to_owned()
}

/// Says what went wrong: the code, and each fault on a line of its own where there are several.
pub(super) fn error_text(error: &RunError) -> String {
    let mut text = format!("{error} ({})", error.code());
    if let RunError::Validation(error) = error
        && error.faults.len() > 1
    {
        text = format!("{} things are wrong ({})", error.faults.len(), error.code());
        for fault in &error.faults {
            text.push_str("\n  ");
            text.push_str(&fault.message);
        }
    }
    if let Some(node) = error.node() {
        let line = format!("\n  node {} ({}): {}", shown(&node.id), shown(&node.class), node.message);
        text.push_str(&line);
    }
    text
}

/// Says what became of all, where there were several, or one that was never begun.
pub(super) fn summary_text(summary: &Summary) -> Option<String> {
    let runs = summary.orders();
    let took = seconds(summary.took);
    let (good, bad, cancelled) = (summary.succeeded(), summary.failed(), summary.cancelled());
    let noun = if runs == 1 { "run" } else { "runs" };
    let is_news = runs > 1 || summary.never_begun > 0;
    is_news.then(|| format!("{runs} {noun} in {took}: {good} succeeded, {bad} failed, {cancelled} cancelled"))
}
