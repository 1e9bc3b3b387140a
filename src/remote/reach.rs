//! Says in the log, once at the start, whether the ComfyUI servers answer: whoever starts the gateway sees at once what is wrong.

use crate::pool::{Backend, Pool};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How long a server may take. One that is just starting is told of as not there, and by its socket once it is.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks each backend, and tells what it says.
pub(super) async fn report(pool: &Pool, workflow: &str) {
    let backends = pool.backends();
    join_all(backends.iter().map(|backend| look(backend, workflow))).await;
    if backends.is_empty() {
        warn!(workflow, "the remote control has no ComfyUI to run its workflow");
    }
}

async fn look(backend: &Arc<Backend>, workflow: &str) {
    let name = &backend.name;
    match tokio::time::timeout(LIMIT, backend.client.probe()).await {
        Ok(Ok(prompts)) => info!(backend = name, workflow, prompts, "the remote control reaches ComfyUI"),
        Ok(Err(error)) => warn!(backend = name, workflow, %error, "the remote control does not reach ComfyUI yet"),
        Err(_) => {
            warn!(backend = name, workflow, "the remote control does not reach ComfyUI yet: no answer within 5 s");
        }
    }
}
