//! Waiting jobs that no backend can run: found, doubted once more, and ended with the reason of each backend.

use super::super::ending::end;
use super::super::run::Parts;
use super::{Fit, Fitness, is_certain, unwished};
use crate::clock::Timestamp;
use crate::job::{Failure, FailureCode, Job, Placement, StructureHash};
use crate::pool::Backend;
use crate::store::{Kind, Refused, Way};
use crate::tracker::nobody_can;
use futures_util::future::join_all;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// How many jobs are ended together.
const AT_ONCE: u32 = 256;

/// Why a kind of jobs cannot run: one entry for each way, none where it can, or where that is not known.
pub(super) struct Chances {
    of: Vec<(Way, Option<String>)>,
}

impl Chances {
    /// Asks for each backend. What is only blocked for a while, away or draining may run them yet, and what is away may
    /// come back with what it lacks.
    pub(super) fn of(fitness: &Fitness, kind: &Kind, backends: &[Arc<Backend>], now: Timestamp) -> Self {
        let reason = |backend: &Arc<Backend>, variant: u32, graph: &StructureHash| {
            let placement = kind.placement.of_variant(variant as usize);
            match fitness.weigh(graph, &placement, backend, now) {
                Fit::Unfit(reason) if is_certain(&placement, backend) => Some(reason),
                Fit::Unfit(_) | Fit::Fits | Fit::Blocked(_) => None,
            }
        };
        let ways = |backend: &Arc<Backend>| {
            let way =
                |(variant, graph)| (Way { backend: backend.name.clone(), variant }, reason(backend, variant, graph));
            (0..).zip(&kind.graphs).map(way).collect::<Vec<_>>()
        };
        Self { of: backends.iter().flat_map(ways).collect() }
    }

    /// Says whether there are backends and none can run them.
    pub(super) fn are_none(&self) -> bool {
        !self.of.is_empty() && self.of.iter().all(|(_, reason)| reason.is_some())
    }

    /// Says whether there are backends and none can run such a job that was refused in these ways.
    pub(super) fn are_none_but(&self, refused: &BTreeSet<Way>) -> bool {
        !self.of.is_empty() && self.of.iter().all(|(way, reason)| reason.is_some() || refused.contains(way))
    }

    fn able(&self) -> Vec<Way> {
        self.of.iter().filter(|(_, reason)| reason.is_none()).map(|(way, _)| way.clone()).collect()
    }

    /// Returns the reason of each way, for a job that was refused in some of them.
    fn reasons(&self, refused: &[Refused]) -> Vec<Refused> {
        let said = |way: &Way| refused.iter().find(|refused| refused.way == *way).map(|it| it.reason.clone());
        let reason = |(way, reason): &(Way, Option<String>)| {
            Some(Refused { way: way.clone(), reason: reason.clone().or_else(|| said(way))? })
        };
        self.of.iter().filter_map(reason).collect()
    }
}

/// The waiting jobs that backends refused for their own values, by what they need and wish.
pub(super) struct Singly(HashMap<Vec<StructureHash>, Vec<(Placement, BTreeSet<Way>)>>);

impl Singly {
    pub(super) fn of(parts: &Parts) -> Self {
        let mut refused: HashMap<_, Vec<_>> = HashMap::new();
        let hall = parts.outlooks.hall();
        for (class, _) in hall.room.classes().filter(|(class, waiting)| *waiting > 0 && !class.unfit.is_empty()) {
            let of = refused.entry(class.structures.clone()).or_default();
            of.push((class.placement.clone(), class.unfit.clone()));
        }
        Self(refused)
    }

    /// Says whether some of a kind were refused in every way in which the others may run.
    pub(super) fn are_without(&self, kind: &Kind, chances: &Chances) -> bool {
        let of = self.0.get(&kind.graphs).into_iter().flatten();
        let mut refused = of.filter(|(placement, _)| *placement == kind.placement);
        refused.any(|(_, unfit)| chances.are_none_but(unfit))
    }
}

/// Returns the backends that lack what jobs of a kind need, and might have got it since they were asked: those that are not
/// what the jobs wish for stay so, and those without a socket do not answer.
pub(super) fn doubtful(kind: &Kind, backends: &[Arc<Backend>]) -> BTreeSet<String> {
    let is_wished = |backend: &Arc<Backend>| {
        (0..kind.graphs.len()).any(|variant| unwished(&kind.placement.of_variant(variant), backend).is_none())
    };
    let may_answer = |backend: &&Arc<Backend>| is_wished(backend) && backend.desk.is_connected();
    backends.iter().filter(may_answer).map(|backend| backend.name.clone()).collect()
}

/// Ends the waiting jobs of a kind that no backend can run, or that each which could has refused.
pub(super) async fn end_without_hope(parts: &Parts, kind: &Kind, chances: &Chances) {
    if chances.of.is_empty() {
        return;
    }
    let wait = i64::try_from(parts.wait_for_backends.as_millis()).unwrap_or(i64::MAX);
    let by = Timestamp::from_millis(parts.clock.now().millis().saturating_sub(wait));
    loop {
        let found = parts.fitness_store.without_hope(kind.clone(), chances.able(), by, AT_ONCE).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "the jobs that no backend can run could not be read"),
        };
        // All at once, so that they share the store's sync of the disk.
        let each = async |(job, refused): &(Job, Vec<Refused>)| {
            end(parts, job, None, failure(parts, kind, job, &chances.reasons(refused))).await
        };
        let ended = join_all(found.iter().map(each)).await;
        let is_more = found.len() == AT_ONCE as usize;
        if !is_more || !ended.contains(&true) || parts.lifecycle.stop().is_cancelled() {
            return;
        }
    }
}

fn failure(parts: &Parts, kind: &Kind, job: &Job, reasons: &[Refused]) -> Failure {
    let graph = kind.graphs.first();
    let of_first = reasons.iter().filter(|refused| refused.way.variant == 0);
    let mut nodes =
        of_first.filter_map(|refused| parts.fitness.failed_node(graph?, &refused.way.backend, &job.request.revision));
    let node = nodes.next();
    Failure { node, ..Failure::new(FailureCode::Validation, nobody_can(reasons)) }
}
