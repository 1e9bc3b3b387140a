//! What a client asks the metrics agent, which some servers have as a node pack (`agent/README.md`).

use super::answer::whole_within;
use super::{Client, ClientError};
use reqwest::Method;
use std::time::Duration;

/// Numbers that are later than this are numbers of another time.
const AGENT_LIMIT: Duration = Duration::from_secs(5);

/// The largest answer that is read; a machine with eight GPUs fills 2 KiB.
const AGENT_ANSWER_LIMIT: u64 = 64 << 10;

impl Client {
    /// Returns what the server's metrics agent answers, as it writes it; `NotFound` where there is none.
    pub async fn agent_metrics(&self) -> Result<String, ClientError> {
        let call = self.request(Method::GET, &["orchestrator", "metrics"]).timeout(self.call_limit.min(AGENT_LIMIT));
        let response = self.send_safely(call).await?;
        whole_within(self.checked("GET /orchestrator/metrics", response).await?, AGENT_ANSWER_LIMIT).await
    }
}
