//! How a run is shown: bars where somebody looks, lines where nobody does, JSON for programs, or the outputs alone.

use super::arguments::RunArgs;
use super::bars::Bars;
use super::json::JsonLines;
use super::lines::Lines;
use crate::clock::Clock;
use crate::runner::{RunError, Summary, Told};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;

/// Shows what happens.
pub(super) trait Show: Send + Sync {
    /// Takes in what happened to an order.
    fn told(&self, told: &Told);

    /// Called a few times a second.
    fn tick(&self) {}

    /// Says something that is no obstacle.
    fn note(&self, text: &str);

    /// Says that the runs are being cancelled.
    fn stopping(&self);

    /// Says why nothing was run.
    fn failed(&self, error: &RunError);

    /// Says what became of all.
    fn summary(&self, summary: &Summary);
}

/// Chooses how it is shown.
pub(super) fn choose(args: &RunArgs, clock: Arc<dyn Clock>) -> Arc<dyn Show> {
    if args.json {
        Arc::new(JsonLines::new(clock))
    } else if !args.quiet && stderr().is_terminal() {
        Arc::new(Bars::new(clock))
    } else {
        Arc::new(Lines::new(clock, args.quiet))
    }
}

/// Writes a line to stdout. Whoever closed it does not want it, and the run goes on for its files.
pub(super) fn out(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes a line to stderr.
pub(super) fn err(line: &str) {
    use std::io::Write;
    let _ = writeln!(stderr().lock(), "{line}");
}
