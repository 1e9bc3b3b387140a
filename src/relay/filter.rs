//! What a listener wants to hear, and may. Pure.

use super::event::{EventKind, Told};
use crate::job::{JobId, Tenant};

/// What a listener wants to hear, and may.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Whose jobs; none for everybody's, and for what is about no job.
    pub tenant: Option<Tenant>,
    /// Only this job.
    pub job: Option<JobId>,
    /// Only jobs of this workflow.
    pub workflow: Option<String>,
    /// Only these; none for every kind.
    pub kinds: Option<Vec<EventKind>>,
}

impl Filter {
    /// Says whether a listener hears of it.
    pub fn lets_through(&self, told: &Told) -> bool {
        let mine = match (&self.tenant, &told.tenant) {
            (None, _) => true,
            (Some(own), Some(tenant)) => own == tenant,
            (Some(_), None) => false,
        };
        let is_job = self.job.is_none() || self.job == told.job;
        let is_workflow = self.workflow.is_none() || self.workflow == told.workflow;
        mine && is_job && is_workflow && self.wants(told.kind())
    }

    /// Says whether it wants to hear of such things.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }
}
