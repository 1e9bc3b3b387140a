//! The workflow as each tenant has it in memory, with what runs of it. Nothing of this is stored: a restart begins from the
//! template, and what was taken in runs on.

use crate::graph::Graph;
use crate::job::{JobId, Tenant};
use crate::workflow::Pair;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The most tenants whose workflow is in memory.
const MOST_SESSIONS: usize = 256;

/// The most runs of a tenant that are known at once.
const MOST_RUNS: usize = 1000;

/// A tenant's workflow.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// From what it was taken.
    pub(super) workflow: Arc<Pair>,
    /// As it is now.
    pub(super) graph: Graph,
    /// It is not as it was taken any more.
    pub(super) is_edited: bool,
    /// What was begun of it and has not ended, as far as it is known.
    runs: BTreeSet<JobId>,
    used: u64,
}

/// There is no room for one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

/// The workflows of all tenants.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    of: HashMap<Tenant, Session>,
    uses: u64,
}

impl Sessions {
    /// Returns a tenant's workflow: as it was left, unless nothing was changed in it and its template has changed. Where there
    /// are too many, the one goes that was used least lately and of which nothing runs.
    pub(super) fn of(&mut self, tenant: &Tenant, current: Option<Arc<Pair>>) -> Result<Option<&mut Session>, Full> {
        self.uses += 1;
        let is_new = !self.of.contains_key(tenant);
        match (is_new, current) {
            (true, None) => return Ok(None),
            (true, Some(workflow)) => {
                self.make_room()?;
                self.of.insert(tenant.clone(), Session::take(workflow));
            }
            (false, Some(workflow)) => {
                let session = self.of.get_mut(tenant);
                let stale = session.filter(|it| !it.is_edited && it.workflow.revision() != workflow.revision());
                if let Some(session) = stale {
                    session.reset(workflow);
                }
            }
            // Its files are gone, and what is in memory goes on.
            (false, None) => {}
        }
        let uses = self.uses;
        let Some(session) = self.of.get_mut(tenant) else { return Ok(None) };
        session.used = uses;
        Ok(Some(session))
    }

    /// Returns what of a tenant has begun, and takes none of it for its own any more.
    pub(super) fn take_runs(&mut self, tenant: &Tenant) -> BTreeSet<JobId> {
        self.of.get_mut(tenant).map(|session| std::mem::take(&mut session.runs)).unwrap_or_default()
    }

    /// Says whether a run is a tenant's still: it was not interrupted.
    pub(super) fn has_run(&self, tenant: &Tenant, run: JobId) -> bool {
        self.of.get(tenant).is_some_and(|session| session.runs.contains(&run))
    }

    /// Notes that a run has ended.
    pub(super) fn end_run(&mut self, tenant: &Tenant, run: JobId) {
        if let Some(session) = self.of.get_mut(tenant) {
            session.runs.remove(&run);
        }
    }

    fn make_room(&mut self) -> Result<(), Full> {
        if self.of.len() < MOST_SESSIONS {
            return Ok(());
        }
        let idle = self.of.iter().filter(|(_, session)| session.runs.is_empty());
        let oldest = idle.min_by_key(|(_, session)| session.used).map(|(tenant, _)| tenant.clone());
        oldest.and_then(|tenant| self.of.remove(&tenant)).map(drop).ok_or(Full)
    }
}

impl Session {
    fn take(workflow: Arc<Pair>) -> Self {
        let graph = workflow.template().clone();
        Self { workflow, graph, is_edited: false, runs: BTreeSet::new(), used: 0 }
    }

    /// Begins anew from a template; what runs goes on.
    pub(super) fn reset(&mut self, workflow: Arc<Pair>) {
        *self = Self { runs: std::mem::take(&mut self.runs), used: self.used, ..Self::take(workflow) };
    }

    /// Returns what has begun and not ended, the oldest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.runs.iter().copied()
    }

    /// Notes a run that is about to begin.
    pub(super) fn begin_run(&mut self, run: JobId) -> Result<(), Full> {
        if self.runs.len() >= MOST_RUNS {
            return Err(Full);
        }
        self.runs.insert(run);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Files;
    use serde_json::json;

    fn pair(text: &str) -> Arc<Pair> {
        let graph = json!({ "1": { "class_type": "A", "inputs": { "text": text } } }).to_string();
        Arc::new(Pair::parse("x", "node_mappings: {}\n", &graph, &Files::of("x")).unwrap())
    }

    fn tenant(number: usize) -> Tenant {
        format!("t{number}").parse().unwrap()
    }

    fn run(last: u8) -> JobId {
        JobId::from_bytes([1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, last])
    }

    #[test]
    fn a_changed_template_is_taken_in_where_nothing_was_changed_in_memory() {
        let mut sessions = Sessions::default();
        let text = |sessions: &mut Sessions, pair: Arc<Pair>| {
            let session = sessions.of(&tenant(0), Some(pair)).unwrap().unwrap();
            session.graph.node("1").unwrap().inputs["text"].clone()
        };
        assert_eq!(text(&mut sessions, pair("a")), "a");
        assert_eq!(text(&mut sessions, pair("b")), "b");
        let session = sessions.of(&tenant(0), Some(pair("b"))).unwrap().unwrap();
        session.graph.set("1", "text", json!("mine")).unwrap();
        session.is_edited = true;
        assert_eq!(text(&mut sessions, pair("c")), "mine");
        assert!(sessions.of(&tenant(0), None).unwrap().is_some(), "files that are gone take nothing with them");
        sessions.of(&tenant(0), Some(pair("c"))).unwrap().unwrap().reset(pair("c"));
        assert_eq!(text(&mut sessions, pair("d")), "d");
    }

    #[test]
    fn the_workflow_that_was_used_least_lately_makes_room_unless_something_of_it_runs() {
        let mut sessions = Sessions::default();
        for number in 0..MOST_SESSIONS {
            sessions.of(&tenant(number), Some(pair("a"))).unwrap().unwrap().is_edited = true;
        }
        sessions.of(&tenant(0), None).unwrap().unwrap().begin_run(run(0)).unwrap();
        sessions.of(&tenant(1), None).unwrap();
        assert!(sessions.of(&tenant(MOST_SESSIONS), Some(pair("a"))).unwrap().is_some());
        assert!(!sessions.of.contains_key(&tenant(2)) && sessions.of.contains_key(&tenant(1)));
        let all: Vec<Tenant> = sessions.of.keys().cloned().collect();
        for tenant in all {
            sessions.of(&tenant, None).unwrap().unwrap().begin_run(run(1)).unwrap();
        }
        assert!(sessions.of(&tenant(2), Some(pair("a"))).is_err());
        assert_eq!(sessions.take_runs(&tenant(0)), BTreeSet::from([run(0), run(1)]));
        assert!(!sessions.has_run(&tenant(0), run(0)));
        assert!(sessions.of(&tenant(2), Some(pair("a"))).is_ok());
    }
}
