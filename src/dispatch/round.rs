//! One round of dispatch: takes in who came to wait, has it decided who goes where, claims those, and hands them on to be launched.

use super::choice::{Allowance, Choice, Knowledge, Stand, decide};
use super::fitness::{Fit, Fitness};
use super::ledger::Ledger;
use super::outlook::Hall;
use super::run::Parts;
use crate::clock::Timestamp;
use crate::job::{Placement, PromptId, StructureHash};
use crate::pool::{Backend, Reading};
use crate::store::{Assignment, Claimed, StoreError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tracing::warn;

/// How many jobs are read at once from among those who came to wait.
const PAGE: u32 = 2000;

/// A claimed job, and the backend that it was claimed for.
pub(super) type Given = (Arc<Backend>, Claimed);

/// Claims all waiting jobs that may go now. Returns them, and whether any job was to go, though it may not have waited any more.
pub(super) async fn claim_round(parts: &Parts) -> (Vec<Given>, bool) {
    if let Err(error) = take_in(parts).await {
        warn!(%error, "the waiting jobs could not be read");
        return (Vec::new(), false);
    }
    let backends = parts.pool.backends();
    if parts.pool.is_paused() || parts.outlooks.hall().room.is_empty() {
        return (Vec::new(), false);
    }
    let mut allowance = Allowance { most: parts.per_tenant, running: HashMap::new() };
    if allowance.most.is_some() && backends.iter().any(|backend| backend.room(parts.clock.now()) > 0) {
        match parts.store.on_backends_by_tenant().await {
            Ok(running) => allowance.running = running,
            Err(error) => {
                warn!(%error, "the jobs on the backends could not be counted");
                return (Vec::new(), false);
            }
        }
    }
    let before = parts.outlooks.hall().room.turns.clone();
    let chosen = choose(parts, &backends, allowance);
    if chosen.is_empty() {
        return (Vec::new(), false);
    }
    let assignment = |choice: &Choice| Assignment {
        job: choice.taken.waiter.job,
        backend: backends[choice.stand].name.clone(),
        variant: choice.variant,
        fresh: PromptId::fresh((parts.random)()),
    };
    let claimed = parts.store.claim(chosen.iter().map(assignment).collect(), parts.clock.now()).await;
    let hall = &mut *parts.outlooks.hall();
    match claimed {
        Ok(claimed) => (settle(hall, &backends, &chosen, claimed, parts.clock.now()), true),
        Err(error) => {
            warn!(%error, "no job could be claimed");
            hall.room.turns = before;
            for choice in chosen {
                hall.room.put_back(choice.taken);
            }
            (Vec::new(), false)
        }
    }
}

/// Reads who came to wait since the last time.
async fn take_in(parts: &Parts) -> Result<(), StoreError> {
    loop {
        let mark = parts.outlooks.hall().room.mark();
        let arrivals = parts.store.arrivals(mark, PAGE).await?;
        let (is_more, now) = (arrivals.is_more, parts.clock.now());
        if !arrivals.jobs.is_empty() {
            parts.fitness.came(now);
        }
        parts.outlooks.hall().room.admit(arrivals, now);
        if !is_more || parts.lifecycle.stop().is_cancelled() {
            return Ok(());
        }
    }
}

/// Lets those leave the room who have gone otherwise, such as cancelled ones that no backend was free for.
pub(super) async fn forget_gone(parts: &Parts) -> Result<(), StoreError> {
    take_in(parts).await?;
    let known = parts.outlooks.hall().room.len() as u64;
    if parts.store.backlog().await?.queued >= known {
        return Ok(());
    }
    let (mut waiting, mut mark) = (HashSet::new(), 0);
    loop {
        let arrivals = parts.store.arrivals(mark, PAGE).await?;
        waiting.extend(arrivals.jobs.iter().map(|waiting| waiting.job));
        mark = arrivals.mark;
        if !arrivals.is_more {
            break;
        }
    }
    parts.outlooks.hall().room.keep(&waiting);
    Ok(())
}

fn choose(parts: &Parts, backends: &[Arc<Backend>], allowance: Allowance) -> Vec<Choice> {
    let now = parts.clock.now();
    let Hall { room, ledger } = &mut *parts.outlooks.hall();
    ledger.keep(|name| backends.iter().any(|backend| backend.name == name));
    let known = Known { fitness: &parts.fitness, estimates: parts.estimates.read(), backends, now };
    let stands: Vec<Stand> = backends.iter().map(|backend| stand(backend, ledger, &known.estimates, now)).collect();
    if stands.iter().all(|stand| stand.room == 0) {
        return Vec::new();
    }
    decide(room, stands, &known, allowance, now)
}

/// Says how a backend stands.
fn stand(backend: &Backend, ledger: &mut Ledger, estimates: &Reading<'_>, now: Timestamp) -> Stand {
    let (name, desk) = (&backend.name, &backend.desk);
    ledger.connected(name, desk.connection());
    ledger.settle(name, &desk.held(), backend.slots, now);
    Stand {
        name: name.clone(),
        is_open: backend.is_open(now),
        is_doubtful: desk.is_doubtful(),
        slots: backend.slots,
        held: desk.load(),
        room: backend.room(now),
        room_for_images: backend.room_for_images(),
        backlog: ledger.backlog(name, now),
        // What ran there before dispatch gave it anything is known too.
        warm: ledger.warm(name, estimates.last_ran(name)).cloned(),
        last_given: ledger.last_given(name),
    }
}

/// Notes what was claimed, and what did not wait any more.
fn settle(
    hall: &mut Hall,
    backends: &[Arc<Backend>],
    chosen: &[Choice],
    claimed: Vec<Claimed>,
    now: Timestamp,
) -> Vec<Given> {
    let mut claimed: HashMap<_, _> = claimed.into_iter().map(|claimed| (claimed.job.id, claimed)).collect();
    let mut given = Vec::with_capacity(claimed.len());
    for choice in chosen {
        let Choice { taken, stand, variant, seconds } = choice;
        match claimed.remove(&taken.waiter.job) {
            Some(claimed) => {
                let class = hall.room.class(taken.spot.class);
                let graph = class.and_then(|class| class.structures.get(*variant as usize)).cloned();
                let backend = &backends[*stand];
                let on = (backend.name.as_str(), backend.desk.connection());
                hall.ledger.given(on, claimed.job.id, graph.unwrap_or_default(), *seconds, now);
                given.push((Arc::clone(backend), claimed));
            }
            None => hall.room.owed.push_back(taken.spot.tenant.clone()),
        }
        hall.room.let_go(choice);
    }
    given
}

/// What is known of graphs on these backends. Nothing is learnt as long as it lives.
struct Known<'a> {
    fitness: &'a Fitness,
    estimates: Reading<'a>,
    backends: &'a [Arc<Backend>],
    now: Timestamp,
}

impl Knowledge for Known<'_> {
    fn fits(&self, graph: &StructureHash, placement: &Placement, stand: usize) -> bool {
        self.fitness.fit(graph, placement, &self.backends[stand], self.now) == Fit::Fits
    }

    fn run_time(&self, graph: &StructureHash, stand: usize, is_warm: bool) -> Option<f64> {
        Some(self.estimates.run_time(graph, &self.backends[stand].name, is_warm)?.as_secs_f64())
    }

    fn anywhere(&self, graph: &StructureHash) -> Option<f64> {
        Some(self.estimates.anywhere(graph)?.as_secs_f64())
    }

    fn mean_of_all(&self) -> Option<f64> {
        Some(self.estimates.mean_of_all()?.as_secs_f64())
    }
}
