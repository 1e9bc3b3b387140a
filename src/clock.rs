//! The only place that says what time it is, so that tests can say it instead.
//!
//! The wall clock is read once at the start; from then on time goes forward with the monotonic clock. A wall clock that
//! jumps can so neither hurry nor hold up a deadline or a retry. Only what is compared with the clock of another machine
//! asks the wall clock again.

use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point this many milliseconds after 1970 began.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970 began.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns the milliseconds from `earlier` until this point, 0 where it is not earlier.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// Returns the time from `earlier` until this point, zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis_since(earlier))
    }

    /// Returns the point so long before this one.
    #[must_use]
    pub fn back_by(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Writes the point as RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(self) -> String {
        humantime::format_rfc3339_millis(self.system_time()).to_string()
    }

    /// Reads RFC 3339 in UTC; none where the text is none, or is before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let since_epoch = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self(0) + since_epoch)
    }

    /// Returns the point as the standard library has it; points before 1970 become 1970.
    pub fn system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the time now; it never goes back.
    fn now(&self) -> Timestamp;

    /// Returns what the wall clock says now, which may jump: for what another machine compares with its own clock, and
    /// for no deadline.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Ends when `now` has reached `until`.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
    wall: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl SystemClock {
    /// Reads the wall clock and counts from there.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask the machine for the time")]
    pub fn start() -> Arc<Self> {
        Self::with_wall(|| Timestamp(0) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The same with another wall clock, such as a test's that jumps.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask the machine for the time")]
    pub fn with_wall(wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), started_at: wall(), wall: Box::new(wall) })
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemClock").field("started_at", &self.started_at).finish_non_exhaustive()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }

    fn wall(&self) -> Timestamp {
        (self.wall)()
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        // One millisecond more: `now` is rounded down, and whoever wakes must find the deadline reached.
        let wait = until.since(self.now()) + Duration::from_millis(1);
        Box::pin(tokio::time::sleep(wait))
    }
}

/// Measures how long something takes, finer than a [`Timestamp`]: for those who count, and for no deadline.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask the machine for the time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns how long it has been.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that tests move by hand.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// Makes a clock that stands at `now`.
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { now: watch::Sender::new(now) })
    }

    /// Moves the time forward; everything that waits for a point in between wakes.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = *now + by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // An error means that the clock is gone, and time with it: nothing will ever be due again.
            if now.wait_for(|now| *now >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_in_utc_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(1_795_229_844_921).rfc3339(), "2026-11-21T02:57:24.921Z");
    }

    #[test]
    fn a_timestamp_is_read_back() {
        let now = Timestamp::from_millis(1_795_229_844_921);
        assert_eq!(Timestamp::parse_rfc3339(&now.rfc3339()), Some(now));
        for text in
            ["", "now", "2026-11-21", "2026-11-21T25:00:00Z", "1969-12-31T23:59:59Z", "2026-11-21T02:57:24+01:00"]
        {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn a_wall_clock_that_jumps_is_seen_as_such_and_moves_no_deadline() {
        use std::sync::atomic::{AtomicI64, Ordering};
        let wall = Arc::new(AtomicI64::new(1_800_000_000_000));
        let read = Arc::clone(&wall);
        let clock = SystemClock::with_wall(move || Timestamp::from_millis(read.load(Ordering::Relaxed)));
        let began = clock.now();
        for jump in [3_600_000, -7_200_000] {
            wall.fetch_add(jump, Ordering::Relaxed);
            assert_eq!(clock.wall().millis(), wall.load(Ordering::Relaxed));
            assert!(clock.now() >= began && clock.now().since(began) < Duration::from_mins(1));
        }
    }

    #[test]
    fn sums_beyond_the_end_of_time_stay_at_it() {
        assert_eq!((Timestamp::from_millis(5) + Duration::MAX).millis(), i64::MAX);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_manual_clock_gets_there() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let mut sleeper = clock.sleep_until(Timestamp::from_millis(10));
        clock.advance(Duration::from_millis(9));
        assert_eq!(futures_util::poll!(&mut sleeper), std::task::Poll::Pending);
        clock.advance(Duration::from_millis(1));
        sleeper.await;
    }
}
