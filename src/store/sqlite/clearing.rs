//! Removes rows that are old, and answers what the removal of blobs must know; how old is the caller's to say.

use super::rows::{self, RowNumber};
use super::{jobs, uploads};
use crate::clock::Timestamp;
use crate::job::{BlobId, Request};
use crate::store::{Cleared, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

/// What a probe writes, about as many bytes as a job takes.
const PROBE_BYTES: u32 = 8 * 1024;

/// Removes the jobs that ended first, with all that refers to them, and keys and uploads that have expired.
pub(super) fn clear(
    connection: &Connection,
    ended_by: Option<Timestamp>,
    now: Timestamp,
    limit: u32,
) -> Result<Cleared, StoreError> {
    let mut cleared = Cleared::default();
    if let Some(ended_by) = ended_by {
        let mut old = connection.prepare_cached(
            "SELECT row FROM job INDEXED BY job_by_end WHERE ended_at IS NOT NULL AND ended_at <= ?1
               AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.job = job.row AND delivery.state = 'pending')
             ORDER BY ended_at LIMIT ?2",
        )?;
        let old = rows::all(old.query(params![ended_by.millis(), limit])?, |row| Ok(row.get::<_, RowNumber>(0)?))?;
        let mut blobs = connection
            .prepare_cached("SELECT sha256 FROM output WHERE job = ?1 UNION SELECT sha256 FROM input WHERE job = ?1")?;
        // The other tables follow by their references.
        let mut remove = connection.prepare_cached("DELETE FROM job WHERE row = ?1")?;
        // One that came with a request is its job's alone. The others are few, and cleared at the start.
        let mut forget = connection.prepare_cached(
            "DELETE FROM revision WHERE name = ?2
               AND hash = (SELECT request ->> '$.revision' FROM job_request WHERE job = ?1)",
        )?;
        for row in old {
            forget.execute(params![row, Request::GRAPH])?;
            cleared.blobs.extend(rows::all(blobs.query([row])?, |row| Ok(BlobId(row.get(0)?)))?);
            remove.execute([row])?;
            cleared.jobs += 1;
        }
    }
    let uploads = uploads::clear(connection, now, limit)?;
    cleared.uploads = u32::try_from(uploads.len()).unwrap_or(u32::MAX);
    cleared.blobs.extend(uploads);
    cleared.keys = u32::try_from(jobs::forget_keys(connection, now, limit)?).unwrap_or(u32::MAX);
    Ok(cleared)
}

/// Returns the blobs that no output, no input and no upload names. What a body names, its job's outputs name too.
pub(super) fn unnamed(connection: &Connection, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError> {
    let mut names = connection.prepare_cached(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM output WHERE sha256 = ?1)
            OR EXISTS (SELECT 1 FROM input WHERE sha256 = ?1) OR EXISTS (SELECT 1 FROM upload WHERE sha256 = ?1)",
    )?;
    let mut unnamed = Vec::new();
    for blob in blobs {
        if names.query_row([blob.as_str()], |_| Ok(())).optional()?.is_none() {
            unnamed.push(blob);
        }
    }
    Ok(unnamed)
}

/// Removes the revisions that no job refers to.
pub(super) fn clear_revisions(connection: &Connection) -> Result<u64, StoreError> {
    let removed = connection.execute(
        "DELETE FROM revision WHERE hash NOT IN
            (SELECT request ->> '$.revision' FROM job_request WHERE request ->> '$.revision' IS NOT NULL)
         AND hash NOT IN
            (SELECT variant.value ->> '$.revision' FROM job_request, json_each(request, '$.variants') AS variant)",
        (),
    )?;
    Ok(removed as u64)
}

/// Writes something and takes it back, so that the commit has pages to write.
pub(super) fn probe(connection: &Connection) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO revision (hash, name, config, template) VALUES ('', '', hex(zeroblob(?1)), '')",
        )?
        .execute([PROBE_BYTES / 2])?;
    connection.prepare_cached("DELETE FROM revision WHERE hash = ''")?.execute(())?;
    Ok(())
}
