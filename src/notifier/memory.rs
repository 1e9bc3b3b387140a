//! The memory that deliveries under way take together. Decides only, from what each is known to hold at most.

use crate::job::FrozenBody;

/// What every delivery takes besides its body: buffers of the connection, also of TLS, and of the answer.
const BASE: u64 = 96 << 10;

/// The most of a body that is between the disk and the connection: a piece as it is read and as base64, one more that
/// waits, and what the HTTP client gathers before it writes.
const MOST_IN_BETWEEN: u64 = 1 << 20;

/// For how many that go before it one that does not fit waits; then what ends makes room for it alone.
const PATIENCE: u32 = 64;

/// Returns how much memory a delivery under way takes at most, in bytes: its text twice, as it is kept and as it is sent,
/// and a bounded part of its images.
pub(super) fn need(body: &FrozenBody) -> u64 {
    let between = body.content_length().saturating_mul(2).min(MOST_IN_BETWEEN);
    BASE.saturating_add(between).saturating_add(body.text_bytes().saturating_mul(2))
}

/// What may be taken, and what is.
#[derive(Debug)]
pub(super) struct Memory<K> {
    budget: u64,
    taken: u64,
    /// Who waits for more than there is, and how many went before it meanwhile.
    patient: Option<(K, u32)>,
}

impl<K: PartialEq> Memory<K> {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, taken: 0, patient: None }
    }

    /// Says whether there is room for this much. What needs more than there is in all goes alone.
    pub(super) fn has_room(&self, need: u64) -> bool {
        self.taken == 0 || self.taken.saturating_add(need) <= self.budget
    }

    /// Returns how much is not taken.
    pub(super) fn rest(&self) -> u64 {
        self.budget.saturating_sub(self.taken)
    }

    /// Returns who is next because it has waited long enough.
    pub(super) fn first_of_all(&self) -> Option<&K> {
        self.patient.as_ref().filter(|(_, passed)| *passed >= PATIENCE).map(|(who, _)| who)
    }

    /// Notes that somebody found no room; the first one is remembered.
    pub(super) fn found_no_room(&mut self, who: K) {
        self.patient.get_or_insert((who, 0));
    }

    /// Forgets who waits for room: it cannot begin now for another reason.
    pub(super) fn lose_patience(&mut self) {
        self.patient = None;
    }

    pub(super) fn take(&mut self, who: &K, need: u64) {
        self.taken = self.taken.saturating_add(need);
        match &mut self.patient {
            Some((patient, _)) if patient == who => self.patient = None,
            Some((_, passed)) => *passed += 1,
            None => {}
        }
    }

    pub(super) fn give_back(&mut self, need: u64) {
        self.taken = self.taken.saturating_sub(need);
    }
}
