//! Jobs as callers see them: one, many, its outputs, and the wish to cancel.

use super::caller::Caller;
use super::listening::place_of;
use super::{Api, ApiError, thumbnail};
use crate::clock::Timestamp;
use crate::intake::Cancelled;
use crate::job::{Job, JobId, JobState, Output, OutputKind, live_view};
use crate::media::body_stream;
use crate::pool::end_of_run;
use crate::store::{Cursor, CursorError, ListFilter, Listed};
use actix_files::NamedFile;
use actix_web::body::SizedStream;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ContentDisposition, DispositionParam, DispositionType, ETAG, HeaderValue,
    IF_NONE_MATCH,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;

/// Answers with the job: while it lives how far it is, then the very object that the webhook carries.
pub(super) async fn get(api: web::Data<Api>, caller: Caller, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let job = find(&api, &caller, &id).await?;
    if !job.state.is_final() {
        return Ok(HttpResponse::Ok().json(living(&api, &caller, &job)));
    }
    result(&api, &job).await
}

/// Answers with the final object of a job that has ended.
pub(super) async fn result(api: &Api, job: &Job) -> Result<HttpResponse, ApiError> {
    let Some(finished) = api.store.finished(job.id).await? else {
        return Err(ApiError::not_found(format!("the result of job {} is not kept any more", job.id)));
    };
    let length = finished.body.content_length();
    let stream = body_stream(Arc::clone(&api.blobs), finished.body);
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(SizedStream::new(length, stream)))
}

/// Answers with how the last run of a job went, node by node.
pub(super) async fn profile(
    api: web::Data<Api>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let job = find(&api, &caller, &id).await?;
    if !job.state.is_final() {
        let state = job.state.as_str();
        return Err(ApiError::not_found(format!("job {} is {state}: it has a profile once it has ended", job.id)));
    }
    match api.store.profile(job.id).await? {
        Some(profile) => Ok(HttpResponse::Ok().json(profile)),
        None => Err(ApiError::not_found(format!("job {} has no profile: no run of it had begun", job.id))),
    }
}

/// Lists jobs, newest first; `?status=&workflow=&tenant=&limit=&cursor=`.
pub(super) async fn list(
    api: web::Data<Api>,
    caller: Caller,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let tenant = caller.only(query.get("tenant").map(String::as_str))?;
    let filter = ListFilter { tenant, ..filter(&query)? };
    let limit = filter.limit as usize;
    let listed = api.store.list(filter).await?;
    let next = listed
        .last()
        .filter(|_| listed.len() == limit)
        .map(|last| Cursor { job: last.job.id, accepted_at: last.job.created_at }.to_string());
    let jobs: Vec<Value> = listed.iter().map(|entry| Value::Object(summary(&api, &caller, entry))).collect();
    Ok(HttpResponse::Ok().json(json!({ "jobs": jobs, "next_cursor": next })))
}

/// Takes the wish to cancel: 202 where the job can still be stopped, 409 where it has ended.
pub(super) async fn cancel(
    api: web::Data<Api>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = find(&api, &caller, &id).await?.id;
    caller.note("asked to cancel a job", id);
    let status = match api.intake.cancel(id).await? {
        Cancelled::Unknown => return Err(no_job(&id.to_string())),
        Cancelled::AlreadyFinal(state) => {
            let message = format!("job {id} has ended already, as {}", state.as_str());
            return Err(ApiError::conflict("already_final", message));
        }
        Cancelled::Now => "cancelled",
        Cancelled::Asked => "cancelling",
    };
    Ok(HttpResponse::Accepted().json(json!({ "prompt_id": id.to_string(), "status": status })))
}

/// Answers with the bytes of one output, in parts where asked with `Range`.
pub(super) async fn output(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (id, place) = path.into_inner();
    let job = find(&api, &caller, &id).await?;
    let finished = api.store.finished(job.id).await?;
    let output = place.parse::<usize>().ok().and_then(|place| finished.as_ref()?.outputs.get(place));
    let Some(output) = output else {
        return Err(ApiError::not_found(format!("job {} has no output `{place}`", job.id)));
    };
    if let Some(side) = thumbnail::asked(request.query_string())?
        && let Some(small) = thumbnail::answer(&api, &caller, &request, output, side).await?
    {
        return Ok(small);
    }
    let tag = format!("\"{}\"", output.sha256);
    if names(request.headers().get(IF_NONE_MATCH), &tag) {
        let mut answer = HttpResponse::NotModified();
        return Ok(answer.insert_header((ETAG, tag)).finish());
    }
    let gone = |_| ApiError::not_found(format!("output {place} of job {} is not kept any more", job.id));
    let file = NamedFile::open_async(api.blobs.path(&output.sha256)).await.map_err(gone)?;
    let mut answer = file
        .set_content_type(output.content_type.parse().unwrap_or(mime::APPLICATION_OCTET_STREAM))
        .set_content_disposition(disposition(output, &place))
        .use_etag(false)
        .into_response(&request);
    let headers = answer.headers_mut();
    // A browser may keep it for its user, and asks by its tag whether it may still show it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    Ok(answer)
}

/// Returns the job of a path, if the caller may see it; another's is answered like one that is not there.
pub(super) async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Job, ApiError> {
    let found = api.store.job(parse(id)?).await?;
    found.filter(|job| caller.may_see(&job.tenant)).ok_or_else(|| no_job(id))
}

fn parse(id: &str) -> Result<JobId, ApiError> {
    id.parse().map_err(|_| no_job(id))
}

fn no_job(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no job `{}`", id.escape_debug()))
}

fn living(api: &Api, caller: &Caller, job: &Job) -> Map<String, Value> {
    let mut view = live_view(job, api.clock.now());
    if caller.is_operator() {
        view.insert("tenant".into(), json!(job.tenant.name()));
    }
    let progress = api.pool.progress_of(job.id);
    if let Some(progress) = progress {
        view.insert("progress".into(), json!({ "fraction": progress.fraction }));
    }
    let now = api.clock.now();
    if job.state == JobState::Queued
        && let Some(place) = place_of(&api.outlooks, job.id)
    {
        view.insert("position".into(), json!(place.position));
        view.insert("waiting_reason".into(), json!(place.why));
        if let Some((start, end)) = place.expected {
            tell_eta(&mut view, Some(start), end, now);
        }
    }
    if let (JobState::Running, Some(started), Some(run)) = (job.state, job.started_at, &job.run) {
        let usual = api.estimates.read().expected(&job.request.structure, &run.backend);
        if let Some(end) = end_of_run(started, now, usual, progress.as_ref()) {
            tell_eta(&mut view, None, end, now);
        }
    }
    view
}

/// Says when a job should begin, where it has not begun, and when it should end.
fn tell_eta(view: &mut Map<String, Value>, start: Option<Timestamp>, end: Timestamp, now: Timestamp) {
    let mut eta = json!({ "end": end.rfc3339() });
    if let Some(start) = start {
        eta["start"] = json!(start.rfc3339());
    }
    view.insert("eta".into(), eta);
    view.insert("eta_ms".into(), json!(end.millis_since(now)));
}

fn summary(api: &Api, caller: &Caller, entry: &Listed) -> Map<String, Value> {
    let mut view = living(api, caller, &entry.job);
    if let Some(ended) = entry.job.ended_at {
        view.insert("ended_at".into(), json!(ended.rfc3339()));
    }
    if let Some(code) = &entry.code {
        view.insert("code".into(), json!(code));
        view.insert("error".into(), json!(entry.error));
    }
    if let Some(delivery) = entry.delivery {
        view.insert("delivery".into(), json!(delivery.as_str()));
    }
    view.insert("status_url".into(), json!(format!("/jobs/{}", entry.job.id)));
    if entry.job.state.is_final() {
        view.insert("outputs".into(), json!(entry.outputs));
    }
    if let Some(place) = entry.first_image {
        let url = format!("/jobs/{}/outputs/{place}?thumbnail={}", entry.job.id, thumbnail::USUAL);
        view.insert("thumbnail_url".into(), json!(url));
    }
    view
}

fn filter(query: &HashMap<String, String>) -> Result<ListFilter, ApiError> {
    let mut filter = ListFilter { limit: PAGE, ..ListFilter::default() };
    for (name, value) in query {
        match name.as_str() {
            "status" => filter.state = Some(state(value)?),
            "workflow" => filter.workflow = Some(value.clone()),
            "cursor" => filter.before = Some(cursor(value)?),
            "limit" => filter.limit = limit(value)?,
            // Whose they are is settled already.
            "tenant" => {}
            _ => {
                let message = format!("there is no filter `{name}`; there are status, workflow, tenant, limit, cursor");
                return Err(ApiError::bad_request("unknown_field", message));
            }
        }
    }
    Ok(filter)
}

/// Reads how many entries a page shall have.
pub(super) fn limit(value: &str) -> Result<u32, ApiError> {
    let limit = value.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
    limit
        .ok_or_else(|| ApiError::bad_request("out_of_range", format!("limit: `{value}` is outside 1..={LARGEST_PAGE}")))
}

/// Reads where the page before has ended.
pub(super) fn cursor(value: &str) -> Result<Cursor, ApiError> {
    let wrong = |error| ApiError::bad_request("invalid_cursor", format!("cursor `{}`: {error}", value.escape_debug()));
    value.parse().map_err(|error: CursorError| wrong(error))
}

fn state(word: &str) -> Result<JobState, ApiError> {
    JobState::parse(word).ok_or_else(|| {
        let words: Vec<&str> = JobState::ALL.into_iter().map(JobState::as_str).collect();
        ApiError::bad_request("not_allowed", format!("status `{word}` is none of {}", words.join(", ")))
    })
}

/// Says whether an `if-none-match` header names a tag: what it names never changes, so the caller has it already.
pub(super) fn names(header: Option<&HeaderValue>, tag: &str) -> bool {
    let known = header.and_then(|value| value.to_str().ok()).unwrap_or("");
    known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// Images, videos and sounds may be shown by a browser; anything else is only ever saved, since it may be a page.
fn disposition(output: &Output, place: &str) -> ContentDisposition {
    let is_shown = matches!(output.kind(), OutputKind::Image | OutputKind::Video | OutputKind::Audio)
        && !output.content_type.starts_with("image/svg");
    let disposition = if is_shown { DispositionType::Inline } else { DispositionType::Attachment };
    // The backend chose the name: what is no part of a plain one would spoil the header or the caller's disk.
    let is_plain = |letter: &char| !letter.is_control() && !matches!(letter, '/' | '\\' | '"');
    let name: String = output.filename.iter().flat_map(|name| name.chars()).filter(is_plain).collect();
    let name = if name.trim_matches('.').is_empty() { format!("output-{place}") } else { name };
    ContentDisposition { disposition, parameters: vec![DispositionParam::Filename(name)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::BlobId;
    use actix_web::http::header::TryIntoHeaderValue;

    #[test]
    fn whatever_the_backend_calls_a_file_it_can_be_served() {
        for (filename, name) in [
            (Some("a.png"), "a.png"),
            (Some("../../etc/x\r\nset-cookie: a=b\".png"), "....etcxset-cookie: a=b.png"),
            (Some("ä\u{0}.png"), "ä.png"),
            (Some(".."), "output-0"),
            (Some(""), "output-0"),
            (None, "output-0"),
        ] {
            let output = Output {
                node_id: "1".into(),
                index: 0,
                content_type: "image/png".into(),
                filename: filename.map(str::to_owned),
                bytes: 1,
                sha256: BlobId(String::new()),
                metadata_stripped: None,
                origin: None,
            };
            let disposition = disposition(&output, "0");
            assert_eq!(disposition.get_filename(), Some(name));
            assert!(disposition.try_into_value().is_ok(), "{filename:?}");
        }
    }
}
