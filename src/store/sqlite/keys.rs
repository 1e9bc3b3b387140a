//! The rows of API keys: each function is one write or one read of the store.

use super::{SqliteStore, json, rows};
use crate::clock::Timestamp;
use crate::job::{KeyId, Tenant};
use crate::secret::SecretHash;
use crate::store::{ApiKey, KeyStore, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

const COLUMNS: &str =
    "id, tenant, name, sha256, scopes, limits, created_at, expires_at, revoked_at, last_used_at FROM api_key";

#[async_trait]
impl KeyStore for SqliteStore {
    async fn add_key(&self, key: ApiKey) -> Result<(), StoreError> {
        let limits = json(&key.limits)?;
        self.writer.write(move |connection| add(connection, &key, &limits)).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        let id = id.clone();
        self.readers.read(move |connection| find(connection, &id)).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.readers.read(all).await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, StoreError> {
        let id = id.clone();
        self.writer.write(move |connection| revoke(connection, &id, at)).await
    }

    async fn note_used(&self, used: Vec<(KeyId, Timestamp)>) -> Result<(), StoreError> {
        self.writer.note(move |connection| note_used(connection, &used)).await
    }
}

fn add(connection: &Connection, key: &ApiKey, limits: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO api_key (id, tenant, name, sha256, scopes, limits, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            key.id.as_str(),
            key.tenant.stored(),
            key.name,
            key.hash.bytes(),
            key.scopes.to_string(),
            limits,
            key.created_at.millis(),
            key.expires_at.map(Timestamp::millis),
        ])?;
    Ok(())
}

fn find(connection: &Connection, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} WHERE id = ?1"))?;
    let mut found = statement.query([id.as_str()])?;
    found.next()?.map(read).transpose()
}

fn all(connection: &Connection) -> Result<Vec<ApiKey>, StoreError> {
    rows::all(connection.prepare_cached(&format!("SELECT {COLUMNS} ORDER BY created_at, id"))?.query(())?, read)
}

fn revoke(connection: &Connection, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, StoreError> {
    connection
        .prepare_cached("UPDATE api_key SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?
        .execute(params![id.as_str(), at.millis()])?;
    find(connection, id)
}

fn note_used(connection: &Connection, used: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
    let mut update = connection
        .prepare_cached("UPDATE api_key SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE id = ?1")?;
    for (id, at) in used {
        update.execute(params![id.as_str(), at.millis()])?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> Result<ApiKey, StoreError> {
    let word: String = row.get(0)?;
    let damaged = |what: String| StoreError::Damaged(format!("key `{word}`: {what}"));
    let (scopes, limits): (String, String) = (row.get(4)?, row.get(5)?);
    Ok(ApiKey {
        id: word.parse().map_err(|_| damaged("its id is none".into()))?,
        tenant: Tenant::from_stored(row.get(1)?),
        name: row.get(2)?,
        hash: SecretHash::from_bytes(row.get(3)?),
        scopes: scopes.parse().map_err(|error| damaged(format!("{error}")))?,
        limits: serde_json::from_str(&limits).map_err(|error| damaged(format!("its limits: {error}")))?,
        created_at: rows::time(row, 6)?,
        expires_at: rows::time_or_none(row, 7)?,
        revoked_at: rows::time_or_none(row, 8)?,
        last_used_at: rows::time_or_none(row, 9)?,
    })
}
