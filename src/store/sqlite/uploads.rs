//! The rows of uploads: each function is one write or one read of the store.

use super::{SqliteStore, rows};
use crate::clock::Timestamp;
use crate::job::{BlobId, Tenant, UploadId};
use crate::store::{NewUpload, Space, StoreError, Upload, UploadStore};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

const COLUMNS: &str = "id, tenant, sha256, bytes, content_type, width, height, created_at, expires_at FROM upload";

/// Finds one that has not expired: `?1` is the id, `?2` the tenant or NULL for any, `?3` the time.
const LIVING: &str = "WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2) AND expires_at > ?3";

#[async_trait]
impl UploadStore for SqliteStore {
    async fn keep_upload(&self, new: NewUpload) -> Result<Upload, StoreError> {
        self.writer.write(move |connection| keep(connection, &new)).await
    }

    async fn upload_space(&self, tenant: Tenant, now: Timestamp) -> Result<Space, StoreError> {
        self.readers.read(move |connection| space(connection, &tenant, now)).await
    }

    async fn upload(&self, tenant: Option<Tenant>, id: UploadId, now: Timestamp) -> Result<Option<Upload>, StoreError> {
        self.readers.read(move |connection| find(connection, tenant.as_ref(), &id, now)).await
    }

    async fn use_upload(
        &self,
        tenant: Tenant,
        id: UploadId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Upload>, StoreError> {
        self.writer
            .write(move |connection| {
                let sql = format!("UPDATE upload SET expires_at = max(expires_at, ?4) {LIVING}");
                let values = params![id.as_str(), tenant.stored(), now.millis(), until.millis()];
                connection.prepare_cached(&sql)?.execute(values)?;
                find(connection, Some(&tenant), &id, now)
            })
            .await
    }

    async fn drop_upload(&self, tenant: Option<Tenant>, id: UploadId, now: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .write(move |connection| {
                let sql = format!("UPDATE upload SET expires_at = ?3 {LIVING}");
                let tenant = tenant.as_ref().map(Tenant::stored);
                Ok(connection.prepare_cached(&sql)?.execute(params![id.as_str(), tenant, now.millis()])? > 0)
            })
            .await
    }
}

/// Stores an upload, or lets the one that its tenant has of the same bytes live on.
fn keep(connection: &Connection, NewUpload { upload, most }: &NewUpload) -> Result<Upload, StoreError> {
    let tenant = upload.tenant.stored();
    let earlier: Option<(String, i64)> = connection
        .prepare_cached("SELECT id, expires_at FROM upload WHERE tenant = ?1 AND sha256 = ?2")?
        .query_row(params![tenant, upload.sha256.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let now = upload.created_at.millis();
    if let Some((id, expires_at)) = earlier {
        if expires_at > now {
            connection
                .prepare_cached("UPDATE upload SET expires_at = max(expires_at, ?2) WHERE id = ?1")?
                .execute(params![id, upload.expires_at.millis()])?;
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} WHERE id = ?1"))?;
            return rows::all(statement.query([id])?, read)?.pop().ok_or_else(|| StoreError::Damaged("upload".into()));
        }
        // It has expired and waits to be cleared: who knew its id shall not come back to it.
        connection.prepare_cached("DELETE FROM upload WHERE id = ?1")?.execute([id])?;
    }
    let Space { used, .. } = space(connection, &upload.tenant, upload.created_at)?;
    if used.saturating_add(upload.bytes) > *most {
        return Err(StoreError::UploadsFull { used, most: *most });
    }
    connection
        .prepare_cached(
            "INSERT INTO upload (id, tenant, sha256, bytes, content_type, width, height, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            upload.id.as_str(),
            tenant,
            upload.sha256.as_str(),
            rows::whole(upload.bytes),
            upload.content_type,
            upload.width,
            upload.height,
            now,
            upload.expires_at.millis(),
        ])?;
    Ok(upload.clone())
}

fn space(connection: &Connection, tenant: &Tenant, now: Timestamp) -> Result<Space, StoreError> {
    let sql =
        "SELECT coalesce(sum(bytes), 0), coalesce(max(bytes), 0) FROM upload WHERE tenant = ?1 AND expires_at > ?2";
    let read = |row: &Row<'_>| Ok(Space { used: rows::count(row, 0)?, largest: rows::count(row, 1)? });
    Ok(connection.prepare_cached(sql)?.query_row(params![tenant.stored(), now.millis()], read)?)
}

fn find(
    connection: &Connection,
    tenant: Option<&Tenant>,
    id: &UploadId,
    now: Timestamp,
) -> Result<Option<Upload>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} {LIVING}"))?;
    let mut found = statement.query(params![id.as_str(), tenant.map(Tenant::stored), now.millis()])?;
    found.next()?.map(read).transpose()
}

fn read(row: &Row<'_>) -> Result<Upload, StoreError> {
    let id: String = row.get(0)?;
    let damaged = || StoreError::Damaged(format!("upload `{id}`: its id is none"));
    Ok(Upload {
        id: id.parse().map_err(|_| damaged())?,
        tenant: Tenant::from_stored(row.get(1)?),
        sha256: BlobId(row.get(2)?),
        bytes: rows::count(row, 3)?,
        content_type: row.get(4)?,
        width: row.get(5)?,
        height: row.get(6)?,
        created_at: rows::time(row, 7)?,
        expires_at: rows::time(row, 8)?,
    })
}

/// Removes uploads that have expired by `now`, at most `limit`. Returns their blobs.
pub(super) fn clear(connection: &Connection, now: Timestamp, limit: u32) -> Result<Vec<BlobId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM upload WHERE id IN (SELECT id FROM upload WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
         RETURNING sha256",
    )?;
    rows::all(statement.query(params![now.millis(), limit])?, |row| Ok(BlobId(row.get(0)?)))
}
