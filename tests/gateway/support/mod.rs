//! A whole gateway with real sockets around it: simulator, webhook receiver, HTTP client.

mod gateway;
mod inbox;
mod program;

pub(crate) use gateway::{Answer, Setup, TestGateway, as_time_goes_by};
pub(crate) use inbox::{Inbox, OnEvent, Webhook};
pub(crate) use program::Program;

use serde_json::{Value, json};
use std::future::Future;
use std::process::Output;
use std::time::Duration;

/// How long anything in a test may take before something must be wrong.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Every kind of event, in their order; `image` only with images over the socket, `executed` only with files.
pub(crate) const EVENTS: [&str; 8] = [
    "execution_start",
    "execution_cached",
    "progress_state",
    "executing",
    "progress",
    "image",
    "executed",
    "execution_success",
];

/// Waits until `look` finds something, looking again and again for at most [`PATIENCE`].
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("did not happen within {PATIENCE:?}: {what}"))
}

/// A client that opens a connection for each request: one that is used again may be one that the server is just closing.
pub(crate) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0)
}

/// What a command has written to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command has written to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A small request for the workflow without models; its images come over the socket.
pub(crate) fn canvas(webhook_url: &str) -> Value {
    json!({ "workflow": "canvas", "prompt": "x", "width": 64, "height": 64, "webhook_url": webhook_url })
}

/// The same with images that are fetched as files.
pub(crate) fn canvas_files(webhook_url: &str) -> Value {
    json!({ "workflow": "canvas-files", "prompt": "x", "width": 64, "height": 64, "webhook_url": webhook_url })
}

/// A small request for Stable Diffusion, with a sampler that tells of its progress.
pub(crate) fn starter(webhook_url: &str) -> Value {
    json!({ "workflow": "starter", "prompt": "a hill", "width": 64, "height": 64, "webhook_url": webhook_url })
}
