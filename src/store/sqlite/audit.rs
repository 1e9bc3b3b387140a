//! Reads the whole database of a folder that nobody uses and tells what is wrong with it; changes nothing.

use super::rows::{self, JOB};
use super::{lock, schema};
use crate::job::{BlobId, JobId};
use crate::store::{OpenError, StoreError};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaw {
    /// A stable word for its kind.
    pub code: &'static str,
    /// What has it: a job, a blob, a file.
    pub subject: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// A blob as the database names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedBlob {
    /// Its size in bytes.
    pub bytes: u64,
    /// Who names it first: a job or an upload.
    pub by: String,
    /// It is an image that somebody gave, and no output.
    pub is_input: bool,
}

/// What was read. As long as it lives no gateway starts in the folder.
#[derive(Debug)]
pub struct Audit {
    /// The schema version of the file.
    pub schema: usize,
    /// How many jobs there are.
    pub jobs: u64,
    /// How many of them have not ended.
    pub live: u64,
    /// How many webhooks have not arrived and are still tried.
    pub pending: u64,
    /// What is wrong.
    pub flaws: Vec<Flaw>,
    /// Every blob that a job or an upload names.
    pub blobs: BTreeMap<BlobId, NamedBlob>,
    /// Everything could be read: what is not among `blobs` is named by nobody.
    pub is_complete: bool,
    _lock: File,
}

/// The first schema in which jobs have input images and there are uploads.
const WITH_INPUTS: usize = 4;
/// The schema version since which a job may have variants.
const WITH_VARIANTS: usize = 5;

const RESTORE: &str = "restore the folder from a backup";
const KEEP: &str = "keep a copy of the folder and report it; the job itself cannot be mended";

/// Reads the database in `folder`. Refuses a folder that a gateway uses, and one that a newer comfygate wrote.
pub fn audit(folder: &Path) -> Result<Audit, OpenError> {
    let path = folder.join("comfygate.db");
    // Looked at before the lock is taken, which would make a file in a folder that is not ours.
    if let Err(error) = std::fs::metadata(&path) {
        let source = std::io::Error::new(error.kind(), format!("it has no `comfygate.db` that can be read: {error}"));
        return Err(OpenError::Folder { folder: folder.to_owned(), source });
    }
    let lock = lock(folder)?;
    let (connection, schema) = schema::open_to_check(&path)?;
    let mut audit = Audit {
        schema,
        jobs: 0,
        live: 0,
        pending: 0,
        flaws: Vec::new(),
        blobs: BTreeMap::new(),
        is_complete: true,
        _lock: lock,
    };
    let checks: [Check; 7] =
        [Audit::file, Audit::references, Audit::states, Audit::results, Audit::requests, Audit::uploads, Audit::counts];
    for check in checks {
        if let Err(error) = check(&mut audit, &connection) {
            audit.is_complete = false;
            audit.flaw("database_damaged", "comfygate.db", error.to_string(), RESTORE);
        }
    }
    Ok(audit)
}

/// A part of the check.
type Check = fn(&mut Audit, &Connection) -> Result<(), StoreError>;

/// What must not be, the query that finds the jobs where it is, and what to do about it.
const STATES: [(&str, &str, &str, &str); 8] = [
    (
        "job_without_request",
        "it has no request",
        "SELECT id FROM job WHERE NOT EXISTS (SELECT 1 FROM job_request WHERE job_request.job = job.row)",
        KEEP,
    ),
    (
        "ended_without_result",
        "it has ended and has no result",
        "SELECT id FROM job WHERE ended_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM result WHERE result.job = job.row)",
        KEEP,
    ),
    (
        "result_too_early",
        "it has a result and has not ended",
        "SELECT id FROM job WHERE ended_at IS NULL AND EXISTS (SELECT 1 FROM result WHERE result.job = job.row)",
        KEEP,
    ),
    (
        "outputs_too_early",
        "it has outputs and has not ended",
        "SELECT id FROM job WHERE ended_at IS NULL AND EXISTS (SELECT 1 FROM output WHERE output.job = job.row)",
        KEEP,
    ),
    (
        "delivery_too_early",
        "it has a delivery and has not ended",
        "SELECT id FROM job WHERE ended_at IS NULL AND EXISTS (SELECT 1 FROM delivery WHERE delivery.job = job.row)",
        KEEP,
    ),
    (
        "ended_without_delivery",
        "it has ended, and its caller wants to be told, but it has no delivery",
        "SELECT id FROM job JOIN job_request ON job_request.job = job.row
         WHERE ended_at IS NOT NULL AND json_valid(request) AND request ->> '$.webhook_url' IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.job = job.row)",
        "tell its caller, who can read the result from GET /jobs/{id}",
    ),
    (
        "delivery_unasked",
        "it has a delivery, though its request has no webhook_url",
        "SELECT id FROM job JOIN job_request ON job_request.job = job.row
         WHERE json_valid(request) AND request ->> '$.webhook_url' IS NULL
           AND EXISTS (SELECT 1 FROM delivery WHERE delivery.job = job.row)",
        KEEP,
    ),
    (
        "revision_missing",
        "the workflow's revision that it refers to is not stored",
        "SELECT id FROM job JOIN job_request ON job_request.job = job.row
         WHERE json_valid(request) AND request ->> '$.revision' NOT IN (SELECT hash FROM revision)",
        "if the job has not ended, put the workflow's old files back before the next start",
    ),
];

impl Audit {
    fn flaw(&mut self, code: &'static str, subject: impl Into<String>, what: impl Into<String>, remedy: &'static str) {
        self.flaws.push(Flaw { code, subject: subject.into(), what: what.into(), remedy });
    }

    /// SQLite's own check of pages, indexes and constraints.
    fn file(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
        for line in rows::all(statement.query(())?, |row| Ok(row.get::<_, String>(0)?))? {
            if line != "ok" {
                self.is_complete = false;
                self.flaw("database_damaged", "comfygate.db", line, RESTORE);
            }
        }
        Ok(())
    }

    fn references(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
        let dangling = rows::all(statement.query(())?, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?))
        })?;
        for (table, row, parent) in dangling {
            let row = row.map_or_else(String::new, |row| format!(" row {row}"));
            self.flaw("dangling_row", format!("table {table}{row}"), format!("its {parent} is not there"), KEEP);
        }
        Ok(())
    }

    fn states(&mut self, connection: &Connection) -> Result<(), StoreError> {
        for (code, what, sql, remedy) in STATES {
            let mut statement = connection.prepare(sql)?;
            for id in rows::all(statement.query(())?, |row| rows::job_id(row, 0))? {
                self.flaw(code, format!("job {id}"), what, remedy);
            }
        }
        Ok(())
    }

    /// Reads every request; the blobs of its input images must be noted, or they would be cleared.
    fn requests(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut noted = (self.schema >= WITH_INPUTS)
            .then(|| connection.prepare("SELECT 1 FROM input WHERE job = ?1 AND sha256 = ?2"))
            .transpose()?;
        let columns = if self.schema >= WITH_VARIANTS { JOB.to_owned() } else { JOB.replace("job.variant", "0") };
        let sql = format!("SELECT {columns} FROM job JOIN job_request ON job_request.job = job.row");
        let mut statement = connection.prepare(&sql)?;
        let mut found = statement.query(())?;
        while let Some(row) = found.next()? {
            let stored = match rows::job(row) {
                Ok(stored) => stored,
                Err(error) => {
                    self.is_complete = false;
                    self.unreadable(rows::job_id(row, 1).ok(), &error);
                    continue;
                }
            };
            let id = stored.job.id;
            for (blob, bytes) in stored.job.request.input_blobs() {
                self.name(blob, bytes, &format!("job {id}"), true);
                let is_noted = match &mut noted {
                    Some(noted) => noted.exists(params![stored.row, blob.as_str()])?,
                    None => true,
                };
                if !is_noted {
                    let what = format!("its input image {blob} is not noted, so it may be cleared too early");
                    self.flaw("input_not_noted", format!("job {id}"), what, KEEP);
                }
            }
        }
        Ok(())
    }

    fn uploads(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if self.schema < WITH_INPUTS {
            return Ok(());
        }
        let mut statement = connection.prepare("SELECT sha256, bytes, id FROM upload ORDER BY created_at, id")?;
        let uploads = rows::all(statement.query(())?, |row| {
            Ok((BlobId(row.get(0)?), rows::count(row, 1)?, row.get::<_, String>(2)?))
        })?;
        for (blob, bytes, id) in uploads {
            self.name(&blob, bytes, &format!("upload {id}"), true);
        }
        Ok(())
    }

    /// Reads every result and its outputs; what a body names must be among them.
    fn results(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut of_job = connection.prepare("SELECT sha256, bytes FROM output WHERE job = ?1")?;
        let mut statement = connection.prepare(
            "SELECT job.id, result.body, job.row FROM job LEFT JOIN result ON result.job = job.row ORDER BY job.row",
        )?;
        let mut found = statement.query(())?;
        while let Some(row) = found.next()? {
            let id = rows::job_id(row, 0)?;
            let outputs: BTreeMap<BlobId, u64> = rows::all(of_job.query([row.get::<_, i64>(2)?])?, |row| {
                Ok((BlobId(row.get(0)?), rows::count(row, 1)?))
            })?
            .into_iter()
            .collect();
            for (blob, bytes) in &outputs {
                self.name(blob, *bytes, &format!("job {id}"), false);
            }
            if row.get_ref(1)? == rusqlite::types::ValueRef::Null {
                continue;
            }
            match rows::body(id, row, 1) {
                Ok(body) => {
                    for (blob, bytes) in body.blobs_with_sizes() {
                        self.name(blob, bytes, &format!("job {id}"), false);
                        if outputs.get(blob) != Some(&bytes) {
                            let what = format!("its body has blob {blob} of {bytes} bytes, its outputs have not");
                            self.flaw("body_and_outputs_differ", format!("job {id}"), what, KEEP);
                        }
                    }
                }
                Err(error) => {
                    self.is_complete = false;
                    self.unreadable(Some(id), &error);
                }
            }
        }
        Ok(())
    }

    fn counts(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut statement = connection.prepare(
            "SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL),
                    (SELECT count(*) FROM delivery WHERE state = 'pending') FROM job",
        )?;
        (self.jobs, self.live, self.pending) =
            statement.query_row((), |row| Ok((rows::count(row, 0)?, rows::count(row, 1)?, rows::count(row, 2)?)))?;
        Ok(())
    }

    fn name(&mut self, blob: &BlobId, bytes: u64, by: &str, is_input: bool) {
        let named = self.blobs.entry(blob.clone());
        let named = named.or_insert_with(|| NamedBlob { bytes, by: by.to_owned(), is_input });
        if named.bytes != bytes {
            let what = format!("it has {bytes} bytes for {by}, and {} for {}", named.bytes, named.by);
            self.flaw("blob_sizes_differ", format!("blob {blob}"), what, KEEP);
        }
    }

    fn unreadable(&mut self, id: Option<JobId>, error: &StoreError) {
        let subject = id.map_or_else(|| "a job".to_owned(), |id| format!("job {id}"));
        self.flaw("unreadable_row", subject, error.to_string(), RESTORE);
    }
}
