//! What leaves the lanes without being sent: leases that serve nobody, deliveries without hope, hosts that are not worth
//! remembering, and at the end everything.

use super::super::lane::{LANE_ROOM, Waiting};
use super::{Lanes, ROOM};
use crate::clock::Timestamp;
use crate::job::JobId;
use crate::store::Delivery;
use std::time::Duration;

/// How long a host is remembered that nothing goes to, and how many such.
const MEMORY: Duration = Duration::from_hours(1);
const IDLE_LANES: usize = 4096;

impl Lanes {
    /// Takes out what has a lease for nothing: it has ended, or was set aside and would find room by now. Forgets hosts of
    /// which nothing is to be remembered.
    pub(in crate::notifier) fn take_leased(&mut self, now: Timestamp) -> Vec<JobId> {
        self.forget(now);
        let mut room = ROOM.saturating_sub(self.waiting);
        let mut taken = std::mem::take(&mut self.stray);
        for owner in self.owners.values_mut() {
            for lane in owner.lanes.values_mut().filter(|lane| lane.waiting.is_empty()) {
                let count = lane.aside.len().min(LANE_ROOM).min(room);
                room -= count;
                taken.extend(lane.aside.drain(..count));
            }
        }
        taken
    }

    /// Takes out what is given up without a call: its host is down, and its deadline has come. It is not admitted again
    /// before [`Lanes::settled`].
    pub(in crate::notifier) fn take_hopeless(&mut self, now: Timestamp) -> Vec<Delivery> {
        for (tenant, owner) in &mut self.owners {
            for (host, lane) in &mut owner.lanes {
                let over = lane.take_hopeless(now);
                if over.is_empty() {
                    continue;
                }
                self.waiting -= over.len();
                self.waiting_bytes -= over.iter().map(Waiting::held).sum::<u64>();
                owner.waiting -= over.len();
                self.hopeless.extend(over.into_iter().map(|waiting| waiting.delivery));
                if lane.waiting.is_empty() {
                    owner.turns.retain(|other| other != host);
                    if let Some(site) = self.sites.get_mut(host) {
                        site.tenants.remove(tenant);
                    }
                }
            }
        }
        self.sites.retain(|_, site| site.under_way > 0 || !site.tenants.is_empty());
        std::mem::take(&mut self.hopeless)
    }

    /// Notes that the end of a hopeless delivery is stored.
    pub(in crate::notifier) fn settled(&mut self, job: JobId) {
        self.held.remove(&job);
    }

    /// Takes out all that waits or was set aside; its leases should be ended.
    pub(in crate::notifier) fn take_waiting(&mut self) -> Vec<JobId> {
        self.waiting = 0;
        self.waiting_bytes = 0;
        let mut taken = std::mem::take(&mut self.stray);
        for owner in self.owners.values_mut() {
            owner.turns.clear();
            owner.waiting = 0;
            for lane in owner.lanes.values_mut() {
                taken.extend(lane.waiting.drain(..).map(|waiting| waiting.delivery.job));
                taken.extend(lane.aside.drain(..));
            }
        }
        self.sites.values_mut().for_each(|site| site.tenants.clear());
        taken
    }

    fn forget(&mut self, now: Timestamp) {
        let mut idle = Vec::new();
        for owner in self.owners.values_mut() {
            owner.lanes.retain(|_, lane| {
                let is_stale = lane.gate.is_as_new(now) || now >= lane.used_at + MEMORY;
                if lane.is_idle() && !is_stale {
                    idle.push(lane.used_at);
                }
                let is_kept = !lane.is_idle() || !is_stale;
                self.gates_changed |= !is_kept && lane.gate.is_down();
                is_kept
            });
        }
        if idle.len() > IDLE_LANES {
            idle.sort_unstable();
            // A quarter goes at once, so that this is rare.
            let oldest_kept = idle.get(idle.len() - IDLE_LANES / 4 * 3).copied().unwrap_or(now);
            for owner in self.owners.values_mut() {
                owner.lanes.retain(|_, lane| !lane.is_idle() || lane.used_at >= oldest_kept);
            }
            self.gates_changed = true;
        }
        self.owners.retain(|_, owner| !owner.lanes.is_empty());
    }
}
