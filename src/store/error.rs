//! Why the store did not do as asked.

use crate::job::JobId;

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
