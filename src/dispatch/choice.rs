//! Which waiting job goes to which backend: tenants take turns, of a tenant the highest lane goes first and in it the oldest job, and
//! each goes where it should end first. A job that no free backend can take holds up nobody. Which backend is best for a job is
//! left to `merit`.

mod merit;

pub use merit::{Knowledge, Stand};

use super::room::{ClassId, Room, Taken, Waiter};
use crate::clock::Timestamp;
use crate::job::{Candidate, JobId, Tenant};
use merit::{Merits, Verdict};
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::num::NonZeroUsize;

/// What a job costs its tenant. All the same, so that tenants get as many runs as each other, whatever they take.
const COST: u32 = 1;

/// How many jobs of one tenant may be on backends at once.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    /// None for any number.
    pub most: Option<NonZeroUsize>,
    /// How many are there.
    pub running: HashMap<Tenant, usize>,
}

/// A job that was taken out of the room, and where it goes.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    pub(super) taken: Taken,
    /// The place of its backend in the list of those that there are.
    pub stand: usize,
    /// Which of its variants.
    pub variant: u32,
    /// How long its run should take, in seconds.
    pub seconds: f64,
}

/// Takes the jobs out of the room that go to backends now.
pub fn decide(
    room: &mut Room,
    stands: Vec<Stand>,
    knowledge: &impl Knowledge,
    allowance: Allowance,
    at: Timestamp,
) -> Vec<Choice> {
    let mut round = Round {
        merits: Merits::new(stands, knowledge, room, at),
        allowance,
        passed: Vec::new(),
        idle: BTreeSet::new(),
        chosen: Vec::new(),
    };
    let owed = std::mem::take(&mut room.owed);
    let mut turns = std::mem::take(&mut room.turns);
    for tenant in owed {
        if let Some(place) = round.next_of(room, &tenant) {
            round.take(room, &tenant, place);
        }
    }
    // At first a backend is left to jobs whose models are there; the second time it would idle.
    for is_last in [false, true] {
        round.idle.clear();
        round.merits.begin(is_last);
        while round.merits.has_room() {
            let last = turns.last().cloned();
            let ring = ring(room, last.as_ref());
            let candidates = ring.filter_map(|tenant| {
                let place = round.next_of(room, tenant)?;
                Some(Ok::<_, Infallible>(Candidate { tenant: tenant.clone(), cost: COST, thing: place }))
            });
            let Ok(Some(next)) = turns.give(candidates) else { break };
            round.take(room, &next.tenant, next.thing);
        }
    }
    room.turns = turns;
    room.passed(&round.passed, at);
    round.chosen
}

/// Returns the tenants who wait, each once, beginning after `last` and ending with it.
fn ring<'a>(room: &'a Room, last: Option<&'a Tenant>) -> impl Iterator<Item = &'a Tenant> {
    use std::ops::Bound;
    let after = last.map_or(Bound::Unbounded, Bound::Excluded);
    let around = last.map(|last| room.queues().range::<Tenant, _>(..=last)).into_iter().flatten();
    room.queues().range::<Tenant, _>((after, Bound::Unbounded)).chain(around).map(|(tenant, _)| tenant)
}

/// Where the next job of a tenant goes.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Place {
    priority: i32,
    class: ClassId,
    stand: usize,
    variant: u32,
    seconds: f64,
}

/// One round of choosing.
struct Round<'a, K> {
    merits: Merits<'a, K>,
    allowance: Allowance,
    /// Jobs that are left in the room for a backend that is better for them.
    passed: Vec<JobId>,
    /// The tenants of whom no job can go any more.
    idle: BTreeSet<Tenant>,
    chosen: Vec<Choice>,
}

impl<K: Knowledge> Round<'_, K> {
    /// Finds the next job of a tenant that can go, and where.
    fn next_of(&mut self, room: &Room, tenant: &Tenant) -> Option<Place> {
        if !self.merits.has_room() || self.idle.contains(tenant) || self.has_its_fill(tenant) {
            return None;
        }
        let mut heads = room.queues().get(tenant)?.heads();
        let place = heads.find_map(|(priority, class, head)| self.place(room, priority, class, head));
        if place.is_none() {
            self.idle.insert(tenant.clone());
        }
        place
    }

    fn place(&mut self, room: &Room, priority: i32, class: ClassId, head: &Waiter) -> Option<Place> {
        match self.merits.judge(room, class, head) {
            Verdict::Best { stand, variant, seconds } => Some(Place { priority, class, stand, variant, seconds }),
            Verdict::Passed => {
                if head.passed_since.is_none() {
                    self.passed.push(head.job);
                }
                None
            }
            Verdict::Closed => None,
        }
    }

    fn has_its_fill(&self, tenant: &Tenant) -> bool {
        let running = || self.allowance.running.get(tenant).copied().unwrap_or(0);
        self.allowance.most.is_some_and(|most| running() >= most.get())
    }

    fn take(&mut self, room: &mut Room, tenant: &Tenant, place: Place) {
        let Place { priority, class, stand, variant, seconds } = place;
        let Some(taken) = room.take_first(tenant, priority, class) else { return };
        if self.allowance.most.is_some() {
            *self.allowance.running.entry(tenant.clone()).or_default() += 1;
        }
        self.merits.give(room, class, stand, variant, seconds);
        self.chosen.push(Choice { taken, stand, variant, seconds });
    }
}

#[cfg(test)]
mod tests;
