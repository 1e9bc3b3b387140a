//! What others may know of the notifier while it runs.

use crate::metrics::{Called, Deliveries};
use crate::store::{Attempt, Delivery, DeliveryState, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How the receivers are. Counted anew after each change, so it may be a moment old.
#[derive(Debug)]
pub struct Standing {
    hosts_down: AtomicUsize,
    counts: Arc<Deliveries>,
}

impl Default for Standing {
    fn default() -> Self {
        let ends = DeliveryState::ALL.into_iter().filter(|state| *state != DeliveryState::Pending);
        let counts = Deliveries::ending_in(ends.map(DeliveryState::as_str));
        Self { hosts_down: AtomicUsize::default(), counts: Arc::new(counts) }
    }
}

impl Standing {
    /// Returns how many hosts do not answer and are left alone for a while; a host that is down for two tenants counts twice.
    pub fn hosts_down(&self) -> usize {
        self.hosts_down.load(Ordering::Relaxed)
    }

    /// Returns what is counted of webhooks.
    pub fn counts(&self) -> Arc<Deliveries> {
        Arc::clone(&self.counts)
    }

    /// Counts an attempt that was made, and what it means for its delivery. `answer` is the code of the answer, none where it
    /// was taken.
    pub(super) fn attempted(
        &self,
        delivery: &Delivery,
        attempt: &Attempt,
        answer: Option<&'static str>,
        verdict: Verdict,
    ) {
        let lag = (attempt.number == 1).then(|| attempt.started_at.since(delivery.created_at));
        self.counts.called(Called { answer: answer.unwrap_or("ok"), took: attempt.took, lag });
        self.ended(verdict);
    }

    /// Counts what a verdict means for a delivery.
    pub(super) fn ended(&self, verdict: Verdict) {
        let state = match verdict {
            Verdict::RetryAt(_) => return,
            Verdict::Delivered => DeliveryState::Delivered,
            Verdict::Gone => DeliveryState::Gone,
            Verdict::GiveUp => DeliveryState::Undeliverable,
        };
        self.counts.ended(state.as_str());
    }

    pub(super) fn set_hosts_down(&self, count: usize) {
        self.hosts_down.store(count, Ordering::Relaxed);
    }
}
