//! Counts webhooks and the calls of their receivers; the notifier has these counts of its own.

use super::list::{DELIVERIES, DELIVERY_ATTEMPT, DELIVERY_ATTEMPTS, DELIVERY_LAG};
use super::sheet::Sheet;
use super::table::Table;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::time::Duration;

const TIMES: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const LAGS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0];
/// How many words there may be for ends and answers: more than there are.
const MOST_WORDS: usize = 100;

/// What is counted of webhooks. A clone is a different one.
#[derive(Debug)]
pub struct Deliveries {
    ended: Table<Counter>,
    answers: Table<Counter>,
    took: Histogram,
    lag: Histogram,
}

/// A call of a receiver, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    /// The class of the status, or the code of what went wrong.
    pub answer: &'static str,
    /// How long it took.
    pub took: Duration,
    /// From the job's end, where it was the first call.
    pub lag: Option<Duration>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            ended: Table::new(MOST_WORDS, Counter::default),
            answers: Table::new(MOST_WORDS, Counter::default),
            took: Histogram::new(TIMES),
            lag: Histogram::new(LAGS),
        }
    }
}

impl Deliveries {
    /// Counts from zero webhooks that end in these ways. Each has its row before one has ended so: Prometheus takes a row that
    /// begins with 1 for one that has not risen.
    pub fn ending_in(ways: impl IntoIterator<Item = &'static str>) -> Self {
        let counts = Self::default();
        for way in ways {
            counts.ended.row(way);
        }
        counts
    }

    /// Counts a call of a receiver.
    pub fn called(&self, called: Called) {
        self.answers.row(called.answer).inc();
        self.took.observe(called.took.as_secs_f64());
        if let Some(lag) = called.lag {
            self.lag.observe(lag.as_secs_f64());
        }
    }

    /// Counts a webhook that has ended.
    pub fn ended(&self, how: &'static str) {
        self.ended.row(how).inc();
    }

    /// Writes it.
    pub(super) fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (ended, answers) = (self.ended.rows(), self.answers.rows());
        sheet.counter(&DELIVERIES, ended.iter().map(|(how, count)| ([how.as_ref()], count.get())))?;
        sheet.counter(&DELIVERY_ATTEMPTS, answers.iter().map(|(answer, count)| ([answer.as_ref()], count.get())))?;
        sheet.histogram(&DELIVERY_ATTEMPT, [([], self.took.clone())])?;
        sheet.histogram(&DELIVERY_LAG, [([], self.lag.clone())])
    }
}
