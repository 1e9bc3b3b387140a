//! Shows runs as progress bars, one for each that is under way, on a terminal.

use super::show::{Show, err, out};
use super::status::{Status, end_text, failure_text, seeds_text, summary_text};
use crate::clock::Clock;
use crate::runner::{End, Order, RunError, Summary, Told, What};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A bar counts in thousandths.
const WHOLE: u64 = 1000;

/// One bar for each run.
pub(super) struct Bars {
    clock: Arc<dyn Clock>,
    screen: MultiProgress,
    runs: Mutex<BTreeMap<usize, Run>>,
}

struct Run {
    status: Status,
    order: Arc<Order>,
    bar: ProgressBar,
}

impl Bars {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, screen: MultiProgress::new(), runs: Mutex::default() }
    }
}

impl Show for Bars {
    fn told(&self, told: &Told) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        match &told.what {
            What::Accepted(order) => {
                let bar = self.screen.add(ProgressBar::new(WHOLE));
                // The template is ours; one that could not be read would leave the usual bar.
                if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:24}] {percent:>3}% {wide_msg}") {
                    bar.set_style(style.progress_chars("#>."));
                }
                bar.set_prefix(told.name.clone());
                bar.set_message(format!("waiting{}", seeds_text(order)));
                let run = Run { status: Status::default(), order: Arc::clone(order), bar };
                runs.insert(told.number, run);
            }
            What::News(news) => {
                if let Some(run) = runs.get_mut(&told.number) {
                    run.status.take(news, told.at);
                    run.draw(told.at);
                }
            }
            What::Saved(saved) => {
                let path = saved.path.display().to_string();
                self.screen.suspend(|| out(&path));
            }
            What::Ended(ended) => {
                let mut seeds = String::new();
                if let Some(run) = runs.remove(&told.number) {
                    run.bar.finish_and_clear();
                    self.screen.remove(&run.bar);
                    seeds = seeds_text(&run.order);
                }
                let mark = if matches!(ended.end, End::Failed(_)) { "error: " } else { "" };
                self.screen.suspend(|| err(&format!("{mark}{}{seeds}", end_text(ended))));
            }
        }
    }

    fn tick(&self) {
        let now = self.clock.now();
        for run in self.runs.lock().unwrap_or_else(PoisonError::into_inner).values() {
            run.draw(now);
        }
    }

    fn note(&self, text: &str) {
        self.screen.suspend(|| err(&format!("note: {text}")));
    }

    fn stopping(&self) {
        self.screen.suspend(|| err("cancelling; once more to end at once"));
    }

    fn failed(&self, error: &RunError) {
        self.screen.suspend(|| err(&failure_text(error)));
    }

    fn summary(&self, summary: &Summary) {
        if let Some(text) = summary_text(summary) {
            err(&text);
        }
    }
}

impl Run {
    fn draw(&self, now: crate::clock::Timestamp) {
        self.bar.set_position(self.status.percent() * WHOLE / 100);
        self.bar.set_message(self.status.text(self.order.pair.template(), now));
    }
}
