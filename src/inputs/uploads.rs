//! Uploads: bytes that are kept for jobs to come. Their space is looked at before the first byte, while they come, and once more
//! where they are noted, since others of the same tenant may come at the same time.

use super::desk::{Found, Inputs, Why};
use super::kind::NoImage;
use super::places::Place;
use super::source::Fault;
use crate::job::{Tenant, UploadId};
use crate::media::{CheckedError, PutError};
use crate::store::{NewUpload, Space, StoreError, Upload};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tracing::error;

/// Why bytes did not become an upload.
#[derive(Debug, thiserror::Error)]
pub enum UploadError<E: std::error::Error + 'static> {
    /// They broke off, are too many, could not be written, or are no image.
    #[error(transparent)]
    Put(#[from] CheckedError<E, NoImage>),
    /// They have no room, or could not be noted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Inputs {
    /// Takes a place for a form of uploads; none where too many are under way for this tenant to have one more.
    pub fn form_place(&self, tenant: &Tenant) -> Option<Place> {
        self.forms.take(tenant, 1)
    }

    /// Says whether a tenant may have room for so many bytes in so many files, before any of them has come.
    pub async fn expect(&self, tenant: &Tenant, bytes: u64, files: u64) -> Result<(), StoreError> {
        let space = self.space(tenant).await?;
        let most = room(space, self.limits.space).saturating_add(space.largest.saturating_mul(files));
        if bytes > most { Err(self.full(space)) } else { Ok(()) }
    }

    /// Keeps the bytes of a stream as an upload of a tenant.
    pub async fn upload<S, E>(&self, tenant: &Tenant, stream: S) -> Result<Upload, UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let _hold = self.blobs.hold();
        let space = self.space(tenant).await?;
        // The same bytes as those of an upload that is there cost nothing, and may be those as long as they are no more.
        let most = room(space, self.limits.space).max(space.largest);
        let mut come = 0_u64;
        let counted = stream.inspect(|piece| come += piece.as_ref().map_or(0, |piece| piece.len() as u64));
        let found = self.keep(counted, most.min(self.limits.bytes)).await.map_err(|error| match error {
            // It would not fit into an empty space either.
            UploadError::Put(CheckedError::Put(PutError::TooLarge { .. })) if come > self.limits.bytes => {
                CheckedError::Put(PutError::TooLarge { limit: self.limits.bytes }).into()
            }
            UploadError::Put(CheckedError::Put(PutError::TooLarge { .. })) if most < self.limits.bytes => {
                self.full(space).into()
            }
            UploadError::Put(_) | UploadError::Store(_) => error,
        })?;
        let now = self.clock.now();
        let mut random = [0; 16];
        (self.random)(&mut random);
        let upload = Upload {
            id: UploadId::new(random),
            tenant: tenant.clone(),
            sha256: found.blob,
            bytes: found.bytes,
            content_type: found.content_type,
            width: found.width,
            height: found.height,
            created_at: now,
            expires_at: now + self.limits.life,
        };
        Ok(self.uploads.keep_upload(NewUpload { upload, most: self.limits.space }).await?)
    }

    /// Returns an upload of a tenant, or of any where none is named.
    pub async fn find(&self, tenant: Option<Tenant>, id: UploadId) -> Result<Option<Upload>, StoreError> {
        self.uploads.upload(tenant, id, self.clock.now()).await
    }

    /// Ends the life of an upload; jobs that use it keep its bytes. Returns whether there was one.
    pub async fn forget(&self, tenant: Option<Tenant>, id: UploadId) -> Result<bool, StoreError> {
        self.uploads.drop_upload(tenant, id, self.clock.now()).await
    }

    /// Finds the bytes of an upload that a request names, and lets it live on.
    pub(super) async fn uploaded(&self, tenant: &Tenant, id: UploadId) -> Result<Found, Why> {
        let now = self.clock.now();
        let found = self.uploads.use_upload(tenant.clone(), id.clone(), now, now + self.limits.life).await;
        let upload = found.map_err(|error| Why::Refused(error.into()))?.ok_or_else(|| Why::Fault(unknown(&id)))?;
        let found = Found::from(upload);
        // Its row may go at any moment; from here on the bytes stay all the same.
        self.blobs.touch(&found.blob);
        if let Err(error) = self.blobs.size(&found.blob).await {
            error!(%error, upload = %id, "the bytes of an upload are not there");
            return Err(Why::Refused(error.into()));
        }
        Ok(found)
    }

    async fn space(&self, tenant: &Tenant) -> Result<Space, StoreError> {
        self.uploads.upload_space(tenant.clone(), self.clock.now()).await
    }

    fn full(&self, space: Space) -> StoreError {
        StoreError::UploadsFull { used: space.used, most: self.limits.space }
    }
}

fn room(space: Space, most: u64) -> u64 {
    most.saturating_sub(space.used)
}

/// Says that there is no such upload.
pub(super) fn unknown(id: &UploadId) -> Fault {
    ("unknown_upload", format!("names the upload `{id}`, which is not there, or not any more"))
}

impl From<Upload> for Found {
    fn from(Upload { sha256: blob, bytes, content_type, width, height, .. }: Upload) -> Self {
        Self { blob, bytes, content_type, width, height }
    }
}
