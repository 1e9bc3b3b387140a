//! What happens to a job's rows from one run to the next: who claims it, who cannot run it, and that it waits again.

use super::rows::{self, JOB, RowNumber, Stored};
use crate::clock::Timestamp;
use crate::job::{JobId, JobState, PromptId, RunRef};
use crate::store::{Assignment, Claimed, Refused, StoreError, Way};
use rusqlite::{Connection, params};
use tracing::error;

/// Commits waiting jobs to backends, those of them that still wait.
pub(super) fn claim(
    connection: &Connection,
    assignments: &[Assignment],
    now: Timestamp,
) -> Result<Vec<Claimed>, StoreError> {
    let mut claimed = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        match begin_run(connection, assignment, now) {
            Ok(begun) => claimed.extend(begun),
            // Nothing of it is changed, and the others go on.
            Err(StoreError::Damaged(what)) => {
                error!(job.id = %assignment.job, what, "a waiting job cannot be read; it is set aside");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(claimed)
}

/// Commits a job to a backend; none where it does not wait any more.
fn begin_run(connection: &Connection, assignment: &Assignment, now: Timestamp) -> Result<Option<Claimed>, StoreError> {
    let Assignment { job: id, backend, variant, fresh } = assignment;
    let sql = format!(
        "SELECT {JOB} FROM job JOIN job_request ON job_request.job = job.row
         WHERE job.id = ?1 AND state = 'queued' AND cancel_requested = 0"
    );
    let mut found = connection.prepare_cached(&sql)?;
    let mut waiting = found.query([id.as_bytes()])?;
    let Some(row) = waiting.next()? else { return Ok(None) };
    let Stored { row, tries, structures, mut job, .. } = rows::job_as(row, *variant)?;
    // A first run cannot have been refused before.
    let refused = if job.run.is_none() { Vec::new() } else { refusals(connection, row)? };
    let prompt = if job.run.is_none() { PromptId::first(job.id) } else { fresh.clone() };
    let number = connection
        .prepare_cached(
            "UPDATE job SET state = 'submitted', run_number = run_number + 1, backend = ?2, prompt_id = ?3,
                            submitted_at = ?4, started_at = NULL, variant = ?5
             WHERE row = ?1 RETURNING run_number",
        )?
        .query_row(params![row, backend, prompt.as_str(), now.millis(), variant], |row| row.get(0))?;
    let run = RunRef { number, backend: backend.clone(), prompt };
    job.state = JobState::Submitted;
    job.run = Some(run.clone());
    job.submitted_at = Some(now);
    job.started_at = None;
    Ok(Some(Claimed { job, run, variant: *variant, structures, tries, refused }))
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

/// Puts a job back into the queue, with this number among those who came to wait. A run that counts gives the job its whole queue limit again.
pub(super) fn requeue(
    connection: &Connection,
    id: JobId,
    run: u32,
    counts: bool,
    at: Timestamp,
    queued_as: i64,
) -> Result<bool, StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE job SET state = 'queued', queued_as = ?5, variant = 0, submitted_at = NULL, started_at = NULL, tries = tries + ?3,
                            queue_deadline = iif(?3, max(queue_deadline, ?4 + queue_limit), queue_deadline)
             WHERE id = ?1 AND run_number = ?2 AND state IN ('submitted', 'running')",
        )?
        .execute(params![id.as_bytes(), run, counts, at.millis(), queued_as])?;
    Ok(changed > 0)
}

/// Puts a job back into the queue for other ways to run: that of its last run is none.
pub(super) fn pass_on(
    connection: &Connection,
    id: JobId,
    run: u32,
    reason: &str,
    tried_at: Option<Timestamp>,
    queued_as: i64,
) -> Result<bool, StoreError> {
    let refused = connection
        .prepare_cached(
            "INSERT OR REPLACE INTO unfit (job, backend, variant, reason)
             SELECT row, backend, variant, ?3 FROM job
             WHERE id = ?1 AND run_number = ?2 AND state IN ('submitted', 'running')",
        )?
        .execute(params![id.as_bytes(), run, reason])?;
    if refused == 0 {
        return Ok(false);
    }
    let at = tried_at.unwrap_or_else(|| Timestamp::from_millis(0));
    requeue(connection, id, run, tried_at.is_some(), at, queued_as)
}

/// Returns the jobs that are on a backend.
pub(super) fn on_backends(connection: &Connection) -> Result<Vec<Claimed>, StoreError> {
    let sql = format!(
        "SELECT {JOB} FROM job INDEXED BY job_on_backend JOIN job_request ON job_request.job = job.row
         WHERE state IN ('submitted', 'running') ORDER BY row"
    );
    let found = rows::all(connection.prepare_cached(&sql)?.query(())?, rows::job)?;
    let mut claimed = Vec::with_capacity(found.len());
    for Stored { row, tries, variant, structures, job } in found {
        let Some(run) = job.run.clone() else { continue };
        claimed.push(Claimed { job, run, variant, structures, tries, refused: refusals(connection, row)? });
    }
    Ok(claimed)
}

/// Returns who has refused a job, as which variant.
pub(super) fn refusals(connection: &Connection, job: RowNumber) -> Result<Vec<Refused>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT backend, variant, reason FROM unfit WHERE job = ?1 ORDER BY 1, 2")?;
    rows::all(statement.query([job])?, |row| {
        Ok(Refused { way: Way { backend: row.get(0)?, variant: row.get(1)? }, reason: row.get(2)? })
    })
}
