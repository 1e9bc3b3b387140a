//! A webhook that must arrive: where it stands, its attempts, and what each of them means for it.

use crate::clock::Timestamp;
use crate::job::{FrozenBody, JobId, Tenant};
use std::time::Duration;

/// A webhook that must arrive.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// The job that it tells of; a job has at most one delivery.
    pub job: JobId,
    /// Whose job it is.
    pub tenant: Tenant,
    /// Where it goes.
    pub url: String,
    /// What is sent.
    pub body: FrozenBody,
    /// How many attempts were made.
    pub attempts: u32,
    /// How many of them were made before the last replay: the schedule counts only the later ones.
    pub attempts_before: u32,
    /// When the job ended.
    pub created_at: Timestamp,
    /// When the next attempt is due.
    pub due_at: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was begun anew.
    pub replays: u32,
    /// When that was done last.
    pub replayed_at: Option<Timestamp>,
    /// When it arrived or was given up; none while it is pending.
    pub ended_at: Option<Timestamp>,
}

impl Delivery {
    /// Returns when the schedule that it is on began: at the job's end, or at the last replay.
    pub fn begun_at(&self) -> Timestamp {
        self.replayed_at.unwrap_or(self.created_at)
    }
}

/// The state of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryState {
    /// Not yet arrived; an attempt is due at `due_at`.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// The receiver answered 410: it wants no more.
    Gone,
    /// The last attempt failed, or the deadline passed.
    Undeliverable,
}

impl DeliveryState {
    /// Every state; pending first, as each delivery begins with it.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Gone, Self::Undeliverable];

    /// Returns the word used in answers and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Undeliverable => "undeliverable",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// One HTTP call of a delivery, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The answer's status, where one came.
    pub status: Option<u16>,
    /// What went wrong, as a stable word; none after a 2xx.
    pub code: Option<String>,
    /// The first 1 KiB of the answer, or the error's text.
    pub snippet: String,
}

/// What an attempt means for its delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It arrived.
    Delivered,
    /// The receiver wants no more.
    Gone,
    /// Try again then.
    RetryAt(Timestamp),
    /// Never try again by itself.
    GiveUp,
}
