//! What is kept of uploads, and the verbs for it. The bytes are blobs; what an upload may be is left to `inputs`.

use super::StoreError;
use crate::clock::Timestamp;
use crate::job::{BlobId, Tenant, UploadId};
use async_trait::async_trait;
use std::fmt;

/// An image that a tenant has uploaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// What it is called.
    pub id: UploadId,
    /// Whose it is: to another tenant it is not there.
    pub tenant: Tenant,
    /// Its bytes.
    pub sha256: BlobId,
    /// Their number.
    pub bytes: u64,
    /// The media type, told by the content.
    pub content_type: String,
    /// How many pixels it is wide.
    pub width: u32,
    /// How many pixels it is high.
    pub height: u32,
    /// When it was uploaded first.
    pub created_at: Timestamp,
    /// From when on it is not there any more.
    pub expires_at: Timestamp,
}

/// An upload to be kept, with how much space all of its tenant may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUpload {
    /// The upload; its id counts only where its tenant does not have the same bytes already.
    pub upload: Upload,
    /// How many bytes the uploads of its tenant may have together.
    pub most: u64,
}

/// How much space the uploads of a tenant take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    /// How many bytes they have together.
    pub used: u64,
    /// How many the largest one has.
    pub largest: u64,
}

/// Keeps uploads. Every verb is one transaction.
#[async_trait]
pub trait UploadStore: Send + Sync + fmt::Debug {
    /// Stores an upload and returns it as it is kept. Where its tenant has the same bytes already, that is the earlier one,
    /// with the later end of the two.
    async fn keep_upload(&self, new: NewUpload) -> Result<Upload, StoreError>;

    /// Returns how much space a tenant's uploads take that have not expired at `now`.
    async fn upload_space(&self, tenant: Tenant, now: Timestamp) -> Result<Space, StoreError>;

    /// Returns an upload of a tenant, or of whatever tenant where none is named, unless it has expired at `now`.
    async fn upload(&self, tenant: Option<Tenant>, id: UploadId, now: Timestamp) -> Result<Option<Upload>, StoreError>;

    /// Returns a tenant's upload as [`upload`](Self::upload) does, and lets it live until `until` at least.
    async fn use_upload(
        &self,
        tenant: Tenant,
        id: UploadId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Upload>, StoreError>;

    /// Lets an upload that [`upload`](Self::upload) would return expire at `now`. Returns whether there was one. Its bytes stay
    /// for the jobs that use them.
    async fn drop_upload(&self, tenant: Option<Tenant>, id: UploadId, now: Timestamp) -> Result<bool, StoreError>;
}
