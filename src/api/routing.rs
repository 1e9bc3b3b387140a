//! What a line of the route table is, and how the lines become services. That a call needs what its line says is seen to here:
//! nothing is served that has no line.

use super::ApiError;
use super::admit::permit;
use crate::job::Scope;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, Route, web};
use std::future::{Ready, ready};

/// One line of the route table.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    pub(super) handler: fn() -> Route,
}

/// What is done to a path. What can be read with `GET` can be asked for with `HEAD`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

/// What a caller must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing, and a key is not even looked at.
    Nothing,
    /// Nothing; who has a key is told more.
    NoKey,
    /// A key with this scope, where keys are asked for.
    Scope(Scope),
    /// The same, or a link that the gateway has signed for just this.
    ScopeOrLink(Scope),
    /// A key with this scope, even where none are asked for.
    KeyWith(Scope),
    /// A key, whatever it allows, even where none are asked for.
    Key,
}

impl Needs {
    /// Names it for a page.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing | Self::NoKey => "nothing",
            Self::Scope(scope) | Self::ScopeOrLink(scope) | Self::KeyWith(scope) => scope.as_str(),
            Self::Key => "any key",
        }
    }
}

impl Call {
    /// Says whether the line is this path's. One with holes is nobody's here, unless its one hole is all that follows.
    pub(super) fn is_at(&self, path: &str) -> bool {
        match self.path.strip_suffix("{path}*") {
            Some(start) => path.starts_with(start),
            None => self.path == path,
        }
    }

    /// Returns its path as pages write it.
    pub(super) fn told_path(&self) -> &'static str {
        self.path.trim_end_matches('*')
    }
}

pub(super) const fn get(path: &'static str, needs: Needs, handler: fn() -> Route) -> Call {
    Call { verb: Verb::Get, path, needs, handler }
}

pub(super) const fn post(path: &'static str, needs: Needs, handler: fn() -> Route) -> Call {
    Call { verb: Verb::Post, path, needs, handler }
}

pub(super) const fn delete(path: &'static str, needs: Needs, handler: fn() -> Route) -> Call {
    Call { verb: Verb::Delete, path, needs, handler }
}

/// Serves every line of a table, and refuses everything else.
pub(super) fn serve(table: &[&'static Call], config: &mut web::ServiceConfig) {
    for (place, first) in table.iter().enumerate() {
        let is_done = table.iter().take(place).any(|call| call.path == first.path);
        if !is_done {
            config.service(resource(first.path, table.iter().copied().filter(|call| call.path == first.path)));
        }
    }
    config.default_service(guarded(None, web::route().to(unknown)));
}

fn resource<'a>(path: &str, calls: impl Iterator<Item = &'a Call>) -> actix_web::Resource {
    let mut resource = web::resource(path);
    let mut allowed = Vec::new();
    // Where anybody may call, anybody is told what may not be done.
    let mut otherwise = None;
    for call in calls {
        if matches!(call.needs, Needs::Nothing | Needs::NoKey) {
            otherwise = Some(call.needs);
        }
        for method in call.verb.methods() {
            allowed.push(method.as_str());
            resource = resource.route(guarded(Some(call.needs), (call.handler)()).method(method.clone()));
        }
    }
    let allowed = allowed.join(", ");
    resource.default_service(guarded(otherwise, web::route().to(move || refuse_method(&allowed))))
}

/// Lets only those in who have what is needed; without a line, those who have any key.
fn guarded(needs: Option<Needs>, route: Route) -> Route {
    route.wrap(from_fn(move |request, next| permit(needs, request, next)))
}

impl Verb {
    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Self::Get => &[Method::GET, Method::HEAD],
            Self::Post => &[Method::POST],
            Self::Delete => &[Method::DELETE],
        }
    }
}

fn refuse_method(allowed: &str) -> Ready<Result<HttpResponse, ApiError>> {
    ready(Err(ApiError::method_not_allowed(allowed)))
}

async fn unknown(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found(format!("there is nothing at {}", request.path())))
}
