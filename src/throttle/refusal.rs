//! Why somebody is told to come back later, and when.

use crate::settings::Rate;
use std::time::Duration;

/// What a caller asked for is above what it may ask for, or above what the gateway takes in at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Too many requests in a time.
    #[error("too many requests: {rate} are allowed; come back in {} s", seconds(*.wait))]
    Requests {
        /// What is allowed.
        rate: Rate,
        /// Until the next one is.
        wait: Duration,
    },
    /// Too many wrong keys from one address.
    #[error("too many requests without a key that is good; come back in {} s", seconds(*.wait))]
    Guesses {
        /// Until the next one is looked at.
        wait: Duration,
    },
    /// Too many jobs of a tenant wait.
    #[error("{most} jobs of this tenant wait already, as many as may; come back when some of them have begun")]
    TenantQueue {
        /// How many may.
        most: u64,
    },
    /// Too many jobs wait.
    #[error("{most} jobs wait already, as many as the gateway takes in; come back when some of them have begun")]
    Queue {
        /// How many may.
        most: u64,
    },
    /// Too many jobs of a tenant today.
    #[error("{most} jobs of this tenant were taken in today, as many as may; come back at midnight UTC")]
    Day {
        /// How many may.
        most: u64,
        /// Until midnight.
        wait: Duration,
    },
}

impl Refusal {
    /// How long somebody who found the queue full is told to wait: about as long as it takes until that is different.
    const QUEUE: Duration = Duration::from_secs(5);

    /// Returns after how many seconds the same may be asked for again, 1 at least.
    pub fn retry_after(&self) -> u64 {
        match self {
            Self::Requests { wait, .. } | Self::Guesses { wait } | Self::Day { wait, .. } => seconds(*wait),
            Self::TenantQueue { .. } | Self::Queue { .. } => Self::QUEUE.as_secs(),
        }
    }
}

/// Returns whole seconds, rounded up so that who waits as told is not told again.
fn seconds(wait: Duration) -> u64 {
    let rounded_up = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    rounded_up.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_is_never_too_short() {
        for (wait, told) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60), (3_600_000, 3600)] {
            assert_eq!(Refusal::Guesses { wait: Duration::from_millis(wait) }.retry_after(), told);
        }
        assert!(Refusal::Queue { most: 1 }.retry_after() >= 1);
    }
}
