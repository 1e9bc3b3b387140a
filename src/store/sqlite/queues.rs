//! The queues of the tenants, looked at for one claim: who has a job that may run on this backend, and which is its next.
//! Whose turn it is, is decided by `job::Turns`.

use super::rows::{self, RowNumber};
use crate::job::{Candidate, Tenant};
use crate::store::{StoreError, Vacancy};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, VecDeque};

/// What a job costs its tenant. All the same, so that tenants get as many runs as each other, whatever they take.
const COST: u32 = 1;

// Two statements, since SQLite steps into the index only where the comparison is plain.
const FIRST_TENANT: &str = "SELECT tenant FROM job INDEXED BY job_queued
     WHERE state = 'queued' AND cancel_requested = 0 AND tenant >= ?1 ORDER BY tenant LIMIT 1";
const TENANT_AFTER: &str = "SELECT tenant FROM job INDEXED BY job_queued
     WHERE state = 'queued' AND cancel_requested = 0 AND tenant > ?1 ORDER BY tenant LIMIT 1";

/// The first `?1` jobs of tenant `?4` that may run on backend `?2`, and whether they have input images: none that cannot, and none
/// that is left to the others, whose names are the JSON list `?3`.
const NEXT_JOBS: &str = "SELECT row, EXISTS (SELECT 1 FROM input WHERE input.job = job.row) AS with_images
     FROM job INDEXED BY job_queued
     WHERE state = 'queued' AND cancel_requested = 0 AND tenant = ?4
       AND NOT EXISTS (SELECT 1 FROM unfit WHERE unfit.job = job.row AND unfit.backend = ?2)
       AND NOT (job.backend IS ?2 AND EXISTS (SELECT 1 FROM json_each(?3) AS other WHERE NOT EXISTS
               (SELECT 1 FROM unfit WHERE unfit.job = job.row AND unfit.backend = other.value)))
     ORDER BY priority DESC, row LIMIT ?1";

/// How many jobs of a tenant are looked at for some without input images, where those with some have to wait.
const LOOKED_AT: i64 = 100;

/// A waiting job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    pub(super) row: RowNumber,
    with_images: bool,
}

/// The waiting jobs, of which only the first ones of each queue are read, and only of those tenants whose turn it may be.
pub(super) struct Queues<'a> {
    connection: &'a Connection,
    vacancy: &'a Vacancy,
    others: &'a str,
    /// The first jobs of each queue that was looked at: as many as there are places, so that none is looked at twice.
    heads: BTreeMap<Tenant, VecDeque<Waiting>>,
    /// How many more jobs may have input images.
    with_images: usize,
    /// How many jobs each tenant has on backends; empty where that is not limited.
    running: BTreeMap<Tenant, usize>,
}

impl<'a> Queues<'a> {
    /// Looks at the queues for jobs that may take one of the free places.
    pub(super) fn open(connection: &'a Connection, vacancy: &'a Vacancy, others: &'a str) -> Result<Self, StoreError> {
        let running = if vacancy.per_tenant.is_some() { running(connection)? } else { BTreeMap::new() };
        let with_images = vacancy.with_images;
        Ok(Self { connection, vacancy, others, heads: BTreeMap::new(), with_images, running })
    }

    /// Returns the tenants that have a job for this backend and may run one more, beginning after `last`, with their next
    /// job. Each is looked for when it is asked for.
    pub(super) fn ring(&mut self, last: Option<Tenant>) -> Ring<'_, 'a> {
        Ring { queues: self, at: last.clone(), end: last, is_around: false }
    }

    /// Takes the job that [`Queues::ring`] gave for a tenant.
    pub(super) fn take(&mut self, tenant: &Tenant, job: Waiting) {
        if let Some(heads) = self.heads.get_mut(tenant) {
            heads.pop_front();
        }
        if job.with_images {
            self.with_images = self.with_images.saturating_sub(1);
            if self.with_images == 0 {
                // Others are their first ones now.
                self.heads.clear();
            }
        }
        if self.vacancy.per_tenant.is_some() {
            *self.running.entry(tenant.clone()).or_default() += 1;
        }
    }

    /// Finds the first tenant after this one that has a job waiting, for whatever backend: one step into the index.
    fn tenant_after(&self, tenant: Option<&Tenant>) -> Result<Option<Tenant>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(if tenant.is_some() { TENANT_AFTER } else { FIRST_TENANT })?;
        let from = tenant.map_or("", Tenant::stored);
        let next = statement.query_row([from], |row| row.get(0)).optional()?;
        Ok(next.map(Tenant::from_stored))
    }

    fn has_its_fill(&self, tenant: &Tenant) -> bool {
        let running = self.running.get(tenant).copied().unwrap_or(0);
        self.vacancy.per_tenant.is_some_and(|most| running >= most.get())
    }

    fn head(&mut self, tenant: &Tenant) -> Result<Option<Waiting>, StoreError> {
        if !self.heads.contains_key(tenant) {
            self.heads.insert(tenant.clone(), self.read(tenant)?);
        }
        Ok(self.heads.get(tenant).and_then(|heads| heads.front().copied()))
    }

    /// Reads the first jobs of a queue that may run here.
    fn read(&self, tenant: &Tenant) -> Result<VecDeque<Waiting>, StoreError> {
        let mut statement = self.connection.prepare_cached(NEXT_JOBS)?;
        let may_have_images = self.with_images > 0;
        let places = rows::whole(self.vacancy.offered.len());
        let most = if may_have_images { places } else { LOOKED_AT.max(places) };
        let next = params![most, self.vacancy.backend, self.others, tenant.stored()];
        let first =
            rows::all(statement.query(next)?, |row| Ok(Waiting { row: row.get(0)?, with_images: row.get(1)? }))?;
        Ok(first.into_iter().filter(|job| may_have_images || !job.with_images).collect())
    }
}

/// One way around the tenants.
pub(super) struct Ring<'q, 'a> {
    queues: &'q mut Queues<'a>,
    at: Option<Tenant>,
    /// Where it ends the second time.
    end: Option<Tenant>,
    is_around: bool,
}

impl Ring<'_, '_> {
    /// Finds the next tenant with a waiting job.
    fn step(&mut self) -> Result<Option<Tenant>, StoreError> {
        let mut next = self.queues.tenant_after(self.at.as_ref())?;
        if next.is_none() && !self.is_around && self.end.is_some() {
            self.is_around = true;
            next = self.queues.tenant_after(None)?;
        }
        let next = next.filter(|next| !self.is_around || Some(next) <= self.end.as_ref());
        self.at.clone_from(&next);
        Ok(next)
    }

    fn candidate(&mut self) -> Result<Option<Candidate<Waiting>>, StoreError> {
        while let Some(tenant) = self.step()? {
            if self.queues.has_its_fill(&tenant) {
                continue;
            }
            if let Some(job) = self.queues.head(&tenant)? {
                return Ok(Some(Candidate { tenant, cost: COST, thing: job }));
            }
        }
        Ok(None)
    }
}

impl Iterator for Ring<'_, '_> {
    type Item = Result<Candidate<Waiting>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.candidate().transpose()
    }
}

/// Counts the jobs of each tenant that are on backends: there are never many of them.
fn running(connection: &Connection) -> Result<BTreeMap<Tenant, usize>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT tenant, count(*) FROM job INDEXED BY job_on_backend
         WHERE state IN ('submitted', 'running') GROUP BY tenant",
    )?;
    let counted = rows::all(statement.query(())?, |row| Ok((rows::tenant(row, 0)?, rows::count(row, 1)?)))?;
    Ok(counted.into_iter().map(|(tenant, count)| (tenant, usize::try_from(count).unwrap_or(usize::MAX))).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{claims, schema};
    use super::*;
    use crate::clock::Timestamp;
    use crate::job::{PromptId, Turns};
    use rusqlite::StatementStatus;
    use std::path::Path;

    #[test]
    fn a_claim_looks_at_as_many_rows_however_many_jobs_wait() {
        let few = steps_of_a_claim(40, 3);
        let many = steps_of_a_claim(100_000, 3);
        assert!(few > 0, "nothing was counted");
        assert!(many <= few + few / 10, "{many} steps with many waiting jobs, {few} with few");
    }

    #[test]
    fn a_claim_does_not_look_at_every_tenant() {
        let few = steps_of_a_claim(40, 3);
        let many = steps_of_a_claim(40, 1000);
        assert!(many <= few + few / 10, "{many} steps with many tenants, {few} with few");
    }

    #[test]
    fn jobs_with_images_wait_where_there_is_no_place_for_such_and_others_pass_them() {
        let folder = tempfile::tempdir().unwrap();
        let connection = filled(folder.path(), 40, 3);
        // Those of two tenants have an image, but for one that has waited less than most.
        let with_images = "INSERT INTO input SELECT row, printf('%064d', row), 1 FROM job
             WHERE tenant = 'flood' OR (tenant = 'tenant0' AND row <> (SELECT max(row) FROM job WHERE tenant = 'tenant0'))";
        connection.execute(with_images, ()).unwrap();
        let mut turns = Turns::default();
        let mut claimed = |places: u8, with_images: usize| {
            let offered = (0..places).map(|number| PromptId::fresh([number; 16])).collect();
            let vacancy = Vacancy { backend: "gpu".into(), others: Vec::new(), offered, with_images, per_tenant: None };
            let claimed = claims::claim(&connection, &vacancy, "[]", &mut turns, Timestamp::from_millis(5)).unwrap();
            let of = |claimed: crate::store::Claimed| claimed.job.tenant.stored().to_owned();
            claimed.into_iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(
            claimed(4, 1),
            ["flood", "tenant0", "tenant1", "tenant1"],
            "one with an image, and the rest without"
        );
        assert_eq!(claimed(2, 0), ["tenant1", "tenant1"]);
        assert_eq!(claimed(4, 4), ["flood", "tenant0", "tenant1", "flood"]);
    }

    /// Lets `flood` jobs of one tenant wait, and ten of each of the others; returns what SQLite does for two claims.
    fn steps_of_a_claim(flood: u32, tenants: u32) -> i32 {
        let folder = tempfile::tempdir().unwrap();
        let connection = filled(folder.path(), flood, tenants);
        let offered = vec![PromptId::fresh([1; 16]), PromptId::fresh([2; 16])];
        let (backend, others) = ("gpu".into(), vec!["b".into()]);
        let vacancy = Vacancy { backend, others, offered, with_images: 2, per_tenant: None };
        let mut turns = Turns::default();
        for _ in 0..3 {
            let claimed = claims::claim(&connection, &vacancy, r#"["b"]"#, &mut turns, Timestamp::from_millis(5));
            assert_eq!(claimed.unwrap().len(), 2);
        }
        let steps = |sql| connection.prepare_cached(sql).unwrap().get_status(StatementStatus::VmStep);
        [FIRST_TENANT, TENANT_AFTER, NEXT_JOBS].into_iter().map(steps).sum()
    }

    fn filled(folder: &Path, flood: u32, tenants: u32) -> Connection {
        let connection = schema::open(&folder.join("comfygate.db")).unwrap();
        let second = r#"{"secs":1,"nanos":0}"#;
        let request = format!(
            r#"{{"workflow":"flux","revision":"","params":{{}},"limits":
                {{"queue":{second},"start":{second},"silence":{second},"run":{second}}}}}"#
        );
        connection
            .execute_batch(&format!(
                "BEGIN;
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {flood})
                 INSERT INTO job (id, tenant, workflow, priority, created_at, queue_limit, queue_deadline)
                 SELECT randomblob(16), 'flood', 'flux', i % 7, 0, 1, 1 FROM n;
                 WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 10 * ({tenants} - 1) - 1)
                 INSERT INTO job (id, tenant, workflow, priority, created_at, queue_limit, queue_deadline)
                 SELECT randomblob(16), 'tenant' || (i / 10), 'flux', 0, 0, 1, 1 FROM n;
                 INSERT INTO job_request SELECT row, '{request}' FROM job;
                 COMMIT;"
            ))
            .unwrap();
        connection
    }
}
