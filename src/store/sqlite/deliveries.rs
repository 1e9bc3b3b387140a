//! What happens to a job's rows from its end to the arrival of its webhook.

use super::rows;
use crate::clock::Timestamp;
use crate::crash::{self, Point};
use crate::job::{BlobId, FrozenBody, JobId, Outcome, Output};
use crate::store::{Attempt, Delivery, DeliveryState, Ending, Finished, StoreError, Verdict};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashSet;
use std::time::Duration;

/// The columns that [`delivery_of`] reads, from `delivery JOIN job .. JOIN result ..`.
const DELIVERY: &str = "job.id, delivery.url, result.body, delivery.attempts, delivery.created_at, delivery.due_at, \
     delivery.state, delivery.job, delivery.attempts_before, delivery.replays, delivery.replayed_at, delivery.ended_at, job.tenant";

/// The table `first`: each tenant that has a pending delivery, and when its first one may be handed out.
const FIRST_OF_EACH: &str = "WITH RECURSIVE owner (name) AS (
        SELECT * FROM (SELECT tenant FROM delivery INDEXED BY delivery_due
                       WHERE state = 'pending' ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT tenant FROM delivery INDEXED BY delivery_due
                WHERE state = 'pending' AND tenant > name ORDER BY tenant LIMIT 1)
        FROM owner WHERE name IS NOT NULL),
    first (name, next_at) AS (
        SELECT name, (SELECT next_at FROM delivery INDEXED BY delivery_due
                      WHERE state = 'pending' AND tenant = name ORDER BY next_at LIMIT 1)
        FROM owner WHERE name IS NOT NULL)";

/// Ends a job; `body` is the frozen body as JSON, and so is `profile`. Returns false where the job or the run has ended
/// already.
pub(super) fn finish(
    connection: &Connection,
    ending: &Ending,
    body: &str,
    profile: Option<&str>,
) -> Result<bool, StoreError> {
    let (code, error) = match &ending.outcome {
        Outcome::Succeeded(_) | Outcome::Cancelled => (None, None),
        Outcome::Failed(failure, _) => (Some(failure.code.as_str()), Some(failure.message.as_str())),
    };
    let ended: Option<rows::RowNumber> = connection
        .prepare_cached(
            "UPDATE job SET state = ?3, code = ?4, error = ?5, ended_at = ?6
             WHERE id = ?1 AND ended_at IS NULL
               AND iif(?2 IS NULL, state = 'queued', run_number = ?2 AND state IN ('submitted', 'running'))
             RETURNING row",
        )?
        .query_row(
            params![
                ending.job.as_bytes(),
                ending.run,
                ending.outcome.state().as_str(),
                code,
                error,
                ending.ended_at.millis(),
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(row) = ended else { return Ok(false) };
    crash::pass(Point::Halfway);
    let mut insert = connection.prepare_cached(
        "INSERT INTO output (job, place, node_id, node_index, content_type, filename, bytes, sha256,
                             metadata_stripped, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (place, output) in (0_i64..).zip(ending.outcome.outputs()) {
        insert.execute(params![
            row,
            place,
            output.node_id,
            output.index,
            output.content_type,
            output.filename,
            rows::whole(output.bytes),
            output.sha256.as_str(),
            output.metadata_stripped,
            output.origin.as_ref().and_then(|origin| serde_json::to_string(origin).ok()),
        ])?;
    }
    crash::pass(Point::Halfway);
    connection.prepare_cached("INSERT INTO result (job, body) VALUES (?1, ?2)")?.execute(params![row, body])?;
    if let Some(profile) = profile {
        connection
            .prepare_cached("INSERT INTO profile (job, profile) VALUES (?1, ?2)")?
            .execute(params![row, profile])?;
    }
    crash::pass(Point::Halfway);
    connection
        .prepare_cached(
            "INSERT INTO delivery (job, tenant, url, created_at, due_at)
             SELECT job, (SELECT tenant FROM job WHERE row = ?1), request ->> '$.webhook_url', ?2, ?2 FROM job_request
             WHERE job = ?1 AND request ->> '$.webhook_url' IS NOT NULL",
        )?
        .execute(params![row, ending.ended_at.millis()])?;
    Ok(true)
}

/// Returns the result of a job that has ended.
pub(super) fn finished(connection: &Connection, id: JobId) -> Result<Option<Finished>, StoreError> {
    let Some(row) = rows::row_of(connection, id)? else { return Ok(None) };
    let Some(body) = body(connection, id, row)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT node_id, node_index, content_type, filename, bytes, sha256, metadata_stripped, origin
         FROM output WHERE job = ?1 ORDER BY place",
    )?;
    let outputs = rows::all(statement.query([row])?, |row| {
        Ok(Output {
            node_id: row.get(0)?,
            index: row.get(1)?,
            content_type: row.get(2)?,
            filename: row.get(3)?,
            bytes: rows::count(row, 4)?,
            sha256: BlobId(row.get(5)?),
            metadata_stripped: row.get(6)?,
            // Nothing rests on it, so one that cannot be read is none.
            origin: row.get::<_, Option<String>>(7)?.and_then(|origin| serde_json::from_str(&origin).ok()),
        })
    })?;
    Ok(Some(Finished { body, outputs }))
}

/// Returns the blobs of every output and every frozen body.
pub(super) fn needed_blobs(connection: &Connection) -> Result<HashSet<BlobId>, StoreError> {
    let mut needed = HashSet::new();
    let mut statement = connection
        .prepare("SELECT sha256 FROM output UNION SELECT sha256 FROM input UNION SELECT sha256 FROM upload")?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        needed.insert(BlobId(row.get(0)?));
    }
    // A body's blobs are its outputs; asking the bodies too costs little and does not rest on that.
    let mut statement =
        connection.prepare("SELECT job.id, result.body FROM result JOIN job ON job.row = result.job")?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        needed.extend(rows::body(rows::job_id(row, 0)?, row, 1)?.blobs().cloned());
    }
    Ok(needed)
}

/// Leases deliveries that are due: of each tenant as many, the longest due first; where that leaves some, more of those
/// that have more. `turn` says with whom to begin, should there be more tenants than deliveries may be leased.
pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    lease: Duration,
    limit: u32,
    turn: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "SELECT {DELIVERY} FROM delivery INDEXED BY delivery_due
         JOIN job ON job.row = delivery.job JOIN result ON result.job = delivery.job
         WHERE delivery.state = 'pending' AND delivery.tenant = ?3 AND delivery.next_at <= ?1
         ORDER BY delivery.next_at LIMIT ?2"
    );
    let mut read = connection.prepare_cached(&sql)?;
    let mut take = connection.prepare_cached("UPDATE delivery SET lease_until = ?2 WHERE job = ?1")?;
    let mut tenants = tenants_with_due(connection, now)?;
    let first = turn.checked_rem(tenants.len()).unwrap_or(0);
    tenants.rotate_left(first);
    let mut leased = Vec::new();
    let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
    while left > 0 && !tenants.is_empty() {
        let share = (left / tenants.len()).max(1);
        let mut have_more = Vec::new();
        for tenant in tenants {
            let most = share.min(left);
            let next = params![now.millis(), rows::whole(most), tenant];
            let due = if most == 0 { Vec::new() } else { rows::all(read.query(next)?, delivery_of)? };
            for (row, _) in &due {
                take.execute(params![row, (now + lease).millis()])?;
            }
            left -= due.len();
            // With no lease at all the same ones would be found again.
            if due.len() == share && !lease.is_zero() {
                have_more.push(tenant);
            }
            leased.extend(due.into_iter().map(|(_, delivery)| delivery));
        }
        tenants = have_more;
    }
    Ok(leased)
}

/// Lists the tenants that have a delivery which is due, by one step into the index for each tenant that has any.
fn tenants_with_due(connection: &Connection, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let sql = format!("{FIRST_OF_EACH} SELECT name FROM first WHERE next_at <= ?1 ORDER BY name");
    let mut statement = connection.prepare_cached(&sql)?;
    rows::all(statement.query([now.millis()])?, |row| Ok(row.get(0)?))
}

/// Lets deliveries wait until then, as if they were leased.
pub(super) fn set_aside(connection: &Connection, jobs: &[JobId], until: Timestamp) -> Result<(), StoreError> {
    let mut put = connection.prepare_cached(
        "UPDATE delivery SET lease_until = ?2 WHERE job = (SELECT row FROM job WHERE id = ?1) AND state = 'pending'",
    )?;
    for job in jobs {
        put.execute(params![job.as_bytes(), until.millis()])?;
    }
    Ok(())
}

/// Returns when the next delivery may be handed out.
pub(super) fn next_due(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!("{FIRST_OF_EACH} SELECT min(next_at) FROM first");
    let next: Option<i64> = connection.prepare_cached(&sql)?.query_row((), |row| row.get(0))?;
    Ok(next.map(Timestamp::from_millis))
}

/// Logs an attempt and does what it means. What comes late changes nothing: a delivery that is no longer pending stays as
/// it is, and an attempt that was logged already is only heard when the receiver has said yes or no for good.
pub(super) fn record(
    connection: &Connection,
    id: JobId,
    attempt: &Attempt,
    verdict: Verdict,
) -> Result<(), StoreError> {
    let row = match rows::row_of(connection, id)? {
        Some(row) if state(connection, row)?.is_some() => row,
        Some(_) | None => return Err(rows::damaged(id, "an attempt was made, but it has no delivery")),
    };
    let (state, due_at, for_good) = match verdict {
        Verdict::Delivered => (DeliveryState::Delivered, None, true),
        Verdict::Gone => (DeliveryState::Gone, None, true),
        Verdict::RetryAt(at) => (DeliveryState::Pending, Some(at.millis()), false),
        Verdict::GiveUp => (DeliveryState::Undeliverable, None, false),
    };
    let ended_at = (state != DeliveryState::Pending).then(|| (attempt.started_at + attempt.took).millis());
    let changed = connection
        .prepare_cached(
            "UPDATE delivery SET state = ?2, due_at = coalesce(?3, due_at), lease_until = 0,
                attempts = max(attempts, ?4), ended_at = ?6
             WHERE job = ?1 AND state = 'pending' AND (?5 OR attempts < ?4)",
        )?
        .execute(params![row, state.as_str(), due_at, attempt.number, for_good, ended_at])?;
    let log = if changed > 0 {
        "INSERT OR REPLACE INTO attempt (job, number, started_at, took_us, status, code, snippet)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
    } else {
        "INSERT OR IGNORE INTO attempt (job, number, started_at, took_us, status, code, snippet)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
    };
    connection.prepare_cached(log)?.execute(params![
        row,
        attempt.number,
        attempt.started_at.millis(),
        rows::whole(attempt.took.as_micros()),
        attempt.status,
        attempt.code,
        attempt.snippet,
    ])?;
    Ok(())
}

/// Lets no delivery wait longer from `now` than it was meant to wait since its last attempt, its replay or its job's end.
/// Those times become `now` where they are still to come, so that a second start finds nothing to do. Returns how many
/// deliveries were changed.
pub(super) fn pull_in(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let changed = connection.execute(
        "UPDATE delivery SET due_at = ?1 + max(0, due_at - since)
         FROM (SELECT delivery.job AS late,
                      max(created_at, coalesce(replayed_at, 0),
                          coalesce((SELECT max(started_at + took_us / 1000) FROM attempt
                                    WHERE attempt.job = delivery.job), 0)) AS since
               FROM delivery WHERE state = 'pending' AND due_at > ?1)
         WHERE job = late AND since > ?1",
        [now.millis()],
    )?;
    if changed > 0 {
        connection.execute(
            "UPDATE attempt SET started_at = ?1 - took_us / 1000 WHERE started_at + took_us / 1000 > ?1
             AND job IN (SELECT job FROM delivery WHERE state = 'pending')",
            [now.millis()],
        )?;
        connection.execute(
            "UPDATE delivery SET created_at = min(created_at, ?1), replayed_at = min(replayed_at, ?1)
             WHERE state = 'pending' AND (created_at > ?1 OR replayed_at > ?1)",
            [now.millis()],
        )?;
    }
    Ok(changed as u64)
}

/// Ends the lease of a delivery.
pub(super) fn release(connection: &Connection, id: JobId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE delivery SET lease_until = 0
             WHERE job = (SELECT row FROM job WHERE id = ?1) AND state = 'pending'",
        )?
        .execute([id.as_bytes()])?;
    Ok(())
}

/// Ends every lease: whoever held one is gone.
pub(super) fn release_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE delivery SET lease_until = 0 WHERE state = 'pending' AND lease_until > 0", ())?;
    Ok(())
}

/// Returns a job's delivery and its attempts.
pub(super) fn delivery(connection: &Connection, id: JobId) -> Result<Option<(Delivery, Vec<Attempt>)>, StoreError> {
    let sql = format!(
        "SELECT {DELIVERY} FROM job JOIN delivery ON delivery.job = job.row JOIN result ON result.job = job.row
         WHERE job.id = ?1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([id.as_bytes()])?;
    let Some((row, delivery)) = found.next()?.map(delivery_of).transpose()? else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT number, started_at, took_us, status, code, snippet FROM attempt WHERE job = ?1 ORDER BY number",
    )?;
    let attempts = rows::all(statement.query([row])?, |row| {
        Ok(Attempt {
            number: row.get(0)?,
            started_at: rows::time(row, 1)?,
            took: Duration::from_micros(rows::count(row, 2)?),
            status: row.get(3)?,
            code: row.get(4)?,
            snippet: row.get(5)?,
        })
    })?;
    Ok(Some((delivery, attempts)))
}

fn delivery_of(row: &Row<'_>) -> Result<(rows::RowNumber, Delivery), StoreError> {
    let job = rows::job_id(row, 0)?;
    let state = rows::delivery_state(job, row, 6)?;
    let delivery = Delivery {
        job,
        tenant: rows::tenant(row, 12)?,
        url: row.get(1)?,
        body: rows::body(job, row, 2)?,
        attempts: row.get(3)?,
        created_at: rows::time(row, 4)?,
        due_at: rows::time(row, 5)?,
        state,
        attempts_before: row.get(8)?,
        replays: row.get(9)?,
        replayed_at: rows::time_or_none(row, 10)?,
        ended_at: rows::time_or_none(row, 11)?,
    };
    Ok((row.get(7)?, delivery))
}

fn body(connection: &Connection, id: JobId, job: rows::RowNumber) -> Result<Option<FrozenBody>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM result WHERE job = ?1")?;
    let mut found = statement.query([job])?;
    found.next()?.map(|row| rows::body(id, row, 0)).transpose()
}

fn state(connection: &Connection, job: rows::RowNumber) -> Result<Option<String>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT state FROM delivery WHERE job = ?1")?;
    Ok(statement.query_row([job], |row| row.get(0)).optional()?)
}
