//! Takes images in: their bytes are on disk as blobs, looked at and measured, before a job names them.

use super::fetch::{Broken, Fetcher, Unfetched, broken, too_large};
use super::kind::{Kind, Measured, NoImage, measure};
use super::mask::{NoMask, has_transparency, to_alpha};
use super::source::{Fault, Given, GivenImages, Source, fault};
use crate::clock::Clock;
use crate::egress::Guard;
use crate::job::{BlobId, InputImage, InputImages, InputMask, Tenant, UploadId};
use crate::media::{BlobError, Blobs, CheckedError, Hold, PutError};
use crate::store::{NewUpload, StoreError, Upload, UploadStore};
use crate::workflow::ParamError;
use bytes::Bytes;
use futures_util::{Stream, stream};
use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::sync::Arc;
use std::time::Duration;
use tracing::error;

/// How much may be taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of one image.
    pub bytes: u64,
    /// The most pixels of one image.
    pub pixels: u64,
    /// How long an upload lives after it was last used.
    pub life: Duration,
    /// The most bytes that the uploads of one tenant may have together.
    pub space: u64,
    /// How long fetching one image may take.
    pub fetch: Duration,
}

/// Takes images in.
pub struct Inputs {
    blobs: Arc<Blobs>,
    uploads: Arc<dyn UploadStore>,
    clock: Arc<dyn Clock>,
    fetcher: Fetcher,
    limits: Limits,
    random: fn(&mut [u8]),
}

/// Images that are on disk. To be kept until a job that names them is stored: until then nobody else does.
#[derive(Debug)]
pub struct Taken {
    /// The images.
    pub images: InputImages,
    _hold: Option<Hold>,
}

/// Why images were not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// They are at fault; at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Params(Vec<ParamError>),
    /// Too many are being fetched.
    #[error("too many images are being fetched at the moment; send the request again soon")]
    Busy,
    /// What is known of uploads could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk said no.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// A blob that was looked at.
struct Found {
    blob: BlobId,
    bytes: u64,
    content_type: String,
    width: u32,
    height: u32,
}

/// Why one image was not taken in.
enum Why {
    Fault(Fault),
    Refused(Refused),
}

impl Inputs {
    /// Joins what is needed. Addresses that callers give are fetched through `guard`.
    pub fn new(
        blobs: Arc<Blobs>,
        uploads: Arc<dyn UploadStore>,
        clock: Arc<dyn Clock>,
        guard: Guard,
        limits: Limits,
        random: fn(&mut [u8]),
    ) -> Self {
        Self { blobs, uploads, clock, fetcher: Fetcher::new(guard, limits.fetch), limits, random }
    }

    /// Returns how much may be taken in.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes the images of a tenant's request in. The first that is at fault ends it.
    pub async fn take(&self, tenant: &Tenant, given: GivenImages) -> Result<Taken, Refused> {
        let mut images = InputImages::new();
        if given.is_empty() {
            return Ok(Taken { images, _hold: None });
        }
        let hold = self.blobs.hold();
        for (name, given) in given {
            let written = given.written.clone();
            match self.take_one(tenant, given).await {
                Ok(image) => {
                    images.insert(name, image);
                }
                Err(Why::Fault(why)) => return Err(Refused::Params(vec![fault(&written, why)])),
                Err(Why::Refused(why)) => return Err(why),
            }
        }
        Ok(Taken { images, _hold: Some(hold) })
    }

    /// Keeps the bytes of a stream as an upload of a tenant.
    pub async fn upload<S, E>(&self, tenant: &Tenant, stream: S) -> Result<Upload, UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let _hold = self.blobs.hold();
        let found = self.keep(stream).await?;
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

    async fn take_one(&self, tenant: &Tenant, given: Given) -> Result<InputImage, Why> {
        let image = self.found(tenant, given.image).await?;
        let mask = match given.mask {
            None => None,
            Some(mask) => {
                let of_mask = |why| match why {
                    Why::Fault((code, what)) => Why::Fault((code, format!("its mask {what}"))),
                    Why::Refused(_) => why,
                };
                let mask = self.found(tenant, mask).await.map_err(of_mask)?;
                Some(self.mask(&image, mask).await.map_err(of_mask)?)
            }
        };
        let Found { blob: sha256, bytes, content_type, width, height } = image;
        Ok(InputImage { sha256, bytes, content_type, width, height, mask })
    }

    async fn found(&self, tenant: &Tenant, source: Source) -> Result<Found, Why> {
        match source {
            Source::Bytes(bytes) => {
                let whole = stream::iter([Ok::<_, Infallible>(Bytes::from(bytes))]);
                self.keep(whole).await.map_err(|error| why(error, |never| match never {}))
            }
            Source::Url(url) => match self.fetcher.fetch(tenant, &url, self.limits.bytes).await {
                Ok(mut arriving) => {
                    self.keep(&mut arriving.stream).await.map_err(|error| why(error, |error: Broken| broken(&error)))
                }
                Err(Unfetched::Fault(fault)) => Err(Why::Fault(fault)),
                Err(Unfetched::Busy) => Err(Why::Refused(Refused::Busy)),
            },
            Source::Upload(id) => self.uploaded(tenant, id).await,
        }
    }

    async fn uploaded(&self, tenant: &Tenant, id: UploadId) -> Result<Found, Why> {
        let now = self.clock.now();
        let found = self.uploads.use_upload(tenant.clone(), id.clone(), now, now + self.limits.life).await;
        let gone = || ("unknown_upload", format!("names the upload `{id}`, which is not there, or not any more"));
        let upload = found.map_err(|error| Why::Refused(error.into()))?.ok_or_else(|| Why::Fault(gone()))?;
        let Upload { sha256: blob, bytes, content_type, width, height, .. } = upload;
        // Its row may go at any moment; from here on the bytes stay all the same.
        self.blobs.touch(&blob);
        if let Err(error) = self.blobs.size(&blob).await {
            error!(%error, upload = %id, "the bytes of an upload are not there");
            return Err(Why::Refused(error.into()));
        }
        Ok(Found { blob, bytes, content_type, width, height })
    }

    async fn keep<S, E>(&self, stream: S) -> Result<Found, UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let Limits { bytes: most, pixels, .. } = self.limits;
        let look = move |file: &mut File| measure(&mut BufReader::new(file), pixels);
        let (blob, bytes, Measured { kind, width, height }) = self.blobs.put_checked(stream, most, look).await?;
        Ok(Found { blob, bytes, content_type: kind.content_type().to_owned(), width, height })
    }

    /// Makes of a mask what ComfyUI takes for one.
    async fn mask(&self, image: &Found, mask: Found) -> Result<InputMask, Why> {
        if mask.content_type != Kind::Png.content_type() {
            return Err(Why::Fault(("invalid_image", format!("is {}, and a mask must be a PNG", mask.content_type))));
        }
        if (mask.width, mask.height) != (image.width, image.height) {
            let (Found { width, height, .. }, wide, high) = (image, mask.width, mask.height);
            let what = format!("is {wide} by {high} pixels, and its image {width} by {height}; they must be the same");
            return Err(Why::Fault(("mask_size_differs", what)));
        }
        let made = self.blobs.make(&mask.blob, |mut file, into| {
            if has_transparency(BufReader::new(&mut file))? {
                return Ok(false);
            }
            file.rewind().map_err(|error| NoMask::Unreadable(error.into()))?;
            to_alpha(BufReader::new(file), into).map(|()| true)
        });
        let alpha = match made.await.map_err(|error| Why::Refused(error.into()))? {
            Ok(alpha) => alpha,
            Err(no_mask) => return Err(Why::Fault(("invalid_image", no_mask.to_string()))),
        };
        Ok(InputMask { sha256: mask.blob, bytes: mask.bytes, alpha })
    }
}

/// Why bytes did not become an upload.
#[derive(Debug, thiserror::Error)]
pub enum UploadError<E: std::error::Error + 'static> {
    /// They broke off, are too many, could not be written, or are no image.
    #[error(transparent)]
    Put(#[from] CheckedError<E, NoImage>),
    /// They could not be noted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn why<E: std::error::Error + 'static>(error: UploadError<E>, broke: impl FnOnce(E) -> Fault) -> Why {
    match error {
        UploadError::Put(CheckedError::Refused(NoImage::Unreadable(cause))) => {
            Why::Refused(Refused::Blob(BlobError::Io { path: "blobs".into(), cause }))
        }
        UploadError::Put(CheckedError::Refused(no_image)) => Why::Fault((no_image.code(), no_image.to_string())),
        UploadError::Put(CheckedError::Put(PutError::TooLarge { limit })) => Why::Fault(too_large(limit)),
        UploadError::Put(CheckedError::Put(PutError::Stream(error))) => Why::Fault(broke(error)),
        UploadError::Put(CheckedError::Put(PutError::Blob(error))) => Why::Refused(error.into()),
        UploadError::Store(error) => Why::Refused(error.into()),
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").field("limits", &self.limits).finish_non_exhaustive()
    }
}
