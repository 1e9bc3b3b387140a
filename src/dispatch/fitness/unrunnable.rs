//! Waiting jobs that no backend can run: found, doubted once more, and ended with the reason of each backend.

use super::super::ending::end;
use super::super::run::Parts;
use super::{Fit, Fitness, is_certain, unwished};
use crate::clock::Timestamp;
use crate::job::{Failure, FailureCode, Job, Placement, StructureHash};
use crate::names::cut;
use crate::pool::Backend;
use crate::store::{Kind, Refused, Way};
use futures_util::future::join_all;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// How many jobs are ended together.
const AT_ONCE: u32 = 256;

/// How the reason of a backend without a tag begins.
pub(super) const NO_TAG: &str = "it does not have the tag ";

/// How many reasons are told, and of how many backends each, and how many letters of a reason and of a name.
const TOLD: usize = 8;
const BRIEF: usize = 200;

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

/// Says in one line why no backend can run a job.
fn nobody_can(reasons: &[Refused]) -> String {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for Refused { way: Way { backend, .. }, reason } in reasons {
        match by_reason.iter_mut().find(|(known, _)| known == reason) {
            Some((_, backends)) if backends.contains(&backend.as_str()) => {}
            Some((_, backends)) => backends.push(backend),
            None => by_reason.push((reason, vec![backend])),
        }
    }
    if let [(reason, _)] = by_reason.as_slice()
        && let Some(tag) = reason.strip_prefix(NO_TAG)
    {
        return format!("no backend has the tag {tag}");
    }
    let told: Vec<String> = by_reason
        .iter()
        .take(TOLD)
        .map(|(reason, backends)| {
            let mut names: Vec<String> = backends.iter().take(TOLD).map(|name| cut(name, BRIEF)).collect();
            if backends.len() > TOLD {
                names.push(format!("{} more", backends.len() - TOLD));
            }
            format!("{}: {}", names.join(", "), cut(reason, BRIEF))
        })
        .collect();
    let more = match by_reason.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!("; and {more} more reasons"),
    };
    let all = told.join("; ");
    format!("no backend can run the job{}{all}{more}", if all.is_empty() { "" } else { ": " })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reasons: &[(&str, &str)]) -> String {
        let refused = |(way, reason): &(&str, &str)| Refused { way: Way::first(way), reason: (*reason).into() };
        nobody_can(&reasons.iter().map(refused).collect::<Vec<_>>())
    }

    #[test]
    fn each_backend_is_told_with_what_it_lacks_and_all_together_in_bounded_words() {
        let flux = "it does not have the tag `flux`";
        assert_eq!(said(&[("a", flux), ("b", flux)]), "no backend has the tag `flux`");
        assert_eq!(
            said(&[("a", "it has no x"), ("b", "it has no x")]),
            "no backend can run the job: a, b: it has no x"
        );
        let twice = said(&[("a", "it has no x"), ("a", "it has no x"), ("a", "it has no y")]);
        assert_eq!(twice, "no backend can run the job: a: it has no x; a: it has no y", "one for each variant");
        let expected = format!("no backend can run the job: a: {flux}; b: it has no node class `X`");
        assert_eq!(said(&[("a", flux), ("b", "it has no node class `X`")]), expected);
        let many: Vec<String> = (0..64).map(|n| format!("{n}{}", "y".repeat(5000))).collect();
        let told = said(&many.iter().map(|reason| ("b", reason.as_str())).collect::<Vec<_>>());
        assert!(told.ends_with("; and 56 more reasons") && told.len() < 2000, "{}", told.len());
        let names: Vec<String> = (0..64).map(|number| format!("b{number}")).collect();
        let alike: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "it has no x")).collect();
        assert!(said(&alike).ends_with("b7, 56 more: it has no x"), "{}", said(&alike));
    }
}
