//! Headers that every answer carries, whoever made it, so that a browser makes nothing of it but what it is; and those
//! that let the web pages of the settings read answers.

use super::Api;
use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, CROSS_ORIGIN_RESOURCE_POLICY, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, web};

/// What is said unless a handler has said otherwise. An output is what a backend made, perhaps an SVG with a script in
/// it: opened in a browser, it may run nothing and load nothing.
const ALWAYS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-site"),
];

/// What a page may read of an answer besides its body.
const EXPOSED: &str = "content-disposition, content-range, etag, idempotent-replayed, location, ratelimit, \
     ratelimit-policy, retry-after, www-authenticate";
/// What a page may send.
const TAKEN: &str = "authorization, content-type, idempotency-key, if-none-match, range";
const METHODS: &str = "GET, HEAD, POST, DELETE";
/// For how many seconds a browser need not ask again whether it may send.
const ASK_AGAIN: &str = "600";

/// Adds to an answer what each must carry and what is not there yet.
pub(super) fn complete(headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// Completes every answer, and answers browsers that ask whether a page may send a request.
pub(crate) async fn headers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let origin = listed_origin(&request);
    let is_question = *request.method() == Method::OPTIONS
        && origin.is_some()
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut answer = if is_question {
        let mut answer = HttpResponse::NoContent();
        answer.insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS));
        answer.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, TAKEN));
        answer.insert_header((ACCESS_CONTROL_MAX_AGE, ASK_AGAIN));
        request.into_response(answer.finish()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    complete(answer.headers_mut());
    if let Some(origin) = origin {
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        answer.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    }
    Ok(answer)
}

/// Returns the page's origin where it is one that may use the gateway.
fn listed_origin(request: &ServiceRequest) -> Option<HeaderValue> {
    let origin = request.headers().get(ORIGIN)?;
    let api = request.app_data::<web::Data<Api>>()?;
    api.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}
