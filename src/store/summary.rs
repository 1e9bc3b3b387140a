//! How webhooks fared over some hours: what is counted of them, in which steps of time, and by which hosts. Pure; the rows are read
//! elsewhere.

use super::DeliveryState;
use crate::clock::Timestamp;
use crate::job::Tenant;
use std::collections::HashMap;
use std::time::Duration;
use url::Url;

/// How many steps there are at most, and how many hosts.
const MOST_STEPS: u64 = 96;
const MOST_HOSTS: usize = 50;
/// How long a step may be: such as people count in.
const STEPS: [Duration; 8] = [
    Duration::from_mins(1),
    Duration::from_mins(2),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
    Duration::from_hours(6),
];

/// Which deliveries are summed up: those of jobs that ended since some time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SummaryFilter {
    /// Only those of this tenant's jobs; none means all.
    pub tenant: Option<Tenant>,
    /// Since when; what is summed up begins at the next whole step.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// At most so many jobs are looked at, the newest; of several tenants as of one.
    pub limit: u32,
}

/// How webhooks fared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Since when.
    pub since: Timestamp,
    /// There were more than were looked at: the oldest are not in it.
    pub is_partial: bool,
    /// How many stand how.
    pub counts: SummaryCounts,
    /// One step of time after the other, the first at `since`, those without anything too.
    pub steps: Vec<SummaryStep>,
    /// By host, those with most deliveries first; of many hosts only those.
    pub hosts: Vec<(String, SummaryCounts)>,
}

/// How many deliveries stand how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SummaryCounts {
    /// They arrived.
    pub delivered: u64,
    /// The receiver wants no more.
    pub gone: u64,
    /// They were given up.
    pub undeliverable: u64,
    /// They are being tried.
    pub pending: u64,
}

/// What became of deliveries in a step of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SummaryStep {
    /// When it began.
    pub at: Timestamp,
    /// How many arrived in it.
    pub delivered: u64,
    /// How many ended in it otherwise.
    pub failed: u64,
    /// How long the calls took by which they arrived: half of them at most the first, of twenty nineteen at most the second.
    pub latency: Option<(Duration, Duration)>,
}

/// A delivery, as far as it is summed up.
pub(super) struct Summed {
    pub(super) url: String,
    pub(super) state: DeliveryState,
    pub(super) created_at: Timestamp,
    /// When it arrived or was given up, where that is known.
    pub(super) ended_at: Option<Timestamp>,
    /// How long the last call took.
    pub(super) took: Option<Duration>,
}

/// Sums deliveries up, one after the other.
pub(super) struct Tally {
    since: Timestamp,
    step: Duration,
    counts: SummaryCounts,
    steps: Vec<Step>,
    hosts: HashMap<String, SummaryCounts>,
}

#[derive(Clone, Default)]
struct Step {
    delivered: u64,
    failed: u64,
    took: Vec<Duration>,
}

impl SummaryCounts {
    /// Returns how many have ended.
    pub fn ended(&self) -> u64 {
        self.delivered + self.gone + self.undeliverable
    }

    fn all(&self) -> u64 {
        self.ended() + self.pending
    }

    fn count(&mut self, state: DeliveryState) {
        *match state {
            DeliveryState::Pending => &mut self.pending,
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Gone => &mut self.gone,
            DeliveryState::Undeliverable => &mut self.undeliverable,
        } += 1;
    }
}

impl Tally {
    /// Begins with nothing. The steps begin where the clock shows a whole one, so that they stay what they are while time goes on.
    pub(super) fn new(since: Timestamp, until: Timestamp) -> Self {
        let whole = until.since(since);
        let is_enough = |step: &Duration| whole.as_millis().div_ceil(step.as_millis()) <= u128::from(MOST_STEPS);
        let [.., longest] = STEPS;
        let step = STEPS.into_iter().find(is_enough).unwrap_or(longest);
        let millis = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let rest = since.millis().rem_euclid(millis);
        let since = if rest == 0 { since } else { Timestamp::from_millis(since.millis() + millis - rest) };
        let count = u64::try_from(until.since(since).as_millis() / step.as_millis()).unwrap_or(0) + 1;
        let steps = vec![Step::default(); usize::try_from(count.min(MOST_STEPS)).unwrap_or(0)];
        Self { since, step, counts: SummaryCounts::default(), steps, hosts: HashMap::new() }
    }

    /// Returns since when deliveries are summed up.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// Counts one. What began before is passed over.
    pub(super) fn add(&mut self, summed: &Summed) {
        if summed.created_at < self.since {
            return;
        }
        self.counts.count(summed.state);
        self.hosts.entry(host_of(&summed.url)).or_default().count(summed.state);
        let ended_at = summed.ended_at.unwrap_or(summed.created_at);
        let place = ended_at.since(self.since).as_millis() / self.step.as_millis();
        let last = self.steps.len().saturating_sub(1);
        // One that ends while it is counted is of the last step.
        let Some(step) = self.steps.get_mut(usize::try_from(place).map_or(last, |place| place.min(last))) else {
            return;
        };
        match summed.state {
            DeliveryState::Pending => {}
            DeliveryState::Delivered => {
                step.delivered += 1;
                step.took.extend(summed.took);
            }
            DeliveryState::Gone | DeliveryState::Undeliverable => step.failed += 1,
        }
    }

    /// Returns the sum.
    pub(super) fn end(self, is_partial: bool) -> Summary {
        let mut hosts: Vec<(String, SummaryCounts)> = self.hosts.into_iter().collect();
        hosts.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.all().cmp(&of_a.all()).then_with(|| a.cmp(b)));
        hosts.truncate(MOST_HOSTS);
        let (mut at, mut steps) = (self.since, Vec::new());
        for mut step in self.steps {
            step.took.sort_unstable();
            let latency = quantile(&step.took, 50).zip(quantile(&step.took, 95));
            steps.push(SummaryStep { at, delivered: step.delivered, failed: step.failed, latency });
            at = at + self.step;
        }
        Summary { since: self.since, is_partial, counts: self.counts, steps, hosts }
    }
}

/// Returns the smallest of sorted times that so many of a hundred do not exceed.
fn quantile(sorted: &[Duration], of_hundred: usize) -> Option<Duration> {
    let rank = (sorted.len() * of_hundred).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Returns the host of a URL, with its port where that is not the usual one: what logs show of it.
fn host_of(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    let host = url.host_str().unwrap_or("");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_123_456);

    fn before(hours: u64) -> Timestamp {
        NOW.back_by(Duration::from_hours(hours))
    }

    fn one(state: DeliveryState, at: Timestamp, took: u64) -> Summed {
        let (url, took) = ("https://App.example/hook?x".to_owned(), Some(Duration::from_millis(took)));
        Summed { url, state, created_at: at, ended_at: Some(at), took }
    }

    #[test]
    fn however_many_hours_there_are_96_steps_at_most_that_begin_at_whole_ones() {
        for (hours, step, count) in [(1, 1, 60), (8, 5, 96), (24, 15, 96), (48, 30, 96), (96, 60, 96), (168, 120, 84)] {
            let summary = Tally::new(before(hours), NOW).end(false);
            let length = i64::from(step) * 60_000;
            assert!(summary.steps.len() <= 96 && summary.steps.len().abs_diff(count) <= 1, "{hours}");
            for (place, found) in summary.steps.iter().enumerate() {
                assert_eq!(
                    found.at.millis(),
                    summary.since.millis() + length * i64::try_from(place).unwrap(),
                    "{hours}"
                );
            }
            assert_eq!(summary.since.millis() % length, 0, "{hours}");
            let (first, last) = (summary.since, summary.steps.last().unwrap().at);
            assert!(
                first >= before(hours) && first.since(before(hours)).as_millis() < u128::from(length.unsigned_abs())
            );
            assert!(last <= NOW && NOW.since(last).as_millis() < u128::from(length.unsigned_abs()), "{hours}");
        }
    }

    #[test]
    fn each_delivery_counts_once_where_it_ended() {
        let mut tally = Tally::new(before(1), NOW);
        let (since, minute) = (tally.since(), Duration::from_mins(1));
        for (state, at, took) in [
            (DeliveryState::Delivered, since, 10),
            (DeliveryState::Delivered, since, 30),
            (DeliveryState::Delivered, since + minute, 20),
            (DeliveryState::Gone, since + minute, 5),
            (DeliveryState::Undeliverable, since + minute, 5),
            (DeliveryState::Pending, since + minute, 5),
            // Too early, and while it is counted.
            (DeliveryState::Delivered, before(1), 99),
            (DeliveryState::Delivered, NOW + minute, 7),
        ] {
            tally.add(&one(state, at, took));
        }
        let summary = tally.end(false);
        let expected = SummaryCounts { delivered: 4, gone: 1, undeliverable: 1, pending: 1 };
        assert_eq!((summary.counts, summary.counts.ended()), (expected, 6));
        assert_eq!(summary.hosts, [("app.example".to_owned(), expected)]);
        let told: Vec<_> = summary.steps.iter().map(|step| (step.delivered, step.failed)).collect();
        assert_eq!((told[0], told[1], *told.last().unwrap()), ((2, 0), (1, 2), (1, 0)));
        assert_eq!(told.iter().map(|(delivered, failed)| delivered + failed).sum::<u64>(), 6);
        let millis = |step: usize| summary.steps[step].latency.map(|(half, most)| (half.as_millis(), most.as_millis()));
        assert_eq!((millis(0), millis(1), millis(2)), (Some((10, 30)), Some((20, 20)), None));
    }

    #[test]
    fn of_many_hosts_those_with_most_deliveries_are_told() {
        let mut tally = Tally::new(before(1), NOW);
        let at = tally.since();
        for number in 0..200 {
            for _ in 0..=number {
                let url = format!("http://host{number}.example:8080/a");
                tally.add(&Summed { url, ..one(DeliveryState::Delivered, at, 1) });
            }
        }
        let summary = tally.end(true);
        assert!(summary.is_partial);
        assert_eq!((summary.hosts.len(), summary.hosts[0].0.as_str()), (50, "host199.example:8080"));
        assert_eq!(summary.hosts[0].1.delivered, 200);
    }

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 50), Some(Duration::from_millis(50)));
        assert_eq!(quantile(&times, 95), Some(Duration::from_millis(95)));
        assert_eq!(quantile(&times[..1], 95), Some(Duration::from_millis(1)));
        assert_eq!(quantile(&[], 50), None);
    }
}
