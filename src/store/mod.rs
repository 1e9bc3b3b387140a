//! What must survive: jobs, their outputs and their deliveries, behind a trait in the domain's verbs.
//!
//! Every verb is one transaction, and is on disk when it answers; only what the next start finds out anew (that a run has
//! begun, who sends a delivery) may be lost with the power. Bytes are not here: they are in the blob folder
//! (`media::Blobs`).

mod counts;
mod cursor;
mod keys;
mod own_secrets;
mod persist;
mod replay;
mod signing;
mod sqlite;
mod uploads;

pub use counts::Counts;
pub use cursor::{Cursor, CursorError};
pub use keys::{ApiKey, KeyStore};
pub use own_secrets::OwnSecrets;
pub use persist::persist;
pub use replay::{DeliveryFilter, ListedDelivery, ReplayFilter};
pub use signing::{Rotation, SecretKind, SigningSecret, SigningStore};
pub use sqlite::{Audit, Flaw, NamedBlob, OpenError, SqliteStore, audit, open_beside};
pub use uploads::{NewUpload, Space, Upload, UploadStore};

use crate::clock::Timestamp;
use crate::job::{BlobId, FrozenBody, Job, JobId, JobState, Outcome, Output, PromptId, Request, RunRef, Tenant};
use async_trait::async_trait;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue to the writer is full: try again soon.
    #[error("the store is busy: {waiting} writes are waiting")]
    Busy {
        /// How many writes wait already.
        waiting: usize,
    },
    /// The disk is full or cannot be written: nothing was stored.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// What is stored cannot be read back.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A fault of the gateway's own: the write panicked and nothing of it is stored.
    #[error("the store failed on a write: {0}")]
    Panicked(String),
    /// The same idempotency key came with another body.
    #[error("the idempotency key `{0}` was used with another request body")]
    KeyReused(String),
    /// The id that a caller chose for a job is another job's.
    #[error("the id {0} is another job's already")]
    IdInUse(JobId),
    /// A tenant's uploads take as much space as they may.
    #[error("the uploads take {used} bytes already, and {most} are allowed; delete some, or wait until they expire")]
    UploadsFull {
        /// How many bytes they have.
        used: u64,
        /// How many they may have.
        most: u64,
    },
}

/// An `Idempotency-Key` with the SHA-256 of the body that it came with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey {
    /// Whose it is: two tenants may use the same value.
    pub tenant: Tenant,
    /// The header's value.
    pub key: String,
    /// The SHA-256 of the request's body.
    pub body_sha256: [u8; 32],
    /// When the key is forgotten.
    pub expires_at: Timestamp,
}

/// The sources of one revision of a workflow, kept so that a job's graph can be built again after the files changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// The SHA-256 over both texts, in hex.
    pub hash: String,
    /// The workflow's name.
    pub name: String,
    /// The YAML text.
    pub config: String,
    /// The JSON text.
    pub template: String,
}

/// A job to be accepted.
#[derive(Clone, PartialEq, Debug)]
pub struct NewJob {
    /// The id that it shall have.
    pub id: JobId,
    /// Whose it shall be.
    pub tenant: Tenant,
    /// What is asked for.
    pub request: Request,
    /// When it came.
    pub created_at: Timestamp,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
    /// The revision of a graph that came with the request: stored with the job, and removed with it.
    pub own_revision: Option<Revision>,
}

/// Free places on a backend, to be filled with waiting jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vacancy {
    /// The backend's name.
    pub backend: String,
    /// Other backends. A job whose last run was on `backend` is left to them as long as one of them may run it.
    pub others: Vec<String>,
    /// One for each place: the prompt id of a run that is not its job's first.
    pub offered: Vec<PromptId>,
    /// How many jobs of one tenant may be on backends, all of them together; none for any number.
    pub per_tenant: Option<NonZeroUsize>,
}

/// A claimed job and the run that it was claimed for; the intent is on disk.
#[derive(Clone, PartialEq, Debug)]
pub struct Claimed {
    /// The job, in state `submitted`.
    pub job: Job,
    /// The run: number, backend, prompt id.
    pub run: RunRef,
    /// How many runs before this one counted as tries.
    pub tries: u32,
    /// The backends that cannot run the job.
    pub refused: Vec<Refused>,
}

/// A backend that cannot run a job: it lacks a node class or a model file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The backend's name.
    pub backend: String,
    /// What it said.
    pub reason: String,
}

/// What became of the wish to cancel a job.
#[derive(Clone, PartialEq, Debug)]
pub enum CancelWish {
    /// There is no such job.
    Unknown,
    /// It had ended already, in this state.
    AlreadyFinal(JobState),
    /// It was waiting and can be finished as cancelled by the caller of this verb.
    Waiting(Box<Job>),
    /// It is on a backend; the wish is recorded and its tracker must be told.
    Running(Box<Job>),
}

/// The end of a job: final state, outputs, frozen body and delivery, all in one transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Ending {
    /// The job that ends.
    pub job: JobId,
    /// The run that ended it, or none where it ended while it waited. What is no longer so is dropped: an ending by a run
    /// that is not the current one, and an ending as waiting of a job that is on a backend by now.
    pub run: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// The final object.
    pub body: FrozenBody,
    /// When.
    pub ended_at: Timestamp,
}

/// A job as lists show it.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// The job.
    pub job: Job,
    /// The failure's code, for a job that failed.
    pub code: Option<String>,
    /// The failure's one line.
    pub error: Option<String>,
    /// Where its delivery stands, for a job that has ended and has one.
    pub delivery: Option<DeliveryState>,
}

/// Which jobs to list; newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListFilter {
    /// Only jobs of this tenant; none means all.
    pub tenant: Option<Tenant>,
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs of this workflow.
    pub workflow: Option<String>,
    /// Only jobs older than this one: the last of the page before.
    pub before: Option<Cursor>,
    /// At most this many.
    pub limit: u32,
}

/// The result of a job that ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Finished {
    /// The final object, as the webhook has it.
    pub body: FrozenBody,
    /// The outputs in the order of the final object.
    pub outputs: Vec<Output>,
}

/// The state of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryState {
    /// Not yet arrived; an attempt is due at `due_at`.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// The receiver answered 410: it wants no more.
    Gone,
    /// The last attempt failed, or the deadline passed.
    Undeliverable,
}

impl DeliveryState {
    /// Every state; pending first, as each delivery begins with it.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Gone, Self::Undeliverable];

    /// Returns the word used in answers and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Undeliverable => "undeliverable",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A webhook that must arrive.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// The job that it tells of; a job has at most one delivery.
    pub job: JobId,
    /// Whose job it is.
    pub tenant: Tenant,
    /// Where it goes.
    pub url: String,
    /// What is sent.
    pub body: FrozenBody,
    /// How many attempts were made.
    pub attempts: u32,
    /// How many of them were made before the last replay: the schedule counts only the later ones.
    pub attempts_before: u32,
    /// When the job ended.
    pub created_at: Timestamp,
    /// When the next attempt is due.
    pub due_at: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was begun anew.
    pub replays: u32,
    /// When that was done last.
    pub replayed_at: Option<Timestamp>,
    /// When it arrived or was given up; none while it is pending.
    pub ended_at: Option<Timestamp>,
}

impl Delivery {
    /// Returns when the schedule that it is on began: at the job's end, or at the last replay.
    pub fn begun_at(&self) -> Timestamp {
        self.replayed_at.unwrap_or(self.created_at)
    }
}

/// One HTTP call of a delivery, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The answer's status, where one came.
    pub status: Option<u16>,
    /// What went wrong, as a stable word; none after a 2xx.
    pub code: Option<String>,
    /// The first 1 KiB of the answer, or the error's text.
    pub snippet: String,
}

/// What an attempt means for its delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It arrived.
    Delivered,
    /// The receiver wants no more.
    Gone,
    /// Try again then.
    RetryAt(Timestamp),
    /// Never try again by itself.
    GiveUp,
}

/// How many jobs are in each state that has not ended, and how many deliveries wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// Waiting for a backend.
    pub queued: u64,
    /// On a backend.
    pub running: u64,
    /// Webhooks that have not arrived.
    pub deliveries: u64,
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

    /// Lists jobs, newest first.
    async fn list(&self, filter: ListFilter) -> Result<Vec<Listed>, StoreError>;

    /// Claims waiting jobs for `backend` as [`claim_beside`](Self::claim_beside) does, without others and limits.
    async fn claim(&self, backend: &str, offered: Vec<PromptId>, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        let vacancy = Vacancy { backend: backend.to_owned(), others: Vec::new(), offered, per_tenant: None };
        self.claim_beside(vacancy, now).await
    }

    /// Claims waiting jobs, one for each place, and commits for each the intent to run it there. Tenants take turns; of a
    /// tenant's jobs the one of the highest priority goes first, then the oldest. The first run of a job uses the job's own
    /// id as prompt id, a later run the offered one.
    ///
    /// Jobs that cannot run on the backend are passed over, and so are those that are left to others. Neither holds up the
    /// jobs behind it, nor does a tenant that has as many on backends as it may.
    async fn claim_beside(&self, vacancy: Vacancy, now: Timestamp) -> Result<Vec<Claimed>, StoreError>;

    /// Notes that a run began to execute. Returns false where that run is no longer the current one.
    async fn started(&self, id: JobId, run: u32, at: Timestamp) -> Result<bool, StoreError>;

    /// Puts a job back into the queue after run number `run` failed in a way that another may mend. `counts` says
    /// whether the run counts as a try; one that never reached a backend does not, nor one that a backend lost while it
    /// ran another. After one that counts, the job's queue limit begins anew at `at`. Returns false where that run is no
    /// longer the current one.
    async fn requeue(&self, id: JobId, run: u32, counts: bool, at: Timestamp) -> Result<bool, StoreError>;

    /// Puts a job back into the queue for other backends than the one of run number `run`, which cannot run it: that is
    /// remembered, with the reason. It does not count as a try. Returns false where that run is no longer the current one.
    async fn pass_on(&self, id: JobId, run: u32, reason: &str) -> Result<bool, StoreError>;

    /// Returns waiting jobs, at most `limit`, that every one of these backends has refused, with what was said.
    async fn stranded(&self, backends: &[String], limit: u32) -> Result<Vec<(Job, Vec<Refused>)>, StoreError>;

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
