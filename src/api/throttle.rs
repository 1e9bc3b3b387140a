//! Asks, once it is known who sends a request, whether there are too many of them, and tells each caller how it stands.

use super::caller::Caller;
use super::routing::{Call, Needs};
use super::{Api, ApiError, ROUTES};
use crate::throttle::Standing;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, ResponseError, web};
use std::net::SocketAddr;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// Refuses requests of callers that send too many.
pub(crate) async fn throttle(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match count(&request) {
        Err(refusal) => Ok(request.into_response(refusal.error_response()).map_into_right_body()),
        Ok(standing) => {
            let mut answer = next.call(request).await?;
            if let Some(standing) = standing {
                tell(answer.headers_mut(), standing);
            }
            Ok(answer.map_into_left_body())
        }
    }
}

/// Refuses whoever was told too often that its key is not good, or that it needs one. Keys are too long to be guessed, so
/// a good one is let through whoever else uses its address: what this limits is the work that wrong ones make.
pub(crate) async fn guesses(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let answer = next.call(request).await?;
    let address = answer.request().peer_addr().as_ref().map(SocketAddr::ip);
    let api = answer.request().app_data::<web::Data<Api>>();
    let counted = match (api, address) {
        (Some(api), Some(address)) if answer.status() == StatusCode::UNAUTHORIZED => api.throttle.guess(address),
        (Some(_) | None, Some(_) | None) => Ok(()),
    };
    match counted {
        Ok(()) => Ok(answer.map_into_left_body()),
        Err(refusal) => Ok(answer.into_response(ApiError::from(refusal).error_response()).map_into_right_body()),
    }
}

fn count(request: &ServiceRequest) -> Result<Option<Standing>, ApiError> {
    // What needs no key costs next to nothing, and who watches the gateway needs it most when there is much to do.
    let is_asked = |call: &Call| call.is_at(request.path()) && call.verb.methods().contains(request.method());
    let is_open = |call: &Call| matches!(call.needs, Needs::Nothing | Needs::NoKey) && is_asked(call);
    if ROUTES.iter().any(is_open) {
        return Ok(None);
    }
    let Some(api) = request.app_data::<web::Data<Api>>() else { return Ok(None) };
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>();
    let address = request.peer_addr().as_ref().map(SocketAddr::ip);
    let limits = caller.map(|caller| caller.limits).unwrap_or_default();
    Ok(api.throttle.request(caller.and_then(|caller| caller.key.as_ref()), &limits, address)?)
}

/// Writes the headers of the IETF's draft "`RateLimit` header fields for HTTP".
fn tell(headers: &mut HeaderMap, standing: Standing) {
    let rate = standing.rate;
    let policy = format!("\"requests\";q={};w={}", rate.requests, rate.per.as_secs());
    let whole_in = standing.whole_in.as_millis().div_ceil(1000);
    let state = format!("\"requests\";r={};t={whole_in}", standing.left);
    for (name, text) in [(POLICY, policy), (STANDING, state)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}
