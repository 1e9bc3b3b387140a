//! The way of what backends answer to operators: a place for each answer, which it has until it is read, since each may be large.

use super::{Api, ApiError};
use actix_web::body::SizedStream;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many answers may be on their way at once.
const PLACES: usize = 4;

/// How many bytes of an answer are handed to the caller's connection at once.
const PIECE: usize = 32 * 1024;

/// The places.
#[derive(Debug)]
pub struct Passage(Arc<Semaphore>);

impl Default for Passage {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

/// Takes a place.
pub(super) fn place(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&api.passage.0).try_acquire_owned().map_err(|_| {
        ApiError::unavailable("backend_calls_busy", "too many answers of backends are on their way to operators")
    })
}

/// An answer whose JSON has its place for as long as it is in memory: until the caller has read it, but for the last of it.
pub(super) fn held(json: String, place: OwnedSemaphorePermit) -> HttpResponse {
    let bytes = web::Bytes::from(json);
    let length = bytes.len() as u64;
    let pieces = stream::unfold((bytes, place), |(mut left, place)| async move {
        let piece = left.split_to(left.len().min(PIECE));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (left, place)))
    });
    fresh().insert_header((CONTENT_TYPE, "application/json")).body(SizedStream::new(length, pieces))
}

/// An answer that holds for this moment.
pub(super) fn fresh() -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    answer
}
