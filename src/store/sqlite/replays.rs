//! Lists of deliveries, and what happens to their rows when they are begun anew.

use super::counts::row_of_cursor;
use super::rows;
use crate::clock::Timestamp;
use crate::job::{JobId, Tenant};
use crate::store::{DeliveryFilter, DeliveryState, ListedDelivery, ReplayFilter, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use url::Url;

/// How many deliveries are begun anew in one transaction.
pub(super) const BATCH: usize = 256;

/// Lists deliveries, those of the newest jobs first.
pub(super) fn list(connection: &Connection, filter: &DeliveryFilter) -> Result<Vec<ListedDelivery>, StoreError> {
    let (index, condition) = scope(filter.state);
    let sql = format!(
        "SELECT job.id, delivery.url, delivery.state, delivery.attempts, delivery.replays, delivery.created_at,
            delivery.replayed_at, delivery.due_at, delivery.ended_at, attempt.status, attempt.code, job.created_at,
            job.tenant
         FROM delivery {index} JOIN job ON job.row = delivery.job
         LEFT JOIN attempt ON attempt.job = delivery.job AND attempt.number = delivery.attempts
         WHERE {condition} AND (?3 IS NULL OR job.tenant = ?3) AND (?1 IS NULL OR delivery.job < ?1)
         ORDER BY delivery.job DESC LIMIT ?2"
    );
    let before = filter.before.map(|before| row_of_cursor(connection, before, filter.tenant.as_ref())).transpose()?;
    let tenant = filter.tenant.as_ref().map(Tenant::stored);
    rows::all(connection.prepare_cached(&sql)?.query(params![before, filter.limit, tenant])?, |row| {
        let job = rows::job_id(row, 0)?;
        Ok(ListedDelivery {
            job,
            tenant: rows::tenant(row, 12)?,
            url: row.get(1)?,
            state: rows::delivery_state(job, row, 2)?,
            attempts: row.get(3)?,
            replays: row.get(4)?,
            created_at: rows::time(row, 5)?,
            replayed_at: rows::time_or_none(row, 6)?,
            due_at: rows::time(row, 7)?,
            ended_at: rows::time_or_none(row, 8)?,
            status: row.get(9)?,
            code: row.get(10)?,
            accepted_at: rows::time(row, 11)?,
        })
    })
}

/// Begins a job's delivery anew. Returns the state that it had; none where there is none.
pub(super) fn replay(connection: &Connection, id: JobId, at: Timestamp) -> Result<Option<DeliveryState>, StoreError> {
    let found: Option<(rows::RowNumber, String)> = connection
        .prepare_cached(
            "SELECT delivery.job, delivery.state FROM job JOIN delivery ON delivery.job = job.row WHERE job.id = ?1",
        )?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((row, word)) = found else { return Ok(None) };
    let state = DeliveryState::parse(&word).ok_or_else(|| rows::damaged(id, &format!("its delivery is `{word}`")))?;
    replay_some(connection, &[row], state, at)?;
    Ok(Some(state))
}

/// Finds the deliveries that are to be begun anew, those of the oldest jobs first.
pub(super) fn matching(connection: &Connection, filter: &ReplayFilter) -> Result<Vec<rows::RowNumber>, StoreError> {
    let (index, condition) = scope(Some(filter.state));
    let sql = format!(
        "SELECT delivery.job, delivery.url FROM delivery {index}
         WHERE {condition} AND (?1 IS NULL OR delivery.created_at >= ?1)
            AND (?2 IS NULL OR (SELECT tenant FROM job WHERE row = delivery.job) = ?2) ORDER BY delivery.job"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found =
        statement.query(params![filter.since.map(Timestamp::millis), filter.tenant.as_ref().map(Tenant::stored)])?;
    let mut matching = Vec::new();
    while let Some(row) = found.next()? {
        let url: String = row.get(1)?;
        if filter.host.as_deref().is_none_or(|host| leads_to(&url, host)) {
            matching.push(row.get(0)?);
        }
    }
    Ok(matching)
}

/// Begins those deliveries anew that are in `state` still, and returns how many they were. A pending one is only due at
/// once: who has leased it keeps it, so that it is not sent twice at the same time.
pub(super) fn replay_some(
    connection: &Connection,
    rows: &[rows::RowNumber],
    state: DeliveryState,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let sql = match state {
        DeliveryState::Pending => "UPDATE delivery SET due_at = min(due_at, ?3) WHERE job = ?1 AND state = ?2",
        DeliveryState::Delivered | DeliveryState::Gone | DeliveryState::Undeliverable => {
            "UPDATE delivery SET state = 'pending', due_at = ?3, lease_until = 0, attempts_before = attempts,
                replays = replays + 1, replayed_at = ?3, ended_at = NULL
             WHERE job = ?1 AND state = ?2"
        }
    };
    let mut update = connection.prepare_cached(sql)?;
    let mut replayed = 0;
    for row in rows {
        replayed += u64::from(update.execute(params![row, state.as_str(), at.millis()])? > 0);
    }
    Ok(replayed)
}

/// Returns the index and the condition for a state. As text, not as parameters: only so does SQLite see that an index
/// over some states will do.
fn scope(state: Option<DeliveryState>) -> (&'static str, &'static str) {
    match state {
        None => ("", "1"),
        Some(DeliveryState::Pending) => ("INDEXED BY delivery_due", "delivery.state = 'pending'"),
        // Nearly all have arrived, so the table itself will do.
        Some(DeliveryState::Delivered) => ("NOT INDEXED", "delivery.state = 'delivered'"),
        Some(DeliveryState::Gone) => {
            ("INDEXED BY delivery_failed", "delivery.state IN ('gone', 'undeliverable') AND delivery.state = 'gone'")
        }
        Some(DeliveryState::Undeliverable) => (
            "INDEXED BY delivery_failed",
            "delivery.state IN ('gone', 'undeliverable') AND delivery.state = 'undeliverable'",
        ),
    }
}

/// Says whether a URL leads to a host, or to a `host:port`.
fn leads_to(url: &str, host: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let (Some(name), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
    name.eq_ignore_ascii_case(host) || format!("{name}:{port}").eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_its_port_or_without() {
        for host in ["app.example", "APP.example", "app.example:443"] {
            assert!(leads_to("https://app.example/hook?host=other.example", host), "{host}");
        }
        for host in ["app.example:80", "other.example", "example", "app.example/hook", ""] {
            assert!(!leads_to("https://app.example/hook?host=other.example", host), "{host}");
        }
        assert!(leads_to("http://[::1]:9000/", "[::1]:9000"));
        assert!(leads_to("http://[::1]:9000/", "[::1]"));
        assert!(!leads_to("no url", "no"));
    }
}
