//! The rows of backends and of the queue's switch: each function is one write or one read of the store.

use super::{SqliteStore, rows};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::store::{KeptBackend, Leaving, PoolStore, QueueCounts, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The switch that pauses the queue.
const PAUSED: &str = "queue_paused";

#[async_trait]
impl PoolStore for SqliteStore {
    async fn kept_backends(&self) -> Result<Vec<KeptBackend>, StoreError> {
        self.readers.read(all).await
    }

    async fn keep_backend(&self, name: &str, definition: Secret, at: Timestamp) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| keep(connection, &name, &definition, at)).await
    }

    async fn set_draining(&self, name: &str, is_draining: bool, at: Timestamp) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| set_draining(connection, &name, is_draining, at)).await
    }

    async fn set_leaving(&self, name: &str, leaving: Leaving) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| set_leaving(connection, &name, leaving)).await
    }

    async fn set_trouble(&self, name: &str, trouble: Option<String>) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| set_trouble(connection, &name, trouble.as_deref())).await
    }

    async fn leave_to_settings(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| leave_to_settings(connection, &name)).await
    }

    async fn forget_backend(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| forget(connection, &name)).await
    }

    async fn runs_on(&self, backend: &str) -> Result<u64, StoreError> {
        let backend = backend.to_owned();
        self.readers.read(move |connection| runs_on(connection, &backend)).await
    }

    async fn is_paused(&self) -> Result<bool, StoreError> {
        self.readers.read(is_paused).await
    }

    async fn set_paused(&self, is_paused: bool) -> Result<(), StoreError> {
        self.writer.write(move |connection| set_paused(connection, is_paused)).await
    }

    async fn queue_counts(&self, workflow: Option<&str>) -> Result<QueueCounts, StoreError> {
        let workflow = workflow.map(str::to_owned);
        self.readers.read(move |connection| queue_counts(connection, workflow.as_deref())).await
    }
}

fn all(connection: &Connection) -> Result<Vec<KeptBackend>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, definition, is_draining, leaving, trouble FROM backend ORDER BY created_at, name",
    )?;
    rows::all(statement.query(())?, kept)
}

fn kept(row: &Row<'_>) -> Result<KeptBackend, StoreError> {
    let leaving: String = row.get(3)?;
    let definition: Option<String> = row.get(1)?;
    Ok(KeptBackend {
        name: row.get(0)?,
        definition: definition.map(Secret::new),
        is_draining: row.get(2)?,
        leaving: Leaving::parse(&leaving),
        trouble: Some(row.get(4)?).filter(|trouble: &String| !trouble.is_empty()),
    })
}

fn keep(connection: &Connection, name: &str, definition: &Secret, at: Timestamp) -> Result<bool, StoreError> {
    // What was said of one that the settings had under this name is not said of this one.
    let changed = connection
        .prepare_cached(
            "INSERT INTO backend (name, definition, created_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET definition = ?2, is_draining = 0, leaving = '', trouble = '', created_at = ?3
             WHERE definition IS NULL",
        )?
        .execute(params![name, definition.expose(), at.millis()])?;
    Ok(changed > 0)
}

fn set_draining(connection: &Connection, name: &str, is_draining: bool, at: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO backend (name, is_draining, created_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET is_draining = ?2, leaving = iif(?2, leaving, '')",
        )?
        .execute(params![name, is_draining, at.millis()])?;
    Ok(())
}

fn set_leaving(connection: &Connection, name: &str, leaving: Leaving) -> Result<bool, StoreError> {
    let changed = connection
        .prepare_cached("UPDATE backend SET is_draining = 1, leaving = ?2 WHERE name = ?1 AND definition IS NOT NULL")?
        .execute(params![name, leaving.as_str()])?;
    Ok(changed > 0)
}

fn set_trouble(connection: &Connection, name: &str, trouble: Option<&str>) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE backend SET trouble = ?2 WHERE name = ?1 AND definition IS NOT NULL")?
        .execute(params![name, trouble.unwrap_or_default()])?;
    Ok(())
}

fn leave_to_settings(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE backend SET definition = NULL, is_draining = iif(leaving = '', is_draining, 0), leaving = '',
                 trouble = ''
             WHERE name = ?1",
        )?
        .execute([name])?;
    Ok(())
}

fn forget(connection: &Connection, name: &str) -> Result<(), StoreError> {
    for table in ["unfit", "incapable", "estimate"] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE backend = ?1"))?.execute([name])?;
    }
    connection.prepare_cached("DELETE FROM backend WHERE name = ?1")?.execute([name])?;
    Ok(())
}

fn runs_on(connection: &Connection, backend: &str) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM job INDEXED BY job_on_backend WHERE backend = ?1 AND state IN ('submitted', 'running')",
    )?;
    Ok(statement.query_row([backend], |row| rows::count(row, 0))?)
}

fn is_paused(connection: &Connection) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM switch WHERE name = ?1")?;
    let value: Option<String> = statement.query_row([PAUSED], |row| row.get(0)).optional()?;
    Ok(value.is_some())
}

fn set_paused(connection: &Connection, is_paused: bool) -> Result<(), StoreError> {
    if is_paused {
        connection
            .prepare_cached("INSERT OR REPLACE INTO switch (name, value) VALUES (?1, 'true')")?
            .execute([PAUSED])?;
    } else {
        connection.prepare_cached("DELETE FROM switch WHERE name = ?1")?.execute([PAUSED])?;
    }
    Ok(())
}

fn queue_counts(connection: &Connection, workflow: Option<&str>) -> Result<QueueCounts, StoreError> {
    let mut waiting = connection.prepare_cached(
        "SELECT priority, count(*) FROM job WHERE state = 'queued' AND (?1 IS NULL OR workflow = ?1)
         GROUP BY priority ORDER BY priority DESC",
    )?;
    let waiting = rows::all(waiting.query([workflow])?, |row| Ok((row.get(0)?, rows::count(row, 1)?)))?;
    let mut there = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE state = 'submitted'), count(*) FILTER (WHERE state = 'running')
         FROM job INDEXED BY job_on_backend WHERE state IN ('submitted', 'running') AND (?1 IS NULL OR workflow = ?1)",
    )?;
    let (submitted, running) = there.query_row([workflow], |row| Ok((rows::count(row, 0)?, rows::count(row, 1)?)))?;
    Ok(QueueCounts { waiting, submitted, running })
}
