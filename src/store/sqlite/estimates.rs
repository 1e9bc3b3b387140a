//! How runs went as rows: the profile of a job's last run, and the estimates that are made of all.

use super::{SqliteStore, rows};
use crate::job::{Estimate, JobId, Profile, StructureHash};
use crate::store::{EstimateStore, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

#[async_trait]
impl EstimateStore for SqliteStore {
    async fn estimates(&self) -> Result<Vec<Estimate>, StoreError> {
        self.readers.read(estimates).await
    }

    async fn keep_estimates(
        &self,
        learnt: Vec<Estimate>,
        forgotten: Vec<(StructureHash, String)>,
    ) -> Result<(), StoreError> {
        self.writer.note(move |connection| keep(connection, &learnt, &forgotten)).await
    }
}

/// Returns the profile of a job's last run.
pub(super) fn profile(connection: &Connection, id: JobId) -> Result<Option<Profile>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT profile FROM profile JOIN job ON job.row = profile.job WHERE job.id = ?1")?;
    let text: Option<String> = statement.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    let read = |text: String| serde_json::from_str(&text);
    text.map(read).transpose().map_err(|error| rows::damaged(id, &format!("its profile: {error}")))
}

fn estimates(connection: &Connection) -> Result<Vec<Estimate>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT structure, backend, cold_ms, warm_ms, runs, at FROM estimate")?;
    rows::all(statement.query(())?, |row| {
        Ok(Estimate {
            structure: StructureHash(row.get(0)?),
            backend: row.get(1)?,
            cold_ms: row.get(2)?,
            warm_ms: row.get(3)?,
            runs: rows::count(row, 4)?,
            at: rows::time(row, 5)?,
        })
    })
}

fn keep(connection: &Connection, learnt: &[Estimate], forgotten: &[(StructureHash, String)]) -> Result<(), StoreError> {
    let mut put = connection.prepare_cached(
        "INSERT OR REPLACE INTO estimate (structure, backend, cold_ms, warm_ms, runs, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for estimate in learnt {
        put.execute(params![
            estimate.structure.as_str(),
            estimate.backend,
            estimate.cold_ms,
            estimate.warm_ms,
            rows::whole(estimate.runs),
            estimate.at.millis(),
        ])?;
    }
    let mut remove = connection.prepare_cached("DELETE FROM estimate WHERE structure = ?1 AND backend = ?2")?;
    for (structure, backend) in forgotten {
        remove.execute(params![structure.as_str(), backend])?;
    }
    Ok(())
}
