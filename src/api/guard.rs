//! Who may speak to the gateway at all: the `host` that a request names, and the web page that it comes from.
//!
//! A page on another site can make a browser send requests to a loopback address, and a name it controls can be made
//! to point there. Both are refused by their headers before any handler runs.

use super::{Api, ApiError, Door, crowd};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN, UPGRADE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError, web};
use std::net::Ipv4Addr;

/// Refuses requests by their `host` and `origin`.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let rules = rules(request.request());
    let allowed = crowd::check(&request).and_then(|()| check(request.headers(), request.method(), &rules));
    match allowed {
        // An answer and not an error, so that it gets the headers of every other answer.
        Err(refusal) => Ok(request.into_response(refusal.error_response()).map_into_right_body()),
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_left_body),
    }
}

/// Refuses what a browser sends for a page of another site, where asking does something: such a request can be told by what the
/// browser says, and a program says nothing.
pub(super) fn own_page(request: &HttpRequest) -> Result<(), ApiError> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    check(request.headers(), &Method::POST, &rules(request))?;
    match (text("sec-fetch-site"), text("origin")) {
        (Some("cross-site" | "same-site"), None) => {
            let message = "a web page of another site may not send this request; call from your backend";
            Err(ApiError::forbidden("origin_not_allowed", message))
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

fn rules(request: &HttpRequest) -> Rules<'_> {
    let door = request.app_data::<Door>();
    request.app_data::<web::Data<Api>>().map_or_else(Rules::default, |api| Rules {
        loopback_only: door.map_or(api.loopback_only, |door| door.loopback_only),
        hosts: &api.allowed_hosts,
        origins: &api.allowed_origins,
        own: api.pages.origin.as_deref(),
    })
}

/// Who may speak to the gateway.
#[derive(Default)]
struct Rules<'a> {
    /// It listens on a loopback address.
    loopback_only: bool,
    /// The names that it has besides loopback ones; none for any where it does not listen on loopback.
    hosts: &'a [String],
    /// The pages' origins that may send more than questions.
    origins: &'a [String],
    /// The origin of the gateway's own pages, as the settings say it.
    own: Option<&'a str>,
}

impl Rules<'_> {
    fn allow_host(&self, host: &str) -> bool {
        let any = !self.loopback_only && self.hosts.is_empty();
        any || is_loopback(host) || self.hosts.iter().any(|allowed| is_called(host, allowed))
    }
}

/// Says whether a `host` header is an allowed name: with its port where one is given, else with any.
fn is_called(host: &str, allowed: &str) -> bool {
    let matches = |name: &str| name.eq_ignore_ascii_case(allowed);
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(name, _)| name);
    matches(host) || without_port.is_some_and(matches)
}

fn check(headers: &HeaderMap, method: &Method, rules: &Rules<'_>) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(HOST);
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(ApiError::bad_request("invalid_host", "a request must have exactly one host header"));
    };
    let host = host.to_str().unwrap_or("");
    if !rules.allow_host(host) {
        let names = "is no name of this gateway; COMFYGATE_ALLOWED_HOSTS lists those that are";
        let message = format!("host `{}` {names}", host.escape_debug());
        return Err(ApiError::forbidden("host_not_allowed", message));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("");
    let is_same = is_own_origin(origin, host, rules.own);
    // A page of another site may send questions, and cannot read the answers; but what comes by a WebSocket it can.
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !headers.contains_key(UPGRADE);
    let is_listed = || rules.origins.iter().any(|allowed| allowed == origin);
    if only_reads || is_same || is_listed() {
        return Ok(());
    }
    let names = "may not send requests to this gateway; COMFYGATE_ALLOWED_ORIGINS lists those that may";
    let message = format!("origin `{}` {names}", origin.escape_debug());
    Err(ApiError::forbidden("origin_not_allowed", message))
}

/// Says whether a page of this origin is the gateway's own: by the name that the request calls it by, or, behind a proxy that
/// calls it by another, by the URL that the settings say.
pub(super) fn is_own_origin(origin: &str, host: &str, own: Option<&str>) -> bool {
    origin.split_once("://").is_some_and(|(_, site)| site.eq_ignore_ascii_case(host)) || own == Some(origin)
}

fn is_loopback(host: &str) -> bool {
    is_plainly_loopback(host) || is_loopback_url(host)
}

/// Knows the usual spellings at a glance; every request comes here.
fn is_plainly_loopback(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let is_port = port.is_empty() || (port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok());
    is_port && (name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
}

fn is_loopback_url(host: &str) -> bool {
    match url::Url::parse(&format!("http://{host}/")).ok().as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn a_loopback_gateway_answers_to_loopback_names_only() {
        for host in
            ["localhost", "localhost:8083", "LOCALHOST", "127.0.0.1", "127.0.0.1:8083", "127.9.9.9:1", "[::1]:8083"]
        {
            assert!(asked(&Method::POST, host, None, true), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1:8083",
            "",
            "127.0.0.1@evil.example",
            "127.0.0.1:80@evil.example",
            "localhost:99999",
        ] {
            assert!(!asked(&Method::POST, host, None, true), "{host}");
        }
        assert!(asked(&Method::POST, "gateway.example", None, false));
    }

    #[test]
    fn a_page_of_another_site_cannot_post() {
        let host = "127.0.0.1:8083";
        assert!(asked(&Method::POST, host, Some("http://127.0.0.1:8083"), true));
        for origin in ["https://evil.example", "null", "", "http://127.0.0.1:9999", "http://127.0.0.1:8083.evil"] {
            assert!(!asked(&Method::POST, host, Some(origin), true), "{origin}");
            assert!(asked(&Method::GET, host, Some(origin), true), "{origin}");
        }
    }

    #[test]
    fn a_request_has_exactly_one_host() {
        assert!(check(&HeaderMap::new(), &Method::GET, &Rules::default()).is_err());
        let mut two = headers("localhost", None);
        two.append(HOST, HeaderValue::from_static("localhost"));
        assert!(check(&two, &Method::GET, &Rules::default()).is_err());
    }

    #[test]
    fn listed_names_are_allowed_and_then_no_others() {
        let hosts = ["gate.example".to_owned(), "other.example:8443".to_owned()];
        for loopback_only in [true, false] {
            let rules = Rules { loopback_only, hosts: &hosts, ..Rules::default() };
            let allowed = |host: &str| check(&headers(host, None), &Method::GET, &rules).is_ok();
            for host in ["gate.example", "GATE.example", "gate.example:80", "other.example:8443", "localhost:8083"] {
                assert!(allowed(host), "{host}");
            }
            for host in
                ["other.example", "other.example:80", "agate.example", "gate.example.evil", "gate.example:x", ""]
            {
                assert!(!allowed(host), "{host}");
            }
        }
    }

    #[test]
    fn a_listed_page_may_post() {
        let origins = ["https://app.example".to_owned()];
        let rules = Rules { origins: &origins, ..Rules::default() };
        let allowed = |origin| check(&headers("gate.example", Some(origin)), &Method::POST, &rules).is_ok();
        assert!(allowed("https://app.example"));
        for origin in ["http://app.example", "https://app.example:8443", "https://app.example.evil", "null"] {
            assert!(!allowed(origin), "{origin}");
        }
    }

    #[test]
    fn behind_a_proxy_the_gateways_own_page_is_known_by_its_url() {
        let rules = Rules { loopback_only: true, own: Some("https://gate.example"), ..Rules::default() };
        let allowed = |origin| check(&headers("127.0.0.1:8083", Some(origin)), &Method::POST, &rules).is_ok();
        assert!(allowed("https://gate.example") && allowed("http://127.0.0.1:8083"));
        for origin in ["http://gate.example", "https://gate.example:8443", "https://gate.example.evil", "null", ""] {
            assert!(!allowed(origin), "{origin}");
        }
    }

    fn asked(method: &Method, host: &str, origin: Option<&str>, loopback_only: bool) -> bool {
        check(&headers(host, origin), method, &Rules { loopback_only, ..Rules::default() }).is_ok()
    }

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }
}
