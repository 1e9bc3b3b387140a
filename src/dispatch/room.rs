//! The jobs that wait, in memory: by tenant and lane, and by what matters for where they may go. It says in which order they
//! stand; who goes where is decided by `choice`, and the truth about a job stays in the store.

mod class;
mod queue;

pub(super) use class::{Class, ClassId};
pub(super) use queue::{Queue, Waiter};

use super::choice::Choice;
use crate::clock::Timestamp;
use crate::job::{JobId, Tenant, Turns};
use crate::store::{Arrivals, Waiting};
use class::Classes;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// All jobs that wait.
#[derive(Debug, Default)]
pub struct Room {
    queues: BTreeMap<Tenant, Queue>,
    classes: Classes,
    spots: HashMap<JobId, Spot>,
    /// Whose turn it is.
    pub(super) turns: Turns,
    /// Tenants whose turn was spent on a job that did not wait any more.
    pub(super) owed: VecDeque<Tenant>,
    mark: i64,
}

/// Where a job stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Spot {
    pub(super) tenant: Tenant,
    pub(super) priority: i32,
    pub(super) class: ClassId,
    pub(super) place: i64,
}

/// A job that was taken out, and can be put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    pub(super) spot: Spot,
    pub(super) waiter: Waiter,
}

impl Room {
    /// Returns up to where the store was read.
    pub(super) fn mark(&self) -> i64 {
        self.mark
    }

    /// Lets those in who came to wait.
    pub fn admit(&mut self, arrivals: Arrivals, now: Timestamp) {
        self.mark = self.mark.max(arrivals.mark);
        for waiting in arrivals.jobs {
            self.let_in(waiting, now);
        }
    }

    /// Lets all leave, to be let in anew; whose turn it is stays.
    pub(super) fn empty(&mut self) {
        let (turns, owed) = (std::mem::take(&mut self.turns), std::mem::take(&mut self.owed));
        *self = Self { turns, owed, ..Self::default() };
    }

    /// Returns how many wait.
    pub fn len(&self) -> usize {
        self.spots.len()
    }

    /// Says whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.spots.is_empty()
    }

    /// Returns the queue of each tenant who waits, by name.
    pub(super) fn queues(&self) -> &BTreeMap<Tenant, Queue> {
        &self.queues
    }

    /// Returns what the jobs of a class have in common.
    pub(super) fn class(&self, class: ClassId) -> Option<&Class> {
        self.classes.get(class)
    }

    /// Returns one more than the highest number of a class.
    pub(super) fn class_numbers(&self) -> usize {
        self.classes.numbers()
    }

    /// Returns all classes, and how many jobs of each wait.
    pub(super) fn classes(&self) -> impl Iterator<Item = (&Class, usize)> {
        self.classes.all()
    }

    /// Returns how many jobs of a class wait.
    pub(super) fn waiting_of(&self, class: ClassId) -> usize {
        self.classes.waiting_of(class)
    }

    /// Returns where a job stands.
    pub(super) fn spot(&self, job: JobId) -> Option<&Spot> {
        self.spots.get(&job)
    }

    /// Takes the first job of a tenant's lane that is of this class.
    pub(super) fn take_first(&mut self, tenant: &Tenant, priority: i32, class: ClassId) -> Option<Taken> {
        let queue = self.queues.get_mut(tenant)?;
        let waiter = queue.take_first(priority, class)?;
        if queue.is_empty() {
            self.queues.remove(tenant);
        }
        self.spots.remove(&waiter.job);
        self.classes.take(class);
        let spot = Spot { tenant: tenant.clone(), priority, class, place: waiter.place };
        Some(Taken { spot, waiter })
    }

    /// Forgets a job that was chosen: it has gone to its backend, or waits no more.
    pub fn let_go(&mut self, choice: &Choice) {
        self.classes.leave(choice.taken.spot.class);
    }

    /// Puts back a job that was taken, where it stood.
    pub(super) fn put_back(&mut self, taken: Taken) {
        let Taken { spot, waiter } = taken;
        if self.spots.contains_key(&waiter.job) {
            self.classes.leave(spot.class);
            return;
        }
        self.classes.put_back(spot.class);
        self.spots.insert(waiter.job, spot.clone());
        self.queues.entry(spot.tenant).or_default().put(spot.priority, spot.class, waiter);
    }

    /// Notes that these jobs were passed over for a backend that is better for them, unless that was noted before.
    pub(super) fn passed(&mut self, jobs: &[JobId], now: Timestamp) {
        for job in jobs {
            let Some(spot) = self.spots.get(job) else { continue };
            if let Some(queue) = self.queues.get_mut(&spot.tenant) {
                queue.passed(spot, now);
            }
        }
    }

    /// Lets a job leave that waits no more.
    pub(super) fn remove(&mut self, job: JobId) -> bool {
        let Some(spot) = self.spots.remove(&job) else { return false };
        if let Some(queue) = self.queues.get_mut(&spot.tenant) {
            queue.remove(&spot);
            if queue.is_empty() {
                self.queues.remove(&spot.tenant);
            }
        }
        self.classes.take(spot.class);
        self.classes.leave(spot.class);
        true
    }

    /// Lets all leave but these.
    pub(super) fn keep(&mut self, waiting: &HashSet<JobId>) {
        let gone: Vec<JobId> = self.spots.keys().filter(|job| !waiting.contains(job)).copied().collect();
        for job in gone {
            self.remove(job);
        }
    }

    fn let_in(&mut self, waiting: Waiting, now: Timestamp) {
        self.remove(waiting.job);
        let Waiting { job, place, tenant, priority, structures, placement, unfit, left, with_images } = waiting;
        let class = self.classes.enter(Class { structures, placement, unfit, left, with_images });
        self.spots.insert(job, Spot { tenant: tenant.clone(), priority, class, place });
        let waiter = Waiter { place, job, since: now, passed_since: None };
        self.queues.entry(tenant).or_default().put(priority, class, waiter);
    }
}
