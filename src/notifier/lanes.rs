//! Which claimed delivery goes next: each host has a lane of its own, so that a slow one fills its lane and no other.
//! Decides only; claiming, sending and releasing are left to `run.rs`.

use super::target::lane_of;
use crate::clock::Timestamp;
use crate::job::JobId;
use crate::store::Delivery;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// How many claimed deliveries may wait in one lane, and in all lanes whose host is taken.
const LANE_ROOM: usize = 512;
const ROOM: usize = 4096;

/// How many of a lane's deliveries that found no room are remembered by their ids.
const REMEMBERED: usize = 16_384;

/// The claimed deliveries: waiting, under way, or set aside.
#[derive(Debug)]
pub(super) struct Lanes {
    /// How many may be under way.
    total: usize,
    /// How many may be under way to one host.
    per_host: usize,
    by_host: HashMap<Arc<str>, Lane>,
    /// The hosts of lanes in which something waits, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    /// Everything that waits or is under way, and what must not be tried again by this process.
    held: HashSet<JobId>,
    under_way: HashMap<JobId, UnderWay>,
    /// What has ended, but was claimed once more before that was known: its leases have no owner.
    stray: Vec<JobId>,
    waiting: usize,
}

#[derive(Debug)]
struct UnderWay {
    host: Arc<str>,
    was_claimed_again: bool,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Delivery>,
    under_way: usize,
    /// What found no room. Its leases run out by themselves; they are ended sooner when there is room.
    aside: VecDeque<JobId>,
    paused_until: Option<Timestamp>,
}

impl Lane {
    fn is_taken(&self, per_host: usize, now: Timestamp) -> bool {
        self.under_way >= per_host || self.is_paused(now)
    }

    fn is_done(&self, now: Timestamp) -> bool {
        self.under_way == 0 && self.waiting.is_empty() && self.aside.is_empty() && !self.is_paused(now)
    }

    fn is_paused(&self, now: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }
}

impl Lanes {
    /// Makes lanes for at most `total` deliveries under way, and `per_host` to each host.
    pub(super) fn new(total: usize, per_host: usize) -> Self {
        Self {
            total: total.max(1),
            per_host: per_host.max(1),
            by_host: HashMap::new(),
            turns: VecDeque::new(),
            held: HashSet::new(),
            under_way: HashMap::new(),
            stray: Vec::new(),
            waiting: 0,
        }
    }

    /// Takes in a delivery that was claimed. One that is here already has only had its lease renewed.
    pub(super) fn admit(&mut self, delivery: Delivery, now: Timestamp) {
        if self.held.contains(&delivery.job) {
            if let Some(under_way) = self.under_way.get_mut(&delivery.job) {
                under_way.was_claimed_again = true;
            }
            return;
        }
        let host: Arc<str> = lane_of(&delivery.url).into();
        let lane = self.by_host.entry(Arc::clone(&host)).or_default();
        let has_room = lane.waiting.len() < LANE_ROOM
            && (self.waiting < ROOM || (lane.waiting.is_empty() && !lane.is_taken(self.per_host, now)));
        if !has_room {
            if lane.aside.len() < REMEMBERED {
                lane.aside.push_back(delivery.job);
            }
            return;
        }
        if lane.waiting.is_empty() {
            self.turns.push_back(host);
        }
        self.held.insert(delivery.job);
        lane.waiting.push_back(delivery);
        self.waiting += 1;
    }

    /// Returns the next delivery to be sent, and counts it as under way; hosts take turns.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Delivery> {
        if self.is_full() {
            return None;
        }
        for _ in 0..self.turns.len() {
            let host = self.turns.pop_front()?;
            let Some(lane) = self.by_host.get_mut(&host) else { continue };
            if lane.is_taken(self.per_host, now) {
                self.turns.push_back(host);
                continue;
            }
            let Some(delivery) = lane.waiting.pop_front() else { continue };
            lane.under_way += 1;
            self.waiting -= 1;
            if !lane.waiting.is_empty() {
                self.turns.push_back(Arc::clone(&host));
            }
            self.under_way.insert(delivery.job, UnderWay { host, was_claimed_again: false });
            return Some(delivery);
        }
        None
    }

    /// Says whether as many are under way as may be.
    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= self.total
    }

    /// Returns how many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Notes that a delivery is no longer under way. One that is to be `shunned` is not sent again by this process.
    pub(super) fn ended(&mut self, job: JobId, is_shunned: bool, now: Timestamp) {
        let Some(UnderWay { host, was_claimed_again }) = self.under_way.remove(&job) else { return };
        if !is_shunned {
            self.held.remove(&job);
            if was_claimed_again {
                self.stray.push(job);
            }
        }
        if let Some(lane) = self.by_host.get_mut(&host) {
            lane.under_way -= 1;
            if lane.is_done(now) {
                self.by_host.remove(&host);
            }
        }
    }

    /// Sends nothing to the host of a delivery under way before `until`.
    pub(super) fn pause(&mut self, job: JobId, until: Timestamp) {
        let lane = self.under_way.get(&job).and_then(|under_way| self.by_host.get_mut(&under_way.host));
        if let Some(lane) = lane {
            lane.paused_until = lane.paused_until.max(Some(until));
        }
    }

    /// Returns when the first paused host in whose lane something waits can be called again.
    pub(super) fn resumes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.turns.iter().filter_map(|host| self.by_host.get(host));
        waiting.filter_map(|lane| lane.paused_until).filter(|until| *until > now).min()
    }

    /// Takes out what has a lease for nothing: it has ended, or was set aside and would find room by now. Forgets lanes in
    /// which nothing is left but a pause that is over.
    pub(super) fn take_leased(&mut self, now: Timestamp) -> Vec<JobId> {
        self.by_host.retain(|_, lane| !lane.is_done(now));
        let mut room = ROOM.saturating_sub(self.waiting);
        let mut taken = std::mem::take(&mut self.stray);
        for lane in self.by_host.values_mut().filter(|lane| lane.waiting.is_empty()) {
            let count = lane.aside.len().min(LANE_ROOM).min(room);
            room -= count;
            taken.extend(lane.aside.drain(..count));
        }
        taken
    }

    /// Takes out all that waits or was set aside; its leases should be ended.
    pub(super) fn take_waiting(&mut self) -> Vec<JobId> {
        self.turns.clear();
        self.waiting = 0;
        let mut taken = std::mem::take(&mut self.stray);
        for lane in self.by_host.values_mut() {
            taken.extend(lane.waiting.drain(..).map(|delivery| delivery.job));
            taken.extend(lane.aside.drain(..));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::FrozenBody;
    use crate::store::DeliveryState;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_host_gets_no_more_than_its_places_and_others_go_on() {
        let mut lanes = Lanes::new(10, 2);
        for number in 0..100 {
            lanes.admit(delivery(number, "http://slow/"), NOW);
        }
        lanes.admit(delivery(200, "http://fast/"), NOW);
        let started = drain(&mut lanes);
        assert_eq!(started.len(), 3);
        assert!(started.contains(&job(200)));
    }

    #[test]
    fn no_more_are_under_way_than_may_be_in_all() {
        let mut lanes = Lanes::new(3, 2);
        for number in 0..10 {
            lanes.admit(delivery(number, &format!("http://host{number}/")), NOW);
        }
        assert_eq!(drain(&mut lanes).len(), 3);
        assert!(lanes.is_full());
        lanes.ended(job(0), false, NOW);
        assert_eq!(drain(&mut lanes), [job(3)]);
    }

    #[test]
    fn hosts_take_turns() {
        let mut lanes = Lanes::new(4, 4);
        for (number, host) in (0..).zip(["a", "a", "a", "b", "b", "c"]) {
            lanes.admit(delivery(number, &format!("http://{host}/")), NOW);
        }
        assert_eq!(drain(&mut lanes), [job(0), job(3), job(5), job(1)]);
    }

    #[test]
    fn what_is_held_is_not_taken_twice_and_what_has_ended_may_come_again() {
        let mut lanes = Lanes::new(4, 4);
        lanes.admit(delivery(1, "http://a/"), NOW);
        lanes.admit(delivery(1, "http://a/"), NOW);
        assert_eq!(drain(&mut lanes), [job(1)]);
        lanes.admit(delivery(1, "http://a/"), NOW);
        assert_eq!(drain(&mut lanes), []);
        lanes.ended(job(1), false, NOW);
        lanes.admit(delivery(1, "http://a/"), NOW);
        assert_eq!(drain(&mut lanes), [job(1)]);
        lanes.ended(job(1), true, NOW);
        lanes.admit(delivery(1, "http://a/"), NOW);
        assert_eq!(drain(&mut lanes), []);
        assert_eq!(lanes.under_way(), 0);
    }

    #[test]
    fn a_delivery_claimed_again_before_its_end_was_known_does_not_keep_that_lease() {
        let mut lanes = Lanes::new(4, 4);
        lanes.admit(delivery(1, "http://a/"), NOW);
        drain(&mut lanes);
        lanes.admit(delivery(1, "http://a/"), NOW);
        assert_eq!(lanes.take_leased(NOW), []);
        lanes.ended(job(1), false, NOW);
        assert_eq!(lanes.take_leased(NOW), [job(1)]);
        assert_eq!(lanes.take_leased(NOW), []);
    }

    #[test]
    fn a_dead_host_with_any_backlog_leaves_room_for_others() {
        let mut lanes = Lanes::new(8, 1);
        let backlog = u128::try_from(ROOM + LANE_ROOM).unwrap();
        for number in 0..backlog {
            lanes.admit(delivery(number, &format!("http://dead{}/", number % 9)), NOW);
        }
        let mut lanes = Lanes { total: 100, ..lanes };
        drain(&mut lanes);
        lanes.admit(delivery(1_000_000, "http://dead0/"), NOW);
        lanes.admit(delivery(1_000_001, "http://healthy/"), NOW);
        assert_eq!(drain(&mut lanes), [job(1_000_001)]);
        assert!(lanes.waiting <= ROOM + 100);
    }

    #[test]
    fn what_found_no_room_is_given_back_when_there_is_some() {
        let mut lanes = Lanes::new(1, 1);
        let count = u128::try_from(LANE_ROOM).unwrap();
        for number in 0..count + 3 {
            lanes.admit(delivery(number, "http://a/"), NOW);
        }
        assert_eq!(lanes.take_leased(NOW), []);
        for number in 0..count {
            assert_eq!(drain(&mut lanes), [job(number)]);
            lanes.ended(job(number), false, NOW);
        }
        assert_eq!(lanes.take_leased(NOW), [job(count), job(count + 1), job(count + 2)]);
        assert_eq!(lanes.take_leased(NOW), []);
    }

    #[test]
    fn a_paused_host_waits_and_the_others_do_not() {
        let later = NOW + std::time::Duration::from_secs(10);
        let mut lanes = Lanes::new(4, 4);
        lanes.admit(delivery(1, "http://busy/"), NOW);
        assert_eq!(drain(&mut lanes), [job(1)]);
        lanes.pause(job(1), later);
        lanes.ended(job(1), false, NOW);
        assert_eq!(lanes.resumes_at(NOW), None);
        lanes.admit(delivery(2, "http://busy/"), NOW);
        lanes.admit(delivery(3, "http://other/"), NOW);
        assert_eq!(drain(&mut lanes), [job(3)]);
        assert_eq!(lanes.resumes_at(NOW), Some(later));
        assert_eq!(lanes.next(later).map(|delivery| delivery.job), Some(job(2)));
    }

    #[test]
    fn a_host_that_was_paused_and_is_not_called_again_is_forgotten() {
        let later = NOW + std::time::Duration::from_secs(10);
        let mut lanes = Lanes::new(4, 4);
        lanes.admit(delivery(1, "http://busy/"), NOW);
        drain(&mut lanes);
        lanes.pause(job(1), later);
        lanes.ended(job(1), false, NOW);
        lanes.take_leased(NOW);
        assert_eq!(lanes.by_host.len(), 1);
        lanes.take_leased(later);
        assert_eq!(lanes.by_host.len(), 0);
    }

    #[test]
    fn at_the_end_all_that_waits_is_taken_out() {
        let mut lanes = Lanes::new(1, 1);
        for number in 0..3 {
            lanes.admit(delivery(number, "http://a/"), NOW);
        }
        drain(&mut lanes);
        assert_eq!(lanes.take_waiting(), [job(1), job(2)]);
        assert_eq!(lanes.under_way(), 1);
        assert!(lanes.next(NOW).is_none());
    }

    proptest! {
        #[test]
        fn limits_hold_and_nothing_is_lost_or_doubled(
            total in 1..6_usize,
            per_host in 1..4_usize,
            steps in prop::collection::vec((0..40_u128, 0..4_u8, any::<bool>()), 0..200),
        ) {
            let mut lanes = Lanes::new(total, per_host);
            let mut admitted = HashSet::new();
            let mut under_way: HashMap<JobId, String> = HashMap::new();
            let mut over = HashSet::new();
            for (number, host, is_admission) in steps {
                if is_admission {
                    if !over.contains(&job(number)) {
                        lanes.admit(delivery(number, &format!("http://host{}/", number % 4)), NOW);
                        admitted.insert(job(number));
                    }
                } else if let Some(id) = under_way.iter().find(|(_, at)| **at == format!("host{host}:80")).map(|(id, _)| *id) {
                    lanes.ended(id, false, NOW);
                    under_way.remove(&id);
                    over.insert(id);
                }
                while let Some(delivery) = lanes.next(NOW) {
                    let twice = under_way.insert(delivery.job, lane_of(&delivery.url));
                    prop_assert!(twice.is_none());
                }
                prop_assert!(under_way.len() <= total);
                for host in 0..4 {
                    let to_host = under_way.values().filter(|at| **at == format!("host{host}:80")).count();
                    prop_assert!(to_host <= per_host);
                }
            }
            loop {
                let ids: Vec<JobId> = under_way.drain().map(|(id, _)| id).collect();
                for id in ids {
                    lanes.ended(id, false, NOW);
                    over.insert(id);
                }
                let Some(delivery) = lanes.next(NOW) else { break };
                under_way.insert(delivery.job, String::new());
            }
            prop_assert_eq!(over, admitted);
            prop_assert_eq!(lanes.by_host.len(), 0);
        }
    }

    fn drain(lanes: &mut Lanes) -> Vec<JobId> {
        std::iter::from_fn(|| lanes.next(NOW)).map(|delivery| delivery.job).collect()
    }

    fn job(number: u128) -> JobId {
        JobId::from_bytes(number.to_be_bytes())
    }

    fn delivery(number: u128, url: &str) -> Delivery {
        Delivery {
            job: job(number),
            tenant: crate::job::Tenant::default(),
            url: url.into(),
            body: FrozenBody { segments: vec![] },
            attempts: 0,
            attempts_before: 0,
            created_at: NOW,
            due_at: NOW,
            state: DeliveryState::Pending,
            replays: 0,
            replayed_at: None,
            ended_at: None,
        }
    }
}
