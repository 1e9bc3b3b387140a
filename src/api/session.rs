//! `/session`: a browser that has shown a key gets a cookie, so that what it loads by itself, pictures, events and downloads, is let
//! in too. The cookie is no key and tells none; what it allows is what its key allows at that moment.

use super::caller::Caller;
use super::guard::is_own_origin;
use super::{Api, ApiError};
use crate::access::SESSION_LIFE;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HOST, HeaderMap, HeaderName, ORIGIN, SET_COOKIE, UPGRADE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use tracing::info;

const NAME: &str = "comfygate_session";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Says whether keys are asked for, and who the caller is by the cookie or the key that it shows.
pub(super) async fn get(api: web::Data<Api>, caller: Caller) -> HttpResponse {
    let tenant = (!caller.is_nobody()).then(|| caller.tenant.name().to_owned());
    HttpResponse::Ok().json(json!({
        "keys_required": api.keys_required,
        "signed_in": caller.key.is_some(),
        "tenant": tenant,
        "scopes": caller.scopes.words().collect::<Vec<_>>(),
        "operator": caller.sees_all,
    }))
}

/// Opens a session for the key that the request shows in a header. A session opens no other: it would never end.
pub(super) async fn open(api: web::Data<Api>, caller: Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let key = caller.key.as_ref().filter(|_| !caller.in_session).ok_or_else(ApiError::unauthorized)?;
    let token = api.keys.open_session(key).ok_or_else(ApiError::internal)?;
    info!(%key, tenant = %caller.tenant, "a session was opened");
    Ok(answer(&api, request.headers(), token.expose(), SESSION_LIFE.as_secs()))
}

/// Has the browser forget its cookie.
pub(super) async fn end(api: web::Data<Api>, request: HttpRequest) -> HttpResponse {
    answer(&api, request.headers(), "", 0)
}

fn answer(api: &Api, headers: &HeaderMap, token: &str, seconds: u64) -> HttpResponse {
    let secure = if came_by_tls(headers, api.pages.origin.as_deref()) { "; Secure" } else { "" };
    let cookie = format!("{NAME}={token}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}");
    HttpResponse::NoContent().insert_header((SET_COOKIE, cookie)).finish()
}

/// Finds out who is calling by the cookie; none where there is none, or none that is good. Who changes something must come from
/// a page of the gateway's own, since a browser sends the cookie whichever page has made it send the request.
pub(super) async fn caller(api: &Api, method: &Method, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    let Some(token) = token(headers) else { return Ok(None) };
    let Some(grant) = api.keys.session(token).await? else { return Ok(None) };
    if does_more_than_read(method, headers) && !is_from_own_page(headers, api.pages.origin.as_deref()) {
        let message = "with the cookie of a session alone, only pages of this gateway may do this; send a key instead";
        return Err(ApiError::forbidden("origin_not_allowed", message));
    }
    Ok(Some(Caller { in_session: true, ..Caller::from(grant) }))
}

/// Returns what the cookie says. Two that differ say nothing: one of them may be another site's.
fn token(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).filter_map(|line| line.to_str().ok());
    let mut all =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='));
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// Says whether a request is more than a question whose answer another page cannot read. What a socket says it can.
fn does_more_than_read(method: &Method, headers: &HeaderMap) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || headers.contains_key(UPGRADE)
}

fn is_from_own_page(headers: &HeaderMap, own: Option<&str>) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text(ORIGIN).is_some_and(|origin| is_own_origin(origin, text(HOST).unwrap_or(""), own))
}

/// Says whether the browser came by TLS, as far as it can be known behind whoever ends it: by the page that it shows, else by
/// the URL of the settings.
fn came_by_tls(headers: &HeaderMap, own: Option<&str>) -> bool {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.or(own).is_some_and(|origin| origin.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn the_cookie_is_found_among_others_and_two_that_differ_are_none() {
        let token_of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
            }
            token(&headers).map(str::to_owned)
        };
        assert_eq!(token_of(&[]), None);
        assert_eq!(token_of(&["a=b; comfygate_sessions=x; xcomfygate_session=y; comfygate_session"]), None);
        for lines in [
            &["comfygate_session=t"][..],
            &["a=b; comfygate_session=t; c=d"],
            &["a=b", "comfygate_session=t"],
            &["comfygate_session=t;comfygate_session=t"],
        ] {
            assert_eq!(token_of(lines).as_deref(), Some("t"), "{lines:?}");
        }
        assert_eq!(token_of(&["comfygate_session=t; comfygate_session=u"]), None);
        assert_eq!(token_of(&["comfygate_session=t", "comfygate_session="]), None);
    }

    #[test]
    fn only_a_page_of_the_gateways_own_does_more_than_read() {
        let own = Some("https://gate.example");
        for (origin, site, expected) in [
            (None, None, false),
            (Some("http://127.0.0.1:8083"), None, true),
            (Some("https://gate.example"), None, true),
            (Some("http://127.0.0.1:3000"), None, false),
            (Some("null"), None, false),
            (None, Some("same-origin"), true),
            (Some("https://elsewhere.example"), Some("cross-site"), false),
            (Some("http://127.0.0.1:8083"), Some("same-site"), false),
            (None, Some("none"), false),
        ] {
            let headers = headers(origin, site);
            assert_eq!(is_from_own_page(&headers, own), expected, "{origin:?} {site:?}");
        }
        for (method, expected) in [
            (Method::GET, false),
            (Method::HEAD, false),
            (Method::POST, true),
            (Method::DELETE, true),
            (Method::PUT, true),
        ] {
            assert_eq!(does_more_than_read(&method, &HeaderMap::new()), expected, "{method}");
        }
        let mut upgrade = HeaderMap::new();
        upgrade.insert(UPGRADE, HeaderValue::from_static("websocket"));
        assert!(does_more_than_read(&Method::GET, &upgrade));
    }

    #[test]
    fn the_cookie_is_for_tls_alone_where_the_browser_came_by_it() {
        let own = Some("https://gate.example");
        assert!(!came_by_tls(&HeaderMap::new(), None));
        assert!(came_by_tls(&HeaderMap::new(), own));
        assert!(came_by_tls(&headers(Some("https://gate.example"), None), None));
        assert!(!came_by_tls(&headers(Some("http://127.0.0.1:8083"), None), own));
    }

    fn headers(origin: Option<&str>, site: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:8083"));
        for (name, value) in [(ORIGIN, origin), (FETCH_SITE, site)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        headers
    }
}
