//! The embedded engine: SQLite in a folder that one process owns, one thread that writes, a few connections that read.
//!
//! What each verb does to the rows is in `jobs`, `arrivals`, `claims`, `deliveries`, `replays`, `clearing`, `estimates`, `keys`, `signing`, `summary` and `uploads`; here they are sent
//! to the writer or a reader.

mod arrivals;
mod audit;
mod beside;
mod claims;
mod clearing;
mod counts;
mod deliveries;
mod estimates;
mod fitness;
mod jobs;
mod keys;
mod own_secrets;
mod pool;
mod readers;
mod replays;
mod rows;
mod schema;
mod signing;
mod summary;
mod uploads;
mod writer;

pub use audit::{Audit, Flaw, NamedBlob, audit};
pub use beside::open_beside;
pub use schema::OpenError;

use crate::clock::Timestamp;
use crate::job::{BlobId, Job, JobId, Profile, Tenant};
use crate::metrics::Commits;
use crate::store::{
    Arrivals, Assignment, Attempt, Backlog, CancelWish, Claimed, Cleared, Delivery, DeliveryFilter, DeliveryState,
    Ending, Finished, IdempotencyKey, ListFilter, Listed, ListedDelivery, NewJob, ReplayFilter, Revision, Store,
    StoreError, Summary, SummaryFilter, Verdict,
};
use arrivals::Numbers;
use async_trait::async_trait;
use readers::Readers;
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use writer::Writer;

/// How many connections read at the same time.
const READERS: u32 = 3;

/// The store in a folder of its own.
#[derive(Debug)]
pub struct SqliteStore {
    // In the order in which they are dropped: the lock outlives the connections.
    readers: Readers,
    writer: Arc<Writer>,
    /// What those are numbered by who come to wait.
    numbers: Arc<Numbers>,
    /// With which tenant the next deliveries begin.
    due_turn: AtomicUsize,
    lock: Mutex<Option<File>>,
}

impl SqliteStore {
    /// Opens the store in `folder`, which is made where it is missing. Refuses a folder that another process uses, a
    /// database of a newer comfygate, and a damaged one. Blocks for as long as SQLite reads its log.
    pub fn open(folder: &Path) -> Result<Arc<Self>, OpenError> {
        let unusable = |source| OpenError::Folder { folder: folder.to_owned(), source };
        make_folder(folder).map_err(unusable)?;
        let lock = lock(folder)?;
        let path = folder.join("comfygate.db");
        let connection = schema::open(&path)?;
        // The lock says that nobody else is left who could hold a lease.
        let failed = |source| OpenError::Sqlite { path: path.clone(), source };
        deliveries::release_all(&connection).map_err(failed)?;
        let numbers = Numbers::after_all(&connection).map_err(failed)?;
        let readers = (0..READERS).map(|_| schema::open_reader(&path)).collect::<Result<Vec<_>, _>>()?;
        let writer = Writer::start(connection).map_err(unusable)?;
        Ok(Self::over(readers, writer, numbers, Some(lock)))
    }

    fn over(readers: Vec<Connection>, writer: Writer, numbers: Numbers, lock: Option<File>) -> Arc<Self> {
        Arc::new(Self {
            readers: Readers::new(readers),
            writer: Arc::new(writer),
            numbers: Arc::new(numbers),
            due_turn: AtomicUsize::new(0),
            lock: Mutex::new(lock),
        })
    }

    /// Returns what is counted of its transactions.
    pub fn commits(&self) -> Commits {
        self.writer.commits()
    }

    /// Finishes the writes that wait, closes the database and gives the folder free. Later calls are refused.
    pub async fn close(&self) {
        self.readers.close().await;
        let writer = Arc::clone(&self.writer);
        // An error means that the runtime ends: then dropping the writer does the same.
        let _ = tokio::task::spawn_blocking(move || writer.close()).await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, new: NewJob) -> Result<JobId, StoreError> {
        let request = json(&new.request)?;
        let id = new.id;
        let numbers = Arc::clone(&self.numbers);
        let work = move |connection: &Connection| jobs::accept(connection, &new, &request, numbers.draw());
        let accepted = self.writer.write(work).await?;
        accepted.ok_or(StoreError::IdInUse(id))
    }

    async fn holder(&self, key: IdempotencyKey, now: Timestamp) -> Result<Option<JobId>, StoreError> {
        self.readers.read(move |connection| jobs::holder(connection, &key, now)).await
    }

    async fn keep_revision(&self, revision: Revision) -> Result<(), StoreError> {
        self.writer.write(move |connection| jobs::keep_revision(connection, &revision)).await
    }

    async fn revision(&self, hash: &str) -> Result<Option<Revision>, StoreError> {
        let hash = hash.to_owned();
        self.readers.read(move |connection| jobs::revision(connection, &hash)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.readers.read(move |connection| Ok(rows::find(connection, id)?.map(|stored| stored.job))).await
    }

    async fn finished(&self, id: JobId) -> Result<Option<Finished>, StoreError> {
        self.readers.read(move |connection| deliveries::finished(connection, id)).await
    }

    async fn profile(&self, id: JobId) -> Result<Option<Profile>, StoreError> {
        self.readers.read(move |connection| estimates::profile(connection, id)).await
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<Listed>, StoreError> {
        self.readers.read(move |connection| jobs::list(connection, &filter)).await
    }

    async fn arrivals(&self, mark: i64, limit: u32) -> Result<Arrivals, StoreError> {
        self.readers.read(move |connection| arrivals::arrivals(connection, mark, limit)).await
    }

    async fn claim(&self, assignments: Vec<Assignment>, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        self.writer.write(move |connection| claims::claim(connection, &assignments, now)).await
    }

    async fn on_backends_by_tenant(&self) -> Result<HashMap<Tenant, usize>, StoreError> {
        self.readers.read(arrivals::on_backends_by_tenant).await
    }

    async fn started(&self, id: JobId, run: u32, at: Timestamp) -> Result<bool, StoreError> {
        // A restart asks the backend how far the run is, so the disk need not be waited for.
        self.writer.note(move |connection| claims::started(connection, id, run, at)).await
    }

    async fn requeue(&self, id: JobId, run: u32, counts: bool, at: Timestamp) -> Result<bool, StoreError> {
        let numbers = Arc::clone(&self.numbers);
        self.writer.write(move |connection| claims::requeue(connection, id, run, counts, at, numbers.draw())).await
    }

    async fn pass_on(
        &self,
        id: JobId,
        run: u32,
        reason: &str,
        tried_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let reason = reason.to_owned();
        let numbers = Arc::clone(&self.numbers);
        let work =
            move |connection: &Connection| claims::pass_on(connection, id, run, &reason, tried_at, numbers.draw());
        self.writer.write(work).await
    }

    async fn wish_cancel(&self, id: JobId) -> Result<CancelWish, StoreError> {
        self.writer.write(move |connection| jobs::wish_cancel(connection, id)).await
    }

    async fn finish(&self, ending: Ending) -> Result<bool, StoreError> {
        let body = json(&ending.body)?;
        let profile = ending.profile.as_ref().map(json).transpose()?;
        self.writer.write(move |connection| deliveries::finish(connection, &ending, &body, profile.as_deref())).await
    }

    async fn overdue(&self, now: Timestamp, limit: u32) -> Result<Vec<Job>, StoreError> {
        self.readers.read(move |connection| jobs::overdue(connection, now, limit)).await
    }

    async fn on_backends(&self) -> Result<Vec<Claimed>, StoreError> {
        self.readers.read(claims::on_backends).await
    }

    async fn due_deliveries(&self, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let turn = self.due_turn.fetch_add(usize::try_from(limit).unwrap_or(1), Ordering::Relaxed);
        // A start ends every lease, so the disk need not be waited for.
        self.writer.note(move |connection| deliveries::due(connection, now, lease, limit, turn)).await
    }

    async fn set_deliveries_aside(&self, jobs: Vec<JobId>, until: Timestamp) -> Result<(), StoreError> {
        self.writer.note(move |connection| deliveries::set_aside(connection, &jobs, until)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read(deliveries::next_due).await
    }

    async fn record_attempt(&self, job: JobId, attempt: Attempt, verdict: Verdict) -> Result<(), StoreError> {
        self.writer.write(move |connection| deliveries::record(connection, job, &attempt, verdict)).await
    }

    async fn release_delivery(&self, job: JobId) -> Result<(), StoreError> {
        self.writer.note(move |connection| deliveries::release(connection, job)).await
    }

    async fn delivery(&self, job: JobId) -> Result<Option<(Delivery, Vec<Attempt>)>, StoreError> {
        self.readers.read(move |connection| deliveries::delivery(connection, job)).await
    }

    async fn list_deliveries(&self, filter: DeliveryFilter) -> Result<Vec<ListedDelivery>, StoreError> {
        self.readers.read(move |connection| replays::list(connection, &filter)).await
    }

    async fn summary(&self, filter: SummaryFilter) -> Result<Summary, StoreError> {
        self.readers.read(move |connection| summary::summary(connection, &filter)).await
    }

    async fn replay_delivery(&self, job: JobId, at: Timestamp) -> Result<Option<DeliveryState>, StoreError> {
        self.writer.write(move |connection| replays::replay(connection, job, at)).await
    }

    async fn replay_deliveries(&self, filter: ReplayFilter, at: Timestamp) -> Result<u64, StoreError> {
        let state = filter.state;
        let found = self.readers.read(move |connection| replays::matching(connection, &filter)).await?;
        let mut replayed = 0;
        for some in found.chunks(replays::BATCH) {
            let some = some.to_vec();
            replayed += self.writer.write(move |connection| replays::replay_some(connection, &some, state, at)).await?;
        }
        Ok(replayed)
    }

    async fn pull_in(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer
            .write(move |connection| Ok(deliveries::pull_in(connection, now)? + jobs::pull_in(connection, now)?))
            .await
    }

    async fn needed_blobs(&self) -> Result<HashSet<BlobId>, StoreError> {
        self.readers.read(deliveries::needed_blobs).await
    }

    async fn clear(&self, ended_by: Option<Timestamp>, now: Timestamp, limit: u32) -> Result<Cleared, StoreError> {
        // Never a note: were it lost with the power, rows would name blobs that were removed meanwhile.
        self.writer.write(move |connection| clearing::clear(connection, ended_by, now, limit)).await
    }

    async fn unnamed(&self, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError> {
        self.readers.read(move |connection| clearing::unnamed(connection, blobs)).await
    }

    async fn clear_revisions(&self) -> Result<u64, StoreError> {
        self.writer.write(clearing::clear_revisions).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.writer.write(clearing::probe).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.readers.read(jobs::backlog).await
    }
}

/// Written by the caller's thread, so that the writer has less to do.
fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(format!("it cannot be written as JSON: {error}")))
}

/// Takes the folder for this process; the system gives it free when the process ends, however that happens.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Folder { folder: folder.to_owned(), source };
    let path = folder.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: folder.to_owned(), lock: path }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
