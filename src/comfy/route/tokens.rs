//! Access tokens by client credentials (RFC 6749, 4.4): asked for when needed, by one caller at a time, kept until shortly before
//! they end. What a backend does with them is not known here.

use super::headers::{basic_value, value};
use super::proxy::HttpProxy;
use super::{OAuthOptions, RouteError};
use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;
use reqwest::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use tracing::debug;
use url::{Url, form_urlencoded};

/// Until a token endpoint has answered.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;
/// How long a token lives whose end is not told.
const UNTOLD: Duration = Duration::from_mins(5);
/// The longest that a token is kept, whatever was told.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// How long before its end a token is not shown any more; at most half of its life.
const MARGIN: Duration = Duration::from_mins(1);
/// How long nobody asks again after a failure, and no second token is thrown away.
const REST: Duration = Duration::from_secs(1);
/// How many tokens are remembered that a backend may still say back.
const REMEMBERED: usize = 4;
/// The errors of a token endpoint that are repeated (RFC 6749, 5.2); another text could be anything, our secret included.
const KNOWN_ERRORS: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
];

/// Gets access tokens and keeps the last one.
pub(super) struct Tokens {
    http: reqwest::Client,
    url: Url,
    /// The form that is sent.
    form: Secret,
    authorization: Option<HeaderValue>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    /// The last ones, newest at the end, for whoever looks for them in what comes back.
    shown: std::sync::Mutex<VecDeque<HeaderValue>>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// How many there were.
    count: u64,
    thrown: Option<Timestamp>,
    failed: Option<(Timestamp, String)>,
}

struct Token {
    shown: HeaderValue,
    number: u64,
    until: Timestamp,
}

/// What is read of an answer (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Value>,
}

impl Tokens {
    pub(super) fn new(
        options: &OAuthOptions,
        secret: &Secret,
        clock: Arc<dyn Clock>,
        proxy: Option<&HttpProxy>,
        tls: &ClientConfig,
    ) -> Result<Self, RouteError> {
        let url = endpoint(&options.token_url.0, proxy.is_some())?;
        if options.client_id.is_empty() {
            return Err(RouteError::new("auth.oauth.client_id", "it is empty"));
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, said) in [("scope", &options.scope), ("audience", &options.audience)] {
            if let Some(said) = said {
                form.append_pair(name, said);
            }
        }
        let authorization = if options.auth_in_body {
            form.append_pair("client_id", &options.client_id).append_pair("client_secret", secret.expose());
            None
        } else {
            let (id, secret) = (encoded(&options.client_id), encoded(secret.expose()));
            Some(basic_value("auth.oauth.client_secret", &id, &secret)?)
        };
        let unbuilt = |error: reqwest::Error| RouteError::new("auth.oauth", error.to_string());
        let builder = reqwest::Client::builder().no_proxy();
        let builder = match proxy {
            Some(proxy) => builder.proxy(proxy.of_http()?),
            None => builder,
        };
        let builder = builder.tls_backend_preconfigured(tls.clone()).http1_only();
        let builder = builder.redirect(reqwest::redirect::Policy::none()).retry(reqwest::retry::never());
        let http = builder.timeout(LIMIT).build().map_err(unbuilt)?;
        Ok(Self {
            http,
            url,
            form: Secret::new(form.finish()),
            authorization,
            clock,
            kept: Mutex::default(),
            shown: std::sync::Mutex::default(),
        })
    }

    /// Returns the endpoint.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the header with a token that is good for a while, and its number. Whoever comes while one is asked for waits for it.
    pub(super) async fn get(&self) -> Result<(HeaderValue, u64), String> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if let Some(token) = kept.token.as_ref().filter(|token| now < token.until) {
            return Ok((token.shown.clone(), token.number));
        }
        if let Some((at, reason)) = &kept.failed
            && now.since(*at) < REST
        {
            return Err(reason.clone());
        }
        match self.ask().await {
            Ok((shown, life)) => {
                debug!(token_url = %self.shown_url(), life_s = life.as_secs(), "a fresh access token");
                self.note(shown.clone());
                kept.count += 1;
                kept.failed = None;
                let number = kept.count;
                kept.token = Some(Token { shown: shown.clone(), number, until: self.clock.now() + life });
                Ok((shown, number))
            }
            Err(reason) => {
                let reason = format!("no access token from {}: {reason}", self.shown_url());
                kept.failed = Some((self.clock.now(), reason.clone()));
                kept.token = None;
                Err(reason)
            }
        }
    }

    /// Returns the tokens that a backend may have been shown lately.
    pub(super) fn shown(&self) -> VecDeque<HeaderValue> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the token of this number, which the backend did not take. Says whether the next one is another.
    pub(super) async fn throw_away(&self, number: u64) -> bool {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if kept.token.as_ref().is_none_or(|token| token.number != number) {
            return true;
        }
        // A backend that takes none of them must not have us call the endpoint without end.
        if kept.thrown.is_some_and(|at| now.since(at) < REST) {
            return false;
        }
        kept.thrown = Some(now);
        kept.token = None;
        true
    }

    fn note(&self, token: HeaderValue) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.push_back(token);
        if shown.len() > REMEMBERED {
            shown.pop_front();
        }
    }

    async fn ask(&self) -> Result<(HeaderValue, Duration), String> {
        let call = self.http.post(self.url.clone()).header(ACCEPT, HeaderValue::from_static("application/json"));
        let call = call.header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let call = match &self.authorization {
            Some(authorization) => call.header(AUTHORIZATION, authorization.clone()),
            None => call,
        };
        let sent = call.body(self.form.expose().to_owned()).send().await;
        let response = sent.map_err(|error| crate::comfy::client::cause(&error))?;
        let status = response.status().as_u16();
        let body = bounded(response).await?;
        if status != 200 {
            return Err(refusal(status, &body));
        }
        // The library's text would repeat what stands there.
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| {
            "its answer has no access_token in JSON; check that `token_url` is a token endpoint".to_owned()
        })?;
        if answer.token_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err("its tokens are not of the type Bearer".to_owned());
        }
        let is_token =
            !answer.access_token.is_empty() && answer.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        let unfit = || "its token cannot stand in a header".to_owned();
        let shown = value("auth.oauth", &format!("Bearer {}", answer.access_token)).ok().filter(|_| is_token);
        Ok((shown.ok_or_else(unfit)?, life(answer.expires_in.as_ref())))
    }

    /// Returns the endpoint without its query, which may be nobody's business.
    fn shown_url(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }
}

/// Reads the address of a token endpoint: what is sent there is a secret, so nobody on the way may read along, nor a proxy, which
/// gets what goes to this machine as well.
fn endpoint(text: &str, is_proxied: bool) -> Result<Url, RouteError> {
    let refused = |reason: &str| RouteError::new("auth.oauth.token_url", reason);
    let url = Url::parse(text).map_err(|error| refused(&format!("it is not an address ({error})")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it holds a user or password; write them as `client_id` and `client_secret`"));
    }
    let is_here = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here && is_proxied => {
            Err(refused("the client's secret would go to the proxy unencrypted; use https://, or take `proxy` away"))
        }
        "http" if is_here => Ok(url),
        "http" => Err(refused("the client's secret would go there unencrypted; use https://")),
        _ => Err(refused("it is neither https:// nor, on this machine, http://")),
    }
}

/// Reads an answer's body within its bound.
async fn bounded(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| crate::comfy::client::cause(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            return Err(format!("its answer is longer than {LONGEST_ANSWER} bytes"));
        }
    }
    Ok(body)
}

fn refusal(status: u16, body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = answer.get("error").and_then(Value::as_str).unwrap_or_default();
    let known = KNOWN_ERRORS.iter().find(|known| **known == code);
    let told = known.map(|known| format!(" ({known})")).unwrap_or_default();
    let hint = match status {
        400 | 401 | 403 => "; check `client_id`, `client_secret`, `scope` and `auth_in_body`",
        300..=399 => "; it redirects, so write where to as `token_url`",
        _ => "",
    };
    format!("it answered with status {status}{told}{hint}")
}

/// Says how long a token is shown that was said to live for so many seconds.
fn life(told: Option<&Value>) -> Duration {
    let seconds = match told {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(told) => told.as_f64(),
        None => None,
    };
    let told =
        seconds.map_or(UNTOLD, |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST_LIFE));
    let life = told.min(LONGEST_LIFE);
    life.saturating_sub(MARGIN.min(life / 2)).max(REST)
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests;
