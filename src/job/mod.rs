//! The words that every station speaks: a job, its request, its states, its failures and its outputs.
//!
//! This room imports nothing of ours but the clock's [`Timestamp`], and does nothing.

mod announcement;
mod estimate;
mod failure;
mod frame;
mod frozen;
mod input;
mod key;
mod link;
mod output;
mod payload;
mod placement;
mod profile;
mod request;
mod state;
mod tap;
mod tenant;
mod turns;
mod variant;
mod wish;

pub use announcement::{Advance, Announce, Announcement, Audience, News, NodeAdvance, number};
pub use estimate::Estimate;
pub use failure::{FailedNode, Failure, FailureCode, Fault};
pub use frame::RawFrame;
pub use frozen::{FrozenBody, Segment};
pub use input::{InputImage, InputImages, InputMask, UploadId, UploadIdError, described as describe_inputs};
pub use key::{KeyId, KeyIdError, KeyLimits, Scope, ScopeError, Scopes};
pub use link::{LinkError, LinkKey};
pub use output::{BlobId, FileRef, Output, OutputKind};
pub use payload::{BodyRules, Timing, described_output, freeze, freeze_run, live_view};
pub use placement::{Placement, StructureHash};
pub use profile::{Learn, NodeLabel, NodeTime, Profile, Ran};
pub use request::{Limits, ParamValue, Params, Request, Timeouts};
pub use state::{JobState, Outcome};
pub use tap::{Followed, Happening, Milestone, Preview, RunEnd, Tap, Tapped};
pub use tenant::{Tenant, TenantError};
pub use turns::{Candidate, Turns};
pub use variant::{MOST_VARIANTS, Variant};
pub use wish::{Conversion, DeliveryMode, WebhookEvent};

use crate::clock::Timestamp;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The id of a job: a UUIDv7 that we draw, or any UUID that the caller chose. It is the caller's `prompt_id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Uuid);

impl JobId {
    /// Makes the id of a job accepted at `now`; `random` are 80 bits of chance.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.millis().unsigned_abs(), &random).into_uuid())
    }

    /// Returns the 16 bytes, in the order in which drawn ids sort by time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads back what [`JobId::as_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns when the job was accepted, if the id tells: one that a caller chose may not.
    pub fn time(&self) -> Option<Timestamp> {
        let (seconds, nanos) = self.0.get_timestamp().filter(|_| self.0.get_version_num() == 7)?.to_unix();
        let millis = i64::try_from(seconds).ok()?.checked_mul(1000)?;
        Some(Timestamp::from_millis(millis + i64::from(nanos / 1_000_000)))
    }

    /// Returns the id of this job's only webhook: `msg_` and the id without dashes.
    pub fn webhook_id(&self) -> String {
        format!("msg_{}", self.0.simple())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// The id under which ComfyUI knows one run of a job: the job's id for the first run, a fresh UUID later.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct PromptId(pub String);

impl PromptId {
    /// Returns the prompt id of the first run of a job.
    pub fn first(job: JobId) -> Self {
        Self(job.to_string())
    }

    /// Makes the prompt id of a later run from 128 bits of chance.
    pub fn fresh(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid().to_string())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PromptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One try of a job on one backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunRef {
    /// Which try this is, from 1. A late message of an earlier run is told by it and dropped.
    pub number: u32,
    /// The name of the backend that runs it.
    pub backend: String,
    /// ComfyUI's name for the run.
    pub prompt: PromptId,
}

/// What a caller asked for and how far it is, as stored.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// The caller's `prompt_id`.
    pub id: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// What was asked for.
    pub request: Request,
    /// How far it is.
    pub state: JobState,
    /// The current or last run; none before the first.
    pub run: Option<RunRef>,
    /// The caller asked for it to be cancelled.
    pub cancel_requested: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its current run was sent to a backend.
    pub submitted_at: Option<Timestamp>,
    /// When its current run began to execute.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}
