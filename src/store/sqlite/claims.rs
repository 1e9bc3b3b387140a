//! What happens to a job's rows from one run to the next: who claims it, who cannot run it, and that it waits again.

use super::queues::Queues;
use super::rows::{self, JOB, RowNumber, Stored};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, JobState, PromptId, RunRef, Turns};
use crate::store::{Claimed, Refused, StoreError, Vacancy};
use rusqlite::{Connection, OptionalExtension, params};

/// Fills free places with waiting jobs, one for each offered prompt id; `others` are the vacancy's as a JSON list.
/// Tenants take turns.
pub(super) fn claim(
    connection: &Connection,
    vacancy: &Vacancy,
    others: &str,
    turns: &mut Turns,
    now: Timestamp,
) -> Result<Vec<Claimed>, StoreError> {
    let mut queues = Queues::open(connection, vacancy, others)?;
    let mut claimed = Vec::with_capacity(vacancy.offered.len());
    for fresh in &vacancy.offered {
        let last = turns.last().cloned();
        let Some(next) = turns.give(queues.ring(last))? else { break };
        queues.take(&next.tenant, next.thing);
        claimed.push(begin_run(connection, next.thing.row, &vacancy.backend, fresh, now)?);
    }
    Ok(claimed)
}

/// Commits a waiting job to a backend.
fn begin_run(
    connection: &Connection,
    row: RowNumber,
    backend: &str,
    fresh: &PromptId,
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    let sql = format!("SELECT {JOB} FROM job JOIN job_request ON job_request.job = job.row WHERE job.row = ?1");
    let mut found = connection.prepare_cached(&sql)?;
    let Stored { row, tries, mut job } = found.query_row([row], |row| Ok(rows::job(row)))??;
    // A first run cannot have been refused before.
    let refused = if job.run.is_none() { Vec::new() } else { refusals(connection, row)? };
    let prompt = if job.run.is_none() { PromptId::first(job.id) } else { fresh.clone() };
    let number = connection
        .prepare_cached(
            "UPDATE job SET state = 'submitted', run_number = run_number + 1, backend = ?2, prompt_id = ?3,
                            submitted_at = ?4, started_at = NULL
             WHERE row = ?1 RETURNING run_number",
        )?
        .query_row(params![row, backend, prompt.as_str(), now.millis()], |row| row.get(0))?;
    let run = RunRef { number, backend: backend.to_owned(), prompt };
    job.state = JobState::Submitted;
    job.run = Some(run.clone());
    job.submitted_at = Some(now);
    job.started_at = None;
    Ok(Claimed { job, run, tries, refused })
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

/// Puts a job back into the queue for other backends: that of its last run cannot run it.
pub(super) fn pass_on(connection: &Connection, id: JobId, run: u32, reason: &str) -> Result<bool, StoreError> {
    let refused: Option<(RowNumber, String)> = connection
        .prepare_cached(
            "UPDATE job SET state = 'queued', submitted_at = NULL, started_at = NULL
             WHERE id = ?1 AND run_number = ?2 AND state IN ('submitted', 'running') RETURNING row, backend",
        )?
        .query_row(params![id.as_bytes(), run], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((row, backend)) = refused else { return Ok(false) };
    connection
        .prepare_cached("INSERT OR REPLACE INTO unfit (job, backend, reason) VALUES (?1, ?2, ?3)")?
        .execute(params![row, backend, reason])?;
    Ok(true)
}

/// Returns waiting jobs that each of `count` backends, named in a JSON list, has refused.
pub(super) fn stranded(
    connection: &Connection,
    backends: &str,
    count: usize,
    limit: u32,
) -> Result<Vec<(Job, Vec<Refused>)>, StoreError> {
    let sql = format!(
        "SELECT {JOB} FROM
            (SELECT job AS refused FROM unfit WHERE backend IN (SELECT value FROM json_each(?1))
             GROUP BY job HAVING count(*) = ?2)
         JOIN job ON job.row = refused JOIN job_request ON job_request.job = job.row
         WHERE state = 'queued' AND cancel_requested = 0 LIMIT ?3"
    );
    let known = params![backends, rows::whole(count), limit];
    let stranded = rows::all(connection.prepare_cached(&sql)?.query(known)?, rows::job)?;
    let with_reasons = |stored: Stored| Ok((stored.job, refusals(connection, stored.row)?));
    stranded.into_iter().map(with_reasons).collect()
}

/// Returns the jobs that are on a backend.
pub(super) fn on_backends(connection: &Connection) -> Result<Vec<Claimed>, StoreError> {
    let sql = format!(
        "SELECT {JOB} FROM job INDEXED BY job_on_backend JOIN job_request ON job_request.job = job.row
         WHERE state IN ('submitted', 'running') ORDER BY row"
    );
    let found = rows::all(connection.prepare_cached(&sql)?.query(())?, rows::job)?;
    let mut claimed = Vec::with_capacity(found.len());
    for Stored { row, tries, job } in found {
        let Some(run) = job.run.clone() else { continue };
        claimed.push(Claimed { job, run, tries, refused: refusals(connection, row)? });
    }
    Ok(claimed)
}

fn refusals(connection: &Connection, job: RowNumber) -> Result<Vec<Refused>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT backend, reason FROM unfit WHERE job = ?1 ORDER BY backend")?;
    rows::all(statement.query([job])?, |row| Ok(Refused { backend: row.get(0)?, reason: row.get(1)? }))
}
