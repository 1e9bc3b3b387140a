//! Who sends a request, and what of others' it may see.

use super::ApiError;
use crate::access::Grant;
use crate::job::{JobId, KeyId, KeyLimits, Scope, Scopes, Tenant};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use std::convert::Infallible;
use std::future::{Ready, ready};
use tracing::info;

/// Who sends a request. Found in the request's extensions, where the one who checks keys has put it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Caller {
    /// Whose the jobs are that it submits.
    pub(super) tenant: Tenant,
    /// It is an operator, who sees the jobs of all tenants.
    pub(super) sees_all: bool,
    /// The key that it showed; none where it showed none and none is asked for.
    pub(super) key: Option<KeyId>,
    /// What it may do.
    pub(super) scopes: Scopes,
    /// How much its key allows; nothing set where it has none.
    pub(super) limits: KeyLimits,
    /// It did not show the key itself, but is a browser that a session was opened for with it.
    pub(super) in_session: bool,
}

impl Caller {
    /// One who has shown no key where keys are asked for: may do nothing.
    pub(super) fn nobody() -> Self {
        Self { sees_all: false, scopes: Scopes::default(), ..Self::anybody() }
    }

    /// Says whether it is one who may do nothing.
    pub(super) fn is_nobody(&self) -> bool {
        self.scopes == Scopes::default()
    }

    /// Everybody, where no keys are asked for.
    pub(super) fn anybody() -> Self {
        let (tenant, limits) = (Tenant::default(), KeyLimits::default());
        Self { tenant, sees_all: true, key: None, scopes: Scopes::ALL, limits, in_session: false }
    }

    /// Whoever has a signed link, which says what it leads to and to nothing else.
    pub(super) fn by_link() -> Self {
        Self { scopes: Scopes::from_iter([Scope::Read]), ..Self::anybody() }
    }

    /// Says whether it may see what belongs to a tenant. What it may not see is answered as if it were not there.
    pub(super) fn may_see(&self, tenant: &Tenant) -> bool {
        self.sees_all || self.tenant == *tenant
    }

    /// Returns the only tenant whose things lists may show, or none for all. An operator may ask for those of one tenant.
    pub(super) fn only(&self, asked: Option<&str>) -> Result<Option<Tenant>, ApiError> {
        match asked {
            None => Ok((!self.sees_all).then(|| self.tenant.clone())),
            Some(_) if !self.sees_all => Err(ApiError::scope_missing(Scope::Admin)),
            Some(name) => match name.parse() {
                Ok(tenant) => Ok(Some(tenant)),
                Err(error) => Err(ApiError::bad_request("not_allowed", format!("tenant: {error}"))),
            },
        }
    }

    /// Logs what was done for it, under its key's id and its tenant; for somebody without a key there is nothing to tell.
    pub(super) fn note(&self, what: &'static str, job: JobId) {
        if let Some(key) = &self.key {
            info!(%key, tenant = %self.tenant, job.id = %job, "{what}");
        }
    }

    /// Says whether it is told whose each thing is: an operator, who has shown it by a key.
    pub(super) fn is_operator(&self) -> bool {
        self.key.is_some() && self.sees_all
    }
}

impl From<Grant> for Caller {
    fn from(grant: Grant) -> Self {
        let Grant { key, tenant, scopes, limits } = grant;
        Self { tenant, sees_all: scopes.allow(Scope::Admin), key: Some(key), scopes, limits, in_session: false }
    }
}

impl FromRequest for Caller {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_else(Self::nobody)))
    }
}
