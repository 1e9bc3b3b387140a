//! What receivers are told of jobs that go on, and when: one thing at a time for each job, progress at most once a second
//! and only the newest, little of it waiting, and nothing any more once the job's end is about to be told.
//!
//! Decides only; sending is left to `announcer.rs`. Nothing of it is kept: what cannot be told soon is dropped.

mod ended;

use super::gate::Shut;
use super::target::lane_of;
use crate::clock::Timestamp;
use crate::job::{Announcement, JobId, News, Tenant};
use ended::Ended;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long one event may take, and so for how long the end of a job may be held up by its events.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// The least time from one progress of a job to its next.
const EVERY: Duration = Duration::from_secs(1);

/// How many events may be under way at once: to all hosts, and to one.
const TOTAL: usize = 16;
const PER_HOST: usize = 2;

/// How many events besides the newest progress may wait: of one job, and for one host.
const FACTS: usize = 32;
const FACTS_OF_HOST: usize = 256;

/// How many jobs and hosts are known at most.
const JOBS: usize = 4096;

/// How long a host is told nothing after it did not take an event; each further time twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(1);

/// The gates before hosts that are shut; each tenant has its own.
pub(super) type Gates = HashMap<(Tenant, Arc<str>), Shut>;

/// An event that is to be sent now.
#[derive(Debug)]
pub(super) struct Due {
    /// The `webhook-id`.
    pub(super) id: String,
    pub(super) announcement: Announcement,
    /// When it is given up.
    pub(super) until: Timestamp,
}

/// Whether the end of a job may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    /// It may: nothing of the job is under way, and nothing will be.
    Yes,
    /// Not yet: something is under way or waits, at most until then.
    NotBefore(Timestamp),
}

/// All that waits and is under way.
#[derive(Debug, Default)]
pub(super) struct Board {
    jobs: HashMap<JobId, Entry>,
    hosts: HashMap<Arc<str>, Host>,
    /// The hosts for which something is ready, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    /// The jobs whose progress may not be told yet, and when it may.
    later: BTreeSet<(Timestamp, JobId)>,
    /// Where deliveries may not go either.
    shut: Gates,
    under_way: usize,
    ended: Ended,
    is_closed: bool,
}

#[derive(Debug)]
struct Entry {
    tenant: Tenant,
    host: Arc<str>,
    /// What is told in full: starts and outputs.
    facts: VecDeque<Announcement>,
    /// The newest progress.
    progress: Option<Announcement>,
    next_progress: Timestamp,
    /// The number of the last event that was sent.
    last_number: u64,
    is_under_way: bool,
    is_ready: bool,
    /// When the end is told, whatever still waits.
    end_at: Option<Timestamp>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        !self.is_under_way && self.facts.is_empty() && self.progress.is_none()
    }
}

#[derive(Debug, Default)]
struct Host {
    ready: VecDeque<JobId>,
    has_turn: bool,
    under_way: usize,
    facts: usize,
    /// How often in a row it did not take an event, and until when it is left alone.
    refusals: u32,
    rests_until: Option<Timestamp>,
}

impl Host {
    fn rests(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }
}

impl Board {
    /// Takes in what happened. Drops it where its host rests, is left alone or has too much waiting, or the job's end is being
    /// told.
    pub(super) fn take(&mut self, announcement: Announcement, now: Timestamp) {
        let job = announcement.audience.job;
        if self.is_closed || self.ended.contains(job) {
            return;
        }
        let host: Arc<str> = match self.jobs.get(&job) {
            Some(entry) => Arc::clone(&entry.host),
            None => lane_of(&announcement.audience.url).into(),
        };
        let tenant = &announcement.audience.tenant;
        if is_shut(&self.shut, tenant, &host, now) || !self.make_room(job, &host, now) {
            return;
        }
        let lane = self.hosts.entry(Arc::clone(&host)).or_default();
        if lane.rests(now) {
            return;
        }
        let entry = self.jobs.entry(job).or_insert_with(|| Entry {
            tenant: tenant.clone(),
            host,
            facts: VecDeque::new(),
            progress: None,
            next_progress: now,
            last_number: 0,
            is_under_way: false,
            is_ready: false,
            end_at: None,
        });
        if entry.end_at.is_some() {
            return;
        }
        match &announcement.news {
            News::Progress(_) => entry.progress = Some(announcement),
            News::Started | News::Output(_) => {
                if entry.facts.len() >= FACTS || lane.facts >= FACTS_OF_HOST {
                    return;
                }
                lane.facts += 1;
                entry.facts.push_back(announcement);
            }
        }
        self.line_up(job, now);
    }

    /// Returns the next event to be sent, and counts it as under way.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Due> {
        while let Some((at, job)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, job));
            self.line_up(job, now);
        }
        if self.under_way >= TOTAL {
            return None;
        }
        for _ in 0..self.turns.len() {
            let host = self.turns.pop_front()?;
            let Some(lane) = self.hosts.get_mut(&host) else { continue };
            lane.has_turn = false;
            let due = (lane.under_way < PER_HOST).then(|| next_of(lane, &mut self.jobs, now)).flatten();
            if !lane.ready.is_empty() {
                lane.has_turn = true;
                self.turns.push_back(host);
            }
            if due.is_some() {
                self.under_way += 1;
                return due;
            }
        }
        None
    }

    /// Returns when something may be sent that may not be sent now.
    pub(super) fn wakes_at(&self) -> Option<Timestamp> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Notes that the event of a job that was under way is over. A host that did not take it is left alone for a while.
    pub(super) fn over(&mut self, job: JobId, was_taken: bool, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(&job).filter(|entry| entry.is_under_way) else { return };
        entry.is_under_way = false;
        self.under_way -= 1;
        let host = Arc::clone(&entry.host);
        if let Some(lane) = self.hosts.get_mut(&host) {
            lane.under_way -= 1;
            if was_taken {
                lane.refusals = 0;
                lane.rests_until = None;
            } else {
                let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(lane.refusals)).min(LONGEST_REST);
                lane.refusals = lane.refusals.saturating_add(1);
                lane.rests_until = Some(now + rest);
            }
        }
        if !was_taken {
            self.drop_waiting(|entry| entry.host == host);
        }
        self.line_up(job, now);
    }

    /// Takes in which gates are shut, all of them. What waits for those hosts is dropped.
    pub(super) fn shut(&mut self, gates: Gates, now: Timestamp) {
        self.drop_waiting(|entry| is_shut(&gates, &entry.tenant, &entry.host, now));
        self.shut = gates;
    }

    /// Notes that the end of a job is about to be told. Progress is not told any more; starts and outputs that wait still
    /// are, for as long as one event may take.
    pub(super) fn settle(&mut self, job: JobId, now: Timestamp) -> Settled {
        self.ended.insert(job);
        let Some(entry) = self.jobs.get_mut(&job) else { return Settled::Yes };
        let end_at = *entry.end_at.get_or_insert(now + LIMIT);
        entry.progress = None;
        if now >= end_at
            && let Some(lane) = self.hosts.get_mut(&entry.host)
        {
            lane.facts -= entry.facts.len();
            entry.facts.clear();
        }
        if !entry.is_idle() {
            return Settled::NotBefore(end_at);
        }
        self.jobs.remove(&job);
        Settled::Yes
    }

    /// Drops all that waits, and takes in nothing any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        for lane in self.hosts.values_mut() {
            lane.facts = 0;
            lane.ready.clear();
        }
        for entry in self.jobs.values_mut() {
            entry.facts.clear();
            entry.progress = None;
        }
        self.later.clear();
        self.turns.clear();
    }

    /// Has a job take its turn, at once or when its progress may be told.
    fn line_up(&mut self, job: JobId, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(&job).filter(|entry| !entry.is_under_way && !entry.is_ready) else {
            return;
        };
        if entry.facts.is_empty() {
            if entry.progress.is_none() {
                return;
            }
            if entry.next_progress > now {
                self.later.insert((entry.next_progress, job));
                return;
            }
        }
        let Some(lane) = self.hosts.get_mut(&entry.host) else { return };
        entry.is_ready = true;
        lane.ready.push_back(job);
        if !lane.has_turn {
            lane.has_turn = true;
            self.turns.push_back(Arc::clone(&entry.host));
        }
    }

    fn drop_waiting(&mut self, is_dropped: impl Fn(&Entry) -> bool) {
        for entry in self.jobs.values_mut().filter(|entry| is_dropped(entry)) {
            if let Some(lane) = self.hosts.get_mut(&entry.host) {
                lane.facts -= entry.facts.len();
            }
            entry.facts.clear();
            entry.progress = None;
            entry.is_ready = false;
        }
        for lane in self.hosts.values_mut() {
            lane.ready.retain(|job| self.jobs.get(job).is_some_and(|entry| entry.is_ready));
        }
    }

    /// Forgets what has nothing to say. Returns whether there is room for a job.
    fn make_room(&mut self, job: JobId, host: &Arc<str>, now: Timestamp) -> bool {
        let is_new = !self.jobs.contains_key(&job);
        if is_new && self.jobs.len() >= JOBS {
            self.jobs.retain(|_, entry| !entry.is_idle() || entry.next_progress > now);
        }
        let is_new_host = !self.hosts.contains_key(host);
        if is_new_host && self.hosts.len() >= JOBS {
            let needed: HashSet<&Arc<str>> = self.jobs.values().map(|entry| &entry.host).collect();
            self.hosts.retain(|host, lane| needed.contains(host) || lane.rests(now));
        }
        (!is_new || self.jobs.len() < JOBS) && (!is_new_host || self.hosts.len() < JOBS)
    }
}

/// Says whether a tenant's gate before a host is shut.
fn is_shut(gates: &Gates, tenant: &Tenant, host: &Arc<str>, now: Timestamp) -> bool {
    if gates.is_empty() {
        return false;
    }
    match gates.get(&(tenant.clone(), Arc::clone(host))) {
        Some(Shut::Down) => true,
        Some(Shut::Until(until)) => *until > now,
        None => false,
    }
}

/// Takes the next event of a host.
fn next_of(lane: &mut Host, jobs: &mut HashMap<JobId, Entry>, now: Timestamp) -> Option<Due> {
    while let Some(job) = lane.ready.pop_front() {
        let Some(entry) = jobs.get_mut(&job) else { continue };
        entry.is_ready = false;
        let announcement = if let Some(fact) = entry.facts.pop_front() {
            lane.facts -= 1;
            fact
        } else {
            let Some(progress) = entry.progress.take() else { continue };
            entry.next_progress = now + EVERY;
            progress
        };
        entry.is_under_way = true;
        lane.under_way += 1;
        // Milliseconds, so that it goes on growing in the next life of the gateway.
        entry.last_number = now.millis_since(announcement.audience.accepted_at).max(entry.last_number + 1);
        let until = entry.end_at.map_or(now + LIMIT, |end_at| end_at.min(now + LIMIT));
        return Some(Due { id: announcement.webhook_id(entry.last_number), announcement, until });
    }
    None
}

#[cfg(test)]
mod laws;
