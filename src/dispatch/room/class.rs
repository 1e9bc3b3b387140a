//! Jobs that are alike: what is asked of a backend is asked once for all of them.

use crate::job::{Placement, StructureHash};
use crate::store::Way;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What jobs of a class have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::dispatch) struct Class {
    /// The structures of their graphs, one for each variant.
    pub(in crate::dispatch) structures: Vec<StructureHash>,
    /// What they wish of a backend.
    pub(in crate::dispatch) placement: Placement,
    /// The ways in which they were refused.
    pub(in crate::dispatch) unfit: BTreeSet<Way>,
    /// The backend of their last run.
    pub(in crate::dispatch) left: Option<String>,
    /// Whether they have input images.
    pub(in crate::dispatch) with_images: bool,
}

impl Class {
    /// Says whether a backend has refused them as that variant.
    pub(in crate::dispatch) fn is_refused(&self, backend: &str, variant: usize) -> bool {
        self.unfit.iter().any(|way| way.backend == backend && usize::try_from(way.variant) == Ok(variant))
    }
}

/// The number of a class, as long as a job of it is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::dispatch) struct ClassId(u32);

impl ClassId {
    /// Returns the number, from 0.
    pub(in crate::dispatch) fn number(self) -> usize {
        self.0 as usize
    }
}

/// The classes of all jobs that wait.
#[derive(Debug, Default)]
pub(super) struct Classes {
    numbers: HashMap<Arc<Class>, u32>,
    known: Vec<Option<Known>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Known {
    class: Arc<Class>,
    /// Those who wait, and those who were taken and may be put back.
    jobs: usize,
    waiting: usize,
}

impl Classes {
    pub(super) fn get(&self, class: ClassId) -> Option<&Class> {
        Some(self.known.get(class.number())?.as_ref()?.class.as_ref())
    }

    pub(super) fn numbers(&self) -> usize {
        self.known.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Class, usize)> {
        self.known.iter().flatten().map(|known| (known.class.as_ref(), known.waiting))
    }

    pub(super) fn waiting_of(&self, class: ClassId) -> usize {
        self.known.get(class.number()).and_then(Option::as_ref).map_or(0, |known| known.waiting)
    }

    /// Counts one more job of a class.
    pub(super) fn enter(&mut self, class: Class) -> ClassId {
        if let Some(number) = self.numbers.get(&class) {
            let number = ClassId(*number);
            if let Some(known) = self.known_mut(number) {
                known.jobs += 1;
                known.waiting += 1;
            }
            return number;
        }
        let class = Arc::new(class);
        let entry = Some(Known { class: Arc::clone(&class), jobs: 1, waiting: 1 });
        let number = if let Some(number) = self.free.pop() {
            self.known[number as usize] = entry;
            number
        } else {
            self.known.push(entry);
            u32::try_from(self.known.len() - 1).unwrap_or(u32::MAX)
        };
        self.numbers.insert(class, number);
        ClassId(number)
    }

    /// Counts one job as taken, which may be put back.
    pub(super) fn take(&mut self, class: ClassId) {
        if let Some(known) = self.known_mut(class) {
            known.waiting -= 1;
        }
    }

    /// Counts one as put back.
    pub(super) fn put_back(&mut self, class: ClassId) {
        if let Some(known) = self.known_mut(class) {
            known.waiting += 1;
        }
    }

    /// Forgets a job that was taken, and with the last one its class.
    pub(super) fn leave(&mut self, class: ClassId) {
        let Some(known) = self.known_mut(class) else { return };
        known.jobs -= 1;
        if known.jobs == 0
            && let Some(known) = self.known[class.number()].take()
        {
            self.numbers.remove(&known.class);
            self.free.push(class.0);
        }
    }

    fn known_mut(&mut self, class: ClassId) -> Option<&mut Known> {
        self.known.get_mut(class.number())?.as_mut()
    }
}
