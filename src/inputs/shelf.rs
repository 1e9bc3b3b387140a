//! Brings a job's input images to a backend before its prompt is sent there, and remembers for a while what lies where. A backend
//! that has lost a file refuses the prompt; then what is remembered of it is forgotten and everything brought once more.

use crate::clock::{Clock, Timestamp};
use crate::comfy::{Client, ClientError, Upload};
use crate::hex;
use crate::job::{BlobId, FileRef, InputImage, InputImages, ParamValue, Params};
use crate::media::{BlobError, Blobs};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::io::ReaderStream;
use tracing::error;

/// The folder below a server's input folder in which everything of ours lies.
const FOLDER: &str = "comfygate";

/// How long it is remembered that a file lies on a backend, and of how many.
const MEMORY: Duration = Duration::from_hours(1);
const MOST_KNOWN: usize = 10_000;

/// An upload that took so long before it broke was too slow for whoever cut it off.
const LONG: Duration = Duration::from_secs(10);

/// How much of a blob is read at once.
const PIECE: usize = 64 * 1024;

/// What was brought to which backend.
pub struct Shelf {
    blobs: Arc<Blobs>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Item, (FileRef, Timestamp)>>,
}

/// A file on a backend: the backend's name, the image, and its mask.
type Item = (String, BlobId, Option<BlobId>);

/// What the images of a job are called on a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    names: BTreeMap<String, String>,
    /// Some were not brought just now: they may have been lost since.
    pub is_from_memory: bool,
}

/// Why images did not get to a backend.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unplaced {
    /// It cannot be reached, or is not well.
    #[error("an input image could not be brought to it: {0}")]
    Unreachable(String),
    /// The way to it is too slow for this image, as far as that is known; whether it is well besides is another question.
    #[error("{0}")]
    TooSlow(String),
    /// It does not take an image of this size.
    #[error("the backend does not take the image for `{0}`: it is larger than its --max-upload-size")]
    TooLarge(String),
    /// It could not join an image and its mask.
    #[error("the backend could not join the image for `{0}` and its mask: one of them cannot be read")]
    Unreadable(String),
    /// Our own disk does not give its bytes.
    #[error("the image for `{0}` could not be read from the gateway's own disk; its log says more")]
    Unread(String),
    /// The bytes are not on our disk any more.
    #[error("the image for `{0}` is not kept any more")]
    Lost(String),
}

impl Shelf {
    /// Begins with nothing remembered.
    pub fn new(blobs: Arc<Blobs>, clock: Arc<dyn Clock>) -> Self {
        Self { blobs, clock, known: Mutex::default() }
    }

    /// One over a folder with nothing in it.
    #[cfg(test)]
    pub fn over(folder: &std::path::Path) -> Self {
        Self::new(Arc::new(Blobs::open(folder).unwrap()), crate::clock::SystemClock::start())
    }

    /// Brings what is not remembered to be there.
    pub async fn place(&self, backend: &str, client: &Client, images: &InputImages) -> Result<Placed, Unplaced> {
        let mut placed = Placed { names: BTreeMap::new(), is_from_memory: false };
        for (parameter, image) in images {
            let item = item(backend, image);
            let file = if let Some(file) = self.recall(&item) {
                placed.is_from_memory = true;
                file
            } else {
                let file = self.bring(client, parameter, image).await?;
                self.remember(item, file.clone());
                file
            };
            placed.names.insert(parameter.clone(), name_in_graph(&file));
        }
        Ok(placed)
    }

    /// Forgets that these images lie on a backend.
    pub fn forget(&self, backend: &str, images: &InputImages) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for image in images.values() {
            known.remove(&item(backend, image));
        }
    }

    async fn bring(&self, client: &Client, parameter: &str, image: &InputImage) -> Result<FileRef, Unplaced> {
        let began = self.clock.now();
        let broke = Arc::new(AtomicBool::new(false));
        let (blob, content_type) = (&image.sha256, &image.content_type);
        let upload = self.upload(parameter, blob, content_type, content_name(image), &broke).await?;
        let limit = client.time_to_upload(upload.length);
        let went = Went { parameter, bytes: upload.length, limit, is_mask: false, broke: &broke };
        let original =
            client.upload_image(upload).await.map_err(|error| went.unplaced(&error, self.clock.now().since(began)))?;
        let Some(mask) = &image.mask else { return Ok(original) };
        let began = self.clock.now();
        let upload = self.upload(parameter, mask.for_comfyui(), "image/png", masked_name(image), &broke).await?;
        let went = Went { bytes: upload.length, limit: client.time_to_upload(upload.length), is_mask: true, ..went };
        let joined = client.upload_mask(upload, &original).await;
        joined.map_err(|error| went.unplaced(&error, self.clock.now().since(began)))
    }

    /// Opens a blob to be sent; `broke` is set where its bytes break off on our own disk.
    async fn upload(
        &self,
        parameter: &str,
        blob: &BlobId,
        content_type: &str,
        name: String,
        broke: &Arc<AtomicBool>,
    ) -> Result<Upload<impl Stream<Item = io::Result<Bytes>> + use<>>, Unplaced> {
        let lost = |error: BlobError| match error {
            BlobError::Missing(_) | BlobError::BadId(_) => Unplaced::Lost(parameter.to_owned()),
            BlobError::Io { .. } => {
                error!(%error, "an input image cannot be read");
                Unplaced::Unread(parameter.to_owned())
            }
        };
        let length = self.blobs.size(blob).await.map_err(lost)?;
        let file = self.blobs.open_blob(blob).await.map_err(lost)?;
        let (broke, blob) = (Arc::clone(broke), blob.clone());
        let note = move |piece: &io::Result<Bytes>| {
            if let Err(error) = piece {
                error!(%error, %blob, "an input image cannot be read");
                broke.store(true, Ordering::Relaxed);
            }
        };
        Ok(Upload {
            name,
            subfolder: FOLDER.to_owned(),
            content_type: content_type.to_owned(),
            length,
            stream: ReaderStream::with_capacity(file, PIECE).inspect(note),
        })
    }

    fn recall(&self, item: &Item) -> Option<FileRef> {
        let now = self.clock.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(item).filter(|(_, until)| now < *until).map(|(file, _)| file.clone())
    }

    fn remember(&self, item: Item, file: FileRef) {
        let now = self.clock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() >= MOST_KNOWN {
            // To bring something once more costs less than to know what was used last.
            known.clear();
        }
        known.insert(item, (file, now + MEMORY));
    }
}

impl Placed {
    /// What images are called before anything is known of a backend, for a graph of which only the nodes matter.
    pub fn expected(images: &InputImages) -> Self {
        let name = |image: &InputImage| if image.mask.is_some() { masked_name(image) } else { content_name(image) };
        let names = images.iter().map(|(parameter, image)| (parameter.clone(), format!("{FOLDER}/{}", name(image))));
        Self { names: names.collect(), is_from_memory: false }
    }

    /// Returns the same with a name that no file has for each of these parameters.
    pub(super) fn without(mut self, unknown: &[String]) -> Self {
        let nameless = unknown.iter().map(|parameter| (parameter.clone(), format!("{FOLDER}/unknown.png")));
        self.names.extend(nameless);
        self
    }

    /// Returns a job's parameters with the names of its images.
    pub fn joined(&self, params: &Params) -> Params {
        let names = self.names.iter().map(|(parameter, name)| (parameter.clone(), ParamValue::Text(name.clone())));
        params.clone().into_iter().chain(names).collect()
    }
}

fn item(backend: &str, image: &InputImage) -> Item {
    (backend.to_owned(), image.sha256.clone(), image.mask.as_ref().map(|mask| mask.for_comfyui().clone()))
}

/// The name of an image by its content, so that whoever brings it brings the same.
fn content_name(image: &InputImage) -> String {
    format!("{}.{}", image.sha256, image.ending())
}

/// The name of an image with its mask, by the content of both.
fn masked_name(image: &InputImage) -> String {
    let mask = image.mask.as_ref().map(|mask| mask.for_comfyui().as_str()).unwrap_or_default();
    let digest = Sha256::new_with_prefix(image.sha256.as_str()).chain_update(mask).finalize();
    format!("{}.png", hex::of(digest))
}

fn name_in_graph(FileRef { filename, subfolder, .. }: &FileRef) -> String {
    if subfolder.is_empty() { filename.clone() } else { format!("{subfolder}/{filename}") }
}

/// An upload that went wrong.
struct Went<'a> {
    parameter: &'a str,
    bytes: u64,
    limit: Duration,
    is_mask: bool,
    /// Its bytes broke off on our own disk.
    broke: &'a AtomicBool,
}

impl Went<'_> {
    /// Sorts what went wrong: by our own disk, by a backend that is not well, by the way there, or by this image.
    fn unplaced(&self, error: &ClientError, after: Duration) -> Unplaced {
        let Self { parameter, bytes, limit, is_mask, broke } = *self;
        if broke.load(Ordering::Relaxed) {
            return Unplaced::Unread(parameter.to_owned());
        }
        let slow = |what: String| {
            let name = if is_mask { "the mask of the image for" } else { "the image for" };
            Unplaced::TooSlow(format!("{name} `{parameter}`, {bytes} bytes, {what}"))
        };
        match error {
            ClientError::Status { status: 413, .. } => Unplaced::TooLarge(parameter.to_owned()),
            // The server opens both pictures and raises where it cannot; so a caller's file must not count against the backend.
            ClientError::Status { status: 500, .. } if is_mask => Unplaced::Unreadable(parameter.to_owned()),
            ClientError::TimedOut(_) => slow(format!("was not there within {}", humantime::format_duration(limit))),
            ClientError::Unreachable(_)
            | ClientError::Malformed(_)
            | ClientError::Status { status: 408 | 502 | 503 | 504, .. }
                if after >= LONG =>
            {
                slow(format!("was cut off after {} s: {error}", after.as_secs()))
            }
            ClientError::Status { .. }
            | ClientError::Unreachable(_)
            | ClientError::NotFound
            | ClientError::Malformed(_)
            | ClientError::TooLarge { .. } => Unplaced::Unreachable(error.to_string()),
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cuts_an_upload_off_makes_a_long_one_too_slow() {
        let status = |status: u16| ClientError::Status { call: "POST /upload/image".into(), status, body: "x".into() };
        let broke = AtomicBool::new(false);
        let went = Went { parameter: "photo", bytes: 9, limit: Duration::from_mins(1), is_mask: false, broke: &broke };
        let is_slow = |error: &ClientError, after| matches!(went.unplaced(error, after), Unplaced::TooSlow(_));
        let cut_off = [ClientError::Unreachable("reset".into()), ClientError::Malformed("<html>".into())];
        for error in cut_off.into_iter().chain([408, 502, 503, 504].map(status)) {
            assert!(is_slow(&error, LONG) && !is_slow(&error, LONG / 2), "{error}");
        }
        for error in [500, 401, 403, 400].map(status).into_iter().chain([ClientError::NotFound]) {
            assert!(matches!(went.unplaced(&error, LONG * 2), Unplaced::Unreachable(_)), "{error}");
        }
        assert!(is_slow(&ClientError::TimedOut("x".into()), Duration::ZERO));
        assert_eq!(went.unplaced(&status(413), LONG), Unplaced::TooLarge("photo".into()));
        broke.store(true, Ordering::Relaxed);
        assert_eq!(went.unplaced(&ClientError::Unreachable("body".into()), LONG), Unplaced::Unread("photo".into()));
    }
}
