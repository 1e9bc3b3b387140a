//! How many jobs wait and were taken in today, known without asking the store for each request.
//!
//! What waits is sampled from the store now and then; what was stored since the sample began, and what is on its way to
//! the store, is counted on top. So the number is never too low, and too high for no longer than until the next sample.

use super::Refusal;
use crate::clock::{Clock, Timestamp};
use crate::job::Tenant;
use crate::store::{Counts, StoreError};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

const DAY: Duration = Duration::from_hours(24);

/// How many jobs a caller may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct JobLimits {
    /// Waiting, of all tenants.
    pub(super) all: u64,
    /// Waiting, of its tenant.
    pub(super) tenant: Option<u64>,
    /// Of its tenant from midnight to midnight.
    pub(super) day: Option<u64>,
}

/// Counts jobs.
pub(super) struct Jobs {
    store: Arc<dyn Counts>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Only one asks the store how many there were today.
    loading: tokio::sync::Mutex<()>,
    /// Rung when somebody was refused: perhaps the sample is old.
    pub(super) bell: Notify,
}

#[derive(Default)]
struct State {
    all: Waiting,
    tenants: HashMap<Tenant, Waiting>,
    days: HashMap<Tenant, Today>,
}

/// How many jobs wait.
#[derive(Clone, Copy, Default)]
struct Waiting {
    /// In the store, when the last sample began.
    sampled: u64,
    /// Stored since then.
    since: u64,
    /// Of `since`, those before the sample that is being taken.
    covered: u64,
    /// On their way to the store.
    in_flight: u64,
}

impl Waiting {
    fn count(self) -> u64 {
        self.sampled + self.since + self.in_flight
    }

    fn begin(&mut self) {
        self.covered = self.since;
    }

    fn take(&mut self, sampled: u64) {
        self.sampled = sampled;
        self.since -= self.covered;
        self.covered = 0;
    }
}

/// How many jobs were taken in on one day.
struct Today {
    midnight: Timestamp,
    count: u64,
}

/// A place for one job, held while it is on its way to the store. Dropped, it is free again.
#[must_use = "a place that is dropped is free again"]
pub struct Place<'a> {
    jobs: &'a Jobs,
    tenant: Tenant,
    is_kept: bool,
}

impl Place<'_> {
    /// Says that the job is stored.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.jobs.leave(&self.tenant, self.is_kept);
    }
}

impl Jobs {
    pub(super) fn new(store: Arc<dyn Counts>, clock: Arc<dyn Clock>) -> Self {
        let (state, loading, bell) = (Mutex::default(), tokio::sync::Mutex::default(), Notify::new());
        Self { store, clock, state, loading, bell }
    }

    /// Takes a place for a job of a tenant.
    pub(super) async fn enter(
        &self,
        tenant: &Tenant,
        limits: JobLimits,
    ) -> Result<Result<Place<'_>, Refusal>, StoreError> {
        if limits.day.is_some() {
            self.know_today(tenant).await?;
        }
        let entered = self.try_enter(tenant, limits);
        if entered.is_err() {
            self.bell.notify_one();
        }
        Ok(entered)
    }

    fn try_enter(&self, tenant: &Tenant, limits: JobLimits) -> Result<Place<'_>, Refusal> {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.all.count() >= limits.all {
            return Err(Refusal::Queue { most: limits.all });
        }
        let of_tenant = state.tenants.get(tenant).map_or(0, |waiting| waiting.count());
        if let Some(most) = limits.tenant.filter(|most| of_tenant >= *most) {
            return Err(Refusal::TenantQueue { most });
        }
        if let Some(today) = state.days.get_mut(tenant).filter(|today| now < today.midnight + DAY) {
            if let Some(most) = limits.day.filter(|most| today.count >= *most) {
                return Err(Refusal::Day { most, wait: (today.midnight + DAY).since(now) });
            }
            today.count += 1;
        }
        state.all.in_flight += 1;
        match state.tenants.get_mut(tenant) {
            Some(waiting) => waiting.in_flight += 1,
            None => {
                state.tenants.insert(tenant.clone(), Waiting { in_flight: 1, ..Waiting::default() });
            }
        }
        drop(state);
        Ok(Place { jobs: self, tenant: tenant.clone(), is_kept: false })
    }

    fn leave(&self, tenant: &Tenant, is_stored: bool) {
        let mut state = self.lock();
        let state = &mut *state;
        for waiting in [Some(&mut state.all), state.tenants.get_mut(tenant)].into_iter().flatten() {
            waiting.in_flight -= 1;
            waiting.since += u64::from(is_stored);
        }
        if !is_stored && let Some(today) = state.days.get_mut(tenant) {
            today.count = today.count.saturating_sub(1);
        }
    }

    /// Asks the store how many jobs wait.
    pub(super) async fn sample(&self) -> Result<(), StoreError> {
        {
            let mut state = self.lock();
            state.all.begin();
            state.tenants.values_mut().for_each(Waiting::begin);
        }
        let waiting = self.store.waiting().await?;
        let now = self.clock.now();
        let mut state = self.lock();
        state.all.take(waiting.values().sum());
        for tenant in waiting.keys() {
            if !state.tenants.contains_key(tenant) {
                state.tenants.insert(tenant.clone(), Waiting::default());
            }
        }
        for (tenant, known) in &mut state.tenants {
            known.take(waiting.get(tenant).copied().unwrap_or(0));
        }
        state.tenants.retain(|_, waiting| waiting.count() > 0);
        state.days.retain(|_, today| now < today.midnight + DAY);
        Ok(())
    }

    /// Asks the store once a day how many jobs of a tenant were taken in on it; from then on they are counted here.
    async fn know_today(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let midnight = midnight(self.clock.now());
        let is_known = |state: &State| state.days.get(tenant).is_some_and(|today| today.midnight >= midnight);
        if is_known(&self.lock()) {
            return Ok(());
        }
        let _loading = self.loading.lock().await;
        if is_known(&self.lock()) {
            return Ok(());
        }
        let count = self.store.accepted_since(tenant.clone(), midnight).await?;
        self.lock().days.insert(tenant.clone(), Today { midnight, count });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("waiting", &self.lock().all.count()).finish_non_exhaustive()
    }
}

fn midnight(now: Timestamp) -> Timestamp {
    let day = 86_400_000;
    Timestamp::from_millis(now.millis() - now.millis().rem_euclid(day))
}

#[cfg(test)]
mod tests;
