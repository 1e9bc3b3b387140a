//! What happens to a job's rows from acceptance to claim: each function is one write or one read of the store.

use super::rows::{self, JOB, Stored};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, JobState, PromptId};
use crate::store::{Backlog, CancelWish, Claimed, IdempotencyKey, ListFilter, Listed, NewJob, Revision, StoreError};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

/// How many forgotten idempotency keys are removed with each new one.
const FORGOTTEN_AT_ONCE: u32 = 4;

/// Stores a job and its key; `request` is the request as JSON.
pub(super) fn accept(connection: &Connection, new: &NewJob, request: &str) -> Result<JobId, StoreError> {
    if let Some(key) = &new.idempotency
        && let Some(holder) = take_key(connection, key, new)?
    {
        return Ok(holder);
    }
    let limit = rows::whole(new.request.limits.queue.as_millis());
    connection
        .prepare_cached(
            "INSERT INTO job (id, workflow, priority, created_at, queue_limit, queue_deadline)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            new.id.as_bytes(),
            new.request.workflow,
            new.request.priority,
            new.created_at.millis(),
            limit,
            new.created_at.millis().saturating_add(limit),
        ])?;
    let row = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO job_request (job, request) VALUES (?1, ?2)")?
        .execute(params![row, request])?;
    Ok(new.id)
}

/// Returns the job that holds a key.
pub(super) fn holder(
    connection: &Connection,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<JobId>, StoreError> {
    let holder: Option<([u8; 16], [u8; 32])> = connection
        .prepare_cached("SELECT job, body_sha256 FROM idempotency WHERE tenant = '' AND key = ?1 AND expires_at > ?2")?
        .query_row(params![key.key, now.millis()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match holder {
        None => Ok(None),
        Some((job, body_sha256)) if body_sha256 == key.body_sha256 => Ok(Some(JobId::from_bytes(job))),
        Some(_) => Err(StoreError::KeyReused(key.key.clone())),
    }
}

/// Returns the job that holds the key, or gives the key to `new`.
fn take_key(connection: &Connection, key: &IdempotencyKey, new: &NewJob) -> Result<Option<JobId>, StoreError> {
    if let Some(holder) = holder(connection, key, new.created_at)? {
        return Ok(Some(holder));
    }
    let now = new.created_at.millis();
    connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE (tenant, key) IN
                (SELECT tenant, key FROM idempotency WHERE expires_at <= ?1 LIMIT ?2)",
        )?
        .execute(params![now, FORGOTTEN_AT_ONCE])?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency (key, body_sha256, job, expires_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![key.key, key.body_sha256, new.id.as_bytes(), key.expires_at.millis()])?;
    Ok(None)
}

/// Stores a revision's sources.
pub(super) fn keep_revision(connection: &Connection, revision: &Revision) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO revision (hash, name, config, template) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![revision.hash, revision.name, revision.config, revision.template])?;
    Ok(())
}

/// Returns a revision's sources.
pub(super) fn revision(connection: &Connection, hash: &str) -> Result<Option<Revision>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT hash, name, config, template FROM revision WHERE hash = ?1")?;
    let found = statement.query_row([hash], |row| {
        Ok(Revision { hash: row.get(0)?, name: row.get(1)?, config: row.get(2)?, template: row.get(3)? })
    });
    Ok(found.optional()?)
}

/// Claims the next waiting jobs, one for each offered prompt id.
pub(super) fn claim(
    connection: &Connection,
    backend: &str,
    offered: &[PromptId],
    now: Timestamp,
) -> Result<Vec<Claimed>, StoreError> {
    let sql = format!(
        "SELECT {JOB} FROM job INDEXED BY job_queued JOIN job_request ON job_request.job = job.row
         WHERE state = 'queued' AND cancel_requested = 0 ORDER BY priority DESC, row LIMIT ?1"
    );
    let waiting = rows::all(connection.prepare_cached(&sql)?.query([rows::whole(offered.len())])?, rows::job)?;
    let mut update = connection.prepare_cached(
        "UPDATE job SET state = 'submitted', run_number = run_number + 1, backend = ?2, prompt_id = ?3,
                        submitted_at = ?4, started_at = NULL
         WHERE row = ?1 RETURNING run_number",
    )?;
    let mut claimed = Vec::with_capacity(waiting.len());
    for (Stored { row, tries, mut job }, fresh) in waiting.into_iter().zip(offered) {
        let prompt = if job.run.is_none() { PromptId::first(job.id) } else { fresh.clone() };
        let number = update.query_row(params![row, backend, prompt.as_str(), now.millis()], |row| row.get(0))?;
        let run = crate::job::RunRef { number, backend: backend.to_owned(), prompt };
        job.state = JobState::Submitted;
        job.run = Some(run.clone());
        job.submitted_at = Some(now);
        job.started_at = None;
        claimed.push(Claimed { job, run, tries });
    }
    Ok(claimed)
}

/// Notes that a run executes; a second time changes nothing.
pub(super) fn started(connection: &Connection, id: JobId, run: u32, at: Timestamp) -> Result<bool, StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE job SET state = 'running', started_at = coalesce(started_at, ?3)
             WHERE id = ?1 AND run_number = ?2 AND state IN ('submitted', 'running')",
        )?
        .execute(params![id.as_bytes(), run, at.millis()])?;
    Ok(changed > 0)
}

/// Puts a job back into the queue. A run that counts gives the job its whole queue limit again.
pub(super) fn requeue(
    connection: &Connection,
    id: JobId,
    run: u32,
    counts: bool,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE job SET state = 'queued', submitted_at = NULL, started_at = NULL, tries = tries + ?3,
                            queue_deadline = iif(?3, max(queue_deadline, ?4 + queue_limit), queue_deadline)
             WHERE id = ?1 AND run_number = ?2 AND state IN ('submitted', 'running')",
        )?
        .execute(params![id.as_bytes(), run, counts, at.millis()])?;
    Ok(changed > 0)
}

/// Notes the wish to cancel.
pub(super) fn wish_cancel(connection: &Connection, id: JobId) -> Result<CancelWish, StoreError> {
    let Some(Stored { row, mut job, .. }) = rows::find(connection, id)? else { return Ok(CancelWish::Unknown) };
    if job.state.is_final() {
        return Ok(CancelWish::AlreadyFinal(job.state));
    }
    connection.prepare_cached("UPDATE job SET cancel_requested = 1 WHERE row = ?1")?.execute([row])?;
    job.cancel_requested = true;
    let waits = job.state == JobState::Queued;
    Ok(if waits { CancelWish::Waiting(Box::new(job)) } else { CancelWish::Running(Box::new(job)) })
}

/// Returns waiting jobs that must be ended: cancelled ones first, then those whose queue limit has passed.
pub(super) fn overdue(connection: &Connection, now: Timestamp, limit: u32) -> Result<Vec<Job>, StoreError> {
    let sql = format!(
        "SELECT {JOB} FROM
            (SELECT row AS due FROM (SELECT row FROM job INDEXED BY job_queued
                WHERE state = 'queued' AND cancel_requested = 1 LIMIT ?2)
             UNION
             SELECT row FROM (SELECT row FROM job INDEXED BY job_overdue
                WHERE state = 'queued' AND queue_deadline <= ?1 ORDER BY queue_deadline LIMIT ?2))
         JOIN job ON job.row = due JOIN job_request ON job_request.job = job.row
         ORDER BY cancel_requested DESC, queue_deadline LIMIT ?2"
    );
    rows::all(connection.prepare_cached(&sql)?.query(params![now.millis(), limit])?, |row| Ok(rows::job(row)?.job))
}

/// Lets no job wait longer than its queue limit from `now`. Returns how many were changed.
pub(super) fn pull_in(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let changed = connection.execute(
        "UPDATE job SET queue_deadline = ?1 + queue_limit WHERE state = 'queued' AND queue_deadline > ?1 + queue_limit",
        [now.millis()],
    )?;
    Ok(changed as u64)
}

/// Returns the jobs that are on a backend.
pub(super) fn on_backends(connection: &Connection) -> Result<Vec<Claimed>, StoreError> {
    let sql = format!(
        "SELECT {JOB} FROM job INDEXED BY job_on_backend JOIN job_request ON job_request.job = job.row
         WHERE state IN ('submitted', 'running') ORDER BY row"
    );
    let found = rows::all(connection.prepare_cached(&sql)?.query(())?, rows::job)?;
    Ok(found.into_iter().filter_map(Stored::claimed).collect())
}

/// Lists jobs, newest first.
pub(super) fn list(connection: &Connection, filter: &ListFilter) -> Result<Vec<Listed>, StoreError> {
    // As text, not as parameters: only so does SQLite see that an index over some states will do. Live jobs are few
    // beside those that have ended, so their index is worth the sorting.
    let (index, condition) = match filter.state {
        None => ("", "1"),
        Some(JobState::Queued) => ("INDEXED BY job_queued", "state = 'queued'"),
        Some(JobState::Submitted) => {
            ("INDEXED BY job_on_backend", "state IN ('submitted', 'running') AND state = 'submitted'")
        }
        Some(JobState::Running) => {
            ("INDEXED BY job_on_backend", "state IN ('submitted', 'running') AND state = 'running'")
        }
        Some(JobState::Succeeded) => ("INDEXED BY job_ended", "ended_at IS NOT NULL AND state = 'succeeded'"),
        Some(JobState::Failed) => ("INDEXED BY job_ended", "ended_at IS NOT NULL AND state = 'failed'"),
        Some(JobState::Cancelled) => ("INDEXED BY job_ended", "ended_at IS NOT NULL AND state = 'cancelled'"),
    };
    let mut sql = format!(
        "SELECT {JOB}, job.code, job.error FROM job {index} JOIN job_request ON job_request.job = job.row
         WHERE {condition}"
    );
    let mut values = Vec::new();
    if let Some(workflow) = &filter.workflow {
        sql += " AND workflow = ?";
        values.push(Value::Text(workflow.clone()));
    }
    if let Some(before) = filter.before {
        sql += " AND id < ?";
        values.push(Value::Blob(before.as_bytes().to_vec()));
    }
    sql += " ORDER BY id DESC LIMIT ?";
    values.push(Value::Integer(filter.limit.into()));
    rows::all(connection.prepare_cached(&sql)?.query(params_from_iter(values))?, |row| {
        Ok(Listed { job: rows::job(row)?.job, code: row.get(13)?, error: row.get(14)? })
    })
}

/// Counts what is not done.
pub(super) fn backlog(connection: &Connection) -> Result<Backlog, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM job WHERE state = 'queued'),
                (SELECT count(*) FROM job WHERE state IN ('submitted', 'running')),
                (SELECT count(*) FROM delivery WHERE state = 'pending')",
    )?;
    let backlog = statement.query_row((), |row| {
        Ok(Backlog { queued: rows::count(row, 0)?, running: rows::count(row, 1)?, deliveries: rows::count(row, 2)? })
    });
    Ok(backlog?)
}
