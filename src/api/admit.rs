//! Who a request comes from, by the key that it shows or the session that it is part of, and whether that is enough for what it asks. Both are settled from the
//! head alone, before anything of the body is read. The log has a key's id and its tenant, never the key.

use super::caller::Caller;
use super::link::is_signed;
use super::routing::{Needs, Verb};
use super::{Api, ApiError, Door, ROUTES, session};
use crate::secret::SecretHash;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, ResponseError, web};
use tracing::info;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Finds out who calls and notes it in the request. A key that is shown must be good, wherever.
pub(crate) async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match caller(&request).await {
        // An answer and not an error, so that it gets the headers of every other answer.
        Err(refusal) => Ok(request.into_response(refusal.error_response()).map_into_right_body()),
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
    }
}

/// Lets a request through to its handler if its caller has what the route needs; without a route, if it has any key.
pub(super) async fn permit(
    needs: Option<Needs>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::nobody);
    let link = match needs {
        Some(Needs::ScopeOrLink(_)) => link(&request),
        Some(Needs::Nothing | Needs::NoKey | Needs::Scope(_) | Needs::KeyWith(_) | Needs::Key) | None => None,
    };
    match link.unwrap_or_else(|| check(needs, &caller)) {
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
        Ok(()) => next.call(request).await,
    }
}

/// Says whether a request came by a signed link, and whether that is good; it needs no key then.
fn link(request: &ServiceRequest) -> Option<Result<(), ApiError>> {
    is_signed(request.app_data::<web::Data<Api>>()?, request.request())
}

fn check(needs: Option<Needs>, caller: &Caller) -> Result<(), ApiError> {
    let (scope, must_have_key) = match needs {
        Some(Needs::Nothing | Needs::NoKey) => return Ok(()),
        Some(Needs::Scope(scope) | Needs::ScopeOrLink(scope)) => (Some(scope), false),
        Some(Needs::KeyWith(scope)) => (Some(scope), true),
        Some(Needs::Key) => (None, true),
        None => (None, false),
    };
    if caller.is_nobody() || (must_have_key && caller.key.is_none()) {
        return Err(ApiError::unauthorized());
    }
    match scope {
        Some(scope) if !caller.scopes.allow(scope) => {
            if let Some(key) = &caller.key {
                info!(%key, tenant = %caller.tenant, scope = scope.as_str(), "refused: the key lacks the scope");
            }
            Err(ApiError::scope_missing(scope))
        }
        Some(_) | None => Ok(()),
    }
}

async fn caller(request: &ServiceRequest) -> Result<Caller, ApiError> {
    let api = request.app_data::<web::Data<Api>>().ok_or_else(ApiError::internal)?;
    let needs_nothing =
        ROUTES.iter().any(|call| call.needs == Needs::Nothing && call.verb == Verb::Get && call.is_at(request.path()));
    if needs_nothing {
        return Ok(Caller::nobody());
    }
    // It opens one output and nothing else, and the route that it leads to is the output's.
    if let Some(link) = is_signed(api, request.request()) {
        return link.map(|()| Caller::by_link());
    }
    if let Some(shown) = shown(request.headers()) {
        return api.keys.check(shown).await?.map(Caller::from).ok_or_else(ApiError::unauthorized);
    }
    let keys_required = request.app_data::<Door>().map_or(api.keys_required, |door| door.keys_required);
    match session::caller(api, request.method(), request.headers()).await? {
        Some(caller) => Ok(caller),
        None if keys_required => Ok(Caller::nobody()),
        None => Ok(Caller::anybody()),
    }
}

/// Returns the key that a request shows. Where it shows several that differ, or something that cannot be a key, that is the
/// empty text, which is no good key. An `authorization` of another kind than `Bearer` is not for us.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearers = headers.get_all(AUTHORIZATION).filter_map(bearer);
    let mut all = bearers.chain(headers.get_all(API_KEY).map(text));
    let first = all.next()?;
    let hash = SecretHash::of(first);
    let agree = all.all(|other| SecretHash::of(other).matches(&hash));
    Some(if agree { first } else { "" })
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (kind, rest) = value.as_bytes().split_at_checked(6)?;
    let is_bearer = kind.eq_ignore_ascii_case(b"bearer") && rest.first().is_none_or(|byte| *byte == b' ');
    is_bearer.then(|| std::str::from_utf8(rest).unwrap_or("").trim_matches(' '))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("").trim_matches(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Scope, Scopes};

    #[test]
    fn a_key_is_shown_as_bearer_or_in_a_header_of_its_own() {
        assert_eq!(shown(&headers(&[])), None);
        assert_eq!(shown(&headers(&[("authorization", "Basic dXNlcjpwYXNz")])), None);
        assert_eq!(shown(&headers(&[("authorization", "Bearers x")])), None);
        assert_eq!(shown(&headers(&[("authorization", "")])), None);
        for (name, value) in [
            ("authorization", "Bearer k"),
            ("authorization", "bearer k"),
            ("authorization", "BEARER   k "),
            ("x-api-key", "k"),
        ] {
            assert_eq!(shown(&headers(&[(name, value)])), Some("k"), "{value}");
        }
        let basic_beside = [("authorization", "Basic eA=="), ("x-api-key", "k")];
        assert_eq!(shown(&headers(&basic_beside)), Some("k"));
        assert_eq!(shown(&headers(&[("authorization", "Bearer k"), ("x-api-key", "k")])), Some("k"));
    }

    #[test]
    fn what_cannot_be_a_key_is_shown_as_an_empty_one() {
        for value in ["Bearer", "Bearer ", "bearer  "] {
            assert_eq!(shown(&headers(&[("authorization", value)])), Some(""), "{value}");
        }
        assert_eq!(shown(&headers(&[("x-api-key", "")])), Some(""));
        for contradiction in [
            [("authorization", "Bearer a"), ("x-api-key", "b")],
            [("authorization", "Bearer a"), ("authorization", "Bearer b")],
            [("x-api-key", "a"), ("x-api-key", "b")],
            [("x-api-key", "a"), ("x-api-key", "")],
        ] {
            assert_eq!(shown(&headers(&contradiction)), Some(""), "{contradiction:?}");
        }
        let mut odd = HeaderMap::new();
        odd.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap());
        assert_eq!(shown(&odd), Some(""));
    }

    #[test]
    fn nobody_gets_what_needs_a_key_and_a_key_gets_what_its_scopes_allow() {
        let with = |scopes: &str| Caller {
            key: Some("abcdefghijkl".parse().unwrap()),
            scopes: scopes.parse().unwrap(),
            ..Caller::nobody()
        };
        for open in [Needs::Nothing, Needs::NoKey] {
            assert_eq!(answer(Some(open), &Caller::nobody()), 200);
        }
        for scope in Scope::ALL {
            for needs in [Needs::Scope(scope), Needs::KeyWith(scope)] {
                assert_eq!(answer(Some(needs), &Caller::nobody()), 401);
                assert_eq!(answer(Some(needs), &with(scope.as_str())), 200);
                assert_eq!(answer(Some(needs), &with("admin")), 200);
            }
            assert_eq!(answer(Some(Needs::Scope(scope)), &Caller::anybody()), 200);
            assert_eq!(answer(Some(Needs::KeyWith(scope)), &Caller::anybody()), 401);
        }
        assert_eq!(answer(Some(Needs::Scope(Scope::Submit)), &with("read")), 403);
        assert_eq!(answer(Some(Needs::Scope(Scope::Read)), &with("submit")), 403);
        assert_eq!(answer(Some(Needs::KeyWith(Scope::Admin)), &with("submit read")), 403);
        assert_eq!((answer(None, &Caller::nobody()), answer(None, &with("read"))), (401, 200));
        assert_eq!(Caller::nobody().scopes, Scopes::default());
    }

    fn answer(needs: Option<Needs>, caller: &Caller) -> u16 {
        check(needs, caller).map_or_else(|refusal| refusal.status_code().as_u16(), |()| 200)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }
}
