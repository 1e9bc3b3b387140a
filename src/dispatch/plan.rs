//! What is known of a run before it is submitted: its graph's nodes, its limits, and which other ways its job has.

use super::fitness::{Fit, is_certain};
use super::run::Parts;
use crate::clock::Timestamp;
use crate::job::NodeLabel;
use crate::store::{Claimed, Refused, Way};
use crate::tracker::Plan;
use crate::workflow::Built;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Returns what the tracker must know of a run that begins now, or is taken up again.
pub(super) fn plan(parts: &Parts, claimed: &Claimed, built: &Built) -> Plan {
    let Claimed { job, run, variant, tries, .. } = claimed;
    let now = parts.clock.now();
    let OtherWays { refused, open, is_certain } = other_ways(parts, claimed, now);
    Plan {
        job: job.id,
        number: run.number,
        prompt: run.prompt.clone(),
        backend: run.backend.clone(),
        variant: *variant,
        refused,
        elsewhere: open.iter().any(|way| way.backend != run.backend),
        alike: open.iter().any(|way| way.backend != run.backend && way.variant == *variant),
        otherwise: open.iter().any(|way| way.backend == run.backend),
        may_join: !is_certain || now < job.created_at + parts.wait_for_backends,
        nodes: built.graph.nodes().map(|(id, _)| id.to_owned()).collect(),
        labels: Arc::new(labels(built)),
        weights: parts.estimates.weights(&job.request.structure),
        usual: parts.estimates.read().expected(&job.request.structure, &run.backend),
        websocket_nodes: built.websocket_nodes.clone(),
        declared: built.outputs.clone(),
        expected_images: job.request.expected_images,
        limits: job.request.limits,
        queued_since: if *tries == 0 { job.created_at.min(now) } else { now },
        may_retry: tries + 1 < job.request.max_runs.unwrap_or(parts.max_runs).min(parts.max_runs),
    }
}

/// In which ways besides the one that it was claimed for a job may run.
struct OtherWays {
    /// Those in which it cannot.
    refused: Vec<Refused>,
    /// Those in which it might.
    open: Vec<Way>,
    /// All backends that cannot run it are there, so that none comes back with what it lacks.
    is_certain: bool,
}

fn other_ways(parts: &Parts, claimed: &Claimed, now: Timestamp) -> OtherWays {
    let Claimed { job, run, variant, structures, refused, .. } = claimed;
    let (mut refused, mut open, mut all_certain) = (refused.clone(), Vec::new(), true);
    for backend in parts.pool.backends().iter() {
        for (number, graph) in (0_u32..).zip(structures) {
            let way = Way { backend: backend.name.clone(), variant: number };
            let is_this = way.backend == run.backend && number == *variant;
            if is_this || refused.iter().any(|refused| refused.way == way) {
                continue;
            }
            let placement = job.request.placement.of_variant(number as usize);
            match parts.fitness.fit(graph, &placement, backend, now) {
                Fit::Unfit(reason) => {
                    all_certain &= is_certain(&placement, backend);
                    refused.push(Refused { way, reason });
                }
                Fit::Fits | Fit::Blocked(_) => open.push(way),
            }
        }
    }
    OtherWays { refused, open, is_certain: all_certain }
}

fn labels(built: &Built) -> BTreeMap<String, NodeLabel> {
    let nodes = built.graph.nodes();
    nodes
        .map(|(id, node)| (id.to_owned(), NodeLabel { class: node.class_type.clone(), title: node.title.clone() }))
        .collect()
}
