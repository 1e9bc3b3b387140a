//! The jobs that wait, as they came to: read in pages by whoever keeps them in memory and decides which goes where.

use super::rows;
use crate::job::{JobId, Tenant};
use crate::store::{Arrivals, StoreError, Waiting};
use rusqlite::{Connection, Row, params};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use tracing::error;

const ARRIVALS: &str = "SELECT queued_as, row, id, tenant, priority, structures, placement, backend,
            EXISTS (SELECT 1 FROM input WHERE input.job = job.row),
            CASE WHEN run_number > 0 THEN (SELECT json_group_array(json_object('backend', unfit.backend, 'variant', unfit.variant))
                                         FROM unfit WHERE unfit.job = job.row) END
     FROM job INDEXED BY job_waiting
     WHERE state = 'queued' AND cancel_requested = 0 AND queued_as > ?1 ORDER BY queued_as LIMIT ?2";

/// Numbers those who come to wait. Only the writing thread draws numbers, so that they rise in the order of commits and
/// nobody who has seen one misses a lower one.
#[derive(Debug)]
pub(super) struct Numbers(AtomicI64);

impl Numbers {
    /// Goes on after all that wait.
    pub(super) fn after_all(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let last = connection.query_row(
            "SELECT coalesce(max(queued_as), 0) FROM job INDEXED BY job_waiting
             WHERE state = 'queued' AND cancel_requested = 0",
            (),
            |row| row.get(0),
        )?;
        Ok(Self(AtomicI64::new(last)))
    }

    /// Draws the next one.
    pub(super) fn draw(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Returns those who came to wait since `mark`.
pub(super) fn arrivals(connection: &Connection, mark: i64, limit: u32) -> Result<Arrivals, StoreError> {
    let mut statement = connection.prepare_cached(ARRIVALS)?;
    let mut found = statement.query(params![mark, limit])?;
    let mut arrivals = Arrivals { mark, ..Arrivals::default() };
    let mut count = 0;
    while let Some(row) = found.next()? {
        arrivals.mark = row.get(0)?;
        count += 1;
        match waiting(row) {
            Ok(waiting) => arrivals.jobs.push(waiting),
            Err(error) => error!(%error, row = arrivals.mark, "a waiting job cannot be read; it is set aside"),
        }
    }
    arrivals.is_more = count == limit;
    Ok(arrivals)
}

fn waiting(row: &Row<'_>) -> Result<Waiting, StoreError> {
    let job: JobId = rows::job_id(row, 2)?;
    let structures: String = row.get(5)?;
    let placement: String = row.get(6)?;
    let unfit: Option<String> = row.get(9)?;
    let unfit = match unfit {
        None => BTreeSet::new(),
        Some(names) => {
            serde_json::from_str(&names).map_err(|error| rows::damaged(job, &format!("who cannot run it: {error}")))?
        }
    };
    Ok(Waiting {
        job,
        place: row.get(1)?,
        tenant: rows::tenant(row, 3)?,
        priority: row.get(4)?,
        structures: rows::structures(&structures),
        placement: rows::placement(job, &placement)?,
        unfit,
        left: row.get(7)?,
        with_images: row.get(8)?,
    })
}

/// Counts the jobs of each tenant that are on backends: there are never many of them.
pub(super) fn on_backends_by_tenant(connection: &Connection) -> Result<HashMap<Tenant, usize>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT tenant, count(*) FROM job INDEXED BY job_on_backend
         WHERE state IN ('submitted', 'running') GROUP BY tenant",
    )?;
    let counted = rows::all(statement.query(())?, |row| Ok((rows::tenant(row, 0)?, rows::count(row, 1)?)))?;
    Ok(counted.into_iter().map(|(tenant, count)| (tenant, usize::try_from(count).unwrap_or(usize::MAX))).collect())
}
