//! Counts requests and their answers by the lines of the route table, never by what a caller wrote.

use super::list::{HTTP_REQUESTS, HTTP_SECONDS};
use super::sheet::Sheet;
use super::table::{OTHER, Table};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::time::Duration;

/// How many routes have rows of their own: more than there are.
const MOST_ROUTES: usize = 200;
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", OTHER];
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", OTHER];
const TIMES: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What is counted of requests.
#[derive(Debug)]
pub(super) struct Requests(Table<OfRoute>);

#[derive(Debug)]
struct OfRoute {
    answers: [[Counter; CLASSES.len()]; METHODS.len()],
    took: Histogram,
}

impl Default for Requests {
    fn default() -> Self {
        let fresh = || OfRoute { answers: Default::default(), took: Histogram::new(TIMES) };
        Self(Table::new(MOST_ROUTES, fresh))
    }
}

impl Requests {
    /// Counts a request; without a route it is one of the others.
    pub(super) fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let row = self.0.row(route.unwrap_or(OTHER));
        let of = |words: &[&str], word: &str| words.iter().position(|known| *known == word).unwrap_or(words.len() - 1);
        let class = usize::from(status / 100).checked_sub(1).filter(|class| *class < 5).unwrap_or(5);
        row.answers[of(&METHODS, method)][class].inc();
        row.took.observe(took.as_secs_f64());
    }

    /// Writes it.
    pub(super) fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let routes = self.0.rows();
        let mut rows = Vec::new();
        for (route, of_route) in &routes {
            for (method, of_method) in METHODS.into_iter().zip(&of_route.answers) {
                let told = CLASSES.into_iter().zip(of_method).filter(|(_, count)| count.get() > 0);
                rows.extend(told.map(|(class, count)| ([route.as_ref(), method, class], count.get())));
            }
        }
        sheet.counter(&HTTP_REQUESTS, rows)?;
        sheet.histogram(&HTTP_SECONDS, routes.iter().map(|(route, of_route)| ([route.as_ref()], of_route.took.clone())))
    }
}
