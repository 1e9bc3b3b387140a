//! A job as it is accepted: with the key that keeps it from coming twice, and the sources of its workflow.

use crate::clock::Timestamp;
use crate::job::{JobId, Request, Tenant};

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
