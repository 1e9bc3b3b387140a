//! What it costs to decide which waiting job goes where: 64 backends, 10 000 waiting jobs of 40 tenants, 50 structures and 3 lanes,
//! of which each runs on most backends and takes another time on each. Without the store.

use crate::figures::{Row, percentile, rate};
use comfygate::clock::Timestamp;
use comfygate::dispatch::{Allowance, Knowledge, Room, Stand, decide};
use comfygate::job::{JobId, Placement, StructureHash};
use comfygate::pool::{Estimates, Reading};
use comfygate::store::{Arrivals, Waiting};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const BACKENDS: usize = 64;
const WAITING: u64 = 10_000;
const TENANTS: u64 = 40;
const GRAPHS: u64 = 50;
const LANES: i32 = 3;

/// How many rounds are timed of each kind.
const ROUNDS: u64 = 2000;

/// What one decision may cost.
const BUDGET: f64 = 50.0;

/// Backends that can run four of five structures each.
struct Known<'a> {
    estimates: Reading<'a>,
    names: Vec<String>,
}

impl Knowledge for Known<'_> {
    fn fits(&self, graph: &StructureHash, placement: &Placement, stand: usize) -> bool {
        let number = graph.as_str().bytes().map(usize::from).sum::<usize>();
        !placement.exclude.contains(&self.names[stand]) && !(number * 7 + stand).is_multiple_of(5)
    }

    fn run_time(&self, graph: &StructureHash, stand: usize, is_warm: bool) -> Option<f64> {
        Some(self.estimates.run_time(graph, &self.names[stand], is_warm)?.as_secs_f64())
    }

    fn anywhere(&self, graph: &StructureHash) -> Option<f64> {
        Some(self.estimates.anywhere(graph)?.as_secs_f64())
    }

    fn mean_of_all(&self) -> Option<f64> {
        Some(self.estimates.mean_of_all()?.as_secs_f64())
    }
}

pub(crate) fn measure() -> Row {
    crate::progress("choosing backends");
    let names: Vec<String> = (0..BACKENDS).map(|number| format!("gpu-{number}")).collect();
    let estimates = Estimates::default();
    for number in 0..GRAPHS {
        for (place, name) in (0..).zip(&names) {
            // A tenth has never run there.
            if !(number + place).is_multiple_of(10) {
                estimates.ran(&graph(number), name, Duration::from_secs(5 + (number * 3 + place * 7) % 40), at(0));
            }
        }
    }
    let known = Known { estimates: estimates.read(), names };
    let mut room = Room::default();
    let jobs = (0..WAITING).map(job).collect();
    room.admit(Arrivals { jobs, mark: 1, is_more: false }, at(0));
    let mut next = WAITING;
    let mut single = Vec::new();
    let mut together = Vec::new();
    for round in 0..ROUNDS {
        // Mostly one backend has become free, and now and then all of them are.
        let is_single = !round.is_multiple_of(20);
        let free = |place: u64| !is_single || place == round * 13 % BACKENDS as u64;
        let stands = (0..).zip(&known.names).map(|(place, name)| stand(name, place, round, free(place))).collect();
        let begun = Instant::now();
        let chosen = decide(&mut room, stands, &known, Allowance::default(), at(round));
        chosen.iter().for_each(|choice| room.let_go(choice));
        let micros = begun.elapsed().as_secs_f64() * 1_000_000.0;
        if is_single {
            single.push(micros);
        } else {
            together.push(1_000_000.0 / rate(chosen.len(), micros / 1_000_000.0));
        }
        let jobs = chosen.iter().map(|_| {
            next += 1;
            job(next)
        });
        room.admit(Arrivals { jobs: jobs.collect(), mark: 1, is_more: false }, at(round));
    }
    let mean = single.iter().sum::<f64>() / rate(single.len(), 1.0);
    let all = together.iter().sum::<f64>() / rate(together.len(), 1.0);
    let figure = format!(
        "{mean:.1} us where one backend is free (p99 {:.1} us), {all:.1} us each where all are",
        percentile(&single, 0.99)
    );
    Row {
        what: "deciding which of 10 000 waiting jobs goes to which of 64 backends, for each job that goes",
        bare: String::new(),
        gateway: figure,
        result: format!("{:.1} us", mean.max(all)),
        budget: "below 50 us",
        is_met: Some(mean.max(all) < BUDGET),
    }
}

fn stand(name: &str, place: u64, round: u64, is_free: bool) -> Stand {
    let seed = place * 31 + round * 17;
    Stand {
        name: name.to_owned(),
        is_open: true,
        is_doubtful: false,
        slots: 1,
        held: usize::from(!is_free) * 2,
        room: usize::from(is_free) * 2,
        room_for_images: usize::from(is_free),
        backlog: if is_free { 0.0 } else { Duration::from_secs(5 + seed % 60).as_secs_f64() },
        warm: Some(graph(seed % GRAPHS)),
        last_given: Some(at(seed % 100)),
    }
}

fn job(number: u64) -> Waiting {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Waiting {
        job: JobId::from_bytes(id),
        place: i64::try_from(number).unwrap_or(i64::MAX),
        tenant: format!("tenant-{}", number % TENANTS).parse().unwrap_or_default(),
        priority: i32::try_from(number / 7 % 3).unwrap_or_default() % LANES,
        structures: vec![graph(number / 3 % GRAPHS)],
        placement: Placement::default(),
        unfit: BTreeSet::new(),
        left: None,
        with_images: number.is_multiple_of(4),
    }
}

fn graph(number: u64) -> StructureHash {
    StructureHash(format!("{number:064x}"))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000) + Duration::from_secs(seconds)
}
