//! `POST /uploads`: takes images out of a form, one part at a time and piece by piece, and keeps them for jobs to come. Also shows
//! one and forgets it.

use super::body::without_encoding;
use super::caller::Caller;
use super::{Api, ApiError};
use crate::inputs::{NoImage, UploadError};
use crate::job::UploadId;
use crate::media::{CheckedError, PutError};
use crate::store::{StoreError, Upload};
use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;

/// How many files one form may have.
const MOST_FILES: usize = 16;

/// How many bytes a form may have besides its files: boundaries and the heads of its parts.
const MOST_BESIDES: u64 = 64 << 10;

/// How long a whole form may take; between two of its pieces it is `Api::body_limit`.
const FORM_LIMIT: Duration = Duration::from_mins(5);

/// Why the bytes of a file ended early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Form(String),
    #[error("it did not arrive in time")]
    TimedOut,
}

/// Takes the files of a form in; all or the first that is at fault is told.
pub(super) async fn create(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if api.is_draining() {
        return Err(ApiError::unavailable("shutting_down", "the gateway is stopping: send the request again soon"));
    }
    let (most, announced) = check_head(&api, &request)?;
    let Some(_place) = api.inputs.form_place(&caller.tenant) else {
        return Err(ApiError::unavailable("uploads_busy", "too many uploads are under way: send this one again soon"));
    };
    if let Some(length) = announced {
        let files = length.saturating_sub(MOST_BESIDES);
        api.inputs.expect(&caller.tenant, files, MOST_FILES as u64).await?;
    }
    let form = Multipart::new(request.headers(), bounded(payload, most));
    match tokio::time::timeout(FORM_LIMIT, files(&api, &caller, form)).await {
        Ok(uploads) => Ok(HttpResponse::Created().json(json!({ "uploads": uploads? }))),
        Err(_) => Err(ApiError::body_timeout()),
    }
}

/// Shows what an upload is, as long as it is there.
pub(super) async fn get(api: web::Data<Api>, caller: Caller, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let found = match id.parse() {
        Ok(known) => api.inputs.find(caller.only(None)?, known).await?,
        Err(_) => None,
    };
    let upload = found.ok_or_else(|| no_upload(&id))?;
    let mut view = view(&upload);
    if caller.is_operator() {
        view["tenant"] = json!(upload.tenant.name());
    }
    Ok(HttpResponse::Ok().json(view))
}

/// Forgets an upload; jobs that were taken in with it keep its bytes.
pub(super) async fn delete(
    api: web::Data<Api>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let known: UploadId = id.parse().map_err(|_| no_upload(&id))?;
    if api.inputs.forget(caller.only(None)?, known).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(no_upload(&id))
    }
}

async fn files(api: &Api, caller: &Caller, mut form: Multipart) -> Result<Vec<Value>, ApiError> {
    let mut uploads = Vec::new();
    while let Some(part) = next(api, &mut form).await? {
        if uploads.len() == MOST_FILES {
            let message = format!("the form has more than {MOST_FILES} files; send them in several requests");
            return Err(ApiError::bad_request("too_many_images", message));
        }
        let most = api.inputs.limits().bytes;
        if length_of(part.headers()).is_some_and(|length| length > most) {
            return Err(ApiError::upload_too_large(most));
        }
        let name = part.name().unwrap_or_default().to_owned();
        let upload =
            api.inputs.upload(&caller.tenant, pieces(api, part)).await.map_err(|error| refused(&name, error))?;
        uploads.push(view(&upload));
    }
    if uploads.is_empty() {
        return Err(ApiError::bad_request(
            "invalid_form",
            "the form has no file; send each image as a part of its own",
        ));
    }
    Ok(uploads)
}

async fn next(api: &Api, form: &mut Multipart) -> Result<Option<Field>, ApiError> {
    match tokio::time::timeout(api.body_limit, form.next()).await {
        Ok(part) => part.transpose().map_err(|error| broken(why(&error))),
        Err(_) => Err(ApiError::body_timeout()),
    }
}

/// Returns the bytes of a file, none of which may keep us waiting.
fn pieces(api: &Api, part: Field) -> LocalBoxStream<'static, Result<Bytes, Broken>> {
    let limit = api.body_limit;
    let pieces = futures_util::stream::unfold(Some(part), move |part| async move {
        let mut part = part?;
        match tokio::time::timeout(limit, part.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(part))),
            Ok(Some(Err(error))) => Some((Err(Broken::Form(why(&error))), None)),
            Err(_) => Some((Err(Broken::TimedOut), None)),
        }
    });
    pieces.boxed_local()
}

/// Returns how many bytes a form, or a file of one, is said to have.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Checks what the head tells; returns how many bytes the form may have, and how many it is said to have.
fn check_head(api: &Api, request: &HttpRequest) -> Result<(u64, Option<u64>), ApiError> {
    without_encoding(request)?;
    let kind = request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("multipart/form-data") {
        let message = "send the images as multipart/form-data, each as a part of its own";
        return Err(ApiError::unsupported("unsupported_media_type", message));
    }
    let most = api.inputs.limits().bytes.saturating_mul(MOST_FILES as u64).saturating_add(MOST_BESIDES);
    let announced = length_of(request.headers());
    if announced.is_some_and(|length| length > most) {
        return Err(ApiError::upload_too_large(most));
    }
    Ok((most, announced))
}

/// Ends a form that has more bytes than it may have.
fn bounded(payload: web::Payload, most: u64) -> impl Stream<Item = Result<Bytes, PayloadError>> + 'static {
    payload.scan(0_u64, move |arrived, piece| {
        *arrived += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let piece = if *arrived > most { Err(PayloadError::Overflow) } else { piece };
        std::future::ready(Some(piece))
    })
}

fn view(upload: &Upload) -> Value {
    json!({
        "id": upload.id.as_str(),
        "sha256": upload.sha256,
        "size": upload.bytes,
        "content_type": upload.content_type,
        "width": upload.width,
        "height": upload.height,
        "created_at": upload.created_at.rfc3339(),
        "expires_at": upload.expires_at.rfc3339(),
    })
}

fn refused(name: &str, error: UploadError<Broken>) -> ApiError {
    let name = name.chars().take(64).collect::<String>().escape_debug().to_string();
    match error {
        UploadError::Put(CheckedError::Put(PutError::Stream(Broken::TimedOut))) => ApiError::body_timeout(),
        UploadError::Put(CheckedError::Put(PutError::Stream(Broken::Form(why)))) => broken(why),
        UploadError::Put(CheckedError::Put(PutError::TooLarge { limit })) => ApiError::upload_too_large(limit),
        UploadError::Put(CheckedError::Put(PutError::Blob(_)) | CheckedError::Refused(NoImage::Unreadable(_))) => {
            StoreError::Unavailable(error.to_string()).into()
        }
        UploadError::Put(CheckedError::Refused(no_image)) => {
            ApiError::bad_request(no_image.code(), format!("file `{name}` {no_image}"))
        }
        UploadError::Store(error) => error.into(),
    }
}

fn broken(why: String) -> ApiError {
    ApiError::bad_request("invalid_form", why)
}

fn why(error: &MultipartError) -> String {
    if matches!(error, MultipartError::Payload(PayloadError::Overflow)) {
        return "the form is larger than its files may be together".to_owned();
    }
    format!("the form cannot be read: {error}")
}

fn no_upload(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no upload `{}`", id.escape_debug()))
}
