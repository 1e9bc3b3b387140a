//! The service that writes prompts from what a picture shall show, such as a flow of Node-RED: one call, bounded in time and size,
//! to the address that the operator has set and to no other.

use crate::egress::{Guard, LookupError};
use crate::names::cut;
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};
use std::time::Duration;
use thiserror::Error as ThisError;
use tracing::warn;
use url::Url;

/// The largest answer that is read.
const LARGEST: usize = 1 << 20;

/// A connection that does not stand within this time is none.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

const USER_AGENT: &str = concat!("comfygate/", env!("CARGO_PKG_VERSION"));

/// How much of an answer that is an error is repeated.
const REPEATED: usize = 200;

/// The service.
pub struct PromptService {
    url: Url,
    limit: Duration,
    guard: Guard,
    http: reqwest::Client,
}

/// Why it gave no prompts.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
pub enum ServiceError {
    /// Its address is one that is not called.
    #[error("COMFYGATE_RUNNER_PROMPT_URL {0}")]
    Blocked(String),
    /// Nobody answers there.
    #[error(
        "the prompt service at {host} cannot be reached: {why}; is it running, and COMFYGATE_RUNNER_PROMPT_URL right?"
    )]
    Unreachable {
        /// Where.
        host: String,
        /// Why.
        why: &'static str,
    },
    /// It took too long.
    #[error(
        "the prompt service at {host} did not answer within {}; COMFYGATE_RUNNER_PROMPT_TIMEOUT may be longer",
        humantime::format_duration(*.limit)
    )]
    TimedOut {
        /// Where.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// It answered with something that is no answer.
    #[error("the prompt service at {host} {what}")]
    Refused {
        /// Where.
        host: String,
        /// What it did.
        what: String,
    },
}

impl PromptService {
    /// Makes the client of the guard.
    pub fn new(url: Url, limit: Duration, guard: Guard) -> Self {
        let http = builder(&guard).build().unwrap_or_else(|error| {
            warn!(%error, "a prompt service at https cannot be called; install this system's ca-certificates");
            let without_authorities = builder(&guard).tls_certs_only([]).build();
            without_authorities.expect("nothing but the authorities is read from the system")
        });
        Self { url, limit, guard, http }
    }

    /// Forwards what was asked for, and returns the object that was answered, which has a `positive_prompt`.
    pub async fn ask(&self, body: Bytes) -> Result<Map<String, Value>, ServiceError> {
        self.guard.check(self.url.as_str()).map_err(|refusal| ServiceError::Blocked(refusal.to_string()))?;
        match tokio::time::timeout(self.limit, self.call(body)).await {
            Ok(answer) => answer,
            Err(_) => Err(ServiceError::TimedOut { host: self.host(), limit: self.limit }),
        }
    }

    async fn call(&self, body: Bytes) -> Result<Map<String, Value>, ServiceError> {
        let call = self.http.post(self.url.clone()).body(body);
        let call = call.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut answer = call.send().await.map_err(|error| self.failed(&error))?;
        let status = answer.status();
        let mut text = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(&error))? {
            if text.len() + chunk.len() > LARGEST {
                return Err(self.refused(format!("answered with more than {LARGEST} bytes")));
            }
            text.extend_from_slice(&chunk);
        }
        let shown = || cut(&String::from_utf8_lossy(&text).escape_debug().to_string(), REPEATED);
        if status.is_redirection() {
            let what = format!("answered {}: redirects are not followed, set the final URL", status.as_u16());
            return Err(self.refused(what));
        }
        if !status.is_success() {
            return Err(self.refused(format!("answered with status {}: {}", status.as_u16(), shown())));
        }
        let Ok(answer) = serde_json::from_slice::<Value>(&text) else {
            return Err(self.refused(format!("answered with something that is not JSON: {}", shown())));
        };
        match answer {
            Value::Object(members) if members.get("positive_prompt").is_some_and(Value::is_string) => Ok(members),
            Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                let wanted = "an object with the texts `positive_prompt` and `negative_prompt`";
                Err(self.refused(format!("answered with JSON that is not {wanted}: {}", shown())))
            }
        }
    }

    fn host(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.url.host_str().unwrap_or_default())
    }

    fn refused(&self, what: String) -> ServiceError {
        ServiceError::Refused { host: self.host(), what }
    }

    fn failed(&self, error: &reqwest::Error) -> ServiceError {
        let host = self.host();
        match LookupError::of(error) {
            Some(LookupError::Blocked(reason)) => ServiceError::Blocked(format!("has a name that leads to {reason}")),
            Some(LookupError::Failed(_) | LookupError::Nothing) => {
                ServiceError::Unreachable { host, why: "its name is not known" }
            }
            None if error.is_timeout() => {
                ServiceError::Unreachable { host, why: "no connection could be made in time" }
            }
            None if error.is_connect() => ServiceError::Unreachable { host, why: "no connection could be made" },
            None => ServiceError::Unreachable { host, why: "the connection broke, or the answer is not HTTP's" },
        }
    }
}

fn builder(guard: &Guard) -> reqwest::ClientBuilder {
    guard
        .client()
        .retry(reqwest::retry::never())
        .http1_only()
        .connect_timeout(CONNECT_LIMIT)
        // Each call is one of its own: one that is used again may be one that the service is just closing.
        .pool_max_idle_per_host(0)
        .user_agent(USER_AGENT)
}
