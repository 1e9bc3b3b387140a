//! What is left when everything has stopped: the loader's log, the database, the receiver's log, the files, and when who
//! died. Reads it; what it means is `checker.rs`'s business.

use crate::loader::Accepted;
use crate::sink::Call;
use anyhow::Context;
use rusqlite::{Connection, OpenFlags, Row};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use uuid::Uuid;

/// Everything that was written down.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct History {
    /// Each 202, in its order.
    pub(crate) accepted: Vec<Accepted>,
    /// Each job in the database.
    pub(crate) jobs: Vec<JobRow>,
    /// The job of each key in the database.
    pub(crate) keys: BTreeMap<String, String>,
    /// Each call that the receiver had, in its order.
    pub(crate) calls: Vec<Call>,
    /// How often each prompt was executed.
    pub(crate) executions: BTreeMap<String, usize>,
    pub(crate) deaths: Vec<Death>,
    pub(crate) blobs_on_disk: BTreeSet<String>,
    pub(crate) blobs_named: BTreeSet<String>,
    /// Files in the folder of blobs that are not blobs: drafts.
    pub(crate) drafts: usize,
}

/// A job with what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JobRow {
    pub(crate) id: String,
    pub(crate) workflow: String,
    pub(crate) state: String,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) ended_at: Option<i64>,
    /// The prompt of its last run.
    pub(crate) prompt: Option<String>,
    pub(crate) runs: u32,
    pub(crate) outputs: u32,
    pub(crate) has_result: bool,
    pub(crate) delivery: Option<String>,
    /// How many attempts were answered well, as far as was recorded.
    pub(crate) good_attempts: u32,
}

/// Somebody's death.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Death {
    pub(crate) who: Who,
    /// When it was over, in milliseconds since 1970.
    pub(crate) at: i64,
}

/// Who may die.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Gateway,
    Comfyui,
    Sink,
}

impl JobRow {
    /// Says whether its pictures are fetched as files, so that no death of the gateway loses them.
    pub(crate) fn is_of_files(&self) -> bool {
        self.workflow != "canvas"
    }

    /// Says whether its workflow always fails.
    pub(crate) fn must_fail(&self) -> bool {
        self.workflow == "canvas-fails"
    }
}

impl History {
    /// Reads what lies in the folder of a campaign.
    pub(crate) fn read(folder: &Path, deaths: Vec<Death>) -> anyhow::Result<Self> {
        let mut history = Self {
            accepted: lines(&folder.join("accepted.log"))?,
            calls: lines(&folder.join("calls.log"))?,
            deaths,
            ..Self::default()
        };
        for prompt in std::fs::read_to_string(folder.join("executed.log"))?.lines() {
            *history.executions.entry(prompt.to_owned()).or_default() += 1;
        }
        history.read_database(&folder.join("data/comfygate.db"))?;
        history.read_blobs(&folder.join("data/blobs"))?;
        Ok(history)
    }

    fn read_database(&mut self, path: &Path) -> anyhow::Result<()> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut jobs = connection.prepare(
            "SELECT job.id, workflow, job.state, error, job.created_at, job.ended_at, prompt_id, run_number,
                    (SELECT count(*) FROM output WHERE output.job = job.row), result.job IS NOT NULL, delivery.state,
                    (SELECT count(*) FROM attempt WHERE attempt.job = job.row AND status BETWEEN 200 AND 299), code
             FROM job LEFT JOIN result ON result.job = job.row LEFT JOIN delivery ON delivery.job = job.row",
        )?;
        self.jobs = jobs.query_map((), job)?.collect::<Result<_, _>>()?;
        let mut keys = connection.prepare("SELECT key, job FROM idempotency")?;
        let keys = keys.query_map((), |row| Ok((row.get(0)?, id(row, 1)?)))?;
        self.keys = keys.collect::<Result<_, _>>()?;
        let mut named = connection.prepare("SELECT DISTINCT sha256 FROM output")?;
        self.blobs_named = named.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn read_blobs(&mut self, folder: &Path) -> anyhow::Result<()> {
        for fan_out in std::fs::read_dir(folder)? {
            let fan_out = fan_out?;
            let first = fan_out.file_name().to_string_lossy().into_owned();
            for file in std::fs::read_dir(fan_out.path())? {
                let name = format!("{first}{}", file?.file_name().to_string_lossy());
                if first.len() == 2 && name.len() == 64 {
                    self.blobs_on_disk.insert(name);
                } else {
                    self.drafts += 1;
                }
            }
        }
        Ok(())
    }
}

fn job(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        id: id(row, 0)?,
        workflow: row.get(1)?,
        state: row.get(2)?,
        code: row.get(12)?,
        error: row.get(3)?,
        created_at: row.get(4)?,
        ended_at: row.get(5)?,
        prompt: row.get(6)?,
        runs: row.get(7)?,
        outputs: row.get(8)?,
        has_result: row.get(9)?,
        delivery: row.get(10)?,
        good_attempts: row.get(11)?,
    })
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(Uuid::from_bytes(row.get(column)?).to_string())
}

/// Reads a log of one JSON text a line. A process that was killed may have left half a line at its end.
pub(crate) fn lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let whole = text.lines().filter(|line| line.ends_with('}'));
    whole.map(|line| serde_json::from_str(line).with_context(|| format!("not a line of a log: {line}"))).collect()
}
