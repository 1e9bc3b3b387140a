//! How many jobs there are, for those who limit them and those who ask how busy the gateway is. What is allowed is left to
//! `throttle`.

use super::StoreError;
use crate::clock::Timestamp;
use crate::job::Tenant;
use async_trait::async_trait;
use std::collections::HashMap;
use std::fmt;

/// Counts jobs. Reads only.
#[async_trait]
pub trait Counts: Send + Sync + fmt::Debug {
    /// Returns how many jobs of each tenant wait; a tenant without any is not in it.
    async fn waiting(&self) -> Result<HashMap<Tenant, u64>, StoreError>;

    /// Returns how many jobs of a tenant were accepted since some time.
    async fn accepted_since(&self, tenant: Tenant, since: Timestamp) -> Result<u64, StoreError>;
}

/// How many jobs are in each state that has not ended, and how many deliveries wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// Waiting for a backend.
    pub queued: u64,
    /// On a backend.
    pub running: u64,
    /// Webhooks that have not arrived.
    pub deliveries: u64,
    /// When the oldest of those that wait for a backend was accepted; none where none waits.
    pub oldest: Option<Timestamp>,
}
