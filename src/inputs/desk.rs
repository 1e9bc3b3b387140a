//! Takes images in: their bytes are on disk as blobs, looked at and measured, before a job names them. What needs no fetching
//! comes first; the rest is fetched at the same time, under one limit for the request.

use super::fetch::{Broken, Fetcher, broken, too_large, took_too_long_together};
use super::kind::{Kind, Measured, NoImage, measure};
use super::mask::{NoMask, has_transparency, to_alpha};
use super::places::Places;
use super::scale::Scale;
use super::source::{Fault, Given, GivenImages, Source, fault};
use super::uploads::UploadError;
use crate::clock::Clock;
use crate::egress::Guard;
use crate::job::{BlobId, InputImage, InputImages, InputMask, Tenant};
use crate::media::{BlobError, Blobs, CheckedError, Hold, PutError};
use crate::store::{StoreError, UploadStore};
use crate::workflow::ParamError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::sync::Arc;
use std::time::Duration;

/// How many images are fetched at once: in all, for one tenant, and for one request.
const FETCHES: usize = 32;
const FETCHES_OF_A_TENANT: usize = 16;
const FETCHES_OF_A_REQUEST: usize = 4;

/// How many forms of uploads are taken in at once.
const FORMS: usize = 64;

/// How much may be taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of one image.
    pub bytes: u64,
    /// The most pixels of one image, those of all its frames together.
    pub pixels: u64,
    /// How long an upload lives after it was last used.
    pub life: Duration,
    /// The most bytes that the uploads of one tenant may have together.
    pub space: u64,
    /// How long fetching one image may take; those of one request together twice as long.
    pub fetch: Duration,
}

/// Takes images in.
pub struct Inputs {
    pub(super) blobs: Arc<Blobs>,
    pub(super) uploads: Arc<dyn UploadStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) fetcher: Fetcher,
    pub(super) limits: Limits,
    pub(super) random: fn(&mut [u8]),
    fetching: Arc<Places>,
    pub(super) forms: Arc<Places>,
    pub(super) scale: Scale,
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
pub(super) struct Found {
    pub(super) blob: BlobId,
    pub(super) bytes: u64,
    pub(super) content_type: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Why one image was not taken in.
pub(super) enum Why {
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
        let fetcher = Fetcher::new(guard, limits.fetch);
        let (fetching, forms) = (Places::new(FETCHES, FETCHES_OF_A_TENANT), Places::new(FORMS, FORMS));
        Self { blobs, uploads, clock, fetcher, limits, random, fetching, forms, scale: Scale::default() }
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
        let (fetched, at_hand): (GivenImages, GivenImages) =
            given.into_iter().partition(|(_, given)| given.is_fetched());
        for (name, given) in at_hand {
            images.insert(name, self.take_one(tenant, given).await?);
        }
        images.extend(self.fetch_all(tenant, fetched).await?);
        Ok(Taken { images, _hold: Some(hold) })
    }

    /// Fetches some at the same time. A request never lacks places because of itself: it goes on with those that it got. Where those
    /// are fewer than it wants and it is late, others are why.
    async fn fetch_all(&self, tenant: &Tenant, given: GivenImages) -> Result<InputImages, Refused> {
        let mut images = InputImages::new();
        if given.is_empty() {
            return Ok(images);
        }
        let wanted = given.len().min(FETCHES_OF_A_REQUEST);
        let place = self.fetching.take(tenant, wanted).ok_or(Refused::Busy)?;
        let mut missing: BTreeMap<_, _> =
            given.iter().map(|(name, given)| (name.clone(), given.written.clone())).collect();
        let each = |(name, given)| async move { (name, self.take_one(tenant, given).await) };
        let mut coming = stream::iter(given).map(each).buffer_unordered(place.count());
        let limit = self.limits.fetch.saturating_mul(2);
        let fetching = async {
            while let Some((name, image)) = coming.next().await {
                missing.remove(&name);
                images.insert(name, image?);
            }
            Ok(())
        };
        if let Ok(fetched) = tokio::time::timeout(limit, fetching).await {
            return fetched.map(|()| images);
        }
        if place.count() < wanted {
            return Err(Refused::Busy);
        }
        let first = missing.values().next().map_or("", String::as_str);
        Err(Refused::Params(vec![fault(first, took_too_long_together(limit))]))
    }

    async fn take_one(&self, tenant: &Tenant, given: Given) -> Result<InputImage, Refused> {
        let written = given.written.clone();
        self.with_mask(tenant, given).await.map_err(|why| match why {
            Why::Fault(why) => Refused::Params(vec![fault(&written, why)]),
            Why::Refused(why) => why,
        })
    }

    async fn with_mask(&self, tenant: &Tenant, given: Given) -> Result<InputImage, Why> {
        let image = self.found(tenant, given.image).await?;
        let mask = match given.mask {
            None => None,
            Some(mask) => {
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
                self.keep(whole, self.limits.bytes).await.map_err(|error| why(error, |never| match never {}))
            }
            Source::Url(url) => {
                let most = self.limits.bytes;
                let arriving = self.fetcher.fetch(&url, most).await.map_err(Why::Fault)?;
                self.keep(arriving, most).await.map_err(|error| why(error, |error: Broken| broken(&error)))
            }
            Source::Upload(id) => self.uploaded(tenant, id).await,
        }
    }

    /// Keeps the bytes of a stream, at most `most` of them, if they are an image.
    pub(super) async fn keep<S, E>(&self, stream: S, most: u64) -> Result<Found, UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let pixels = self.limits.pixels;
        let look = move |file: &mut File| measure(&mut BufReader::new(file), pixels);
        let (blob, bytes, Measured { kind, width, height, .. }) = self.blobs.put_checked(stream, most, look).await?;
        Ok(Found { blob, bytes, content_type: kind.content_type().to_owned(), width, height })
    }

    /// Makes of a mask what ComfyUI takes for one.
    async fn mask(&self, image: &Found, mask: Found) -> Result<InputMask, Why> {
        may_mask(&mask, Some(image)).map_err(Why::Fault)?;
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

/// Says whether a blob can be a mask, of an image where that is known.
pub(super) fn may_mask(mask: &Found, image: Option<&Found>) -> Result<(), Fault> {
    if mask.content_type != Kind::Png.content_type() {
        return Err(("invalid_image", format!("is {}, and a mask must be a PNG", mask.content_type)));
    }
    let Some(Found { width, height, .. }) = image else { return Ok(()) };
    let (wide, high) = (mask.width, mask.height);
    if (wide, high) == (*width, *height) {
        return Ok(());
    }
    let what = format!("is {wide} by {high} pixels, and its image {width} by {height}; they must be the same");
    Err(("mask_size_differs", what))
}

/// Says of a fault that it is the mask's.
pub(super) fn of_mask(why: Why) -> Why {
    match why {
        Why::Fault((code, what)) => Why::Fault((code, format!("its mask {what}"))),
        Why::Refused(_) => why,
    }
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
