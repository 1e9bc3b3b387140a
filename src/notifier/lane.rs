//! What is known of one tenant's deliveries to one host: those that wait, and the gate before it.

use super::gate::Gate;
use crate::clock::Timestamp;
use crate::job::JobId;
use crate::store::Delivery;
use std::collections::VecDeque;

/// How many claimed deliveries may wait in one lane.
pub(super) const LANE_ROOM: usize = 512;

/// How many of a lane's deliveries that found no room are remembered by their ids.
const REMEMBERED: usize = 16_384;

/// The most that a delivery costs its tenant: so large bodies take turns from others, but not for ever.
const MOST_COST: u64 = 64;

/// A claimed delivery.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) delivery: Delivery,
    /// When it is given up, even if its host was not called once.
    pub(super) deadline: Timestamp,
    /// How much memory it will take, in bytes.
    pub(super) need: u64,
}

impl Waiting {
    /// Returns what its turn costs: 1, and 1 more for each MiB of its body, as its time is reckoned too.
    pub(super) fn cost(&self) -> u32 {
        let mebibytes = self.delivery.body.content_length() >> 20;
        u32::try_from((1 + mebibytes).min(MOST_COST)).unwrap_or(1)
    }

    /// Returns how many bytes it takes while it waits.
    pub(super) fn held(&self) -> u64 {
        self.delivery.body.text_bytes()
    }
}

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) gate: Gate,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) under_way: usize,
    /// What found no room. Its leases run out by themselves; they are ended sooner when there is room.
    pub(super) aside: VecDeque<JobId>,
    /// No delivery in it has an earlier deadline.
    first_deadline: Timestamp,
    /// When something last happened here.
    pub(super) used_at: Timestamp,
}

impl Lane {
    pub(super) fn new(per_host: usize, now: Timestamp) -> Self {
        Self {
            gate: Gate::new(per_host),
            waiting: VecDeque::new(),
            under_way: 0,
            aside: VecDeque::new(),
            first_deadline: now,
            used_at: now,
        }
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        let earliest = if self.waiting.is_empty() { waiting.deadline } else { self.first_deadline };
        self.first_deadline = earliest.min(waiting.deadline);
        self.waiting.push_back(waiting);
    }

    /// Remembers one that found no room, while there is room for that.
    pub(super) fn set_aside(&mut self, job: JobId) {
        if self.aside.len() < REMEMBERED {
            self.aside.push_back(job);
        }
    }

    /// Says whether its gate lets one more through.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.gate.is_open(self.under_way, now)
    }

    /// Takes out what can only be given up: its host is down, and its deadline has come.
    pub(super) fn take_hopeless(&mut self, now: Timestamp) -> Vec<Waiting> {
        if !self.gate.is_down() || self.waiting.is_empty() || now < self.first_deadline {
            return Vec::new();
        }
        let (over, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.deadline <= now);
        self.first_deadline = rest.iter().map(|waiting| waiting.deadline).min().unwrap_or(now);
        self.waiting = rest;
        over.into()
    }

    /// Says whether nothing is in it and nothing goes on.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty() && self.aside.is_empty()
    }
}
