//! When a run should end, by what is known of others like it and by how far it is. It is no promise, and where nothing is known
//! nothing is said.

use crate::clock::Timestamp;
use crate::tracker::Progress;
use std::time::Duration;

/// How far a run must be before its own pace is believed.
const FAR_ENOUGH: f64 = 0.1;

/// Returns how much longer a run should take that has run for `elapsed`. `usual` is how long such runs take.
pub fn remaining(elapsed: Duration, usual: Option<Duration>, progress: Option<&Progress>) -> Option<Duration> {
    // How far it is says how much longer it takes only where nodes count by their times.
    let pace = progress.filter(|progress| progress.is_weighed && progress.fraction >= FAR_ENOUGH);
    let by_pace = pace.map(|progress| {
        let left = (1.0 - progress.fraction).max(0.0) / progress.fraction;
        elapsed.mul_f64(left.min(1.0 / FAR_ENOUGH))
    });
    by_pace.or_else(|| usual?.checked_sub(elapsed))
}

/// Returns when a run should end that began then.
pub fn end_of_run(
    started: Timestamp,
    now: Timestamp,
    usual: Option<Duration>,
    progress: Option<&Progress>,
) -> Option<Timestamp> {
    remaining(now.since(started), usual, progress).map(|left| now + left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn at(fraction: f64, is_weighed: bool) -> Progress {
        Progress { fraction, is_weighed }
    }

    #[test]
    fn the_usual_time_counts_until_the_run_itself_says_more() {
        let usual = Some(seconds(100));
        assert_eq!(remaining(seconds(30), usual, None), Some(seconds(70)));
        assert_eq!(remaining(seconds(30), usual, Some(&at(0.05, true))), Some(seconds(70)), "it has hardly begun");
        assert_eq!(remaining(seconds(30), usual, Some(&at(0.5, false))), Some(seconds(70)), "nodes are not times");
        assert_eq!(remaining(seconds(30), usual, Some(&at(0.5, true))), Some(seconds(30)), "it is faster");
        assert_eq!(remaining(seconds(300), usual, Some(&at(0.75, true))), Some(seconds(100)), "it is slower");
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known_and_never_less_than_nothing() {
        assert_eq!(remaining(seconds(30), None, None), None);
        assert_eq!(remaining(seconds(30), None, Some(&at(0.5, false))), None);
        assert_eq!(remaining(seconds(30), Some(seconds(20)), None), None, "it takes longer than any before");
        assert_eq!(remaining(seconds(30), Some(seconds(20)), Some(&at(1.0, true))), Some(Duration::ZERO));
        let (started, now) = (Timestamp::from_millis(5_000), Timestamp::from_millis(4_000));
        assert_eq!(end_of_run(started, now, Some(seconds(1)), None), Some(Timestamp::from_millis(5_000)));
        for fraction in [f64::NAN, -1.0, 2.0, f64::INFINITY] {
            let left = remaining(seconds(30), None, Some(&at(fraction, true)));
            assert!(left.is_none_or(|left| left <= seconds(300)), "{fraction}");
        }
    }
}
