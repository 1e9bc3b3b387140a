//! What runs that are over have shown of graphs on backends: who is given no such graphs for a while, and since when again.
//! A backend is left alone only where another one can run them meanwhile.

use super::Fitness;
use crate::clock::Timestamp;
use crate::dispatch::breaker::Breaker;
use crate::job::StructureHash;
use crate::pool::{Backend, BackendEvent, Duty};
use crate::tracker::{Account, Shown};
use tracing::{info, warn};

/// After how many tries to connect in a row it is not expected back in a moment: about half a minute.
const TRIES: u32 = 10;

impl Fitness {
    /// Notes what a run that is over has shown.
    pub fn account(&self, account: &Account) {
        let Account { backend, run, graph, at, shown } = account;
        if graph.as_str().is_empty() {
            return;
        }
        match shown {
            Shown::Runs => self.release(graph, backend, *at),
            Shown::Nothing => {
                self.known_mut().shows(graph, backend, |breaker| breaker.showed_nothing(*run));
            }
            // To wait would help nobody.
            Shown::Fails { .. } if !self.is_another_able(graph, backend, *at) => self.release(graph, backend, *at),
            Shown::Fails { reason } => {
                let after = self.block_after;
                let mut known = self.known_mut();
                let breaker = known.breaker_mut(graph, backend);
                let was_open = breaker.is_open();
                let opened = breaker.failed(*run, *at, after).filter(|_| !was_open);
                drop(known);
                if let Some(until) = opened {
                    warn!(backend, %graph, reason, "the backend failed such a graph; it gets none of them for a while");
                    let event = BackendEvent::Blocked { graph: Some(graph.clone()), reason: reason.clone(), until };
                    self.tell(backend, *at, event);
                }
            }
        }
    }

    /// Ends it that backends are left alone with graphs that no other can run any more, as it went or lacks something now.
    pub(super) fn release_the_last(&self, now: Timestamp) {
        let blocked = self.known().blocked();
        for (graph, backend) in blocked {
            if !self.is_another_able(&graph, &backend, now) {
                self.release(&graph, &backend, now);
            }
        }
    }

    /// Has a backend given such graphs again.
    fn release(&self, graph: &StructureHash, backend: &str, at: Timestamp) {
        let was_open = self.known_mut().shows(graph, backend, Breaker::reset).unwrap_or(false);
        if was_open {
            info!(backend, %graph, "the backend is given such graphs again");
            self.tell(backend, at, BackendEvent::Unblocked { graph: Some(graph.clone()) });
        }
    }

    fn is_another_able(&self, graph: &StructureHash, backend: &str, now: Timestamp) -> bool {
        let pool = self.ties.get().and_then(|ties| ties.pool.upgrade());
        let others = pool.iter().flat_map(|pool| pool.backends().to_vec()).filter(|other| other.name != backend);
        others.into_iter().any(|other| is_there(&other, now) && !self.is_unfit(graph, &other.name))
    }
}

/// Says whether a backend takes jobs, or should in a moment.
fn is_there(backend: &Backend, now: Timestamp) -> bool {
    let is_away_for_a_moment = || {
        let socket = backend.desk.socket();
        let socket = socket.borrow();
        !socket.stands && socket.tries < TRIES
    };
    backend.duty() == Duty::Serving && (backend.desk.is_open(now) || is_away_for_a_moment())
}
