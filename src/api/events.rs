//! `GET /jobs/{id}/events` and `GET /events`: what happens, as Server-Sent Events. First how things stand, then each event, and a
//! stream of one job ends with it.

use super::caller::Caller;
use super::jobs::find;
use super::listening::{KEY_GONE, Pass, asked, last_event, place_of, too_many};
use super::{Api, ApiError};
use crate::clock::Timestamp;
use crate::job::{FailureCode, Job, JobState, Output, Segment};
use crate::relay::{EventKind, Facts, Followed, Heard, Listener, Status, Told};
use crate::store::Finished;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::BoxFuture;
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// How often a stream on which nothing happens shows that it lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long a client should wait before it connects again, in milliseconds.
const RETRY: &str = "retry: 1000\n\n";

/// Follows one job to its end.
pub(super) async fn of_job(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let job = find(&api, &caller, &id).await?;
    let filter = asked(&query, &["events", "previews", "last_event_id"], None)?;
    if *request.method() == Method::HEAD {
        return Ok(answer().finish());
    }
    let Followed { listener, before, id } =
        api.relay.follow(&job, filter.clone(), last_event(&request, &query)).map_err(too_many)?;
    // Only now: whatever ends from here on is heard.
    let job = api.store.job(job.id).await?.unwrap_or(job);
    let has_end = before.as_ref().is_some_and(|told| told.iter().any(|told| told.is_final()));
    let mut shown = None;
    let first = match before {
        Some(told) if has_end || !job.state.is_final() => told,
        Some(_) | None => {
            shown = Some(Shown { since: since(&job), state: job.state, run: job.run.as_ref().map(|run| run.number) });
            let told = standing(&api, &job, id).await?;
            told.into_iter().filter(|told| filter.lets_through(told)).map(Arc::new).collect()
        }
    };
    let is_over = job.state.is_final() || has_end;
    let mut pieces = VecDeque::from([Bytes::from_static(RETRY.as_bytes())]);
    pieces.extend(first.iter().map(|told| written(&api, told)));
    Ok(answer().streaming(streamed(Telling {
        api,
        listener: (!is_over).then_some(listener),
        pieces,
        shown,
        alarm: None,
        pass: Pass::of(&caller),
    })))
}

/// Hears of all jobs that the caller may see.
pub(super) async fn of_all(
    api: web::Data<Api>,
    caller: Caller,
    request: HttpRequest,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let known = ["events", "previews", "prompt_id", "workflow", "tenant", "last_event_id"];
    let usual = EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::Preview).collect();
    let mut filter = asked(&query, &known, Some(usual))?;
    filter.tenant = caller.only(query.get("tenant").map(String::as_str))?;
    if *request.method() == Method::HEAD {
        return Ok(answer().finish());
    }
    let (missed, listener) = api.relay.listen(filter, last_event(&request, &query)).map_err(too_many)?;
    let hello = json!({ "at": api.clock.now().rfc3339() });
    let mut pieces = VecDeque::from([Bytes::from_static(RETRY.as_bytes()), named("hello", &hello)]);
    pieces.extend(missed.iter().map(|told| written(&api, told)));
    Ok(answer().streaming(streamed(Telling {
        api,
        listener: Some(listener),
        pieces,
        shown: None,
        alarm: None,
        pass: Pass::of(&caller),
    })))
}

/// What a stream is made of.
struct Telling {
    api: web::Data<Api>,
    listener: Option<Listener<Told>>,
    /// What is written before the listener is asked.
    pieces: VecDeque<Bytes>,
    /// What the store has shown: a status of before then says nothing new.
    shown: Option<Shown>,
    alarm: Option<BoxFuture<'static, ()>>,
    pass: Pass,
}

struct Shown {
    since: Timestamp,
    state: JobState,
    run: Option<u32>,
}

fn streamed(telling: Telling) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(telling, |mut telling| async move {
        let piece = telling.next().await?;
        Some((Ok(piece), telling))
    })
}

impl Telling {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(piece);
            }
            let clock = &self.api.clock;
            let alarm = self.alarm.get_or_insert_with(|| clock.sleep_until(clock.now() + KEEPALIVE));
            let listener = self.listener.as_mut()?;
            let heard = tokio::select! {
                biased;
                heard = listener.next() => heard,
                () = self.pass.over(&self.api) => Heard::CutOff(KEY_GONE),
                () = alarm => {
                    self.alarm = None;
                    return Some(Bytes::from_static(b": keepalive\n\n"));
                }
            };
            self.alarm = None;
            match heard {
                Heard::Event(told) if self.is_stale(&told) => {}
                Heard::Event(told) => return Some(written(&self.api, &told)),
                Heard::CutOff(reason) => {
                    self.listener = None;
                    return Some(named("cut_off", &json!({ "reason": reason })));
                }
                Heard::Over => self.listener = None,
            }
        }
    }

    fn is_stale(&self, told: &Told) -> bool {
        let (Some(shown), Facts::Status(status)) = (&self.shown, &told.facts) else { return false };
        let run = status.run.as_ref().map(|(number, _)| *number);
        told.at < shown.since || status.state != JobState::Queued && status.state == shown.state && run == shown.run
    }
}

fn answer() -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, "text/event-stream"));
    answer.insert_header((CACHE_CONTROL, "no-cache"));
    // A proxy that collects answers before it passes them on must not do so here.
    answer.insert_header(("x-accel-buffering", "no"));
    answer
}

fn written(api: &Api, told: &Told) -> Bytes {
    let (id, name, data) = (api.relay.event_id(told), told.kind().as_str(), told.data());
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
}

fn named(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// Says how a job stands that nothing is told of, or nothing more: by what the store has.
async fn standing(api: &Api, job: &Job, id: u64) -> Result<Vec<Told>, ApiError> {
    let told = |at, facts| Told::about(job, id, at, facts);
    if !job.state.is_final() {
        let place = if job.state == JobState::Queued { place_of(&api.outlooks, job.id) } else { None };
        let run = job.run.as_ref().filter(|_| job.state != JobState::Queued);
        let run = run.map(|run| (run.number, Some(run.backend.clone())));
        let status = Status { run, place, ..Status::of(job.state) };
        return Ok(vec![told(api.clock.now(), Facts::Status(status))]);
    }
    let finished = api.store.finished(job.id).await?;
    let failure = finished.as_ref().and_then(failure);
    let outputs = finished.map(|Finished { outputs, .. }| outputs).unwrap_or_default();
    let ended_at = since(job);
    let output = |output: Output| {
        let name = job.request.output_names.get(&output.node_id).cloned();
        told(ended_at, Facts::Output { output, name })
    };
    let run = job.run.as_ref().map(|run| (run.number, Some(run.backend.clone())));
    let status = Status { run, failure, ..Status::of(job.state) };
    Ok(outputs.into_iter().map(output).chain([told(ended_at, Facts::Status(status))]).collect())
}

/// Reads why a job failed from its final object, which has no images in it then.
fn failure(finished: &Finished) -> Option<(FailureCode, String)> {
    let [Segment::Text(text)] = finished.body.segments.as_slice() else { return None };
    let object: Value = serde_json::from_str(text).ok()?;
    let code = FailureCode::deserialize(object.get("code")?).ok()?;
    Some((code, object.get("error")?.as_str()?.to_owned()))
}

/// Returns since when a job is in its state.
fn since(job: &Job) -> Timestamp {
    let known = match job.state {
        JobState::Queued => None,
        JobState::Submitted => job.submitted_at,
        JobState::Running => job.started_at,
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => job.ended_at,
    };
    known.unwrap_or(job.created_at)
}
