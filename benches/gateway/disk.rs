//! How long this disk takes to make a few bytes durable: every figure of the gateway contains that several times.

use crate::figures::{Row, median, percentile};
use crate::millis;
use std::io::Write;
use std::time::Instant;

/// How often it is asked.
const SYNCS: usize = 200;

pub(crate) fn measure() -> anyhow::Result<Row> {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(millis(begun));
    }
    let figure = format!("{:.2} ms, p99 {:.2} ms", median(&times), percentile(&times, 0.99));
    Ok(Row::note("the disk writes and syncs 4 KiB (no gateway in it)", figure))
}
