//! Reads the deliveries that a summary is made of: those of the newest jobs, and no more of them than it says.

use super::counts::first_row_at;
use super::rows;
use crate::job::Tenant;
use crate::store::summary::{Summed, Tally};
use crate::store::{StoreError, Summary, SummaryFilter};
use rusqlite::{Connection, params};
use std::time::Duration;

/// How long a job may be on its way: one that was accepted so long before the time in question and ended within it may be missing
/// where only one tenant's are asked for. There is no index of ends for each tenant.
const LONGEST_WAY: Duration = Duration::from_hours(7 * 24);

/// Sums deliveries up.
pub(super) fn summary(connection: &Connection, filter: &SummaryFilter) -> Result<Summary, StoreError> {
    let mut tally = Tally::new(filter.since, filter.until);
    // So many rows and one more: if that is there, there are more. Live jobs have no delivery.
    let ended = if filter.tenant.is_some() {
        "SELECT row FROM job INDEXED BY job_by_tenant WHERE tenant = ?3 AND row >= ?4 ORDER BY row DESC LIMIT ?2"
    } else {
        "SELECT row FROM job INDEXED BY job_by_end WHERE ended_at IS NOT NULL AND ended_at >= ?1 AND ?3 IS NULL AND ?4 >= 0
            ORDER BY ended_at DESC LIMIT ?2"
    };
    let sql = format!(
        "SELECT job.row, delivery.url, delivery.state, delivery.created_at, delivery.ended_at, attempt.took_us, job.id,
            job.ended_at
         FROM ({ended}) AS newest CROSS JOIN job ON job.row = newest.row
         LEFT JOIN delivery ON delivery.job = job.row
         LEFT JOIN attempt ON attempt.job = delivery.job AND attempt.number = delivery.attempts"
    );
    let first = match filter.tenant {
        Some(_) => first_row_at(connection, tally.since().back_by(LONGEST_WAY))?,
        None => 0,
    };
    let tenant = filter.tenant.as_ref().map(Tenant::stored);
    let most = i64::from(filter.limit);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![tally.since().millis(), most + 1, tenant, first])?;
    let (mut looked_at, mut is_partial) = (0, false);
    while let Some(row) = found.next()? {
        looked_at += 1;
        if looked_at > most {
            is_partial = rows::time_or_none(row, 7)?.is_none_or(|ended| ended >= tally.since());
            break;
        }
        let Some(url) = row.get(1)? else { continue };
        let took: Option<i64> = row.get(5)?;
        tally.add(&Summed {
            url,
            state: rows::delivery_state(rows::job_id(row, 6)?, row, 2)?,
            created_at: rows::time(row, 3)?,
            ended_at: rows::time_or_none(row, 4)?,
            took: took.map(|micros| Duration::from_micros(micros.unsigned_abs())),
        });
    }
    Ok(tally.end(is_partial))
}
