//! The gateway's own secrets as rows.

use super::SqliteStore;
use crate::clock::Timestamp;
use crate::store::{OwnSecrets, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, params};

#[async_trait]
impl OwnSecrets for SqliteStore {
    async fn own_secret(&self, name: &str, fresh: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| keep(connection, &name, &fresh, now)).await
    }
}

fn keep(connection: &Connection, name: &str, fresh: &[u8], now: Timestamp) -> Result<Vec<u8>, StoreError> {
    connection.execute(
        "INSERT OR IGNORE INTO own_secret (name, secret, created_at) VALUES (?1, ?2, ?3)",
        params![name, fresh, now.millis()],
    )?;
    Ok(connection.query_row("SELECT secret FROM own_secret WHERE name = ?1", [name], |row| row.get(0))?)
}
