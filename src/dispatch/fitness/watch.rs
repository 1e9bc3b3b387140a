//! The task that keeps fresh what is known of graphs on backends: learns what graphs need, holds it against the inventories
//! as they change, keeps what backends said, tells of blocks, and has jobs ended that nobody can run.

use super::super::run::{Parts, rebuild};
use super::Errands;
use super::known::Said;
use super::unrunnable::{Chances, Singly, doubtful, end_without_hope};
use crate::clock::Timestamp;
use crate::definitions::Definitions;
use crate::job::{JobId, StructureHash};
use crate::pool::{BackendEvent, Pool};
use crate::store::{Kind, KindMark, Kinds, persist};
use crate::tracker::Block;
use crate::workflow::Pair;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it is looked for jobs that nobody can run when nobody rings.
const POLL: Duration = Duration::from_secs(1);

/// How old what is known of a backend may be before a job ends for it.
const FRESH: Duration = Duration::from_secs(5);

/// How often backends are asked for jobs that wait for one that may join.
const ASKED: Duration = Duration::from_mins(1);

/// How often what nobody asks for any more is forgotten.
const TIDY: Duration = Duration::from_mins(1);

/// How many graphs are learnt in one look.
const LEARNT: usize = 100;

/// How many kinds of waiting jobs are read at once, and how many such pages in one look. The next one goes on behind them.
const KINDS: u32 = 1000;
const PAGES: usize = 10;

/// Why it is looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Occasion {
    /// Somebody rang, or it is time.
    Usual,
    /// Backends came, went, or have something else.
    Change,
}

/// What one look leaves to the next.
#[derive(Default)]
struct Progress {
    revisions: HashMap<String, Arc<Pair>>,
    /// Graphs that could not be built. They hold up no others.
    unlearnable: HashSet<StructureHash>,
    /// Behind which kind it goes on; none for the first.
    mark: Option<KindMark>,
    /// When backends were last asked for jobs that wait for one that may join.
    asked_at: Option<Timestamp>,
    /// The socket of each backend, by its number, over which it was asked.
    asked_over: HashMap<String, u64>,
}

/// Watches until told to stop.
pub(in crate::dispatch) async fn watch(parts: Arc<Parts>, stop: CancellationToken) {
    let fitness = Arc::clone(&parts.fitness);
    fitness.tie(&parts.pool, &parts.inventory);
    remember(&parts).await;
    let (mut pool, mut inventory) = (parts.pool.changes(), parts.inventory.changes());
    let mut progress = Progress::default();
    let mut occasion = Occasion::Change;
    let mut tidy_at = parts.clock.now() + TIDY;
    loop {
        // A panic in there ends one look.
        let _ = parts.lifecycle.contain("fitness", Box::pin(look(&parts, occasion, &mut progress))).await;
        let now = parts.clock.now();
        if now >= tidy_at {
            tidy(&parts, now);
            // What could not be read may be readable now.
            progress.unlearnable.clear();
            progress.asked_over.clear();
            tidy_at = now + TIDY;
        }
        occasion = tokio::select! {
            () = stop.cancelled() => return,
            _ = pool.changed() => Occasion::Change,
            _ = inventory.changed() => Occasion::Change,
            () = fitness.bell.notified() => Occasion::Usual,
            () = parts.clock.sleep_until(now + POLL) => Occasion::Usual,
        };
    }
}

/// Reads what backends said in an earlier life.
async fn remember(parts: &Parts) {
    let (clock, stop) = (parts.clock.as_ref(), parts.lifecycle.stop());
    let said = persist(clock, &stop, "what backends cannot run", || parts.fitness_store.incapable()).await;
    let mut known = parts.fitness.known_mut();
    for said in said.unwrap_or_default() {
        known.say(&said.graph, &said.backend, Said::earlier(&said.reason, said.share));
    }
}

async fn look(parts: &Parts, occasion: Occasion, progress: &mut Progress) {
    let fitness = &parts.fitness;
    let now = parts.clock.now();
    if occasion == Occasion::Change {
        hear_of_blocks(parts);
    }
    let Errands { wanted, to_judge, said, unsaid } = std::mem::take(&mut *fitness.errands());
    let refusing: BTreeSet<String> = said.iter().map(|said| said.backend.clone()).collect();
    for said in said {
        if let Err(error) = parts.fitness_store.keep_incapable(said).await {
            warn!(%error, "what a backend cannot run is remembered until the gateway stops");
        }
    }
    // It has refused what it seemed to have.
    refresh(parts, &refusing).await;
    if to_judge || occasion == Occasion::Change {
        judge(parts).await;
    }
    forget(parts, unsaid).await;
    let (refused, mut unknown) = (Singly::of(parts), wanted);
    let (mut hopeless, mut learnt) = (Vec::new(), 0);
    for _ in 0..PAGES {
        let kinds = match parts.fitness_store.waiting_kinds(progress.mark.take(), KINDS).await {
            Ok(Kinds { kinds, next }) => {
                progress.mark = next;
                kinds
            }
            Err(error) => {
                warn!(%error, "the kinds of waiting jobs could not be read");
                Vec::new()
            }
        };
        learn(parts, std::mem::take(&mut unknown), &kinds, progress, &mut learnt).await;
        if fitness.errands().to_judge {
            judge(parts).await;
        }
        let backends = parts.pool.backends();
        hopeless.extend(kinds.into_iter().filter(|kind| {
            let chances = Chances::of(fitness, kind, &backends, now);
            chances.are_none() || refused.are_without(kind, &chances)
        }));
        if progress.mark.is_none() {
            break;
        }
    }
    fitness.release_the_last(now);
    end_all(parts, &hopeless, &refused, progress).await;
}

/// Ends the jobs of these kinds that no backend can run, as far as they have waited as long as they should.
async fn end_all(parts: &Parts, hopeless: &[Kind], refused: &Singly, progress: &mut Progress) {
    if hopeless.is_empty() {
        return;
    }
    let (now, backends) = (parts.clock.now(), parts.pool.backends());
    let is_due = |kind: &&Kind| now >= kind.since + parts.wait_for_backends;
    let asks_for_all = progress.asked_at.is_none_or(|at| now >= at + ASKED);
    if asks_for_all {
        progress.asked_at = Some(now);
    }
    // What they lack they may have got since they were asked. Whom all have refused that does not help.
    let asked_for = hopeless.iter().filter(|kind| asks_for_all || is_due(kind));
    let asked_for = asked_for.filter(|kind| Chances::of(&parts.fitness, kind, &backends, now).are_none());
    let doubtful: BTreeSet<String> = asked_for.flat_map(|kind| doubtful(kind, &backends)).collect();
    if !doubtful.is_empty() {
        refresh_since_connected(parts, &doubtful, progress).await;
        judge(parts).await;
    }
    for kind in hopeless.iter().filter(is_due) {
        let chances = Chances::of(&parts.fitness, kind, &backends, now);
        if chances.are_none() || refused.are_without(kind, &chances) {
            end_without_hope(parts, kind, &chances).await;
        }
    }
}

/// Forgets what nobody asks for any more.
fn tidy(parts: &Parts, now: Timestamp) {
    let there = parts.pool.names();
    let closed = parts.fitness.known_mut().forget(|name| there.contains(name), now);
    for (graph, backend) in closed {
        parts.fitness.tell(&backend, now, BackendEvent::Unblocked { graph: Some(graph) });
    }
}

/// Asks backends what they have, those that were not asked just now.
async fn refresh(parts: &Parts, backends: &BTreeSet<String>) {
    join_all(backends.iter().map(|backend| parts.inventory.refresh(backend, FRESH))).await;
}

/// The same; but what they said before they came back was another life's.
async fn refresh_since_connected(parts: &Parts, backends: &BTreeSet<String>, progress: &mut Progress) {
    let mut ages = Vec::with_capacity(backends.len());
    for backend in backends.iter().filter_map(|name| parts.pool.get(name)) {
        let socket = backend.desk.connection();
        let before = progress.asked_over.insert(backend.name.clone(), socket);
        ages.push((backend.name.clone(), if before == Some(socket) { FRESH } else { Duration::ZERO }));
    }
    join_all(ages.iter().map(|(backend, age)| parts.inventory.refresh(backend, *age))).await;
}

/// Learns what graphs need, from the templates of the catalogue and from jobs that wait.
async fn learn(
    parts: &Parts,
    wanted: BTreeSet<StructureHash>,
    kinds: &[Kind],
    progress: &mut Progress,
    learnt: &mut usize,
) {
    let examples = kinds.iter().flat_map(|kind| kind.graphs.iter().map(|graph| (graph.clone(), kind.example)));
    let is_new = |graph: &StructureHash| !graph.as_str().is_empty() && !progress.unlearnable.contains(graph);
    let examples: BTreeMap<StructureHash, JobId> = examples.filter(|(graph, _)| is_new(graph)).collect();
    let unknown: BTreeSet<StructureHash> = {
        let known = parts.fitness.known();
        wanted.into_iter().chain(examples.keys().cloned()).filter(|graph| !known.knows(graph)).collect()
    };
    if unknown.is_empty() {
        return;
    }
    for pair in parts.catalog.names().iter().filter_map(|name| parts.catalog.workflow(name)) {
        if unknown.contains(pair.structure()) {
            parts.fitness.learn_needs(pair.structure(), pair.template(), pair.revision());
        }
    }
    for (graph, example) in examples.iter().filter(|(graph, _)| unknown.contains(*graph)) {
        if *learnt >= LEARNT {
            return;
        }
        if parts.fitness.known().knows(graph) {
            continue;
        }
        *learnt += 1;
        if !learn_from(parts, graph, *example, &mut progress.revisions).await {
            progress.unlearnable.insert(graph.clone());
        }
    }
}

/// Learns what graphs need from a job, and returns false where that cannot be.
async fn learn_from(
    parts: &Parts,
    graph: &StructureHash,
    example: JobId,
    revisions: &mut HashMap<String, Arc<Pair>>,
) -> bool {
    let Ok(Some(mut job)) = parts.store.job(example).await else { return false };
    let variant = job.request.structures().position(|structure| structure == graph);
    let Some(variant) = variant.and_then(|place| u32::try_from(place).ok()) else { return false };
    job.request = job.request.as_variant(variant);
    let Ok(ready) = rebuild(parts, &job, revisions).await else { return false };
    let is_of_it = job.request.structure == *graph;
    if is_of_it {
        parts.fitness.learn_needs(graph, &ready.built.graph, &job.request.revision);
    }
    is_of_it
}

/// Holds what graphs need against what backends have, where either is new: on a thread where nobody waits.
async fn judge(parts: &Parts) {
    parts.fitness.errands().to_judge = false;
    let stock: HashMap<String, Option<(u64, Definitions)>> = parts
        .pool
        .backends()
        .iter()
        .map(|backend| (backend.name.clone(), parts.inventory.stock(&backend.name)))
        .collect();
    let versions = stock.iter().map(|(name, stock)| (name.clone(), stock.as_ref().map(|it| it.0))).collect();
    let stale = parts.fitness.known().stale(&versions);
    if stale.is_empty() {
        return;
    }
    let fitness = Arc::clone(&parts.fitness);
    let work = move || {
        for (graph, backend) in stale {
            if let Some((version, definitions)) = stock.get(&backend).and_then(Option::as_ref) {
                fitness.judge(&graph, &backend, *version, definitions);
            }
        }
    };
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        warn!(%error, "what graphs need could not be held against what backends have");
    }
}

/// Forgets what backends said and what holds no more.
async fn forget(parts: &Parts, earlier: Vec<(StructureHash, String)>) {
    let mut unsaid = earlier;
    unsaid.append(&mut parts.fitness.errands().unsaid);
    if unsaid.is_empty() {
        return;
    }
    for (graph, backend) in &unsaid {
        info!(backend, %graph, "the backend has something else now; it may be given such graphs again");
    }
    if let Err(error) = parts.fitness_store.forget_incapable(unsaid).await {
        warn!(%error, "what holds no more of backends is forgotten at the next start");
    }
}

/// Has it told when backends are left alone, of those too that came since.
fn hear_of_blocks(parts: &Parts) {
    for backend in parts.pool.backends().iter() {
        let (pool, clock) = (Arc::downgrade(&parts.pool), Arc::clone(&parts.clock));
        let name = backend.name.clone();
        let tell = move |block| {
            if let Some(pool) = pool.upgrade() {
                tell_block(&pool, &name, block, clock.now());
            }
        };
        // Where somebody hears of it already, that is this task.
        let _ = backend.desk.on_block(tell);
    }
}

fn tell_block(pool: &Pool, backend: &str, block: Option<Block>, now: Timestamp) {
    let event = if let Some(Block { reason, until }) = block {
        warn!(backend, reason, "the backend is given no jobs for now");
        BackendEvent::Blocked { graph: None, reason, until: until.unwrap_or(now) }
    } else {
        info!(backend, "the backend is given jobs again");
        BackendEvent::Unblocked { graph: None }
    };
    pool.tell(backend, now, event);
}
