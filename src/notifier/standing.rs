//! What others may know of the notifier while it runs.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How the receivers are. Counted anew after each change, so it may be a moment old.
#[derive(Debug, Default)]
pub struct Standing {
    hosts_down: AtomicUsize,
}

impl Standing {
    /// Returns how many hosts do not answer and are left alone for a while; a host that is down for two tenants counts twice.
    pub fn hosts_down(&self) -> usize {
        self.hosts_down.load(Ordering::Relaxed)
    }

    pub(super) fn set_hosts_down(&self, count: usize) {
        self.hosts_down.store(count, Ordering::Relaxed);
    }
}
