//! Measures the gateway against the least that could do the same work, on the same machine in the same run.
//!
//! `cargo bench` takes about four minutes; `-- --quick` a few seconds, too few to mean much; `-- --write` puts the table
//! into docs/PERFORMANCE.md. A budget that is missed is marked in the table; only a measurement that fails is an error.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock and spawns its own tasks")]
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod accept;
mod choice;
mod disk;
mod figures;
mod http;
mod isolation;
mod journey;
mod latency;
mod listeners;
mod memory;
mod overload;
mod processes;
mod roles;
mod side;
mod sink;
mod tap;

use anyhow::Context;
use figures::Row;
use std::time::{Duration, Instant};

/// No run may take longer, whatever hangs.
const LONGEST: Duration = Duration::from_mins(8);

/// What can be chosen alone.
const PARTS: [&str; 8] =
    ["--accept", "--journey", "--latency", "--isolation", "--listeners", "--memory", "--overload", "--choice"];

/// Where the table goes, between these two lines.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PERFORMANCE.md");
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    /// How often the two sides of a ratio take turns.
    rounds: usize,
    /// How long a side is loaded in its turn, after as much again of a quarter to warm up.
    turn: Duration,
    /// How many single jobs are timed.
    singles: usize,
    /// How many large bodies are on their way to a slow receiver.
    large: usize,
}

const FULL: Plan = Plan { rounds: 7, turn: Duration::from_millis(2500), singles: 400, large: 500 };
const QUICK: Plan = Plan { rounds: 1, turn: Duration::from_secs(1), singles: 40, large: 30 };

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments.first().filter(|first| first.starts_with("serve-")) {
        return roles::play(role);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // Without `--bench` it is a test run that wants to know whether this still works.
    let plan = if has("--quick") || !has("--bench") { QUICK } else { FULL };
    let chosen = |name: &str| !PARTS.iter().any(|flag| has(flag)) || has(name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(async {
        let measured = async {
            let mut rows = vec![disk::measure()?];
            if chosen("--accept") {
                rows.extend(accept::measure(plan).await.context("accepting jobs")?);
            }
            if chosen("--journey") {
                rows.extend(journey::measure(plan).await.context("jobs from end to end")?);
            }
            if chosen("--latency") {
                rows.extend(latency::measure(plan).await.context("from the last event to the webhook")?);
            }
            if chosen("--isolation") {
                rows.extend(isolation::measure(plan).await.context("a healthy receiver beside dead ones")?);
            }
            if chosen("--listeners") {
                rows.extend(listeners::measure(plan).await.context("jobs beside many listeners")?);
            }
            if chosen("--memory") {
                rows.extend(memory::measure(plan).await.context("large bodies to a slow receiver")?);
            }
            if chosen("--overload") {
                rows.extend(overload::measure(plan).await.context("far more requests than are let in")?);
            }
            if chosen("--choice") {
                rows.push(choice::measure());
            }
            anyhow::Ok(rows)
        };
        tokio::time::timeout(LONGEST, measured).await.context("the measurement did not end in time")?
    })?;
    let table = table(&rows, plan)?;
    println!("\n{table}");
    if has("--write") {
        write(&table)?;
    }
    Ok(())
}

fn table(rows: &[Row], plan: Plan) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let mut text =
        String::from("| what | bare | gateway | result | budget | |\n| --- | --- | --- | --- | --- | --- |\n");
    for row in rows {
        text += &row.line();
    }
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let Plan { rounds, turn, singles, large: _ } = plan;
    let machine = format!("{} on {cores} cores, {build} build, load average at the end {load}", processor());
    let extent = format!("{rounds} rounds of {} s for each side, {singles} single jobs", turn.as_secs_f64());
    text += &["\n", &machine, "; ", &extent, ".\n"].concat();
    Ok(text)
}

fn processor() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches([' ', '\t', ':']);
    if model.is_empty() { "A processor without a name".into() } else { model.into() }
}

fn write(table: &str) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(DOCUMENT).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let (before, rest) = document.split_once(BEGIN).with_context(|| format!("{DOCUMENT} has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{DOCUMENT} has no line {END}"))?;
    std::fs::write(DOCUMENT, format!("{before}{BEGIN}\n{table}{END}{after}"))?;
    println!("written to {DOCUMENT}");
    Ok(())
}

/// Says what is being done; the table comes at the end.
fn progress(text: &str) {
    println!("{text}");
}

/// The time since a point, in milliseconds.
fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
