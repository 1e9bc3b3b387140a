//! Which claimed delivery goes next. Tenants take turns; each host has a few places, and for each tenant a lane of its own
//! with a gate before it, so that a slow one fills its lane and no other. Decides only; claiming, sending and releasing are
//! left to `run.rs`.

mod upkeep;

use super::gate::{Change, Shut, Sign};
use super::lane::{LANE_ROOM, Lane, Waiting};
use super::memory::{Memory, need};
use super::target::lane_of;
use crate::clock::Timestamp;
use crate::job::{Candidate, JobId, Tenant, Turns};
use crate::store::Delivery;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

/// How many claimed deliveries may wait, and how many bytes of text they may have: with more, nobody holds more than a few
/// besides those whose host is free.
const ROOM: usize = 4096;
const ROOM_BYTES: u64 = 16 << 20;
const A_FEW: usize = 16;

/// A tenant takes at most so many times what it leaves free, of places and of memory: alone four fifths, two of them four
/// ninths each, and so on. So there is always something left for one that comes new, even if nothing ends.
const TIMES_THE_REST: u64 = 4;

type Host = Arc<str>;

/// What may be under way, and how much memory it may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// To all hosts.
    pub(super) total: usize,
    /// To one host.
    pub(super) per_host: usize,
    /// In bytes.
    pub(super) memory: u64,
}

/// The claimed deliveries: waiting, under way, or set aside.
#[derive(Debug)]
pub(super) struct Lanes {
    most: Most,
    owners: BTreeMap<Tenant, Owner>,
    sites: HashMap<Host, Site>,
    turns: Turns,
    memory: Memory<(Tenant, Host)>,
    /// Everything that waits or is under way, and what must not be tried again by this process.
    held: HashSet<JobId>,
    under_way: HashMap<JobId, UnderWay>,
    /// What has ended, but was claimed once more before that was known: its leases have no owner.
    stray: Vec<JobId>,
    /// What came or waited too long for a host that is down.
    hopeless: Vec<Delivery>,
    waiting: usize,
    waiting_bytes: u64,
    /// Whether a gate may have been shut or opened that nobody has asked about.
    gates_changed: bool,
}

/// A tenant's lanes.
#[derive(Debug, Default)]
struct Owner {
    lanes: HashMap<Host, Lane>,
    /// The hosts of lanes in which something waits, in the order of their turns.
    turns: VecDeque<Host>,
    waiting: usize,
    under_way: usize,
    /// What those under way take, in bytes.
    memory: u64,
}

/// A host that something waits for or is under way to.
#[derive(Debug, Default)]
struct Site {
    under_way: usize,
    /// Who waits for it, and whose turn was last.
    tenants: BTreeSet<Tenant>,
    last: Tenant,
}

#[derive(Debug)]
struct UnderWay {
    tenant: Tenant,
    host: Host,
    need: u64,
    is_probe: bool,
    was_claimed_again: bool,
}

impl Lanes {
    pub(super) fn new(most: Most) -> Self {
        Self {
            most: Most { total: most.total.max(1), per_host: most.per_host.max(1), ..most },
            owners: BTreeMap::new(),
            sites: HashMap::new(),
            turns: Turns::default(),
            memory: Memory::new(most.memory),
            held: HashSet::new(),
            under_way: HashMap::new(),
            stray: Vec::new(),
            hopeless: Vec::new(),
            waiting: 0,
            waiting_bytes: 0,
            gates_changed: false,
        }
    }

    /// Takes in a delivery that was claimed and is given up at `deadline`. One that is here already has only had its lease
    /// renewed. Returns false where there is no room: it is set aside, and there is no hurry to claim it again.
    pub(super) fn admit(&mut self, delivery: Delivery, deadline: Timestamp, now: Timestamp) -> bool {
        if self.held.contains(&delivery.job) {
            if let Some(under_way) = self.under_way.get_mut(&delivery.job) {
                under_way.was_claimed_again = true;
            }
            return true;
        }
        let (host, tenant): (Host, _) = (lane_of(&delivery.url).into(), delivery.tenant.clone());
        let is_free = self.sites.get(&host).is_none_or(|site| site.under_way < self.most.per_host);
        let owner = self.owners.entry(tenant.clone()).or_default();
        let lane = owner.lanes.entry(Arc::clone(&host)).or_insert_with(|| Lane::new(self.most.per_host, now));
        lane.used_at = now;
        if lane.gate.is_down() && deadline <= now {
            self.held.insert(delivery.job);
            self.hopeless.push(delivery);
            return true;
        }
        let waiting = Waiting { need: need(&delivery.body), delivery, deadline };
        let there_is_room = self.waiting < ROOM && self.waiting_bytes.saturating_add(waiting.held()) <= ROOM_BYTES;
        let is_next = lane.waiting.is_empty() && lane.is_open(now) && is_free;
        if lane.waiting.len() >= LANE_ROOM || !(there_is_room || is_next || owner.waiting < A_FEW) {
            lane.set_aside(waiting.delivery.job);
            return false;
        }
        if lane.waiting.is_empty() {
            owner.turns.push_back(Arc::clone(&host));
            self.sites.entry(host).or_default().tenants.insert(tenant);
        }
        self.held.insert(waiting.delivery.job);
        self.waiting += 1;
        self.waiting_bytes += waiting.held();
        owner.waiting += 1;
        lane.push(waiting);
        true
    }

    /// Returns the next delivery to be sent, and counts it as under way.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Delivery> {
        if self.is_full() {
            return None;
        }
        if let Some((tenant, host)) = self.memory.first_of_all().cloned() {
            match self.head(&tenant, &host, now) {
                Some(first) if self.memory.has_room(first.need) => {
                    self.turns.charge(&tenant, first.cost());
                    return self.begin(&tenant, &host);
                }
                Some(_) => return None,
                None => self.memory.lose_patience(),
            }
        }
        let mut too_large = None;
        let last = self.turns.last().cloned().unwrap_or_default();
        let mut turns = std::mem::take(&mut self.turns);
        let after = self.owners.range((Bound::Excluded(&last), Bound::Unbounded));
        let ring = after.chain(self.owners.range(..=&last));
        let candidates = ring.filter_map(|(tenant, owner)| {
            let (host, cost) = self.choose(tenant, owner, now, &mut too_large)?;
            Some(Ok::<_, Infallible>(Candidate { tenant: tenant.clone(), cost, thing: host }))
        });
        let Ok(given) = turns.give(candidates);
        self.turns = turns;
        if let Some(patient) = too_large {
            self.memory.found_no_room(patient);
        }
        let Candidate { tenant, thing: host, .. } = given?;
        self.begin(&tenant, &host)
    }

    /// Chooses the host to which a tenant sends next. Where others wait for a host too, its places go round among them; such
    /// a host comes first, so that the others need not wait for this tenant's other hosts.
    fn choose(
        &self,
        tenant: &Tenant,
        owner: &Owner,
        now: Timestamp,
        too_large: &mut Option<(Tenant, Host)>,
    ) -> Option<(Host, u32)> {
        let rest = self.most.total.saturating_sub(self.under_way.len());
        if owner.under_way as u64 >= TIMES_THE_REST * rest as u64 {
            return None;
        }
        let mut chosen = None;
        for host in &owner.turns {
            let Some(first) = self.head(tenant, host, now) else { continue };
            if !self.has_room(owner, first) {
                too_large.get_or_insert_with(|| (tenant.clone(), Arc::clone(host)));
                continue;
            }
            let Some(site) = self.sites.get(host) else { continue };
            if site.tenants.len() > 1 {
                if self.is_turn(tenant, host, site, now) {
                    return Some((Arc::clone(host), first.cost()));
                }
            } else if chosen.is_none() {
                chosen = Some((Arc::clone(host), first.cost()));
            }
        }
        chosen
    }

    /// Returns the delivery of a tenant that could go to a host now.
    fn head(&self, tenant: &Tenant, host: &Host, now: Timestamp) -> Option<&Waiting> {
        let has_place = self.sites.get(host).is_some_and(|site| site.under_way < self.most.per_host);
        let lane = self.owners.get(tenant)?.lanes.get(host).filter(|lane| has_place && lane.is_open(now))?;
        lane.waiting.front()
    }

    /// Says whether nobody else could send to a host whose turn is before this tenant's.
    fn is_turn(&self, tenant: &Tenant, host: &Host, site: &Site, now: Timestamp) -> bool {
        let after = site.tenants.range((Bound::Excluded(&site.last), Bound::Unbounded));
        let mut ring = after.chain(site.tenants.range(..=&site.last));
        let can_send = |other: &Tenant| self.head(other, host, now).is_some();
        ring.find(|other| *other == tenant || can_send(other)) == Some(tenant)
    }

    /// Says whether there is memory for one more, and whether it is not for others.
    fn has_room(&self, owner: &Owner, waiting: &Waiting) -> bool {
        let is_fair = owner.memory == 0 || owner.memory < TIMES_THE_REST.saturating_mul(self.memory.rest());
        is_fair && self.memory.has_room(waiting.need)
    }

    fn begin(&mut self, tenant: &Tenant, host: &Host) -> Option<Delivery> {
        let owner = self.owners.get_mut(tenant)?;
        let lane = owner.lanes.get_mut(host)?;
        let site = self.sites.get_mut(host)?;
        let waiting = lane.waiting.pop_front()?;
        let is_probe = lane.gate.begin();
        lane.under_way += 1;
        site.under_way += 1;
        site.last = tenant.clone();
        owner.turns.retain(|other| other != host);
        if lane.waiting.is_empty() {
            site.tenants.remove(tenant);
        } else {
            owner.turns.push_back(Arc::clone(host));
        }
        owner.under_way += 1;
        owner.memory += waiting.need;
        owner.waiting -= 1;
        if owner.waiting == 0 {
            self.turns.leave(tenant);
        }
        self.waiting -= 1;
        self.waiting_bytes -= waiting.held();
        self.memory.take(&(tenant.clone(), Arc::clone(host)), waiting.need);
        let under_way = UnderWay {
            tenant: tenant.clone(),
            host: Arc::clone(host),
            need: waiting.need,
            is_probe,
            was_claimed_again: false,
        };
        self.under_way.insert(waiting.delivery.job, under_way);
        Some(waiting.delivery)
    }

    /// Says whether as many are under way as may be.
    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= self.most.total
    }

    /// Returns how many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Returns every gate that is shut, if that is not what was returned last.
    pub(super) fn take_shut(&mut self, now: Timestamp) -> Option<HashMap<(Tenant, Host), Shut>> {
        if !std::mem::take(&mut self.gates_changed) {
            return None;
        }
        let lanes = self.owners.iter().flat_map(|(tenant, owner)| owner.lanes.iter().map(move |lane| (tenant, lane)));
        let shut = |(tenant, (host, lane)): (&Tenant, (&Host, &Lane))| {
            Some(((tenant.clone(), Arc::clone(host)), lane.gate.shut(now)?))
        };
        Some(lanes.filter_map(shut).collect())
    }

    /// Notes that a delivery is no longer under way, and what its host showed. One that is to be `shunned` is not sent again
    /// by this process. Returns what changed for the host.
    pub(super) fn ended(&mut self, job: JobId, is_shunned: bool, sign: Sign, now: Timestamp) -> Option<(Host, Change)> {
        let UnderWay { tenant, host, need, is_probe, was_claimed_again } = self.under_way.remove(&job)?;
        self.memory.give_back(need);
        if !is_shunned {
            self.held.remove(&job);
            if was_claimed_again {
                self.stray.push(job);
            }
        }
        if let Some(site) = self.sites.get_mut(&host) {
            site.under_way -= 1;
            if site.under_way == 0 && site.tenants.is_empty() {
                self.sites.remove(&host);
            }
        }
        let owner = self.owners.get_mut(&tenant)?;
        owner.under_way -= 1;
        owner.memory -= need;
        let lane = owner.lanes.get_mut(&host)?;
        lane.under_way -= 1;
        lane.used_at = now;
        let change = lane.gate.end(is_probe, sign, now);
        self.gates_changed |= change.is_some();
        if lane.is_idle() && lane.gate.is_as_new(now) {
            owner.lanes.remove(&host);
            if owner.lanes.is_empty() {
                self.owners.remove(&tenant);
            }
        }
        change.map(|change| (host, change))
    }

    /// Sends nothing to the host of a delivery under way before `until`.
    pub(super) fn pause(&mut self, job: JobId, until: Timestamp) {
        let Some(UnderWay { tenant, host, .. }) = self.under_way.get(&job) else { return };
        if let Some(lane) = self.owners.get_mut(tenant).and_then(|owner| owner.lanes.get_mut(host)) {
            lane.gate.pause(until);
            self.gates_changed = true;
        }
    }

    /// Returns when the first gate opens behind which something waits.
    pub(super) fn resumes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let lanes =
            |owner: &Owner| owner.turns.iter().filter_map(|host| owner.lanes.get(host)?.gate.opens_at(now)).min();
        self.owners.values().filter_map(lanes).min()
    }
}

#[cfg(test)]
mod tests;
