//! What backends said of graphs as rows, and the kinds of waiting jobs.

use super::claims::refusals;
use super::rows::{self, JOB, Stored};
use super::{SqliteStore, json};
use crate::clock::Timestamp;
use crate::job::{Job, StructureHash};
use crate::store::{FitnessStore, Incapable, Kind, KindMark, Kinds, Refused, StoreError, Way};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tracing::error;

/// How many sayings are kept.
const KEPT: u32 = 10_000;

#[async_trait]
impl FitnessStore for SqliteStore {
    async fn incapable(&self) -> Result<Vec<Incapable>, StoreError> {
        self.readers.read(incapable).await
    }

    async fn keep_incapable(&self, said: Incapable) -> Result<(), StoreError> {
        self.writer.write(move |connection| keep(connection, &said)).await
    }

    async fn forget_incapable(&self, of: Vec<(StructureHash, String)>) -> Result<(), StoreError> {
        self.writer.write(move |connection| forget(connection, &of)).await
    }

    async fn waiting_kinds(&self, after: Option<KindMark>, limit: u32) -> Result<Kinds, StoreError> {
        self.readers.read(move |connection| waiting_kinds(connection, after.as_ref(), limit)).await
    }

    async fn without_hope(
        &self,
        kind: Kind,
        able: Vec<Way>,
        by: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Job, Vec<Refused>)>, StoreError> {
        let (structures, placement) = columns(&kind)?;
        let (count, able) = (rows::whole(able.len()), json(&able)?);
        let work = move |connection: &Connection| {
            let of = Sought { structures: &structures, placement: &placement, able: &able, count };
            without_hope(connection, &of, by, limit)
        };
        self.readers.read(work).await
    }
}

struct Sought<'a> {
    structures: &'a str,
    placement: &'a str,
    able: &'a str,
    count: i64,
}

fn incapable(connection: &Connection) -> Result<Vec<Incapable>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT structure, backend, reason, share, at FROM incapable ORDER BY at")?;
    rows::all(statement.query(())?, |row| {
        Ok(Incapable {
            graph: StructureHash(row.get(0)?),
            backend: row.get(1)?,
            reason: row.get(2)?,
            share: row.get(3)?,
            at: Timestamp::from_millis(row.get(4)?),
        })
    })
}

fn keep(connection: &Connection, said: &Incapable) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO incapable (structure, backend, reason, share, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![said.graph.as_str(), said.backend, said.reason, said.share, said.at.millis()])?;
    connection
        .prepare_cached(
            "DELETE FROM incapable WHERE (structure, backend) IN
                (SELECT structure, backend FROM incapable ORDER BY at DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([KEPT])?;
    Ok(())
}

fn forget(connection: &Connection, of: &[(StructureHash, String)]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("DELETE FROM incapable WHERE structure = ?1 AND backend = ?2")?;
    for (graph, backend) in of {
        statement.execute(params![graph.as_str(), backend])?;
    }
    Ok(())
}

fn waiting_kinds(connection: &Connection, after: Option<&KindMark>, limit: u32) -> Result<Kinds, StoreError> {
    let behind = if after.is_some() { "AND (structures, placement) > (?2, ?3)" } else { "" };
    let sql = format!(
        "SELECT kind.structures, kind.placement, example.id, example.created_at FROM
            (SELECT structures, placement, min(row) AS first FROM job INDEXED BY job_kind
             WHERE state = 'queued' {behind}
             GROUP BY structures, placement ORDER BY structures, placement LIMIT ?1) AS kind
         JOIN job AS example ON example.row = kind.first ORDER BY kind.structures, kind.placement"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = match after {
        None => statement.query([limit])?,
        Some(KindMark { structures, placement }) => statement.query(params![limit, structures, placement])?,
    };
    let (mut kinds, mut count, mut last) = (Vec::new(), 0, None);
    while let Some(row) = found.next()? {
        count += 1;
        last = Some(KindMark { structures: row.get(0)?, placement: row.get(1)? });
        match kind(row) {
            Ok(kind) => kinds.push(kind),
            Err(error) => error!(%error, "a kind of waiting jobs cannot be read"),
        }
    }
    Ok(Kinds { kinds, next: last.filter(|_| count == limit) })
}

fn kind(row: &Row<'_>) -> Result<Kind, StoreError> {
    let example = rows::job_id(row, 2)?;
    let (structures, placement): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(Kind {
        graphs: rows::structures(&structures),
        placement: rows::placement(example, &placement)?,
        example,
        since: Timestamp::from_millis(row.get(3)?),
    })
}

/// Returns a kind as its jobs' rows have it.
fn columns(kind: &Kind) -> Result<(String, String), StoreError> {
    let structures: Vec<&str> = kind.graphs.iter().map(StructureHash::as_str).collect();
    let placement = if kind.placement.is_any() { String::new() } else { json(&kind.placement)? };
    Ok((structures.join(" "), placement))
}

fn without_hope(
    connection: &Connection,
    of: &Sought<'_>,
    by: Timestamp,
    limit: u32,
) -> Result<Vec<(Job, Vec<Refused>)>, StoreError> {
    let sql = format!(
        "SELECT {JOB} FROM
            (SELECT row AS hopeless FROM job INDEXED BY job_kind
             WHERE state = 'queued' AND structures = ?1 AND placement = ?2
               AND cancel_requested = 0 AND created_at <= ?5
               AND (SELECT count(*) FROM unfit WHERE unfit.job = job.row AND (unfit.backend, unfit.variant) IN
                    (SELECT value ->> 'backend', value ->> 'variant' FROM json_each(?3))) = ?4
             LIMIT ?6)
         JOIN job ON job.row = hopeless JOIN job_request ON job_request.job = job.row"
    );
    let sought = params![of.structures, of.placement, of.able, of.count, by.millis(), limit];
    let read =
        |row: &Row<'_>| Ok(rows::job(row).inspect_err(|error| error!(%error, "a waiting job cannot be read")).ok());
    let hopeless = rows::all(connection.prepare_cached(&sql)?.query(sought)?, read)?;
    let with_reasons = |stored: Stored| Ok((stored.job, refusals(connection, stored.row)?));
    hopeless.into_iter().flatten().map(with_reasons).collect()
}
