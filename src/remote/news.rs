//! What happens to the remote control itself, for those who listen to its relay: the requests that it gets. Who listens too slowly
//! loses its place; nobody waits for it.

use crate::clock::Timestamp;
use crate::job::Tenant;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};

/// How many requests a listener may be behind.
const MOST_BEHIND: usize = 256;

/// Tells of requests.
#[derive(Debug)]
pub struct News {
    told: broadcast::Sender<(Tenant, Arc<str>)>,
}

/// Hears of requests.
#[derive(Debug)]
pub struct Heard(broadcast::Receiver<(Tenant, Arc<str>)>);

impl Default for News {
    fn default() -> Self {
        Self { told: broadcast::Sender::new(MOST_BEHIND) }
    }
}

impl News {
    /// Tells that a request came, without its body, which may hold secrets.
    pub fn request(&self, tenant: &Tenant, method: &str, path: &str, at: Timestamp) {
        if self.told.receiver_count() == 0 {
            return;
        }
        let data = json!({ "method": method, "path": path, "at": at.rfc3339() });
        let event = json!({ "type": "runner_request", "data": data });
        // An error means that the last listener has just gone.
        let _ = self.told.send((tenant.clone(), event.to_string().into()));
    }

    /// Begins to listen.
    pub fn listen(&self) -> Heard {
        Heard(self.told.subscribe())
    }
}

impl Heard {
    /// Returns the next event with whose it is; none where this listener was too slow, or nothing will come any more.
    pub async fn next(&mut self) -> Option<(Tenant, Arc<str>)> {
        match self.0.recv().await {
            Ok(told) => Some(told),
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    }
}
