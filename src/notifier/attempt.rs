//! One HTTP call of a delivery: what is sent, how long it may take, and how much of the answer is read. What the answer
//! means is left to `schedule.rs`.

use super::client::{Unreadable, trouble};
use super::run::BodyOf;
use super::schedule::{Answer, Trouble, retry_after};
use super::snippet::{KEPT, causes, snippet};
use super::target::{TargetError, TargetRules};
use crate::clock::{Clock, Timestamp};
use crate::egress::Refusal;
use crate::job::{FrozenBody, JobId, Tenant};
use crate::signing::{Keyring, KeyringError};
use crate::store::Delivery;
use futures_util::StreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Body, Client, Response};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The most that is read of an answer in bytes; the connection is then given up.
const MOST_READ: usize = 16 * 1024;

/// How long the rest of an answer may take once its status is known: it only serves the log.
const REST_LIMIT: Duration = Duration::from_secs(5);

/// A connection that fails within this time is tried once more at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What every attempt needs.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) body: BodyOf,
    pub(super) rules: TargetRules,
    /// Who signs; none where webhooks go out unsigned.
    pub(super) keyring: Option<Arc<Keyring>>,
    /// The limit for an attempt without a body to speak of.
    pub(super) limit: Duration,
}

/// What is posted, and to whom.
pub(super) struct Message<'a> {
    /// The `webhook-id`.
    pub(super) id: String,
    pub(super) job: JobId,
    /// Whose secrets sign it.
    pub(super) tenant: &'a Tenant,
    pub(super) url: &'a str,
    pub(super) body: &'a FrozenBody,
    /// From 1.
    pub(super) attempt: u32,
}

/// The time that a message carries, and the signatures over it.
#[derive(Default)]
struct Stamp {
    timestamp: Option<i64>,
    signature: Option<String>,
}

/// How an attempt ended.
pub(super) struct Made {
    /// For the verdict.
    pub(super) answer: Answer,
    /// The beginning of the answer, or the error's text.
    pub(super) snippet: String,
}

impl Made {
    /// An attempt that had no answer.
    pub(super) fn failed(trouble: Trouble, text: &str) -> Self {
        Self { answer: Answer::Failed(trouble), snippet: snippet(text.as_bytes()) }
    }
}

impl Caller {
    /// Makes the next attempt of a delivery.
    pub(super) async fn call(&self, delivery: &Delivery) -> Made {
        let message = Message {
            id: delivery.job.webhook_id(),
            job: delivery.job,
            tenant: &delivery.tenant,
            url: &delivery.url,
            body: &delivery.body,
            attempt: delivery.attempts.saturating_add(1),
        };
        self.post(&message).await
    }

    /// Posts a message.
    pub(super) async fn post(&self, message: &Message<'_>) -> Made {
        let url = match self.rules.check(message.url) {
            Ok(url) => url,
            Err(error) => return Made::failed(refusal(&error), &error.to_string()),
        };
        let deadline = self.clock.now() + limit(self.limit, message.body.content_length());
        let mut stamp = Stamp::default();
        if let Err(made) = self.sign(&url, message, &mut stamp, deadline).await {
            return made;
        }
        let started = self.clock.now();
        let made = self.post_once(&url, message, &stamp, deadline).await;
        let is_unreached = made.answer == Answer::Failed(Trouble::Connect);
        if is_unreached && self.clock.now().since(started) < AT_ONCE {
            return match self.sign(&url, message, &mut stamp, deadline).await {
                Ok(()) => self.post_once(&url, message, &stamp, deadline).await,
                Err(made) => made,
            };
        }
        made
    }

    /// Signs a message with the time of now. What was signed within this second is as good.
    async fn sign(&self, url: &Url, message: &Message<'_>, stamp: &mut Stamp, deadline: Timestamp) -> Result<(), Made> {
        // The receiver compares it with its own clock.
        let now = self.clock.wall().millis().div_euclid(1000);
        if stamp.timestamp == Some(now) {
            return Ok(());
        }
        let signature = match &self.keyring {
            None => None,
            Some(keyring) => {
                let open = || (self.body)(message.body);
                let signing = keyring.sign(message.tenant, url, (&message.id, now), open);
                let signed = tokio::select! {
                    signed = signing => signed,
                    () = self.clock.sleep_until(deadline) => {
                        return Err(Made::failed(Trouble::Timeout, "the body could not be signed in time"));
                    }
                };
                Some(signed.map_err(|error| Made::failed(unsigned(&error), &error.to_string()))?)
            }
        };
        *stamp = Stamp { timestamp: Some(now), signature };
        Ok(())
    }

    async fn post_once(&self, url: &Url, message: &Message<'_>, stamp: &Stamp, deadline: Timestamp) -> Made {
        let body = (self.body)(message.body).map(|piece| piece.map_err(Unreadable));
        let mut request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, message.body.content_length())
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", stamp.timestamp.unwrap_or_default())
            .header("x-gateway-attempt", message.attempt)
            .header("x-gateway-prompt-id", message.job.to_string());
        if let Some(signature) = &stamp.signature {
            request = request.header("webhook-signature", signature);
        }
        let sent = request.body(Body::wrap_stream(body)).send();
        let answered = tokio::select! {
            answered = sent => answered,
            () = self.clock.sleep_until(deadline) => return Made::failed(Trouble::Timeout, "no answer in time"),
        };
        match answered {
            Ok(response) => self.read(response, deadline).await,
            Err(error) => {
                let error = error.without_url();
                Made { answer: Answer::Failed(trouble(&error)), snippet: causes(&error) }
            }
        }
    }

    /// The status counts, whatever becomes of the rest.
    async fn read(&self, mut response: Response, deadline: Timestamp) -> Made {
        let now = self.clock.now();
        let status = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let answer =
            Answer::Status { status, retry_after: asked.and_then(|value| retry_after(value, self.clock.wall())) };
        let mut kept = Vec::new();
        let rest = async {
            let mut read = 0;
            while let Ok(Some(chunk)) = response.chunk().await {
                read += chunk.len();
                let wanted = (KEPT + 1).saturating_sub(kept.len()).min(chunk.len());
                kept.extend_from_slice(&chunk[..wanted]);
                if read >= MOST_READ {
                    break;
                }
            }
        };
        tokio::select! {
            () = rest => {}
            () = self.clock.sleep_until(deadline.min(now + REST_LIMIT)) => {}
        }
        Made { answer, snippet: snippet(&kept) }
    }
}

/// Returns how long an attempt may take: every MiB of the body that was begun adds a second.
fn limit(base: Duration, body_bytes: u64) -> Duration {
    base.saturating_add(Duration::from_secs(body_bytes.div_ceil(1 << 20)))
}

fn unsigned(error: &KeyringError) -> Trouble {
    match error {
        KeyringError::Body(_) => Trouble::BodyUnreadable,
        KeyringError::Store(_) | KeyringError::Damaged { .. } => Trouble::Internal,
    }
}

fn refusal(error: &TargetError) -> Trouble {
    match error {
        TargetError::Refused(Refusal::Invalid(_) | Refusal::Scheme(_) | Refusal::Userinfo) => Trouble::InvalidUrl,
        TargetError::Refused(Refusal::Address(..)) => Trouble::BlockedAddress,
        TargetError::Refused(Refusal::Host(..)) => Trouble::BlockedHost,
        TargetError::HttpsRequired => Trouble::HttpsRequired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mebibyte_of_the_body_adds_a_second() {
        let base = Duration::from_secs(30);
        for (bytes, seconds) in [(0, 30), (1, 31), (1 << 20, 31), ((1 << 20) + 1, 32), (100 << 20, 130)] {
            assert_eq!(limit(base, bytes), Duration::from_secs(seconds), "{bytes}");
        }
        assert_eq!(limit(Duration::MAX, u64::MAX), Duration::MAX);
    }
}
