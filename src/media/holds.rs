//! Who is about to name blobs that no row names yet: a request whose input images are being taken in. As long as it holds on,
//! nothing is removed that it may come to name.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// All who hold on.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    now: BTreeSet<u64>,
}

/// Holds on to blobs until it is dropped. To be taken before the first of them is put or looked up, and kept until they are
/// named.
#[derive(Debug)]
#[must_use = "dropping it lets go"]
pub struct Hold {
    number: u64,
    holds: Holds,
}

impl Holds {
    pub(super) fn take(&self) -> Hold {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.next += 1;
        let number = held.next;
        held.now.insert(number);
        Hold { number, holds: self.clone() }
    }

    pub(super) fn now(&self) -> BTreeSet<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now.clone()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.0.lock().unwrap_or_else(PoisonError::into_inner).now.remove(&self.number);
    }
}
