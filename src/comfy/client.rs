//! The HTTP calls to one ComfyUI. Carries them and sorts what can go wrong; what that means for a job is decided by others.

mod agent;
mod answer;
mod operator;
mod sending;
mod upload;

pub use operator::Question;
use upload::UPLOAD_LIMIT;
pub use upload::Upload;

use super::address::ComfyUrl;
use super::redact;
use super::refusal::Refusal;
use super::route::{Route, RouteError};
use super::wire::{self, Accepted, ExtraData, HistoryEntry, PromptRequest, Queue, SystemStats};
use crate::job::FileRef;
pub(super) use answer::cause;
use answer::{ANSWER_LIMIT, failed, whole, whole_within};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use rustls::ClientConfig;
use sending::Unsent;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;
use thiserror::Error as ThisError;
use url::Url;

/// A connection to a server that does not stand within this time is none.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A healthy server stalls for seconds while it encodes images (T26), so no limit may be below ten.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// A graph may be large, and reading it is one of the stalls.
const SUBMIT_LIMIT: Duration = Duration::from_mins(1);
/// The longest transfer of a file, which may be a long video.
const VIEW_LIMIT: Duration = Duration::from_mins(15);
/// The longest silence within an answer.
const SILENCE_LIMIT: Duration = Duration::from_mins(1);
/// The largest answer that tells a few numbers and names.
const SMALL: u64 = 1 << 20;
/// Kept connections end before a proxy between us and the server would end them.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// What status 407 means.
const PROXY_REFUSED: &str = "the proxy asks for other credentials (status 407); mend the user and password of `proxy`";

/// Calls one ComfyUI; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// The same for what is long on its way there: to the other, a minute without an answer is silence.
    carrier: reqwest::Client,
    url: ComfyUrl,
    route: Route,
    call_limit: Duration,
    submit_limit: Duration,
    upload_limit: Duration,
}

/// Why a call gave no answer that can be used.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
pub enum ClientError {
    /// There was no connection, or it broke.
    #[error("the backend cannot be reached: {0}")]
    Unreachable(String),
    /// No answer came in time.
    #[error("the backend did not answer in time: {0}")]
    TimedOut(String),
    /// It answered with a status that is not success.
    #[error("the backend answered {call} with status {status}: {body}")]
    Status {
        /// The method and path.
        call: String,
        /// The HTTP status.
        status: u16,
        /// The start of the body, in one line.
        body: String,
    },
    /// It does not have what was asked for.
    #[error("the backend does not have it")]
    NotFound,
    /// The answer is not how a ComfyUI answers.
    #[error("the backend's answer is not ComfyUI's ({0}); check that its address leads to a ComfyUI")]
    Malformed(String),
    /// The answer is larger than the limit.
    #[error("the backend's answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

/// Why a prompt is not, or not surely, queued.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
pub enum SubmitError {
    /// The server refused the graph.
    #[error("the backend refused the graph: {}", .0.message)]
    Refused(Refusal),
    /// The request did not get to a ComfyUI: it is surely not queued.
    #[error("the prompt was not sent: {0}")]
    Unreachable(String),
    /// It may be queued all the same: look into the queue and the history before sending it again (T8, T17).
    #[error("the prompt may be queued or not: {0}")]
    Ambiguous(String),
    /// The same, and nobody answered at all: the connection broke, or no answer came in time.
    #[error("the prompt may be queued or not, nothing was answered: {0}")]
    Unanswered(String),
}

/// A file on its way from the backend.
pub struct View {
    /// The media type, without parameters.
    pub content_type: String,
    /// The size, where the backend said it.
    pub content_length: Option<u64>,
    /// The bytes; ends with an error if the connection breaks before the end.
    pub stream: BoxStream<'static, Result<Bytes, ClientError>>,
}

impl Client {
    /// Makes a client that goes straight there and shows nothing, follows no redirects and keeps its connections.
    pub fn new(url: ComfyUrl) -> Result<Self, ClientError> {
        Self::by(url, Route::none())
    }

    /// The same by another route. What it shows goes with every call, to this server and to no other.
    pub fn by(url: ComfyUrl, route: Route) -> Result<Self, ClientError> {
        let unbuilt = |error: reqwest::Error| ClientError::Unreachable(cause(&error));
        let unfit = |error: RouteError| ClientError::Unreachable(error.to_string());
        let http = builder(&url, &route).map_err(unfit)?.read_timeout(SILENCE_LIMIT).build().map_err(unbuilt)?;
        let carrier = builder(&url, &route).map_err(unfit)?.build().map_err(unbuilt)?;
        let (call_limit, submit_limit, upload_limit) = (CALL_LIMIT, SUBMIT_LIMIT, UPLOAD_LIMIT);
        Ok(Self { http, carrier, url, route, call_limit, submit_limit, upload_limit })
    }

    /// Returns the same client with another limit for each call; a real server needs ten seconds or more.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self.submit_limit = limit;
        self
    }

    /// Returns the same client with another limit for uploads, besides what their bytes need.
    #[must_use]
    pub fn with_upload_limit(self, upload_limit: Duration) -> Self {
        Self { upload_limit, ..self }
    }

    /// Returns the address.
    pub fn url(&self) -> &ComfyUrl {
        &self.url
    }

    /// Queues `graph` under `prompt_id`; its events go to the socket of `client_id`.
    pub async fn submit<G: Serialize + Sync + ?Sized>(
        &self,
        graph: &G,
        client_id: &str,
        prompt_id: &str,
    ) -> Result<Accepted, SubmitError> {
        self.submit_with(graph, client_id, prompt_id, ExtraData::default()).await
    }

    /// The same, with what goes with it.
    pub async fn submit_with<G: Serialize + Sync + ?Sized>(
        &self,
        graph: &G,
        client_id: &str,
        prompt_id: &str,
        extra_data: ExtraData<'_>,
    ) -> Result<Accepted, SubmitError> {
        let body = serde_json::to_vec(&PromptRequest { prompt: graph, client_id, prompt_id, extra_data })
            .map_err(|error| SubmitError::Refused(Refusal::new("not_json", &error.to_string())))?;
        let call = self.request(Method::POST, &["prompt"]).timeout(self.submit_limit);
        let call = call.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
        let (response, _) = self.send(call).await.map_err(|unsent| match unsent {
            Unsent::NoToken(reason) => SubmitError::Unreachable(reason),
            Unsent::Failed(error) if error.is_connect() => SubmitError::Unreachable(cause(&error)),
            Unsent::Failed(error) => SubmitError::Unanswered(cause(&error)),
        })?;
        let status = response.status().as_u16();
        let body = whole(response).await;
        verdict(status, if status == 200 { body } else { body.map(|body| self.route.without_secrets(&body)) })
    }

    /// Returns what runs and what waits.
    pub async fn queue(&self) -> Result<Queue, ClientError> {
        let body = self.read(&["queue"]).await?;
        wire::queue(&body).map_err(|error| ClientError::Malformed(format!("GET /queue: {error}")))
    }

    /// Returns what the history says of a prompt; none while it waits or runs, and where the history does not have it.
    /// Ask for the queue first (T1).
    pub async fn history(&self, prompt_id: &str) -> Result<Option<HistoryEntry>, ClientError> {
        let body = self.read(&["history", prompt_id]).await?;
        wire::history(&body, prompt_id).map_err(|error| ClientError::Malformed(format!("GET /history: {error}")))
    }

    /// Takes a waiting prompt out of the queue. Success says nothing: look whether it is gone (T29).
    pub async fn delete_pending(&self, prompt_id: &str) -> Result<(), ClientError> {
        self.tell("queue", &json!({ "delete": [prompt_id] })).await
    }

    /// Interrupts a prompt if it runs at this moment, and returns whether it did. Success says no more: look how it ends (T29).
    pub async fn interrupt(&self, prompt_id: &str) -> Result<bool, ClientError> {
        // Servers from before targeted interrupts ignore the id, and all take an empty one for none: then an interrupt
        // hits whoever is running (T30).
        let runs_now = self.queue().await?.running.iter().any(|running| running == prompt_id);
        if prompt_id.is_empty() || !runs_now {
            return Ok(false);
        }
        self.tell("interrupt", &json!({ "prompt_id": prompt_id })).await.map(|()| true)
    }

    /// Removes a prompt from the history, which holds whole graphs and has a limited length (T38).
    pub async fn forget(&self, prompt_id: &str) -> Result<(), ClientError> {
        self.tell("history", &json!({ "delete": [prompt_id] })).await
    }

    /// Fetches a file; the names in `file` are the backend's and only ever part of the query.
    pub async fn view(&self, file: &FileRef) -> Result<View, ClientError> {
        let call = self.http.get(view_url(&self.url, file)).timeout(VIEW_LIMIT);
        let response = self.checked("GET /view", self.send_safely(call).await?).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim).unwrap_or_default();
        Ok(View {
            content_type: if essence.is_empty() { "application/octet-stream" } else { essence }.to_ascii_lowercase(),
            content_length: response.content_length(),
            stream: response.bytes_stream().map(|chunk| chunk.map_err(|error| failed(&error))).boxed(),
        })
    }

    /// Returns the address at which the server gives a file, without what it is shown to let somebody in.
    pub fn view_url(&self, file: &FileRef) -> Url {
        view_url(&self.url, file)
    }

    /// Asks the cheapest question there is and returns how many prompts run or wait, everybody's included.
    pub async fn probe(&self) -> Result<u64, ClientError> {
        let body = self.read_within(&["prompt"], SMALL).await?;
        wire::queue_remaining(&body).ok_or_else(|| ClientError::Malformed("GET /prompt without queue_remaining".into()))
    }

    /// Returns the version and the devices.
    pub async fn system_stats(&self) -> Result<SystemStats, ClientError> {
        let body = self.read_within(&["system_stats"], SMALL).await?;
        wire::system_stats(&body).map_err(|error| ClientError::Malformed(format!("GET /system_stats: {error}")))
    }

    /// Returns the definitions of all node classes, as the server writes them; 500 kB and more.
    pub async fn object_info(&self) -> Result<String, ClientError> {
        self.read(&["object_info"]).await
    }

    async fn read(&self, path: &[&str]) -> Result<String, ClientError> {
        self.read_within(path, ANSWER_LIMIT).await
    }

    async fn read_within(&self, path: &[&str], limit: u64) -> Result<String, ClientError> {
        self.read_part(path, &[], limit).await
    }

    async fn read_part(&self, path: &[&str], query: &[(&str, u64)], limit: u64) -> Result<String, ClientError> {
        let call = format!("GET /{}", path.first().copied().unwrap_or_default());
        let mut url = self.url.call(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (name, value.to_string())));
        }
        let response = self.send_safely(self.http.get(url).timeout(self.call_limit)).await?;
        whole_within(self.checked(&call, response).await?, limit).await
    }

    async fn tell(&self, path: &str, body: &Value) -> Result<(), ClientError> {
        let call = self.request(Method::POST, &[path]).timeout(self.call_limit);
        let call = call.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.to_string());
        let (response, _) = self.send(call).await?;
        let response = self.checked(&format!("POST /{path}"), response).await?;
        // Reading the empty body to its end lets the connection be used again.
        whole(response).await.map(drop)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.http.request(method, self.url.call(path))
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, length) = (&self.content_type, &self.content_length);
        f.debug_struct("View").field("content_type", kind).field("content_length", length).finish_non_exhaustive()
    }
}

fn builder(url: &ComfyUrl, route: &Route) -> Result<reqwest::ClientBuilder, RouteError> {
    let builder = reqwest::Client::builder().no_proxy();
    let builder = match route.http_proxy()? {
        Some(proxy) => builder.proxy(proxy),
        None => builder,
    };
    // Without TLS no authorities are needed, and a system may have none.
    let builder = if url.is_https() {
        builder.tls_backend_preconfigured(ClientConfig::clone(&*route.tls()?))
    } else {
        builder.tls_certs_only([])
    };
    Ok(builder
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .http1_only()
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(IDLE_LIMIT))
}

/// Says what an answer to `POST /prompt` means.
fn verdict(status: u16, body: Result<String, ClientError>) -> Result<Accepted, SubmitError> {
    match (status, body) {
        (200, Ok(body)) => wire::accepted(&body)
            .ok_or_else(|| SubmitError::Ambiguous("status 200 with a body that is not ComfyUI's".to_owned())),
        // The graph is at fault: wrong, or larger than the server takes.
        (400 | 413, body) => Err(SubmitError::Refused(Refusal::from_answer(status, &body.unwrap_or_default()))),
        (407, _) => Err(SubmitError::Unreachable(PROXY_REFUSED.to_owned())),
        // Whoever answered so did not let it through to a queue.
        (300..=499, _) => Err(SubmitError::Unreachable(format!("status {status} instead of ComfyUI's answer"))),
        (_, Ok(body)) => Err(SubmitError::Ambiguous(format!("status {status}: {}", redact(&body)))),
        (200, Err(error)) => Err(SubmitError::Unanswered(format!("the answer was cut off: {error}"))),
        (_, Err(error)) => Err(SubmitError::Ambiguous(format!("status {status}, then {error}"))),
    }
}

fn view_url(base: &ComfyUrl, file: &FileRef) -> Url {
    let mut url = base.call(&["view"]);
    url.query_pairs_mut().append_pair("filename", &file.filename).append_pair("subfolder", &file.subfolder);
    if !file.folder.is_empty() {
        url.query_pairs_mut().append_pair("type", &file.folder);
    }
    // A plus means a space only to those who read queries as forms; %20 means it to all. Real pluses are %2B by now.
    let query = url.query().unwrap_or_default().replace('+', "%20");
    url.set_query(Some(&query));
    url
}

#[cfg(test)]
mod tests;
