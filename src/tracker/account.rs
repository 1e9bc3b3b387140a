//! What a run has shown of its backend and of graphs like its own, for whoever decides what the backend is given next. What
//! follows from it is left to them.

use super::machine::Effect;
use super::run::{Room, Watched};
use crate::clock::Timestamp;
use crate::job::{JobId, Outcome, StructureHash};
use std::fmt;
use std::sync::Arc;

/// A run that is over, and what it has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Where it ran.
    pub backend: String,
    /// Which run: its job, and its number.
    pub run: (JobId, u32),
    /// What it ran.
    pub graph: StructureHash,
    /// When it was over.
    pub at: Timestamp,
    /// What it has shown.
    pub shown: Shown,
}

/// What a run has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// The backend runs such graphs.
    Runs,
    /// It fails them, and another one that the job may run on may not.
    Fails {
        /// Why.
        reason: String,
    },
    /// Neither: it was cancelled, refused or lost, or its own values were wrong.
    Nothing,
}

/// Who hears of every run that is over. A listener must not wait.
#[derive(Clone, Default)]
pub struct Accounts(Option<Arc<dyn Fn(Account) + Send + Sync>>);

impl Accounts {
    /// Lets `listener` hear of them.
    pub fn new(listener: impl Fn(Account) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Accounts").field(&self.0.is_some()).finish()
    }
}

impl Room {
    /// Gives an account of a run that these effects have ended.
    pub(super) fn account_for(&self, watched: &Watched, effects: &[Effect], at: Timestamp) {
        let Some(listener) = &self.parts.accounts.0 else { return };
        let plan = watched.run.plan();
        // Where the job could run nowhere else, a backend that is left alone would help nobody.
        let fault = watched.run.fault().filter(|_| plan.alike);
        let Some(shown) = effects.iter().find_map(|effect| shown(effect, fault)) else { return };
        let graph = watched.job.request.structure.clone();
        listener(Account { backend: self.parts.backend.clone(), run: (plan.job, plan.number), graph, at, shown });
    }
}

fn shown(effect: &Effect, fault: Option<&str>) -> Option<Shown> {
    match effect {
        Effect::Finish(Outcome::Succeeded(_)) => Some(Shown::Runs),
        Effect::Finish(Outcome::Failed(..) | Outcome::Cancelled)
        | Effect::Requeue { .. }
        | Effect::Elsewhere { .. } => {
            Some(fault.map_or(Shown::Nothing, |reason| Shown::Fails { reason: reason.to_owned() }))
        }
        Effect::Started | Effect::LookUp | Effect::Reconnect | Effect::StopUpstream | Effect::Collect(..) => None,
    }
}
