//! How one backend is reached, on HTTP and on the WebSocket alike: what it is shown, through which proxy, and how its certificate
//! is judged. The definitions are `route/options`', access tokens `route/tokens`', the proxy `route/proxy`'s.

mod echo;
mod headers;
mod options;
mod proxy;
mod tls;
mod tokens;

pub use options::{
    AddressText, AuthOptions, BasicOptions, OAuthOptions, ProxyText, RouteOptions, SecretText, TlsOptions,
};
pub(super) use tls::mended;

use crate::clock::Clock;
use crate::secret::Secret;
use crate::settings::{BackendSettings, process_environment};
use proxy::HttpProxy;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use rustls::ClientConfig;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use tokens::Tokens;
use url::Url;

const NO_AUTH_HINT: &str =
    "it asks for credentials and gets none; set COMFYUI_TOKEN, or `auth` in the backend's definition";
const BEARER_HINT: &str = "is COMFYUI_TOKEN, or `auth.bearer` in the backend's definition, right?";

/// What is wrong with the way to a backend. No secret is in it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{part}: {reason}")]
pub struct RouteError {
    /// The part of the definition, such as `tls.ca_file`.
    pub part: &'static str,
    /// Why it is wrong, and how to mend it.
    pub reason: String,
}

/// How one backend is reached; cheap to clone, and its clones share one access token.
#[derive(Clone)]
pub struct Route(Arc<Way>);

struct Way {
    /// What is shown with every call, save access tokens.
    fixed: HeaderMap,
    tokens: Option<Tokens>,
    proxy: Option<HttpProxy>,
    /// None: as with all that have no options of their own.
    tls: Option<Arc<ClientConfig>>,
    is_unverified: bool,
    hint: &'static str,
}

/// What is shown with one call.
pub(super) struct Credentials {
    /// The headers; all of them are marked as sensitive.
    pub(super) headers: HeaderMap,
    /// Which access token is among them.
    token: Option<u64>,
}

impl Route {
    /// Goes there straight, shows nothing, and trusts the public authorities.
    pub fn none() -> Self {
        Self::with(HeaderMap::new(), NO_AUTH_HINT)
    }

    /// The same, and shows a bearer token.
    pub fn bearer(token: &Secret) -> Result<Self, RouteError> {
        Ok(Self::with(headers::bearer(token)?, BEARER_HINT))
    }

    /// Makes what a definition says; reads its files, and its variables with `environment`.
    ///
    /// Access tokens are asked for with the first call, so that a token endpoint that is down at the start does no harm.
    pub fn build(
        options: &RouteOptions,
        clock: Arc<dyn Clock>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, RouteError> {
        let proxy = match &options.proxy {
            Some(ProxyText(text)) => Some(HttpProxy::parse(&text.resolve("proxy", environment)?)?),
            None => None,
        };
        let (fixed, tokens, hint) = match &options.auth {
            AuthOptions::None => (HeaderMap::new(), None, NO_AUTH_HINT),
            AuthOptions::Basic(basic) => {
                let password = basic.password.resolve("auth.basic.password", environment)?;
                (headers::basic(&basic.user, &password)?, None, "are the user and password of `auth.basic` right?")
            }
            AuthOptions::Bearer(token) => {
                let token = token.resolve("auth.bearer", environment)?;
                (headers::bearer(&token)?, None, BEARER_HINT)
            }
            AuthOptions::Headers(custom) => {
                (headers::custom(custom, environment)?, None, "are the values of `auth.headers` right?")
            }
            AuthOptions::OAuth(oauth) => {
                let secret = oauth.client_secret.resolve("auth.oauth.client_secret", environment)?;
                let tls = tls::for_tokens(&options.tls)?;
                let tokens = Tokens::new(oauth, &secret, clock, proxy.as_ref(), &tls)?;
                let hint = "does it take the tokens of `auth.oauth.token_url`? look at its scope and audience";
                (HeaderMap::new(), Some(tokens), hint)
            }
        };
        let tls = if options.tls == TlsOptions::default() { None } else { Some(tls::config(&options.tls)?) };
        let is_unverified = options.tls.insecure_skip_verify;
        Ok(Self(Arc::new(Way { fixed, tokens, proxy, tls, is_unverified, hint })))
    }

    /// Makes what the settings say of all backends that they name.
    pub fn of(settings: &BackendSettings, clock: Arc<dyn Clock>) -> Result<Self, RouteError> {
        Self::build(&RouteOptions::of(settings)?, clock, &variable)
    }

    /// Makes what a definition says, with the variables of this process. Tells of each part what is wrong with it.
    pub fn defined(options: &RouteOptions, clock: Arc<dyn Clock>) -> Result<Self, Vec<RouteError>> {
        let built = |options: &RouteOptions| Self::build(options, Arc::clone(&clock), &variable);
        built(options).map_err(|first| {
            let wrong: Vec<RouteError> = options.parts().iter().filter_map(|part| built(part).err()).collect();
            // What is wrong with none of them alone is wrong with all of them together.
            if wrong.is_empty() { vec![first] } else { wrong }
        })
    }

    /// Says whether any certificate will do, which whoever begins to use it should warn of.
    pub fn is_unverified(&self) -> bool {
        self.0.is_unverified
    }

    /// Says whether anything secret is shown.
    pub fn has_credentials(&self) -> bool {
        !self.0.fixed.is_empty() || self.0.tokens.is_some()
    }

    /// Says whether a proxy is on the way.
    pub fn has_proxy(&self) -> bool {
        self.0.proxy.is_some()
    }

    /// Returns what is called besides the backend itself, each with the part of the definition that says it.
    pub fn calls(&self) -> Vec<(&'static str, &Url)> {
        let proxy = self.0.proxy.as_ref().map(|proxy| ("proxy", proxy.url()));
        let tokens = self.0.tokens.as_ref().map(|tokens| ("auth.oauth.token_url", tokens.url()));
        proxy.into_iter().chain(tokens).collect()
    }

    /// Returns what is shown with a call, or why there is no access token. Ends within the limit of the token endpoint.
    pub(super) async fn credentials(&self) -> Result<Credentials, String> {
        let mut headers = self.0.fixed.clone();
        let Some(tokens) = &self.0.tokens else { return Ok(Credentials { headers, token: None }) };
        let (shown, number) = Box::pin(tokens.get()).await?;
        headers.insert(AUTHORIZATION, shown);
        Ok(Credentials { headers, token: Some(number) })
    }

    /// Hears that the backend did not take these, and says whether another call shows others.
    pub(super) async fn refused(&self, shown: &Credentials) -> bool {
        match (&self.0.tokens, shown.token) {
            (Some(tokens), Some(number)) => tokens.throw_away(number).await,
            (None, _) | (_, None) => false,
        }
    }

    /// Says what to look at where a backend does not take what it is shown.
    pub(super) fn hint(&self) -> &'static str {
        self.0.hint
    }

    /// Returns what a backend or the proxy said, without what they were shown.
    pub(super) fn without_secrets(&self, said: &str) -> String {
        let tokens = self.0.tokens.as_ref().map(Tokens::shown).unwrap_or_default();
        let proxy = self.0.proxy.as_ref().and_then(HttpProxy::authorization);
        echo::hidden(said, self.0.fixed.values().chain(proxy).chain(&tokens))
    }

    /// Returns how certificates are judged.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, RouteError> {
        self.0.tls.as_ref().map_or_else(tls::usual, |tls| Ok(Arc::clone(tls)))
    }

    /// Returns the proxy of HTTP calls.
    pub(super) fn http_proxy(&self) -> Result<Option<reqwest::Proxy>, RouteError> {
        self.0.proxy.as_ref().map(HttpProxy::of_http).transpose()
    }

    /// Connects to what an address names, through the proxy if there is one. Whoever calls it sets the time limit.
    pub(super) async fn connect(&self, url: &Url) -> Result<tokio::net::TcpStream, String> {
        proxy::connect(self.0.proxy.as_ref(), url).await
    }

    fn with(fixed: HeaderMap, hint: &'static str) -> Self {
        Self(Arc::new(Way { fixed, tokens: None, proxy: None, tls: None, is_unverified: false, hint }))
    }
}

/// Returns a variable of this process.
fn variable(name: &str) -> Option<String> {
    process_environment().find_map(|(other, value)| (other == name).then_some(value))
}

impl Default for Route {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.fixed.keys().map(reqwest::header::HeaderName::as_str).collect();
        f.debug_struct("Route")
            .field("headers", &names)
            .field("has_tokens", &self.0.tokens.is_some())
            .field("proxy", &self.0.proxy)
            .field("is_unverified", &self.0.is_unverified)
            .finish_non_exhaustive()
    }
}

impl RouteError {
    pub(super) fn new(part: &'static str, reason: impl Into<String>) -> Self {
        Self { part, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
