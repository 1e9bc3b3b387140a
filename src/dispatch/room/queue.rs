//! The queue of one tenant: lanes by priority, and in each lane the jobs of each class in the order of acceptance.

use super::Spot;
use super::class::ClassId;
use crate::clock::Timestamp;
use crate::job::JobId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// A job that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::dispatch) struct Waiter {
    /// Where it stands in the order of acceptance.
    pub(in crate::dispatch) place: i64,
    /// The job.
    pub(in crate::dispatch) job: JobId,
    /// When it was let in.
    pub(in crate::dispatch) since: Timestamp,
    /// Since when it is left in the room for a backend that is better for it.
    pub(in crate::dispatch) passed_since: Option<Timestamp>,
}

/// The queue of one tenant.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Queue {
    lanes: BTreeMap<Reverse<i32>, Lane>,
    count: usize,
}

#[derive(Debug, Default)]
struct Lane {
    groups: BTreeMap<ClassId, VecDeque<Waiter>>,
    /// The first of each group, so that they are found in the order of acceptance.
    heads: BTreeMap<i64, ClassId>,
}

impl Queue {
    /// Returns how many wait.
    pub(in crate::dispatch) fn len(&self) -> usize {
        self.count
    }

    /// Says whether nobody waits.
    pub(in crate::dispatch) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the first job of each class in each lane, the highest lane first, and in it the oldest job first.
    pub(in crate::dispatch) fn heads(&self) -> impl Iterator<Item = (i32, ClassId, &Waiter)> {
        self.lanes.iter().flat_map(|(Reverse(priority), lane)| {
            lane.heads.values().filter_map(|class| Some((*priority, *class, lane.groups.get(class)?.front()?)))
        })
    }

    /// Returns how many stand before this one.
    pub(in crate::dispatch) fn before(&self, spot: &Spot) -> usize {
        let higher = self.lanes.range(..Reverse(spot.priority)).map(|(_, lane)| lane.len()).sum::<usize>();
        let older = |group: &VecDeque<Waiter>| group.partition_point(|waiter| waiter.place < spot.place);
        let lane = self.lanes.get(&Reverse(spot.priority));
        higher + lane.map_or(0, |lane| lane.groups.values().map(older).sum())
    }

    pub(super) fn put(&mut self, priority: i32, class: ClassId, waiter: Waiter) {
        let lane = self.lanes.entry(Reverse(priority)).or_default();
        let group = lane.groups.entry(class).or_default();
        let before = group.front().map(|first| first.place);
        let at = group.partition_point(|other| other.place < waiter.place);
        group.insert(at, waiter);
        self.count += 1;
        if at == 0 {
            before.map(|before| lane.heads.remove(&before));
            lane.heads.insert(waiter.place, class);
        }
    }

    pub(super) fn take_first(&mut self, priority: i32, class: ClassId) -> Option<Waiter> {
        let place = self.lanes.get(&Reverse(priority))?.groups.get(&class)?.front()?.place;
        self.take(priority, class, place)
    }

    pub(super) fn remove(&mut self, spot: &Spot) {
        self.take(spot.priority, spot.class, spot.place);
    }

    pub(super) fn passed(&mut self, spot: &Spot, now: Timestamp) {
        let Some(group) = self.lanes.get_mut(&Reverse(spot.priority)).and_then(|lane| lane.groups.get_mut(&spot.class))
        else {
            return;
        };
        if let Ok(at) = group.binary_search_by_key(&spot.place, |waiter| waiter.place) {
            group[at].passed_since.get_or_insert(now);
        }
    }

    fn take(&mut self, priority: i32, class: ClassId, place: i64) -> Option<Waiter> {
        let lane = self.lanes.get_mut(&Reverse(priority))?;
        let group = lane.groups.get_mut(&class)?;
        let at = group.binary_search_by_key(&place, |waiter| waiter.place).ok()?;
        let waiter = group.remove(at)?;
        self.count -= 1;
        if at == 0 {
            lane.heads.remove(&place);
            if let Some(next) = group.front() {
                lane.heads.insert(next.place, class);
            }
        }
        if group.is_empty() {
            lane.groups.remove(&class);
        }
        if lane.groups.is_empty() {
            self.lanes.remove(&Reverse(priority));
        }
        Some(waiter)
    }
}

impl Lane {
    fn len(&self) -> usize {
        self.groups.values().map(VecDeque::len).sum()
    }
}
