//! How results leave the gateway: the form of outputs, and the delivery of webhooks.

use crate::job::DeliveryMode;
use std::time::Duration;

/// In which form outputs leave the gateway.
#[derive(Clone, PartialEq, Debug)]
pub struct OutputSettings {
    /// How images reach the receiver of a job that does not say it.
    pub delivery: DeliveryMode,
    /// The most bytes that a body with images may have.
    pub inline_max: u64,
    /// How long links hold; [`link_lifetime`](super::Settings::link_lifetime) is what counts.
    pub link_lifetime: Duration,
    /// Whether files of a job that does not say it are freed of what is not their content.
    pub strip_metadata: bool,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            delivery: DeliveryMode::Inline,
            inline_max: 32 << 20,
            link_lifetime: Duration::from_hours(7 * 24),
            strip_metadata: false,
        }
    }
}

/// How webhooks are delivered.
#[derive(Clone, PartialEq, Debug)]
pub struct WebhookSettings {
    /// The waits between the attempts; one attempt more than there are waits.
    pub schedule: Vec<Duration>,
    /// The limit for reaching a receiver.
    pub connect_timeout: Duration,
    /// The limit for a whole attempt; every MiB of body adds a second.
    pub attempt_timeout: Duration,
    /// How many attempts may be under way.
    pub concurrency: usize,
    /// How many attempts may be under way to one host.
    pub per_host: usize,
    /// How many bytes of memory those under way may take together.
    pub memory: u64,
    /// Refuse `webhook_url`s that are not `https`.
    pub https_only: bool,
    /// Sign webhooks.
    pub signing: bool,
    /// Sign them with Ed25519 too.
    pub ed25519: bool,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        let mut schedule = vec![Duration::from_secs(5), Duration::from_mins(5), Duration::from_mins(30)];
        schedule.extend([2, 5, 10, 14, 20, 24].map(Duration::from_hours));
        Self {
            schedule,
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(30),
            concurrency: 32,
            per_host: 4,
            memory: 64 << 20,
            https_only: false,
            signing: true,
            ed25519: false,
        }
    }
}
