//! Words for what is told of deliveries and for beginning them anew.

use super::{Cursor, DeliveryState};
use crate::clock::Timestamp;
use crate::job::{JobId, Tenant};

/// Which deliveries to list; those of the newest jobs first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliveryFilter {
    /// Only those of this tenant's jobs; none means all.
    pub tenant: Option<Tenant>,
    /// Only those in this state.
    pub state: Option<DeliveryState>,
    /// Only those of jobs that were accepted before this one: the last of the page before.
    pub before: Option<Cursor>,
    /// At most this many.
    pub limit: u32,
}

/// A delivery as lists show it: without what is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedDelivery {
    /// The job that it tells of.
    pub job: JobId,
    /// Whose job it is.
    pub tenant: Tenant,
    /// When the job was accepted.
    pub accepted_at: Timestamp,
    /// Where it goes.
    pub url: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts were made.
    pub attempts: u32,
    /// How often it was begun anew.
    pub replays: u32,
    /// When the job ended.
    pub created_at: Timestamp,
    /// When it was begun anew last.
    pub replayed_at: Option<Timestamp>,
    /// When the next attempt is due, if it is pending.
    pub due_at: Timestamp,
    /// When it arrived or was given up.
    pub ended_at: Option<Timestamp>,
    /// The status that answered the last attempt.
    pub status: Option<u16>,
    /// What went wrong with the last attempt.
    pub code: Option<String>,
}

/// Which deliveries to begin anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayFilter {
    /// Only those of this tenant's jobs; none means all.
    pub tenant: Option<Tenant>,
    /// Only those in this state.
    pub state: DeliveryState,
    /// Only those to this host, or to this `host:port`.
    pub host: Option<String>,
    /// Only those of jobs that ended then or later.
    pub since: Option<Timestamp>,
}
