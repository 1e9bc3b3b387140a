//! `Prefer: wait`: a caller that would rather wait for the end of its job than be told of it, for a while (RFC 7240).

use super::jobs::result;
use super::listening::too_many;
use super::{Api, ApiError};
use crate::job::{Job, JobId};
use crate::relay::{EventKind, Filter, Heard};
use actix_web::HttpResponse;
use actix_web::http::header::{HeaderMap, HeaderName};
use std::time::Duration;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long one waits that does not say how long, and at most.
const USUAL: u64 = 60;
const LONGEST: u64 = 300;

/// Returns for how many seconds a caller would wait; none where it would not, or what it says cannot be read, which by the standard is as if
/// it were not said.
pub(super) fn preferred(headers: &HeaderMap) -> Option<u64> {
    let all = headers.get_all(PREFER).filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default().trim();
        let (name, value) = preference.split_once('=').map_or((preference, None), |(name, value)| (name, Some(value)));
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let seconds = value.map_or(Some(USUAL), |value| value.trim().trim_matches('"').parse().ok());
        seconds.map(|seconds| seconds.min(LONGEST)).filter(|seconds| *seconds > 0)
    })
}

/// Waits for the end of a job; none where it does not come in time.
pub(super) async fn ended(api: &Api, id: JobId, seconds: u64) -> Result<Option<HttpResponse>, ApiError> {
    let Some(job) = api.store.job(id).await? else { return Ok(None) };
    let limit = api.clock.sleep_until(api.clock.now() + Duration::from_secs(seconds));
    if !job.state.is_final() {
        tokio::select! {
            ended = end_of(api, &job) => ended?,
            () = limit => return Ok(None),
        }
    }
    let Some(job) = api.store.job(id).await?.filter(|job| job.state.is_final()) else { return Ok(None) };
    let mut answer = result(api, &job).await?;
    let headers = answer.headers_mut();
    if let Ok(applied) = format!("wait={seconds}").parse() {
        headers.insert(HeaderName::from_static("preference-applied"), applied);
    }
    if let Ok(location) = format!("/jobs/{id}").parse() {
        headers.insert(actix_web::http::header::LOCATION, location);
    }
    Ok(Some(answer))
}

/// Ends with the job, or when nothing more is heard of it.
async fn end_of(api: &Api, job: &Job) -> Result<(), ApiError> {
    let filter = Filter { kinds: Some(vec![EventKind::Status]), ..Filter::default() };
    let mut followed = api.relay.follow(job, filter, None).map_err(too_many)?;
    // What ended before it was followed is not heard.
    if api.store.job(job.id).await?.is_none_or(|job| job.state.is_final()) {
        return Ok(());
    }
    loop {
        match followed.listener.next().await {
            Heard::Event(told) if !told.is_final() => {}
            Heard::Event(_) | Heard::CutOff(_) | Heard::Over => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn only_what_asks_to_wait_waits() {
        let preferred = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, HeaderValue::from_str(value).unwrap());
            preferred(&headers)
        };
        for (value, seconds) in [
            ("wait=10", Some(10)),
            ("Wait = 10", Some(10)),
            ("respond-async, wait=\"7\"", Some(7)),
            ("wait=5; foo=bar", Some(5)),
            ("wait", Some(60)),
            ("wait=100000", Some(300)),
            ("wait=0", None),
            ("wait=-1", None),
            ("wait=soon", None),
            ("return=minimal", None),
            ("", None),
        ] {
            assert_eq!(preferred(value), seconds, "{value}");
        }
        assert_eq!(super::preferred(&HeaderMap::new()), None);
    }
}
