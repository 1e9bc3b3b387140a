//! How many requests come from whom: by key, or by client address where no key is known.
//!
//! An address can be anything, so what is kept of addresses has a bound. Keys are counted after they were found to be
//! good, so there are never more of them than were made.

use crate::clock::Clock;
use crate::job::{KeyId, KeyLimits};
use crate::settings::Rate;
use governor::clock::Clock as Ticking;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How many addresses are told apart; above it they share a number of places until there is room again.
pub(super) const MOST_ADDRESSES: usize = 65_536;
/// How many places they share then.
const CROWD: u64 = 1024;
/// How often it is looked whether there are too many, in new requests.
const LOOK: u32 = 64;

type Limiter = RateLimiter<Who, DashMapStateStore<Who>, Ticks, StateInformationMiddleware>;

/// Whose requests are counted together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Who {
    Key(KeyId),
    /// One machine, or the smallest network that one customer gets.
    Address(IpAddr),
    /// One of the places that addresses share when there are too many of them.
    Crowd(u64),
}

/// How a caller stands after a request that was let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What is allowed.
    pub rate: Rate,
    /// How many more may come at once.
    pub left: u32,
    /// After how long the whole burst may come again.
    pub whole_in: Duration,
}

/// Counts requests, against a rate that may be another one for each key.
pub(super) struct Requests {
    clock: Arc<dyn Clock>,
    limiters: RwLock<HashMap<Rate, Arc<Limiter>>>,
    hasher: RandomState,
    addresses: AtomicU32,
    is_crowded: AtomicBool,
}

impl Requests {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            limiters: RwLock::default(),
            hasher: RandomState::new(),
            addresses: AtomicU32::new(0),
            is_crowded: AtomicBool::new(false),
        }
    }

    /// Counts a request under a key. An error is how long to wait for the next.
    pub(super) fn of_key(&self, key: &KeyId, rate: Rate) -> Result<Standing, Duration> {
        self.check(&self.limiter(rate), &Who::Key(key.clone()), rate)
    }

    /// Counts a request from an address. An error is how long to wait for the next.
    pub(super) fn of_address(&self, address: IpAddr, rate: Rate) -> Result<Standing, Duration> {
        let limiter = self.limiter(rate);
        if self.addresses.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK) && limiter.len() >= MOST_ADDRESSES {
            self.is_crowded.store(true, Ordering::Relaxed);
        }
        let network = network(address);
        let who = if self.is_crowded.load(Ordering::Relaxed) {
            Who::Crowd(self.hasher.hash_one(network) % CROWD)
        } else {
            Who::Address(network)
        };
        self.check(&limiter, &who, rate)
    }

    /// Forgets who has not come for so long that it does not matter.
    pub(super) fn tidy(&self) {
        let limiters: Vec<_> = self.read().values().map(Arc::clone).collect();
        for limiter in &limiters {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        if limiters.iter().all(|limiter| limiter.len() < MOST_ADDRESSES / 2) {
            self.is_crowded.store(false, Ordering::Relaxed);
        }
        drop(limiters);
        let is_used = |limiter: &mut Arc<Limiter>| !limiter.is_empty() || Arc::strong_count(limiter) > 1;
        self.limiters.write().unwrap_or_else(PoisonError::into_inner).retain(|_, limiter| is_used(limiter));
    }

    /// Returns how much is kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.read().values().map(|limiter| limiter.len()).sum()
    }

    fn check(&self, limiter: &Limiter, who: &Who, rate: Rate) -> Result<Standing, Duration> {
        match limiter.check_key(who) {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let used = rate.burst.get().saturating_sub(left);
                Ok(Standing { rate, left, whole_in: rate.per * used / rate.requests.get() })
            }
            Err(until) => Err(until.wait_time_from(Ticks(Arc::clone(&self.clock)).now())),
        }
    }

    fn limiter(&self, rate: Rate) -> Arc<Limiter> {
        if let Some(limiter) = self.read().get(&rate) {
            return Arc::clone(limiter);
        }
        let mut limiters = self.limiters.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let limiter = RateLimiter::dashmap_with_clock(quota(rate), Ticks(Arc::clone(&self.clock)));
            Arc::new(limiter.with_middleware::<StateInformationMiddleware>())
        };
        Arc::clone(limiters.entry(rate).or_insert_with(new))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Rate, Arc<Limiter>>> {
        self.limiters.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("rates", &self.read().len()).finish_non_exhaustive()
    }
}

/// Returns the rate of a key: its own, or what is left of the usual one where it says only a part.
pub(super) fn rate_of(limits: &KeyLimits, usual: Option<Rate>) -> Option<Rate> {
    let burst = limits.burst.and_then(NonZeroU32::new);
    let rate = limits.per_minute.and_then(NonZeroU32::new).map(Rate::per_minute).or(usual)?;
    Some(Rate { burst: burst.unwrap_or(rate.burst), ..rate })
}

/// A request of a rate that governor cannot express would be one that is never let through, so there is none: all parts
/// are above zero.
fn quota(rate: Rate) -> Quota {
    let one = rate.per / rate.requests.get();
    Quota::with_period(one.max(Duration::from_nanos(1)))
        .map_or_else(|| Quota::per_second(rate.burst), |quota| quota.allow_burst(rate.burst))
}

/// Returns the address, or of version 6 its network of 64 bits, in which one customer has as many addresses as he likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Our clock, as governor wants one.
#[derive(Clone)]
struct Ticks(Arc<dyn Clock>);

impl Ticking for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(Duration::from_millis(self.0.now().millis().unsigned_abs()))
    }
}

#[cfg(test)]
mod tests;
