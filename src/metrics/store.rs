//! Counts the transactions of the store; the one who writes has these counts of its own.

use super::list::{COMMIT_JOBS, COMMIT_SECONDS, STORE_BYTES};
use super::sheet::{Sheet, number, size};
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
const TIMES: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// What is counted of transactions. A clone counts with it.
#[derive(Clone, Debug)]
pub struct Commits {
    sizes: Histogram,
    times: Histogram,
    /// The file of the database; none for one that is in memory.
    file: Option<PathBuf>,
}

impl Commits {
    /// Counts from zero the transactions of the database in this file, whose log lies beside it.
    pub fn of(file: Option<&str>) -> Self {
        let file = file.filter(|file| !file.is_empty()).map(PathBuf::from);
        Self { sizes: Histogram::new(SIZES), times: Histogram::new(TIMES), file }
    }

    /// Counts a transaction of so many writes.
    pub fn done(&self, writes: usize, took: Duration) {
        self.sizes.observe(size(writes));
        self.times.observe(took.as_secs_f64());
    }

    /// Writes it.
    pub(super) fn write(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.histogram(&COMMIT_JOBS, [([], self.sizes.clone())])?;
        sheet.histogram(&COMMIT_SECONDS, [([], self.times.clone())])?;
        let bytes = |ending: &str| fs::metadata(self.file.as_ref()?.with_extension(ending)).ok().map(|it| it.len());
        let files = [("database", bytes("db")), ("log", bytes("db-wal"))];
        sheet.gauge(&STORE_BYTES, files.into_iter().filter_map(|(name, bytes)| Some(([name], number(bytes?)))))
    }
}
