//! What happens to a job's rows while it waits, and how it is found: each function is one write or one read of the store.

use super::counts::row_of_cursor;
use super::rows::{self, JOB, Stored};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, JobState, StructureHash};
use crate::store::{Backlog, CancelWish, IdempotencyKey, ListFilter, Listed, NewJob, Revision, StoreError};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

/// How many forgotten idempotency keys are removed with each new one.
const FORGOTTEN_AT_ONCE: u32 = 4;

/// Stores a job and its key; `request` is the request as JSON, `queued_as` its number among those who came to wait.
/// Returns none, having written nothing, where another job has the id.
pub(super) fn accept(
    connection: &Connection,
    new: &NewJob,
    request: &str,
    queued_as: i64,
) -> Result<Option<JobId>, StoreError> {
    if let Some(key) = &new.idempotency
        && let Some(holder) = holder(connection, key, new.created_at)?
    {
        return Ok(Some(holder));
    }
    let limit = rows::whole(new.request.limits.queue.as_millis());
    let structures: Vec<&str> = new.request.structures().map(StructureHash::as_str).collect();
    let wishes = &new.request.placement;
    let placement = if wishes.is_any() { String::new() } else { super::json(wishes)? };
    let inserted = connection
        .prepare_cached(
            "INSERT INTO job (id, workflow, priority, created_at, queue_limit, queue_deadline, tenant,
                              structures, placement, queued_as)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            new.id.as_bytes(),
            new.request.workflow,
            new.request.priority,
            new.created_at.millis(),
            limit,
            new.created_at.millis().saturating_add(limit),
            new.tenant.stored(),
            structures.join(" "),
            placement,
            queued_as,
        ])?;
    if inserted == 0 {
        return Ok(None);
    }
    let row = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO job_request (job, request) VALUES (?1, ?2)")?
        .execute(params![row, request])?;
    for (blob, bytes) in new.request.input_blobs() {
        connection
            .prepare_cached("INSERT OR IGNORE INTO input (job, sha256, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![row, blob.as_str(), rows::whole(bytes)])?;
    }
    if let Some(revision) = &new.own_revision {
        keep_revision(connection, revision)?;
    }
    if let Some(key) = &new.idempotency {
        take_key(connection, key, new)?;
    }
    Ok(Some(new.id))
}

/// Returns the job that holds a key.
pub(super) fn holder(
    connection: &Connection,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<JobId>, StoreError> {
    let holder: Option<([u8; 16], [u8; 32])> = connection
        .prepare_cached("SELECT job, body_sha256 FROM idempotency WHERE tenant = ?3 AND key = ?1 AND expires_at > ?2")?
        .query_row(params![key.key, now.millis(), key.tenant.stored()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match holder {
        None => Ok(None),
        Some((job, body_sha256)) if body_sha256 == key.body_sha256 => Ok(Some(JobId::from_bytes(job))),
        Some(_) => Err(StoreError::KeyReused(key.key.clone())),
    }
}

/// Gives a key that nobody holds to `new`.
fn take_key(connection: &Connection, key: &IdempotencyKey, new: &NewJob) -> Result<(), StoreError> {
    forget_keys(connection, new.created_at, FORGOTTEN_AT_ONCE)?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency (tenant, key, body_sha256, job, expires_at) VALUES (?5, ?1, ?2, ?3, ?4)",
        )?
        .execute(params![key.key, key.body_sha256, new.id.as_bytes(), key.expires_at.millis(), key.tenant.stored()])?;
    Ok(())
}

/// Removes keys whose time is over, at most `limit`. Returns how many.
pub(super) fn forget_keys(connection: &Connection, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
    let mut forget = connection.prepare_cached(
        "DELETE FROM idempotency WHERE (tenant, key) IN
            (SELECT tenant, key FROM idempotency WHERE expires_at <= ?1 LIMIT ?2)",
    )?;
    Ok(forget.execute(params![now.millis(), limit])?)
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
            (SELECT row AS due FROM (SELECT row FROM job INDEXED BY job_to_cancel
                WHERE state = 'queued' AND cancel_requested = 1 LIMIT ?2)
             UNION
             SELECT row FROM (SELECT row FROM job INDEXED BY job_overdue
                WHERE state = 'queued' AND queue_deadline <= ?1 ORDER BY queue_deadline LIMIT ?2))
         JOIN job ON job.row = due JOIN job_request ON job_request.job = job.row
         ORDER BY cancel_requested DESC, queue_deadline LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut due = statement.query(params![now.millis(), limit])?;
    let mut overdue = Vec::new();
    while let Some(row) = due.next()? {
        // One that cannot be read was told of when it was to be claimed, and holds up no other.
        overdue.extend(rows::job(row).ok().map(|stored| stored.job));
    }
    Ok(overdue)
}

/// Lets no job wait longer than its queue limit from `now`. Returns how many were changed.
pub(super) fn pull_in(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let changed = connection.execute(
        "UPDATE job SET queue_deadline = ?1 + queue_limit WHERE state = 'queued' AND queue_deadline > ?1 + queue_limit",
        [now.millis()],
    )?;
    Ok(changed as u64)
}

/// Lists jobs, newest first.
pub(super) fn list(connection: &Connection, filter: &ListFilter) -> Result<Vec<Listed>, StoreError> {
    // As text, not as parameters: only so does SQLite see that an index over some states will do. Live jobs are few
    // beside those that have ended, so their index is worth the sorting.
    let (index, condition) = match filter.state {
        None if filter.tenant.is_some() => ("INDEXED BY job_by_tenant", "1"),
        None => ("", "1"),
        Some(JobState::Queued) => ("INDEXED BY job_overdue", "state = 'queued'"),
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
        "SELECT {JOB}, job.code, job.error, (SELECT delivery.state FROM delivery WHERE delivery.job = job.row),
            (SELECT count(*) FROM output WHERE output.job = job.row),
            (SELECT place FROM output WHERE output.job = job.row AND content_type GLOB 'image/*' ORDER BY place LIMIT 1)
         FROM job {index} JOIN job_request ON job_request.job = job.row
         WHERE {condition}"
    );
    let mut values = Vec::new();
    if let Some(tenant) = &filter.tenant {
        sql += " AND job.tenant = ?";
        values.push(Value::Text(tenant.stored().to_owned()));
    }
    if let Some(workflow) = &filter.workflow {
        sql += " AND workflow = ?";
        values.push(Value::Text(workflow.clone()));
    }
    if let Some(before) = filter.before {
        sql += " AND job.row < ?";
        values.push(Value::Integer(row_of_cursor(connection, before, filter.tenant.as_ref())?));
    }
    sql += " ORDER BY job.row DESC LIMIT ?";
    values.push(Value::Integer(filter.limit.into()));
    rows::all(connection.prepare_cached(&sql)?.query(params_from_iter(values))?, |row| {
        let job = rows::job(row)?.job;
        let has_delivery = row.get_ref(17)? != ValueRef::Null;
        let delivery = has_delivery.then(|| rows::delivery_state(job.id, row, 17)).transpose()?;
        let (code, error, outputs, first_image) = (row.get(15)?, row.get(16)?, row.get(18)?, row.get(19)?);
        Ok(Listed { job, code, error, delivery, outputs, first_image })
    })
}

/// Counts what is not done.
pub(super) fn backlog(connection: &Connection) -> Result<Backlog, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM job WHERE state = 'queued'),
                (SELECT count(*) FROM job WHERE state IN ('submitted', 'running')),
                (SELECT count(*) FROM delivery WHERE state = 'pending'),
                (SELECT created_at FROM job WHERE row =
                    (SELECT min(row) FROM job INDEXED BY job_overdue WHERE state = 'queued'))",
    )?;
    let backlog = statement.query_row((), |row| {
        let count = |place| rows::count(row, place);
        let oldest = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis);
        Ok(Backlog { queued: count(0)?, running: count(1)?, deliveries: count(2)?, oldest })
    });
    Ok(backlog?)
}
