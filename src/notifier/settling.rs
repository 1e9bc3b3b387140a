//! Deliveries of jobs of which something else is still being told. They wait here, where they hold no place of their host, until
//! the announcer lets them go.

use super::announcer::Announcer;
use crate::job::JobId;
use crate::lifecycle::Lifecycle;
use crate::store::Delivery;
use std::collections::HashMap;
use tokio::sync::mpsc;

/// The deliveries that wait. Only jobs that asked for events are here, and of them those of which something is under way.
pub(super) struct Settling {
    announcer: Announcer,
    lifecycle: Lifecycle,
    waiting: HashMap<JobId, Delivery>,
    settled: mpsc::UnboundedSender<JobId>,
}

impl Settling {
    /// Makes one in which nothing waits, and what tells of the jobs that need not wait any more.
    pub(super) fn new(announcer: Announcer, lifecycle: Lifecycle) -> (Self, mpsc::UnboundedReceiver<JobId>) {
        // Bounded by what waits.
        let (settled, receiver) = mpsc::unbounded_channel();
        (Self { announcer, lifecycle, waiting: HashMap::new(), settled }, receiver)
    }

    /// Returns a delivery that may be sent, and keeps one that may not be sent yet.
    pub(super) fn pass(&mut self, delivery: Delivery) -> Option<Delivery> {
        let job = delivery.job;
        if self.announcer.is_settled(job) {
            self.waiting.remove(&job);
            return Some(delivery);
        }
        if self.waiting.insert(job, delivery).is_none() {
            let (announcer, settled) = (self.announcer.clone(), self.settled.clone());
            self.lifecycle.spawn("settling", async move {
                announcer.settled(job).await;
                // An error means that nobody delivers any more.
                let _ = settled.send(job);
            });
        }
        None
    }

    /// Takes out a delivery that need not wait any more.
    pub(super) fn take(&mut self, job: JobId) -> Option<Delivery> {
        self.waiting.remove(&job)
    }

    /// Takes out all; their leases should be ended.
    pub(super) fn take_all(&mut self) -> Vec<JobId> {
        self.waiting.drain().map(|(job, _)| job).collect()
    }
}
