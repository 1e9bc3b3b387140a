//! What must survive: jobs, their outputs and their deliveries, behind a trait in the domain's verbs.
//!
//! Every verb is one transaction, and is on disk when it answers; only what the next start finds out anew (that a run has
//! begun, who sends a delivery) may be lost with the power. Bytes are not here: they are in the blob folder
//! (`media::Blobs`).

mod claim;
mod counts;
mod cursor;
mod delivery;
mod ending;
mod error;
mod estimates;
mod fitness;
mod intake;
mod keys;
mod list;
mod own_secrets;
mod persist;
mod pool;
mod replay;
mod signing;
mod sqlite;
mod summary;
mod uploads;

pub use claim::{Arrivals, Assignment, Claimed, Refused, Waiting, Way};
pub use counts::{Backlog, Counts};
pub use cursor::{Cursor, CursorError};
pub use delivery::{Attempt, Delivery, DeliveryState, Verdict};
pub use ending::{CancelWish, Ending, Finished};
pub use error::StoreError;
pub use estimates::EstimateStore;
pub use fitness::{FitnessStore, Incapable, Kind, KindMark, Kinds};
pub use intake::{IdempotencyKey, NewJob, Revision};
pub use keys::{ApiKey, KeyStore};
pub use list::{ListFilter, Listed};
pub use own_secrets::OwnSecrets;
pub use persist::persist;
pub use pool::{KeptBackend, Leaving, PoolStore, QueueCounts};
pub use replay::{DeliveryFilter, ListedDelivery, ReplayFilter};
pub use signing::{Rotation, SecretKind, SigningSecret, SigningStore};
pub use sqlite::{Audit, Flaw, NamedBlob, OpenError, SqliteStore, audit, open_beside};
pub use summary::{Summary, SummaryCounts, SummaryFilter, SummaryStep};
pub use uploads::{NewUpload, Space, Upload, UploadStore};

use crate::clock::Timestamp;
use crate::job::{BlobId, Job, JobId, Profile, Tenant};
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

/// Keeps jobs, outputs and deliveries. Every verb is one transaction.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Stores a new job, and its idempotency key with it. Returns the id of the job that holds the key: another one
    /// than `new.id` when the same key and body came before. An id that another job has is refused, and nothing is stored.
    async fn accept(&self, new: NewJob) -> Result<JobId, StoreError>;

    /// Returns the job that was accepted under an idempotency key which is not forgotten at `now`.
    async fn holder(&self, key: IdempotencyKey, now: Timestamp) -> Result<Option<JobId>, StoreError>;

    /// Stores the sources of a workflow's revision; a second time does nothing.
    async fn keep_revision(&self, revision: Revision) -> Result<(), StoreError>;

    /// Returns the sources of a revision.
    async fn revision(&self, hash: &str) -> Result<Option<Revision>, StoreError>;

    /// Returns a job.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Returns the result of a job that has ended.
    async fn finished(&self, id: JobId) -> Result<Option<Finished>, StoreError>;

    /// Returns how the last run of a job went; none where the job has not ended, or no run of it had begun.
    async fn profile(&self, id: JobId) -> Result<Option<Profile>, StoreError>;

    /// Lists jobs, newest first.
    async fn list(&self, filter: ListFilter) -> Result<Vec<Listed>, StoreError>;

    /// Returns at most `limit` jobs that came to wait since `mark`, in the order in which they did: new ones, and those
    /// that wait again. From 0 that is every job that waits. Those whose caller wished them cancelled are not among them.
    /// Costs next to nothing where none came. A row that cannot be read is passed over with a line in the log.
    async fn arrivals(&self, mark: i64, limit: u32) -> Result<Arrivals, StoreError>;

    /// Claims waiting jobs for backends, and commits for each the intent to run it there. The first run of a job uses the
    /// job's own id as prompt id, a later run the fresh one. A job that does not wait any more, is to be cancelled, or
    /// cannot be read is not among what is returned, and nothing of it is changed.
    async fn claim(&self, assignments: Vec<Assignment>, now: Timestamp) -> Result<Vec<Claimed>, StoreError>;

    /// Returns how many jobs of each tenant are on backends; a tenant without any is not in it.
    async fn on_backends_by_tenant(&self) -> Result<HashMap<Tenant, usize>, StoreError>;

    /// Notes that a run began to execute. Returns false where that run is no longer the current one.
    async fn started(&self, id: JobId, run: u32, at: Timestamp) -> Result<bool, StoreError>;

    /// Puts a job back into the queue after run number `run` failed in a way that another may mend. `counts` says
    /// whether the run counts as a try; one that never reached a backend does not, nor one that a backend lost while it
    /// ran another. After one that counts, the job's queue limit begins anew at `at`. Returns false where that run is no
    /// longer the current one.
    async fn requeue(&self, id: JobId, run: u32, counts: bool, at: Timestamp) -> Result<bool, StoreError>;

    /// Puts a job back into the queue for other ways to run than that of run number `run`, in which it cannot run: that is
    /// remembered, with the reason. Where the run counts as a try, `tried_at` says when it was over. Returns false where that
    /// run is no longer the current one.
    async fn pass_on(&self, id: JobId, run: u32, reason: &str, tried_at: Option<Timestamp>)
    -> Result<bool, StoreError>;

    /// Notes the caller's wish to cancel.
    async fn wish_cancel(&self, id: JobId) -> Result<CancelWish, StoreError>;

    /// Ends a job: final state, outputs, frozen body and, where the request has a webhook, its delivery. The first end
    /// wins: returns false, and stores nothing, where the job has ended or `run` no longer says where it is.
    async fn finish(&self, ending: Ending) -> Result<bool, StoreError>;

    /// Returns waiting jobs that must be ended: those whose queue limit has passed, and those whose caller wished them
    /// cancelled before a crash.
    async fn overdue(&self, now: Timestamp, limit: u32) -> Result<Vec<Job>, StoreError>;

    /// Returns the jobs that were on a backend when the store was last closed.
    async fn on_backends(&self) -> Result<Vec<Claimed>, StoreError>;

    /// Leases at most `limit` deliveries that are due, none twice before `lease` has passed. Tenants have equal shares of
    /// them, as far as they have so many.
    async fn due_deliveries(&self, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Delivery>, StoreError>;

    /// Lets leased deliveries wait until then: nobody has room for them.
    async fn set_deliveries_aside(&self, jobs: Vec<JobId>, until: Timestamp) -> Result<(), StoreError>;

    /// Returns when the next delivery is due, leased ones by the end of their lease.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Logs an attempt and what it means for the delivery. A late one, whose delivery has ended or whose number another
    /// attempt had meanwhile, changes nothing but the log; only a final answer of the receiver is heard whenever it comes.
    async fn record_attempt(&self, job: JobId, attempt: Attempt, verdict: Verdict) -> Result<(), StoreError>;

    /// Ends a lease without an attempt, as when the gateway stops: the delivery is due again at once.
    async fn release_delivery(&self, job: JobId) -> Result<(), StoreError>;

    /// Returns the delivery of a job and the log of its attempts.
    async fn delivery(&self, job: JobId) -> Result<Option<(Delivery, Vec<Attempt>)>, StoreError>;

    /// Lists deliveries, those of the newest jobs first.
    async fn list_deliveries(&self, filter: DeliveryFilter) -> Result<Vec<ListedDelivery>, StoreError>;

    /// Sums up how the webhooks of jobs that ended since some time fared. A read, of no more jobs than the filter says.
    async fn summary(&self, filter: SummaryFilter) -> Result<Summary, StoreError>;

    /// Begins a delivery anew: it is due at `at`, and the schedule starts from its beginning, while its attempts go on
    /// being numbered. One that is pending is only due at once. Returns the state that it had; none where the job has no
    /// delivery.
    async fn replay_delivery(&self, job: JobId, at: Timestamp) -> Result<Option<DeliveryState>, StoreError>;

    /// Does that to all that match when it is called, and returns how many they were. The only verb of several
    /// transactions, so that others can write in between: after an error some were begun anew and others were not.
    async fn replay_deliveries(&self, filter: ReplayFilter, at: Timestamp) -> Result<u64, StoreError>;

    /// Pulls in what waits for a time that is further off than it can have been meant, since the wall clock went back
    /// between two starts: the next attempt of a delivery keeps its wait, counted from `now`, and a waiting job its
    /// queue limit. Returns how many rows it changed. Meant for the start.
    async fn pull_in(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Returns the blobs that jobs and uploads need; any other is left over from a run whose end was never stored.
    async fn needed_blobs(&self) -> Result<HashSet<BlobId>, StoreError>;

    /// Removes at most `limit` jobs that ended by `ended_by` and have no delivery that is pending, with all that belongs
    /// to them, and at most as many idempotency keys and as many uploads that have expired by `now`. None for `ended_by` keeps
    /// all jobs.
    async fn clear(&self, ended_by: Option<Timestamp>, now: Timestamp, limit: u32) -> Result<Cleared, StoreError>;

    /// Returns those of `blobs` that no job names, as output or as input, and no upload.
    async fn unnamed(&self, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError>;

    /// Removes the revisions that no job refers to, and says how many. Only at the start, before anybody keeps one.
    async fn clear_revisions(&self) -> Result<u64, StoreError>;

    /// Tries whether the store can write, by writing about as much as a job takes and undoing it in the same transaction.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Counts what is not done.
    async fn backlog(&self) -> Result<Backlog, StoreError>;
}

/// What a step of clearing has removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cleared {
    /// How many jobs.
    pub jobs: u32,
    /// How many idempotency keys.
    pub keys: u32,
    /// How many uploads.
    pub uploads: u32,
    /// The blobs that those jobs and uploads named; others may name them still.
    pub blobs: Vec<BlobId>,
}
