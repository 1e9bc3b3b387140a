//! Counts jobs by their indexes, and finds the row that was the first at some time.

use super::SqliteStore;
use super::rows::{self, RowNumber};
use crate::clock::Timestamp;
use crate::job::Tenant;
use crate::store::{Counts, Cursor, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::time::Duration;

#[async_trait]
impl Counts for SqliteStore {
    async fn waiting(&self) -> Result<HashMap<Tenant, u64>, StoreError> {
        self.readers.read(waiting).await
    }

    async fn accepted_since(&self, tenant: Tenant, since: Timestamp) -> Result<u64, StoreError> {
        self.readers.read(move |connection| accepted_since(connection, &tenant, since)).await
    }
}

fn waiting(connection: &Connection) -> Result<HashMap<Tenant, u64>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT tenant, count(*) FROM job INDEXED BY job_overdue WHERE state = 'queued' GROUP BY tenant",
    )?;
    let mut found = statement.query(())?;
    let mut waiting = HashMap::new();
    while let Some(row) = found.next()? {
        *waiting.entry(rows::tenant(row, 0)?).or_default() += rows::count(row, 1)?;
    }
    Ok(waiting)
}

fn accepted_since(connection: &Connection, tenant: &Tenant, since: Timestamp) -> Result<u64, StoreError> {
    let first = first_row_at(connection, since)?;
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM job INDEXED BY job_by_tenant WHERE tenant = ?1 AND row >= ?2")?;
    Ok(statement.query_row(params![tenant.stored(), first], |row| rows::count(row, 0))?)
}

/// Returns the row that a page of this tenant's list ended with. Where the job was cleared away, those that were accepted in the
/// same millisecond come again: rather twice than not at all. The job of another tenant is not there for this one.
pub(super) fn row_of_cursor(
    connection: &Connection,
    cursor: Cursor,
    tenant: Option<&Tenant>,
) -> Result<RowNumber, StoreError> {
    let row: Option<RowNumber> = connection
        .prepare_cached("SELECT row FROM job WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)")?
        .query_row(params![cursor.job.as_bytes(), tenant.map(Tenant::stored)], |row| row.get(0))
        .optional()?;
    match row {
        Some(row) => Ok(row),
        None => first_row_at(connection, cursor.accepted_at + Duration::from_millis(1)),
    }
}

/// Returns the row of the first job that was accepted at that time or later; where there is none, one above all rows.
/// Rows are in the order of acceptance, so a few of them have to be read and no index is needed.
pub(super) fn first_row_at(connection: &Connection, at: Timestamp) -> Result<RowNumber, StoreError> {
    let ends: (Option<RowNumber>, Option<RowNumber>) = connection
        .prepare_cached("SELECT (SELECT min(row) FROM job), (SELECT max(row) FROM job)")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(mut low), Some(last)) = ends else { return Ok(0) };
    let mut high = last + 1;
    let mut next = connection.prepare_cached("SELECT row, created_at FROM job WHERE row >= ?1 ORDER BY row LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(RowNumber, i64)> =
            next.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((row, created_at)) if row < high && created_at < at.millis() => low = row + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}
