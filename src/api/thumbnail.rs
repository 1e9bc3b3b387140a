//! `GET /jobs/{id}/outputs/{n}?thumbnail=N`: a small picture of an output. None is kept here: a browser keeps its own for a day, asks
//! by its tag after that, and making one anew takes less than reading the page that shows it.

use super::bench::Bench;
use super::caller::Caller;
use super::jobs::names;
use super::{Api, ApiError};
use crate::job::{Output, OutputKind};
use crate::media::thumbnail;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use actix_web::{HttpRequest, HttpResponse};
use url::form_urlencoded;

/// How large the square may be that it has to fit into, and how large lists ask for it.
const LEAST: u32 = 64;
const MOST: u32 = 1024;
pub(super) const USUAL: u32 = 256;

/// Where pictures are made smaller.
pub struct Thumbnails {
    bench: Bench,
    most_pixels: u64,
}

impl Thumbnails {
    /// Makes them of pictures of at most so many pixels.
    pub fn new(most_pixels: u64) -> Self {
        Self { bench: Bench::for_pictures(), most_pixels }
    }
}

/// Returns how large a query wants it; none where it wants the output itself.
pub(super) fn asked(query: &str) -> Result<Option<u32>, ApiError> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "thumbnail");
    let Some((_, value)) = values.next() else { return Ok(None) };
    let side = value.parse().ok().filter(|side| (LEAST..=MOST).contains(side) && values.next().is_none());
    side.map(Some).ok_or_else(|| {
        let message = format!("thumbnail: `{}` is outside {LEAST}..={MOST}", value.escape_debug());
        ApiError::bad_request("out_of_range", message)
    })
}

/// Answers with a small picture of an output; none where the output itself must do, since it is small or cannot be read.
pub(super) async fn answer(
    api: &Api,
    caller: &Caller,
    request: &HttpRequest,
    output: &Output,
    side: u32,
) -> Result<Option<HttpResponse>, ApiError> {
    if output.kind() != OutputKind::Image {
        let message = format!("this output is {}: only images have thumbnails", output.content_type.escape_debug());
        return Err(ApiError::not_there("no_thumbnail", message));
    }
    let tag = format!("\"{}-{side}\"", output.sha256);
    if names(request.headers().get(IF_NONE_MATCH), &tag) {
        return Ok(Some(begin(StatusCode::NOT_MODIFIED, tag).finish()));
    }
    let (path, most_pixels) = (api.blobs.path(&output.sha256), api.thumbnails.most_pixels);
    let made = api.thumbnails.bench.work(&caller.tenant, move || thumbnail(&path, side, most_pixels)).await?;
    Ok(made.map(|small| begin(StatusCode::OK, tag).insert_header((CONTENT_TYPE, small.content_type)).body(small.bytes)))
}

/// What it is never changes; whoever shows another key or cookie asks again all the same.
fn begin(status: StatusCode, tag: String) -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, "private, max-age=86400"));
    answer.insert_header((VARY, "authorization, cookie, x-api-key"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;

    #[test]
    fn a_thumbnail_has_a_size_within_bounds() {
        for (query, expected) in
            [("", None), ("exp=1&sig=x", None), ("thumbnail=64", Some(64)), ("exp=1&thumbnail=1024&sig=x", Some(1024))]
        {
            assert_eq!(asked(query).unwrap(), expected, "{query}");
        }
        for query in
            ["thumbnail", "thumbnail=", "thumbnail=63", "thumbnail=1025", "thumbnail=-1", "thumbnail=99&thumbnail=99"]
        {
            assert_eq!(asked(query).unwrap_err().status_code(), 400, "{query}");
        }
    }
}
