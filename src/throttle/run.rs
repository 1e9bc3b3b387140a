//! All limits of callers in one place, by the settings, and the station that keeps their counts small and right.

use super::jobs::{JobLimits, Jobs, Place};
use super::requests::{Requests, rate_of};
use super::{Refusal, Standing};
use crate::clock::Clock;
use crate::job::{KeyId, KeyLimits, Tenant};
use crate::settings::{CallerSettings, Rate, RateChoice};
use crate::store::{Counts, StoreError};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often the jobs that wait are counted, and how much sooner that may be when somebody was refused.
const SAMPLE: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_millis(100);

/// How often callers are forgotten who have not come for a while, in samples.
const TIDY: u32 = 5;

/// Says how much callers may ask for.
#[derive(Debug)]
pub struct Throttle {
    settings: CallerSettings,
    clock: Arc<dyn Clock>,
    requests: Requests,
    guesses: Requests,
    jobs: Jobs,
}

impl Throttle {
    /// Counts what waits in the store, and begins with that.
    pub async fn new(
        settings: CallerSettings,
        store: Arc<dyn Counts>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        let requests = || Requests::new(Arc::clone(&clock));
        let jobs = Jobs::new(store, Arc::clone(&clock));
        jobs.sample().await?;
        Ok(Arc::new(Self { settings, requests: requests(), guesses: requests(), jobs, clock }))
    }

    /// Counts a request: of a key, with the limits of that key, or of an address. Returns how the caller stands, or none
    /// where it has no limit.
    pub fn request(
        &self,
        key: Option<&KeyId>,
        limits: &KeyLimits,
        address: Option<IpAddr>,
    ) -> Result<Option<Standing>, Refusal> {
        let of_all = match self.settings.rate {
            RateChoice::Each(rate) => Some(rate),
            RateChoice::Usual | RateChoice::Off => None,
        };
        let counted = match (key, address) {
            (Some(key), _) => {
                let usual = if self.settings.rate == RateChoice::Usual { Some(Rate::USUAL) } else { of_all };
                rate_of(limits, usual).map(|rate| (rate, self.requests.of_key(key, rate)))
            }
            (None, Some(address)) => of_all.map(|rate| (rate, self.requests.of_address(address, rate))),
            (None, None) => None,
        };
        let Some((rate, counted)) = counted else { return Ok(None) };
        counted.map(Some).map_err(|wait| Refusal::Requests { rate, wait })
    }

    /// Counts a request that showed no good key although one is asked for. A refusal is answered instead of the usual
    /// answer, which says that the key is not good.
    pub fn guess(&self, address: IpAddr) -> Result<(), Refusal> {
        self.guesses.of_address(address, self.settings.guesses).map(|_| ()).map_err(|wait| Refusal::Guesses { wait })
    }

    /// Takes a place for one more job of a tenant, to be kept once the job is stored.
    pub async fn job(&self, tenant: &Tenant, limits: &KeyLimits) -> Result<Result<Place<'_>, Refusal>, StoreError> {
        let limits = JobLimits {
            all: self.settings.max_queued,
            tenant: limits.max_queued.map(u64::from).or(self.settings.max_queued_per_tenant),
            day: limits.per_day.map(u64::from).or(self.settings.jobs_per_day),
        };
        self.jobs.enter(tenant, limits).await
    }

    /// Returns how many jobs may wait, of all tenants together.
    pub fn most_waiting(&self) -> u64 {
        self.settings.max_queued
    }

    /// Counts anew every second what waits, and forgets callers that have not come for a while.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut turn: u32 = 0;
        loop {
            let now = self.clock.now();
            let asked = async {
                self.clock.sleep_until(now + SOONEST).await;
                self.jobs.bell.notified().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(now + SAMPLE) => turn = turn.wrapping_add(1),
                () = asked => {}
            }
            if let Err(error) = self.jobs.sample().await {
                warn!(%error, "it is not known how many jobs wait; the last count stays");
            }
            if turn.is_multiple_of(TIDY) {
                self.requests.tidy();
                self.guesses.tidy();
            }
        }
    }
}
