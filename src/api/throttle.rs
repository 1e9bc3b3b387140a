//! Asks, once it is known who sends a request, whether there are too many of them, and tells each caller how it stands.

use super::caller::Caller;
use super::{Api, ApiError};
use crate::throttle::Standing;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, ResponseError, web};
use std::net::SocketAddr;

/// What anybody may ask for as often as they like: it costs next to nothing, and those who watch the gateway need it most
/// when there is too much to do.
const UNLIMITED: [&str; 3] = ["/health", "/ready", "/openapi.json"];

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

fn count(request: &ServiceRequest) -> Result<Option<Standing>, ApiError> {
    if UNLIMITED.contains(&request.path()) {
        return Ok(None);
    }
    let Some(api) = request.app_data::<web::Data<Api>>() else { return Ok(None) };
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>();
    let address = request.peer_addr().as_ref().map(SocketAddr::ip);
    let limits = caller.map(|caller| caller.limits).unwrap_or_default();
    Ok(api.throttle.request(caller.and_then(|caller| caller.key.as_ref()), &limits, address)?)
}

/// Writes the headers of the IETF's draft "RateLimit header fields for HTTP".
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
