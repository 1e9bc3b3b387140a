//! How good each backend is for the jobs of a class: when a job would end there, whether its models are there, and whether it
//! is better to wait for one that is busy.

use super::super::room::{Class, ClassId, Room, Waiter};
use crate::clock::Timestamp;
use crate::job::{Placement, StructureHash};
use std::collections::HashSet;
use std::time::Duration;

/// How long a run takes of which nothing is known, in seconds.
const UNKNOWN_RUN: f64 = 10.0;

/// How much longer a run takes whose models have to be loaded, where only one of both times is known: half as long again,
/// and no more than so many seconds.
const LOADING: f64 = 0.5;
const LONGEST_LOADING: f64 = 10.0;

/// A job waits for a backend that is busy if it should end there in less than this part of the time.
const CLEARLY: f64 = 0.8;

/// Times that differ by less than this part are the same: estimates are not better.
const SAME: f64 = 0.05;

/// How long a job is left in the room for a backend that is better for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A backend as it stands when jobs are given.
#[derive(Clone, PartialEq, Debug)]
pub struct Stand {
    /// Its name.
    pub name: String,
    /// Whether it may be given jobs, now or when it has room.
    pub is_open: bool,
    /// Whether it did not take the last prompt.
    pub is_doubtful: bool,
    /// How many prompts it runs at once.
    pub slots: usize,
    /// How many it has.
    pub held: usize,
    /// How many more it may be given.
    pub room: usize,
    /// How many of them may have input images.
    pub room_for_images: usize,
    /// How long what it has should take, one after the other, in seconds.
    pub backlog: f64,
    /// The structure that it runs last, whose models are there then.
    pub warm: Option<StructureHash>,
    /// When it was given the last job.
    pub last_given: Option<Timestamp>,
}

impl Stand {
    /// Returns how long a job waits there until it begins, in seconds; with a slot that is free it begins at once.
    fn wait(&self) -> f64 {
        if self.held < self.slots { 0.0 } else { self.backlog / to_f64(self.slots.max(1)) }
    }

    /// Says whether the models of such a graph are there.
    fn has(&self, graph: &StructureHash) -> bool {
        self.warm.as_ref() == Some(graph) && !graph.as_str().is_empty()
    }
}

/// What is known of graphs on backends, which are named by their place in the list.
pub trait Knowledge {
    /// Says whether a backend may be given such a graph.
    fn fits(&self, graph: &StructureHash, placement: &Placement, stand: usize) -> bool;

    /// Returns how long a run takes there in seconds, with its models there or not; none where it is not known.
    fn run_time(&self, graph: &StructureHash, stand: usize, is_warm: bool) -> Option<f64>;

    /// Returns how long a run takes in seconds, wherever it ran.
    fn anywhere(&self, graph: &StructureHash) -> Option<f64>;

    /// Returns how long a run takes in seconds, whatever its graph.
    fn mean_of_all(&self) -> Option<f64>;
}

/// What a job may do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Verdict {
    /// It goes there.
    Best { stand: usize, variant: u32, seconds: f64 },
    /// It waits for a backend that is better for it.
    Passed,
    /// No backend that has room can take it.
    Closed,
}

/// A class on a backend: not asked yet, not to be, or how long a run takes there with its models and without.
#[derive(Clone, Copy, Debug)]
enum Fact {
    Unasked,
    Unfit,
    Fits { warm: f64, cold: f64 },
}

/// A class on a backend, as things stand.
#[derive(Clone, Copy, Debug)]
struct Offer {
    stand: usize,
    variant: usize,
    seconds: f64,
    is_warm: bool,
    /// When it would end, in seconds from now.
    end: f64,
}

/// What is found out of a class in a round.
#[derive(Debug, Default)]
struct Row {
    facts: Vec<Fact>,
    is_closed: bool,
    is_passed: bool,
    /// All of its jobs are counted as such that wait for one backend.
    is_promised: bool,
    /// How long a run takes where it never ran, for each variant that this was asked for.
    usual: Vec<Option<f64>>,
}

/// The backends, and what is found out of the classes in a round.
pub(super) struct Merits<'a, K> {
    stands: Vec<Stand>,
    knowledge: &'a K,
    at: Timestamp,
    rows: Vec<Option<Row>>,
    /// What those would take who wait for a backend, in seconds.
    promised: Vec<f64>,
    /// The structures of all that wait; found out when it matters.
    waiting: Option<HashSet<StructureHash>>,
    is_last: bool,
}

impl<'a, K: Knowledge> Merits<'a, K> {
    pub(super) fn new(stands: Vec<Stand>, knowledge: &'a K, room: &Room, at: Timestamp) -> Self {
        let mut rows = Vec::new();
        rows.resize_with(room.class_numbers(), || None);
        let promised = vec![0.0; stands.len()];
        Self { stands, knowledge, at, rows, promised, waiting: None, is_last: false }
    }

    /// Says whether any backend has room.
    pub(super) fn has_room(&self) -> bool {
        self.stands.iter().any(|stand| stand.room > 0)
    }

    /// Goes through the jobs once more; the last time no backend is kept for those whose models it has.
    pub(super) fn begin(&mut self, is_last: bool) {
        self.is_last = is_last;
        self.rows.iter_mut().flatten().for_each(|row| row.is_passed = false);
    }

    /// Notes that a backend was given a job of a class.
    pub(super) fn give(&mut self, room: &Room, class: ClassId, stand: usize, variant: u32, seconds: f64) {
        let graph = room.class(class).and_then(|class| class.structures.get(variant as usize));
        let Some(stand) = self.stands.get_mut(stand) else { return };
        stand.held += 1;
        stand.room = stand.room.saturating_sub(1);
        if room.class(class).is_some_and(|class| class.with_images) {
            stand.room_for_images = stand.room_for_images.saturating_sub(1);
        }
        stand.backlog += seconds;
        stand.warm = graph.cloned();
        stand.last_given = Some(self.at);
    }

    /// Says what the first job of a class may do.
    pub(super) fn judge(&mut self, room: &Room, class_id: ClassId, head: &Waiter) -> Verdict {
        let Some(class) = room.class(class_id) else { return Verdict::Closed };
        let is_patient = head.passed_since.is_none_or(|since| self.at.since(since) < PATIENCE);
        let mut row = self.rows[class_id.number()].take().unwrap_or_else(|| self.row(class));
        let verdict = match (row.is_closed, row.is_passed && is_patient) {
            (true, _) => Verdict::Closed,
            (false, true) => Verdict::Passed,
            (false, false) => self.look(room, class, class_id, &mut row, is_patient),
        };
        row.is_closed |= verdict == Verdict::Closed;
        row.is_passed |= verdict == Verdict::Passed;
        self.rows[class_id.number()] = Some(row);
        verdict
    }

    fn row(&self, class: &Class) -> Row {
        let variants = class.structures.len();
        let facts = vec![Fact::Unasked; self.stands.len() * variants];
        Row { facts, usual: vec![None; variants], ..Row::default() }
    }

    fn look(&mut self, room: &Room, class: &Class, class_id: ClassId, row: &mut Row, is_patient: bool) -> Verdict {
        let mut free: Vec<Offer> = Vec::new();
        let mut is_left = false;
        for place in 0..self.stands.len() {
            if !self.has_room_for(place, class) {
                continue;
            }
            let Some(offer) = self.offer(place, class, row) else { continue };
            if is_patient && self.is_left_to_others(place, class, row) {
                is_left = true;
            } else {
                free.push(offer);
            }
        }
        if free.is_empty() {
            return if is_left { Verdict::Passed } else { Verdict::Closed };
        }
        let is_preferred = |stand: &Stand| class.placement.prefer.contains(&stand.name);
        if !class.placement.prefer.is_empty() {
            if free.iter().any(|offer| is_preferred(&self.stands[offer.stand])) {
                free.retain(|offer| is_preferred(&self.stands[offer.stand]));
                let best = self.best(&free);
                return Verdict::Best { stand: best.stand, variant: index(best.variant), seconds: best.seconds };
            }
            let may_come = |place: &usize| self.stands[*place].is_open && is_preferred(&self.stands[*place]);
            let places: Vec<usize> = (0..self.stands.len()).filter(may_come).collect();
            if is_patient && places.into_iter().any(|place| self.offer(place, class, row).is_some()) {
                return Verdict::Passed;
            }
        }
        if free.iter().any(|offer| self.has_slot(offer.stand)) {
            free.retain(|offer| self.has_slot(offer.stand));
        }
        let best = self.best(&free);
        if is_patient && self.is_better_to_wait(room, class, class_id, row, (&free, &best)) {
            return Verdict::Passed;
        }
        Verdict::Best { stand: best.stand, variant: index(best.variant), seconds: best.seconds }
    }

    /// Says whether a backend that cannot take the job at once is worth waiting for.
    fn is_better_to_wait(
        &mut self,
        room: &Room,
        class: &Class,
        class_id: ClassId,
        row: &mut Row,
        (free, best): (&[Offer], &Offer),
    ) -> bool {
        let mut earliest: Option<(f64, Offer)> = None;
        let behind = to_f64(room.waiting_of(class_id).saturating_sub(1));
        for place in 0..self.stands.len() {
            let stand = &self.stands[place];
            // Whatever its run takes, it ends later.
            let is_late = stand.wait() >= CLEARLY * best.end && !class.structures.iter().any(|graph| stand.has(graph));
            if !stand.is_open || is_late || free.iter().any(|offer| offer.stand == place) {
                continue;
            }
            let Some(offer) = self.offer(place, class, row) else { continue };
            if self.is_left_to_others(place, class, row) {
                continue;
            }
            if !self.is_last && offer.is_warm && !best.is_warm && offer.end <= best.end + PATIENCE.as_secs_f64() {
                let warm = self.stands[best.stand].warm.clone();
                if warm.is_some_and(|warm| self.waits(room, &warm)) {
                    return true;
                }
            }
            // All jobs of this class, one after the other, after those that wait for it already.
            let others = self.promised[place] * f64::from(u8::from(!row.is_promised)) + behind * offer.seconds;
            let end = offer.end + others / to_f64(self.stands[place].slots.max(1));
            if earliest.as_ref().is_none_or(|(earliest, _)| end < *earliest) {
                earliest = Some((end, offer));
            }
        }
        let Some((end, offer)) = earliest.filter(|(end, _)| *end < CLEARLY * best.end) else { return false };
        if !row.is_promised {
            row.is_promised = true;
            self.promised[offer.stand] += (behind + 1.0) * offer.seconds;
        }
        end < best.end
    }

    /// Says whether any job of this structure waits.
    fn waits(&mut self, room: &Room, graph: &StructureHash) -> bool {
        let all = || room.classes().flat_map(|(class, _)| class.structures.iter().cloned()).collect();
        self.waiting.get_or_insert_with(all).contains(graph)
    }

    /// Returns how a class would fare on a backend, with the best of its variants.
    fn offer(&self, place: usize, class: &Class, row: &mut Row) -> Option<Offer> {
        let stand = &self.stands[place];
        let mut best: Option<Offer> = None;
        for (variant, graph) in class.structures.iter().enumerate() {
            let Fact::Fits { warm, cold } = self.fact(place, variant, class, row) else { continue };
            let is_warm = stand.has(graph);
            let seconds = if is_warm { warm } else { cold };
            let end = stand.wait() + seconds;
            if best.as_ref().is_none_or(|best| end < best.end) {
                best = Some(Offer { stand: place, variant, seconds, is_warm, end });
            }
        }
        best
    }

    fn fact(&self, place: usize, variant: usize, class: &Class, row: &mut Row) -> Fact {
        let Some(fact) = row.facts.get_mut(place * class.structures.len() + variant) else { return Fact::Unfit };
        if matches!(fact, Fact::Unasked) {
            *fact = self.ask(place, variant, class, &mut row.usual[variant]);
        }
        *fact
    }

    fn ask(&self, place: usize, variant: usize, class: &Class, usual: &mut Option<f64>) -> Fact {
        let graph = &class.structures[variant];
        let is_refused = class.is_refused(&self.stands[place].name, variant);
        if is_refused || !self.knowledge.fits(graph, &class.placement.of_variant(variant), place) {
            return Fact::Unfit;
        }
        let known_warm = self.knowledge.run_time(graph, place, true);
        let known_cold = self.knowledge.run_time(graph, place, false);
        let elsewhere = || self.knowledge.anywhere(graph).or_else(|| self.knowledge.mean_of_all());
        let warm = known_warm.unwrap_or_else(|| *usual.get_or_insert_with(|| elsewhere().unwrap_or(UNKNOWN_RUN)));
        let cold = known_cold.filter(|cold| *cold > warm).unwrap_or(warm + (warm * LOADING).min(LONGEST_LOADING));
        Fact::Fits { warm, cold }
    }

    /// Says whether a backend leaves the jobs of a class that it has lost to others: to those that can take one at once, and
    /// as long as it is in doubt also to those that have no room now.
    fn is_left_to_others(&self, place: usize, class: &Class, row: &mut Row) -> bool {
        let stand = &self.stands[place];
        if class.left.as_ref() != Some(&stand.name) {
            return false;
        }
        (0..self.stands.len()).any(|other| {
            let may_take = if stand.is_doubtful { self.stands[other].is_open } else { self.stands[other].room > 0 };
            other != place && may_take && self.offer(other, class, row).is_some()
        })
    }

    fn has_room_for(&self, place: usize, class: &Class) -> bool {
        let stand = &self.stands[place];
        stand.room > 0 && (!class.with_images || stand.room_for_images > 0)
    }

    fn has_slot(&self, place: usize) -> bool {
        self.stands[place].held < self.stands[place].slots
    }

    /// Returns the offer that ends first; of those that end at the same time the one that is warm, then the one on the
    /// backend that has least, then on the one that was given nothing for the longest time.
    fn best(&self, offers: &[Offer]) -> Offer {
        let first = offers.iter().map(|offer| offer.end).fold(f64::INFINITY, f64::min);
        let limit = first * (1.0 + SAME);
        let rank = |offer: &&Offer| {
            let stand = &self.stands[offer.stand];
            let load = stand.held * 1000 / stand.slots.max(1);
            (!offer.is_warm, load, stand.last_given, offer.stand)
        };
        let same = offers.iter().filter(|offer| offer.end <= limit).min_by_key(rank);
        *same.unwrap_or(&offers[0])
    }
}

fn index(variant: usize) -> u32 {
    u32::try_from(variant).unwrap_or(u32::MAX)
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
