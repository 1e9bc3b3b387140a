//! How long graphs run on backends, kept from one start to the next.

use super::StoreError;
use crate::job::{Estimate, StructureHash};
use async_trait::async_trait;
use std::fmt;

/// Keeps estimates. A loss of power may take the latest: they are learnt anew.
#[async_trait]
pub trait EstimateStore: Send + Sync + fmt::Debug {
    /// Returns all of them.
    async fn estimates(&self) -> Result<Vec<Estimate>, StoreError>;

    /// Stores these, in the place of what was known of their graphs and backends, and removes those.
    async fn keep_estimates(
        &self,
        learnt: Vec<Estimate>,
        forgotten: Vec<(StructureHash, String)>,
    ) -> Result<(), StoreError>;
}
