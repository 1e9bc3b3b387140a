//! Shows runs as plain lines, a few in a second, to stderr; the paths of outputs to stdout.

use super::show::{Show, err, out};
use super::status::{Status, end_text, failure_text, seeds_text, summary_text};
use crate::clock::{Clock, Timestamp};
use crate::runner::{End, News, Order, RunError, Summary, Told, What};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long after a line of progress the next one may come. Of those between, the newest is shown.
const PAUSE: Duration = Duration::from_millis(400);

/// Plain lines; with `quiet` nothing but outputs and errors.
pub(super) struct Lines {
    quiet: bool,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<usize, (Status, Arc<Order>)>,
    /// The newest progress that was not shown yet, and of which run it is.
    waiting: Option<(usize, String)>,
    last: String,
    shown_at: Option<Timestamp>,
}

impl Lines {
    pub(super) fn new(clock: Arc<dyn Clock>, quiet: bool) -> Self {
        Self { quiet, clock, state: Mutex::default() }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            err(line);
        }
    }
}

impl Show for Lines {
    fn told(&self, told: &Told) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let name = &told.name;
        match &told.what {
            What::Accepted(order) => {
                state.runs.insert(told.number, (Status::default(), Arc::clone(order)));
                self.say(&format!("{name}: accepted{}", seeds_text(order)));
            }
            What::News(news) => {
                if let Some((status, order)) = state.runs.get_mut(&told.number) {
                    status.take(news, told.at);
                    let text = status.text(order.pair.template(), told.at);
                    let line = format!("{name}: {:>3}% {text}", status.percent());
                    match news {
                        News::Started | News::Progress(_) => state.waiting = Some((told.number, line)),
                        News::Again { reason } => self.say(&format!("{name}: tried again: {reason}")),
                        News::Submitted { .. } | News::Cached(_) | News::Output(_) | News::Ended(_) => {}
                    }
                }
                state.flush(self.quiet, told.at);
            }
            What::Saved(saved) => out(&saved.path.display().to_string()),
            What::Ended(ended) => {
                state.runs.remove(&told.number);
                // What others say is still to be shown.
                state.waiting.take_if(|(number, _)| *number == told.number);
                let is_failure = matches!(ended.end, End::Failed(_));
                if is_failure || !self.quiet {
                    err(&end_text(ended));
                }
            }
        }
    }

    fn tick(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).flush(self.quiet, self.clock.now());
    }

    fn note(&self, text: &str) {
        self.say(&format!("note: {text}"));
    }

    fn stopping(&self) {
        self.say("cancelling; once more to end at once");
    }

    fn failed(&self, error: &RunError) {
        err(&failure_text(error));
    }

    fn summary(&self, summary: &Summary) {
        if let Some(text) = summary_text(summary) {
            self.say(&text);
        }
    }
}

impl State {
    fn flush(&mut self, quiet: bool, now: Timestamp) {
        if quiet || self.shown_at.is_some_and(|at| now < at + PAUSE) {
            return;
        }
        if let Some((_, line)) = self.waiting.take().filter(|(_, line)| *line != self.last) {
            err(&line);
            self.last = line;
            self.shown_at = Some(now);
        }
    }
}
