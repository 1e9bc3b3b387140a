//! What is told of orders while they are driven, and what became of all of them.

use super::executor::{End, News};
use super::order::Order;
use crate::clock::Timestamp;
use crate::job::Output;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Below this fraction nobody can say how long the rest takes.
const LEAST_FRACTION: f64 = 0.05;

/// Something that happened to an order.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which order, from 1.
    pub number: usize,
    /// What it is called.
    pub name: String,
    /// How many orders there are.
    pub of: usize,
    /// The executor's name for it; none where it was not taken.
    pub id: Option<String>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
}

/// What happened to an order.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The executor has taken it. An order that could not be made, or was not taken, is told by its end alone.
    Accepted(Arc<Order>),
    /// The executor says this of it; never its end.
    News(News),
    /// An output was written.
    Saved(Saved),
    /// It has ended, and all outputs are written.
    Ended(Ended),
}

/// An output that was written.
#[derive(Clone, PartialEq, Debug)]
pub struct Saved {
    /// What it is.
    pub output: Output,
    /// The name that was given to its node's outputs.
    pub alias: Option<String>,
    /// Where it is.
    pub path: PathBuf,
}

/// How an order ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Ended {
    /// Which order, from 1.
    pub number: usize,
    /// What it is called.
    pub name: String,
    /// The executor's name for it; none where it was not taken.
    pub id: Option<String>,
    /// The server's name for its last run, ComfyUI's prompt id.
    pub prompt: Option<String>,
    /// How it ended.
    pub end: End,
    /// What was written.
    pub saved: Vec<Saved>,
    /// How long it took, waiting included.
    pub took: Duration,
}

/// What became of all orders.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// Those that were begun, in the order of their numbers.
    pub ended: Vec<Ended>,
    /// How many were never begun.
    pub never_begun: usize,
    /// How long all took.
    pub took: Duration,
}

impl Ended {
    /// Makes what is known of an order that has only begun: as if it were cancelled now.
    pub(super) fn begun(number: usize, name: String) -> Self {
        let (end, saved, took) = (End::Cancelled, Vec::new(), Duration::ZERO);
        Self { number, name, id: None, prompt: None, end, saved, took }
    }
}

impl Summary {
    /// Makes the summary of orders of which none was begun.
    pub fn nothing_begun(orders: usize, took: Duration) -> Self {
        Self { ended: Vec::new(), never_begun: orders, took }
    }

    /// Returns how many orders there were.
    pub fn orders(&self) -> usize {
        self.ended.len() + self.never_begun
    }

    /// Returns how many ended well.
    pub fn succeeded(&self) -> usize {
        self.count(|end| *end == End::Succeeded)
    }

    /// Returns how many ended with an error.
    pub fn failed(&self) -> usize {
        self.count(|end| matches!(end, End::Failed(_)))
    }

    /// Returns how many were stopped on purpose, those that were never begun included.
    pub fn cancelled(&self) -> usize {
        self.count(|end| *end == End::Cancelled) + self.never_begun
    }

    fn count(&self, is_so: impl Fn(&End) -> bool) -> usize {
        self.ended.iter().filter(|ended| is_so(&ended.end)).count()
    }
}

/// Returns how long the rest may take; none where nobody can say.
pub fn eta(elapsed: Duration, fraction: f64) -> Option<Duration> {
    let can_tell = (LEAST_FRACTION..=1.0).contains(&fraction) && elapsed >= Duration::from_millis(500);
    can_tell.then(|| elapsed.mul_f64((1.0 - fraction) / fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_a_time_that_cannot_be_known() {
        let seconds = Duration::from_secs;
        assert_eq!(eta(seconds(10), 0.5), Some(seconds(10)));
        assert_eq!(eta(seconds(30), 0.75), Some(seconds(10)));
        assert_eq!(eta(seconds(30), 1.0), Some(Duration::ZERO));
        assert_eq!(eta(seconds(30), 0.0), None);
        assert_eq!(eta(seconds(30), 0.01), None);
        assert_eq!(eta(Duration::from_millis(100), 0.5), None);
    }
}
