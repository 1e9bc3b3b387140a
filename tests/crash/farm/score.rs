//! What eight backends did, held against what they could have done. Pure: it is given what was written down.

use super::gpu::{Note, What};
use std::collections::BTreeMap;

/// A backend and its record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) name: &'static str,
    /// How many prompts it runs in a second when nothing is in its way, as it was measured before.
    pub(crate) rate: f64,
    /// What it wrote down.
    pub(crate) notes: Vec<Note>,
    /// When nobody could reach it, from and to, in milliseconds since 1970.
    pub(crate) away: Vec<(i64, i64)>,
}

/// One run of a job.
#[derive(Clone, Debug)]
struct Run {
    backend: usize,
    begun: i64,
    ended: Option<(i64, What)>,
}

impl Record {
    /// Returns how many seconds of a time it could be reached.
    pub(crate) fn lived(&self, from: i64, to: i64) -> f64 {
        let away: i64 = self.away.iter().map(|(start, end)| (*end.min(&to) - *start.max(&from)).max(0)).sum();
        seconds(to - from - away)
    }

    pub(crate) fn succeeded(&self) -> usize {
        self.notes.iter().filter(|note| note.what == What::Succeeded).count()
    }

    fn was_away(&self, from: i64, to: i64) -> bool {
        self.away.iter().any(|(start, end)| *start <= to && *end >= from)
    }
}

/// Returns how much was done of what the backends could have done while they lived: 1.0 is all.
pub(crate) fn throughput(records: &[Record], jobs: usize, from: i64, to: i64) -> f64 {
    let possible: f64 = records.iter().map(|record| record.lived(from, to) * record.rate).sum();
    f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)) / possible
}

/// Measures how many prompts a second there were from the first to the last of what is written down.
pub(crate) fn rate(notes: &[Note]) -> f64 {
    let first = notes.iter().map(|note| note.at).min().unwrap_or(0);
    let last = notes.iter().map(|note| note.at).max().unwrap_or(0);
    let count = notes.iter().filter(|note| note.what == What::Succeeded).count();
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds(last - first).max(0.001)
}

/// Names every job that was run twice although the backend of its first run could be reached: to its good end twice, or a second
/// time while the first still ran.
pub(crate) fn doubles(records: &[Record]) -> Vec<String> {
    let mut jobs: BTreeMap<u64, Vec<Run>> = BTreeMap::new();
    for (backend, record) in records.iter().enumerate() {
        let mut open: BTreeMap<&str, Run> = BTreeMap::new();
        for note in &record.notes {
            let Some(job) = note.job else { continue };
            if note.what == What::Begun {
                if let Some(cut_off) = open.insert(&note.prompt, Run { backend, begun: note.at, ended: None }) {
                    jobs.entry(job).or_default().push(cut_off);
                }
            } else if let Some(run) = open.remove(note.prompt.as_str()) {
                jobs.entry(job).or_default().push(Run { ended: Some((note.at, note.what)), ..run });
            }
        }
        for (prompt, run) in open {
            let of = record.notes.iter().find(|note| note.prompt == prompt).and_then(|note| note.job);
            jobs.entry(of.unwrap_or_default()).or_default().push(run);
        }
    }
    let mut found = Vec::new();
    for (job, runs) in &mut jobs {
        runs.sort_by_key(|run| run.begun);
        for (place, first) in runs.iter().enumerate() {
            for second in &runs[place + 1..] {
                if records[first.backend].was_away(first.begun, second.begun) {
                    continue;
                }
                let (one, other) = (records[first.backend].name, records[second.backend].name);
                let ended_well = |run: &Run| matches!(run.ended, Some((_, What::Succeeded)));
                if ended_well(first) && ended_well(second) {
                    found.push(format!("job {job} ran to its end on {one} and again on {other}"));
                } else if first.ended.is_none_or(|(at, _)| at > second.begun) {
                    found.push(format!("job {job} began on {other} while it still ran on {one}"));
                }
            }
        }
    }
    found
}

fn seconds(millis: i64) -> f64 {
    f64::from(i32::try_from(millis).unwrap_or(i32::MAX)) / 1000.0
}

/// The tests of this file.
pub(crate) mod tests {
    use super::{Note, Record, What, doubles, rate, throughput};

    pub(crate) fn a_second_run_counts_where_the_first_could_be_reached() {
        let ran = |prompt: &str, from: i64, to: i64, what: What| {
            let note = |at, what| Note { at, prompt: prompt.to_owned(), job: Some(7), what };
            vec![note(from, What::Begun), note(to, what)]
        };
        let found = |first: Vec<Note>, second: Vec<Note>, away: Vec<(i64, i64)>| {
            let one = Record { name: "a", notes: first, away, ..Record::default() };
            doubles(&[one, Record { name: "b", notes: second, ..Record::default() }])
        };
        let good = |prompt, from, to| ran(prompt, from, to, What::Succeeded);
        assert_eq!(found(good("1", 0, 5), good("2", 9, 12), vec![]), ["job 7 ran to its end on a and again on b"]);
        let overlap = found(ran("1", 0, 20, What::Failed), good("2", 9, 12), vec![]);
        assert_eq!(overlap, ["job 7 began on b while it still ran on a"]);
        assert!(found(good("1", 0, 5), good("2", 9, 12), vec![(3, 8)]).is_empty(), "nobody could have known");
        assert!(found(ran("1", 0, 5, What::Failed), good("2", 9, 12), vec![]).is_empty(), "the first had failed");
        assert_eq!(found(good("1", 0, 5), good("2", 9, 12), vec![(10, 11)]).len(), 1, "it was away too late");
    }

    pub(crate) fn what_was_possible_is_what_each_could_do_while_it_lived() {
        let note = |at, what| Note { at, prompt: "1".to_owned(), job: Some(1), what };
        let notes: Vec<Note> =
            (0..10).flat_map(|n| [note(n * 100, What::Begun), note(n * 100 + 100, What::Succeeded)]).collect();
        assert!((rate(&notes) - 10.0).abs() < 1e-9, "{}", rate(&notes));
        let whole = Record { name: "a", rate: 10.0, ..Record::default() };
        let half = Record { name: "b", rate: 10.0, away: vec![(5_000, 20_000)], ..Record::default() };
        assert!((throughput(&[whole, half], 135, 0, 10_000) - 0.9).abs() < 1e-9);
    }
}
