//! Reads rows back into the words of the domain; a row that cannot be read is damage, and is named.

use crate::clock::Timestamp;
use crate::job::{FrozenBody, Job, JobId, JobState, Placement, PromptId, Request, RunRef, StructureHash, Tenant};
use crate::store::{DeliveryState, StoreError};
use rusqlite::{Connection, OptionalExtension, Row};

/// The columns that [`job`] reads, from `job JOIN job_request ON job_request.job = job.row`.
pub(super) const JOB: &str = "job.row, job.id, job.state, job.run_number, job.backend, job.prompt_id, \
     job.cancel_requested, job.created_at, job.submitted_at, job.started_at, job.ended_at, job.tries, \
     job_request.request, job.tenant, job.variant";

/// The number of a row of the table `job`, by which the other tables name the job.
pub(super) type RowNumber = i64;

/// A job with what only the store knows of it.
pub(super) struct Stored {
    pub(super) row: RowNumber,
    pub(super) tries: u32,
    pub(super) variant: u32,
    pub(super) structures: Vec<StructureHash>,
    pub(super) job: Job,
}

/// Reads the columns of [`JOB`]: the job as the variant that its last run was of.
pub(super) fn job(row: &Row<'_>) -> Result<Stored, StoreError> {
    job_as(row, row.get(14)?)
}

/// Reads the columns of [`JOB`]: the job as one of its variants.
pub(super) fn job_as(row: &Row<'_>, variant: u32) -> Result<Stored, StoreError> {
    let id = job_id(row, 1)?;
    let word: String = row.get(2)?;
    let state = JobState::parse(&word).ok_or_else(|| damaged(id, &format!("its state is `{word}`")))?;
    let number: u32 = row.get(3)?;
    let run = match (row.get(4)?, row.get(5)?) {
        (Some(backend), Some(prompt)) => Some(RunRef { number, backend, prompt: PromptId(prompt) }),
        (None, _) | (_, None) => None,
    };
    let request: Request =
        serde_json::from_str(text(row, 12)?).map_err(|error| damaged(id, &format!("its request: {error}")))?;
    let structures = request.structures().cloned().collect();
    let job = Job {
        id,
        tenant: tenant(row, 13)?,
        request: request.as_variant(variant),
        state,
        run,
        cancel_requested: row.get(6)?,
        created_at: time(row, 7)?,
        submitted_at: time_or_none(row, 8)?,
        started_at: time_or_none(row, 9)?,
        ended_at: time_or_none(row, 10)?,
    };
    Ok(Stored { row: row.get(0)?, tries: row.get(11)?, variant, structures, job })
}

/// Returns the job with this id.
pub(super) fn find(connection: &Connection, id: JobId) -> Result<Option<Stored>, StoreError> {
    let sql = format!("SELECT {JOB} FROM job JOIN job_request ON job_request.job = job.row WHERE job.id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.as_bytes()])?;
    rows.next()?.map(job).transpose()
}

/// Returns the row of the job with this id.
pub(super) fn row_of(connection: &Connection, id: JobId) -> Result<Option<RowNumber>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT row FROM job WHERE id = ?1")?;
    Ok(statement.query_row([id.as_bytes()], |row| row.get(0)).optional()?)
}

/// Reads every row of `rows` with `read`.
pub(super) fn all<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Reads a job's id.
pub(super) fn job_id(row: &Row<'_>, column: usize) -> Result<JobId, StoreError> {
    Ok(JobId::from_bytes(row.get(column)?))
}

/// Reads a time.
pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

/// Reads whose a job is.
pub(super) fn tenant(row: &Row<'_>, column: usize) -> Result<Tenant, StoreError> {
    Ok(Tenant::from_stored(row.get(column)?))
}

/// Reads the structures of a job's graphs.
pub(super) fn structures(text: &str) -> Vec<StructureHash> {
    text.split(' ').map(|hash| StructureHash(hash.to_owned())).collect()
}

/// Reads what a job wishes of a backend.
pub(super) fn placement(id: JobId, text: &str) -> Result<Placement, StoreError> {
    if text.is_empty() {
        return Ok(Placement::default());
    }
    serde_json::from_str(text).map_err(|error| damaged(id, &format!("its placement: {error}")))
}

/// Reads a number that is never below 0.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Writes a number that is never below 0; what is too large for SQLite becomes the largest.
pub(super) fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Reads a frozen body.
pub(super) fn body(id: JobId, row: &Row<'_>, column: usize) -> Result<FrozenBody, StoreError> {
    serde_json::from_str(text(row, column)?).map_err(|error| damaged(id, &format!("its body: {error}")))
}

/// Reads where a job's delivery stands.
pub(super) fn delivery_state(id: JobId, row: &Row<'_>, column: usize) -> Result<DeliveryState, StoreError> {
    let word: String = row.get(column)?;
    DeliveryState::parse(&word).ok_or_else(|| damaged(id, &format!("its delivery is `{word}`")))
}

/// Says what is wrong with a job's rows.
pub(super) fn damaged(id: JobId, what: &str) -> StoreError {
    StoreError::Damaged(format!("job {id}: {what}"))
}

/// Reads a time that may be absent.
pub(super) fn time_or_none(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

fn text<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row str, StoreError> {
    row.get_ref(column)?.as_str().map_err(|error| StoreError::Damaged(error.to_string()))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied,
            ) => Self::Unavailable(error.to_string()),
            Some(_) | None => Self::Damaged(error.to_string()),
        }
    }
}
