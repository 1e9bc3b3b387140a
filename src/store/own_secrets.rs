//! What the gateway drew for itself and must find again after a restart.

use super::StoreError;
use crate::clock::Timestamp;
use async_trait::async_trait;
use std::fmt;

/// Keeps the gateway's own secrets, each under a name.
#[async_trait]
pub trait OwnSecrets: Send + Sync + fmt::Debug {
    /// Returns the secret of this name. Where there is none yet, `fresh` becomes it, and is on disk when this answers.
    async fn own_secret(&self, name: &str, fresh: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, StoreError>;
}
