//! The rows of the secrets that sign webhooks: each function is one write or one read of the store.

use super::{SqliteStore, rows};
use crate::clock::Timestamp;
use crate::job::Tenant;
use crate::secret::Secret;
use crate::store::{Rotation, SecretKind, SigningSecret, SigningStore, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

const COLUMNS: &str = "id, tenant, host, kind, secret, created_at, expires_at FROM signing_secret";

/// The current one first, then the old ones, the newest first.
const ORDER: &str = "ORDER BY tenant, host, kind DESC, expires_at IS NOT NULL, created_at DESC, id";

#[async_trait]
impl SigningStore for SqliteStore {
    async fn signing_secrets(&self, tenant: Option<Tenant>) -> Result<Vec<SigningSecret>, StoreError> {
        self.readers.read(move |connection| list(connection, tenant.as_ref())).await
    }

    async fn add_signing_secret(&self, new: SigningSecret) -> Result<bool, StoreError> {
        self.writer.write(move |connection| add(connection, &new)).await
    }

    async fn rotate_signing_secret(
        &self,
        new: SigningSecret,
        old_until: Timestamp,
        most_old: u32,
        now: Timestamp,
    ) -> Result<Rotation, StoreError> {
        self.writer.write(move |connection| rotate(connection, &new, old_until, most_old, now)).await
    }

    async fn remove_signing_secrets(&self, tenant: Tenant, host: &str) -> Result<u64, StoreError> {
        let host = host.to_owned();
        self.writer.write(move |connection| remove(connection, &tenant, &host)).await
    }

    async fn clear_signing_secrets(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.write(move |connection| clear(connection, now)).await
    }
}

fn list(connection: &Connection, tenant: Option<&Tenant>) -> Result<Vec<SigningSecret>, StoreError> {
    match tenant {
        Some(tenant) => {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} WHERE tenant = ?1 {ORDER}"))?;
            rows::all(statement.query([tenant.stored()])?, read)
        }
        None => rows::all(connection.prepare_cached(&format!("SELECT {COLUMNS} {ORDER}"))?.query(())?, read),
    }
}

fn add(connection: &Connection, new: &SigningSecret) -> Result<bool, StoreError> {
    if current(connection, new)?.is_some() {
        return Ok(false);
    }
    insert(connection, new, new.created_at)?;
    Ok(true)
}

fn rotate(
    connection: &Connection,
    new: &SigningSecret,
    old_until: Timestamp,
    most_old: u32,
    now: Timestamp,
) -> Result<Rotation, StoreError> {
    let current = current(connection, new)?;
    match &current {
        Some(current) if current.secret == new.secret => return Ok(Rotation::SameSecret),
        None if !new.host.is_empty() => return Ok(Rotation::NothingThere),
        Some(_) | None => {}
    }
    // An old one may come back; it would sign twice.
    connection
        .prepare_cached("DELETE FROM signing_secret WHERE tenant = ?1 AND host = ?2 AND kind = ?3 AND secret = ?4")?
        .execute(params![new.tenant.stored(), new.host, new.kind.as_str(), new.secret.expose().as_bytes()])?;
    connection
        .prepare_cached(
            "UPDATE signing_secret SET expires_at = ?4
             WHERE tenant = ?1 AND host = ?2 AND kind = ?3 AND expires_at IS NULL",
        )?
        .execute(params![new.tenant.stored(), new.host, new.kind.as_str(), old_until.millis()])?;
    // The order of creation is the order of signatures, whatever becomes of the wall clock.
    let after_all = current.map_or(now.millis(), |current| current.created_at.millis().saturating_add(1));
    insert(connection, new, Timestamp::from_millis(new.created_at.millis().max(after_all)))?;
    clear(connection, now)?;
    connection
        .prepare_cached(
            "DELETE FROM signing_secret WHERE id IN (
                 SELECT id FROM signing_secret
                 WHERE tenant = ?1 AND host = ?2 AND kind = ?3 AND expires_at IS NOT NULL
                 ORDER BY created_at DESC LIMIT -1 OFFSET ?4)",
        )?
        .execute(params![new.tenant.stored(), new.host, new.kind.as_str(), most_old])?;
    Ok(Rotation::Done)
}

fn remove(connection: &Connection, tenant: &Tenant, host: &str) -> Result<u64, StoreError> {
    let removed = connection
        .prepare_cached("DELETE FROM signing_secret WHERE tenant = ?1 AND host = ?2")?
        .execute([tenant.stored(), host])?;
    Ok(removed as u64)
}

fn clear(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let removed =
        connection.prepare_cached("DELETE FROM signing_secret WHERE expires_at <= ?1")?.execute([now.millis()])?;
    Ok(removed as u64)
}

/// Returns the current secret of the tenant, host and kind of `like`.
fn current(connection: &Connection, like: &SigningSecret) -> Result<Option<SigningSecret>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} WHERE tenant = ?1 AND host = ?2 AND kind = ?3 AND expires_at IS NULL"
    ))?;
    let key = params![like.tenant.stored(), like.host, like.kind.as_str()];
    statement.query_row(key, |row| Ok(read(row))).optional()?.transpose()
}

fn insert(connection: &Connection, new: &SigningSecret, created_at: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO signing_secret (id, tenant, host, kind, secret, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            new.id,
            new.tenant.stored(),
            new.host,
            new.kind.as_str(),
            new.secret.expose().as_bytes(),
            created_at.millis(),
        ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<SigningSecret, StoreError> {
    let id: String = row.get(0)?;
    let damaged = |what: &str| StoreError::Damaged(format!("signing secret `{id}`: {what}"));
    let kind: String = row.get(3)?;
    let secret = String::from_utf8(row.get(4)?).map_err(|_| damaged("it is no text"))?;
    Ok(SigningSecret {
        tenant: rows::tenant(row, 1)?,
        host: row.get(2)?,
        kind: SecretKind::parse(&kind).ok_or_else(|| damaged("its kind is unknown"))?,
        secret: Secret::new(secret),
        created_at: rows::time(row, 5)?,
        expires_at: rows::time_or_none(row, 6)?,
        id,
    })
}
