//! Who goes where, in small worlds in which all is known.

use super::merit::{Knowledge, Stand};
use super::{Allowance, Choice, Room, decide};
use crate::clock::Timestamp;
use crate::job::{JobId, Placement, StructureHash};
use crate::store::{Arrivals, Waiting, Way};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::time::Duration;

#[test]
fn behind_ten_thousand_jobs_of_another_tenant_a_job_waits_for_one_of_them() {
    let mut jobs: Vec<Waiting> = (0..10_000).map(|number| of("mill", number, "x")).collect();
    jobs.extend((10_000..10_010).map(|number| of("shop", number, "x")));
    let mut scene = Scene::with(jobs);
    let order: Vec<u64> = (0..30).flat_map(|_| scene.numbers(vec![stand("a", 1)])).collect();
    let of_shop: Vec<usize> = (0..order.len()).filter(|place| order[*place] >= 10_000).collect();
    assert_eq!(of_shop.len(), 10);
    assert!(of_shop[0] <= 1 && of_shop.windows(2).all(|pair| pair[1] - pair[0] <= 2), "shop was at {of_shop:?}");
}

#[test]
fn one_who_comes_late_is_next_and_gets_nothing_for_the_time_before() {
    let mut scene = Scene::with((0..100).map(|number| of("mill", number, "x")));
    for _ in 0..20 {
        scene.numbers(vec![stand("a", 1)]);
    }
    scene.admit((100..110).map(|number| of("shop", number, "x")));
    assert_eq!(scene.numbers(vec![stand("a", 6)]), [100, 20, 101, 21, 102, 22]);
}

#[test]
fn a_priority_moves_a_job_before_those_of_its_own_tenant_only() {
    let jobs = [(1, "mill", 100), (2, "mill", 0), (3, "mill", 100), (4, "shop", -100), (5, "shop", 0)];
    let job = |(number, tenant, priority)| Waiting { priority, ..of(tenant, number, "x") };
    assert_eq!(Scene::with(jobs.map(job)).numbers(vec![stand("a", 5)]), [1, 5, 3, 4, 2]);
}

#[test]
fn a_tenant_with_as_many_on_backends_as_it_may_is_passed_over_and_the_others_go_on() {
    let mut scene = Scene::with((1..=6).flat_map(|number| [of("mill", number, "x"), of("shop", number + 10, "x")]));
    let running = HashMap::from([("mill".parse().unwrap(), 1)]);
    let allowance = Allowance { most: NonZeroUsize::new(2), running };
    let chosen = decide(&mut scene.room, vec![stand("a", 5), stand("b", 5)], &scene.world, allowance, at(0));
    assert_eq!(chosen.iter().map(number).collect::<Vec<_>>(), [1, 11, 12]);
}

#[test]
fn a_workflow_that_no_free_backend_can_run_holds_up_no_other() {
    let mut jobs: Vec<Waiting> = (0..10_000).map(|number| of("mill", number, "only-b")).collect();
    jobs.extend((0..10_000).map(|number| of("shop", 20_000 + number, "only-b")));
    jobs.push(of("mill", 50_000, "any"));
    let mut scene = Scene::with(jobs);
    scene.world.fits.insert(("only-b", 0), false);
    assert_eq!(scene.numbers(vec![stand("a", 5)]), [50_000]);
    assert_eq!(scene.numbers(vec![stand("a", 5), stand("b", 2)]), [20_000, 0]);
}

#[test]
fn what_a_backend_has_refused_never_goes_there_and_those_behind_it_do() {
    let refused = |number| Waiting { unfit: BTreeSet::from([Way::first("a")]), ..of("mill", number, "x") };
    let mut scene = Scene::with((0..30).map(refused).chain((30..34).map(|number| of("mill", number, "x"))));
    assert_eq!(scene.numbers(vec![stand("a", 9)]), [30, 31, 32, 33]);
    assert_eq!(scene.numbers(vec![stand("a", 9), stand("b", 2)]), [0, 1]);
}

#[test]
fn a_job_that_a_backend_lost_is_left_to_the_others_as_long_as_one_may_take_it() {
    let lost = Waiting { left: Some("a".into()), ..of("mill", 1, "x") };
    let full = |name| Stand { room: 0, held: 1, backlog: 5.0, ..stand(name, 1) };
    let doubtful = || Stand { is_doubtful: true, ..stand("a", 1) };
    let goes_to = |job: &Waiting, stands: Vec<Stand>| {
        let chosen = Scene::with([job.clone()]).decide(stands);
        chosen.first().map(|choice| choice.stand)
    };
    assert_eq!(goes_to(&lost, vec![stand("a", 1), stand("b", 1)]), Some(1));
    assert_eq!(goes_to(&lost, vec![stand("a", 1), full("b")]), Some(0), "b has no room now");
    assert_eq!(goes_to(&lost, vec![doubtful(), full("b")]), None, "as long as a is in doubt it waits for b");
    let gone = Stand { is_open: false, ..full("b") };
    assert_eq!(goes_to(&lost, vec![doubtful(), gone]), Some(0));
    let mut waits = Scene::with([lost.clone()]);
    assert_eq!(waits.decide(vec![doubtful(), full("b")]), []);
    waits.now = at(31);
    assert_eq!(waits.decide(vec![doubtful(), full("b")]).first().map(|choice| choice.stand), Some(0), "not for ever");
    // One that cannot run it is no other one.
    let refused = Waiting { unfit: BTreeSet::from([Way::first("b")]), ..lost };
    assert_eq!(goes_to(&refused, vec![doubtful(), stand("b", 1)]), Some(0));
}

#[test]
fn jobs_with_images_wait_where_there_is_no_place_for_such_and_others_pass_them() {
    let job = |number: u64| Waiting { with_images: !number.is_multiple_of(10), ..of("mill", number, "x") };
    let mut scene = Scene::with((1..=40).map(job));
    let with_room = |room_for_images| Stand { room_for_images, ..stand("a", 3) };
    assert_eq!(scene.numbers(vec![with_room(1)]), [1, 10, 20]);
    assert_eq!(scene.numbers(vec![with_room(0)]), [30, 40]);
    assert_eq!(scene.numbers(vec![with_room(3)]), [2, 3, 4]);
}

#[test]
fn a_job_goes_where_it_should_end_first() {
    let scene = |count| {
        let mut scene = Scene::with((0..count).map(|number| of("mill", number, "x")));
        scene.world.times([("x", 0, 40.0), ("x", 1, 10.0)]);
        scene
    };
    assert_eq!(scene(2).stands(vec![stand("slow", 1), stand("fast", 1)]), [1], "the other waits for the fast one");
    let deep = |name| Stand { slots: 4, ..stand(name, 4) };
    assert_eq!(scene(4).stands(vec![deep("slow"), deep("fast")]), [1, 1, 1, 1]);
}

#[test]
fn a_slow_backend_does_not_idle_while_more_wait_than_the_fast_one_can_take_in_that_time() {
    let stands = || vec![stand("slow", 1), Stand { room: 0, held: 1, backlog: 9.0, ..stand("fast", 1) }];
    for (count, expected) in [(1, 0), (2, 0), (30, 1)] {
        let mut scene = Scene::with((0..count).map(|number| of("mill", number, "x")));
        scene.world.times([("x", 0, 40.0), ("x", 1, 10.0)]);
        assert_eq!(scene.stands(stands()).len(), expected, "{count} wait");
    }
}

#[test]
fn nobody_is_left_waiting_for_a_better_backend_for_ever() {
    let mut scene = Scene::with([of("mill", 1, "x")]);
    scene.world.times([("x", 0, 400.0), ("x", 1, 10.0)]);
    let stands = || vec![stand("slow", 1), Stand { room: 0, held: 1, backlog: 9.0, ..stand("fast", 1) }];
    for seconds in 0..30 {
        scene.now = at(seconds);
        assert!(scene.decide(stands()).is_empty(), "after {seconds} s");
    }
    scene.now = at(30);
    assert_eq!(scene.stands(stands()), [0]);
}

#[test]
fn workflows_that_alternate_settle_each_on_its_own_backend() {
    let jobs: Vec<Waiting> =
        (0..40).map(|number| of("mill", number, if number % 2 == 0 { "x" } else { "y" })).collect();
    let mut scene = Scene::with(jobs);
    for graph in ["x", "y"] {
        scene.world.times([(graph, 0, 10.0), (graph, 1, 10.0)]);
    }
    // Each time one of both has ended, now the first, now the second twice in a row.
    let mut warm = [None, None];
    let mut ran = [Vec::new(), Vec::new()];
    for (turn, free) in [0, 1, 1, 0, 0, 1].into_iter().cycle().take(30).enumerate() {
        let busy = Stand { room: 0, held: 1, backlog: 4.0, warm: warm[1 - free].clone(), ..stand("", 1) };
        let ready = Stand { warm: warm[free].clone(), ..stand("", 1) };
        let mut stands = vec![busy, ready];
        if free == 0 {
            stands.swap(0, 1);
        }
        if turn == 0 {
            stands = vec![stand("", 1), stand("", 1)];
        }
        scene.now = at(5 * u64::try_from(turn).unwrap());
        for choice in scene.decide(stands) {
            let graph = StructureHash(graph_of(&choice));
            ran[choice.stand].push(graph.clone());
            warm[choice.stand] = Some(graph);
        }
    }
    for ran in ran {
        let changes = ran.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(ran.len() > 10 && changes <= 1, "{ran:?}");
    }
}

#[test]
fn preferred_backends_are_taken_first_and_waited_for_a_while() {
    let prefer = |name: &str| Placement { prefer: BTreeSet::from([name.to_owned()]), ..Placement::default() };
    let job = || Waiting { placement: prefer("b"), ..of("mill", 1, "x") };
    let busy = |is_open| Stand { is_open, room: 0, held: 1, backlog: 900.0, ..stand("b", 1) };
    // Though it would end there later.
    let loaded = Stand { held: 1, backlog: 100.0, ..stand("b", 1) };
    assert_eq!(Scene::with([job()]).stands(vec![stand("a", 1), loaded]), [1]);
    assert_eq!(
        Scene::with([job()]).stands(vec![stand("a", 1), busy(false)]),
        [0],
        "one that is away is not waited for"
    );
    let mut scene = Scene::with([job()]);
    assert!(scene.stands(vec![stand("a", 1), busy(true)]).is_empty());
    scene.now = at(29);
    assert!(scene.stands(vec![stand("a", 1), busy(true)]).is_empty());
    scene.now = at(30);
    assert_eq!(scene.stands(vec![stand("a", 1), busy(true)]), [0]);
}

#[test]
fn places_beyond_the_slots_are_filled_when_no_slot_is_free() {
    let with_ahead = |name, held, room| Stand { held, backlog: 1.0, ..stand(name, room) };
    let mut scene = Scene::with((0..4).map(|number| of("mill", number, "x")));
    // b has a free slot, though it would end there later.
    scene.world.times([("x", 0, 10.0), ("x", 1, 12.0)]);
    assert_eq!(scene.stands(vec![with_ahead("a", 1, 1), stand("b", 2)]), [1, 0, 1]);
}

#[test]
fn of_equal_backends_the_warm_one_is_taken_then_the_one_that_has_least_then_the_one_long_unused() {
    let given = |name, at| Stand { last_given: Some(at), ..stand(name, 1) };
    let goes_to = |stands| Scene::with([of("mill", 1, "x")]).stands(stands)[0];
    assert_eq!(goes_to(vec![given("a", at(9)), given("b", at(5)), given("c", at(7))]), 1);
    assert_eq!(goes_to(vec![given("a", at(9)), stand("b", 1)]), 1);
    let warm = Stand { warm: Some(StructureHash("x".into())), ..given("b", at(9)) };
    assert_eq!(goes_to(vec![given("a", at(5)), warm]), 1);
    let half = |name, held| Stand { slots: 2, held, ..stand(name, 1) };
    assert_eq!(goes_to(vec![half("a", 1), half("b", 0)]), 1);
}

#[test]
fn a_backend_whose_models_are_loaded_is_quicker_and_where_it_hardly_is_it_is_taken_all_the_same() {
    let warm = || Stand { warm: Some(StructureHash("x".into())), last_given: Some(at(9)), ..stand("a", 1) };
    let mut scene = Scene::with([of("mill", 1, "x"), of("mill", 2, "x")]);
    scene.world.times([("x", 0, 10.0), ("x", 1, 9.0)]);
    assert_eq!(scene.stands(vec![warm(), stand("b", 1)])[0], 0, "b would have to load first");
    let mut scene = Scene::with([of("mill", 1, "x")]);
    scene.world.times([("x", 0, 10.0), ("x", 1, 10.0)]);
    scene.world.cold = Some(10.1);
    assert_eq!(scene.stands(vec![warm(), stand("b", 1)]), [0]);
}

#[test]
fn what_is_not_known_is_taken_from_elsewhere() {
    // On b it never ran; it takes 8 s elsewhere, and more there with its models to be loaded.
    let mut scene = Scene::with([of("mill", 1, "x"), of("mill", 2, "new")]);
    scene.world.times([("x", 0, 8.0)]);
    scene.world.mean = Some(6.0);
    let busy = Stand { room: 0, held: 1, backlog: 900.0, ..stand("a", 1) };
    let chosen = scene.decide(vec![busy, Stand { slots: 2, ..stand("b", 2) }]);
    assert_eq!(chosen.iter().map(|choice| choice.seconds).collect::<Vec<_>>(), [12.0, 9.0]);
}

#[test]
fn of_the_variants_the_one_that_fits_and_ends_first_is_taken() {
    let structures = ["large", "small", "tiny"].map(|name| StructureHash(name.to_owned())).to_vec();
    let mut scene = Scene::with([Waiting { structures, ..of("mill", 1, "x") }]);
    scene.world.fits.insert(("tiny", 0), false);
    scene.world.times([("large", 0, 20.0), ("small", 0, 5.0), ("tiny", 0, 1.0)]);
    assert_eq!(scene.decide(vec![stand("a", 1)])[0].variant, 1);
}

#[test]
fn a_turn_that_was_spent_on_a_job_that_is_gone_is_given_back() {
    let mut scene = Scene::with((0..5).map(|number| of("mill", number, "x")));
    scene.admit((10..15).map(|number| of("shop", number, "x")));
    let gone = scene.decide(vec![stand("a", 1)]).remove(0);
    scene.room.let_go(&gone);
    scene.room.owed.push_back(gone.taken.spot.tenant);
    assert_eq!(scene.numbers(vec![stand("a", 2)]), [1, 10]);
}

#[test]
fn what_could_not_be_claimed_stands_where_it_stood() {
    let mut scene = Scene::with((0..5).map(|number| of("mill", number, "x")));
    let before = scene.room.turns.clone();
    let chosen = scene.decide(vec![stand("a", 3)]);
    assert_eq!(scene.room.len(), 2);
    scene.room.turns = before;
    for choice in chosen {
        scene.room.put_back(choice.taken);
    }
    assert_eq!(scene.numbers(vec![stand("a", 9)]), [0, 1, 2, 3, 4]);
    assert!(scene.room.is_empty());
}

#[test]
fn who_is_gone_leaves_no_trace() {
    let mut scene = Scene::with((0..6).map(|number| of("mill", number, if number < 3 { "x" } else { "y" })));
    let first = of("mill", 0, "x").job;
    assert!(scene.room.remove(first) && !scene.room.remove(first));
    scene.room.keep(&HashSet::from([1, 4].map(|number| of("mill", number, "x").job)));
    assert_eq!((scene.room.len(), scene.room.classes().map(|(_, count)| count).sum::<usize>()), (2, 2));
    assert_eq!(scene.numbers(vec![stand("a", 9)]), [1, 4]);
    assert!(scene.room.queues().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decided_is_allowed_and_all_that_can_go_goes(town in town()) {
        let (jobs, stands, world) = (town.jobs(), town.stands(), town.world());
        let mut room = Room::default();
        room.admit(Arrivals { jobs: jobs.clone(), ..Arrivals::default() }, at(0));
        let chosen = decide(&mut room, stands.clone(), &world, Allowance::default(), at(0));
        let can = |job: &Waiting, place: usize| {
            !job.unfit.contains(&Way::first(&stands[place].name)) && world.can(job.structures[0].as_str(), place)
        };
        let by_id: BTreeMap<JobId, &Waiting> = jobs.iter().map(|job| (job.job, job)).collect();
        let mut given = vec![(0, 0); stands.len()];
        for choice in &chosen {
            let job = by_id[&choice.taken.waiter.job];
            given[choice.stand].0 += 1;
            given[choice.stand].1 += usize::from(job.with_images);
            prop_assert!(stands[choice.stand].is_open && can(job, choice.stand), "{job:?} to {}", choice.stand);
        }
        for (stand, (all, with_images)) in stands.iter().zip(&given) {
            prop_assert!(*all <= stand.room && *with_images <= stand.room_for_images, "{stand:?} got {all}");
        }
        let ids: BTreeSet<JobId> = chosen.iter().map(|choice| choice.taken.waiter.job).collect();
        prop_assert_eq!(ids.len(), chosen.len(), "a job was given twice");
        prop_assert_eq!(room.len() + ids.len(), jobs.len());
        let heads: Vec<_> = room.queues().iter().flat_map(|(tenant, queue)| {
            queue.heads().map(|(priority, class, head)| (tenant.clone(), priority, class, *head)).collect::<Vec<_>>()
        }).collect();
        for (tenant, priority, class, head) in heads {
            if head.passed_since.is_some() {
                continue;
            }
            let job = by_id[&head.job];
            for place in 0..stands.len() {
                let (all, with_images) = given[place];
                let is_free = all < stands[place].room && (!job.with_images || with_images < stands[place].room_for_images);
                prop_assert!(!is_free || !can(job, place), "{job:?} could go to {place}");
            }
            // Whoever of its tenant went instead took no place that it could have had, unless those before it were passed then.
            let of_class = |choice: &Choice| choice.taken.spot.tenant == tenant && choice.taken.spot.class == class;
            let until = chosen.iter().rposition(of_class).unwrap_or(0);
            for choice in chosen.iter().skip(until).filter(|choice| choice.taken.spot.tenant == tenant) {
                let is_before = (-priority, head.place) < (-choice.taken.spot.priority, choice.taken.waiter.place);
                let took_its_place = is_before && can(job, choice.stand) && !job.with_images;
                prop_assert!(!took_its_place, "{:?} went before {job:?}", choice.taken);
            }
        }
    }

    #[test]
    fn a_tenant_with_one_job_waits_for_one_job_of_each_other_at_most(
        counts in prop::collection::vec(1..30_u64, 1..8), before in 0..40_usize, rooms in prop::collection::vec(1..4_usize, 1..4),
    ) {
        let names: Vec<String> = (0..counts.len()).map(|number| format!("tenant{number}")).collect();
        let many = names.iter().zip(&counts).enumerate().flat_map(|(place, (name, count))| {
            (0..*count).map(move |number| of(name, 100 * u64::try_from(place).unwrap() + number, "x"))
        });
        let mut scene = Scene::with(many);
        for _ in 0..before.min(scene.room.len().saturating_sub(1)) {
            scene.decide(vec![stand("a", 1)]);
        }
        let others = scene.room.queues().len();
        scene.admit([of("z-late", 9999, "x")]);
        let mut gone = 0;
        loop {
            let stands = rooms.iter().map(|room| stand("a", *room)).collect();
            let numbers = scene.numbers(stands);
            prop_assert!(!numbers.is_empty(), "nobody went");
            if let Some(place) = numbers.iter().position(|number| *number == 9999) {
                prop_assert!(gone + place <= others, "{} went before, of {others}", gone + place);
                break;
            }
            gone += numbers.len();
        }
    }
}

/// Jobs that wait, and what is known.
struct Scene {
    room: Room,
    world: World,
    now: Timestamp,
}

impl Scene {
    fn with(jobs: impl IntoIterator<Item = Waiting>) -> Self {
        let mut scene = Self { room: Room::default(), world: World::default(), now: at(0) };
        scene.admit(jobs);
        scene
    }

    fn admit(&mut self, jobs: impl IntoIterator<Item = Waiting>) {
        let jobs = jobs.into_iter().collect();
        self.room.admit(Arrivals { jobs, mark: 1, is_more: false }, self.now);
    }

    fn decide(&mut self, stands: Vec<Stand>) -> Vec<Choice> {
        decide(&mut self.room, stands, &self.world, Allowance::default(), self.now)
    }

    fn numbers(&mut self, stands: Vec<Stand>) -> Vec<u64> {
        self.decide(stands).iter().map(number).collect()
    }

    fn stands(&mut self, stands: Vec<Stand>) -> Vec<usize> {
        self.decide(stands).iter().map(|choice| choice.stand).collect()
    }
}

/// What is known of graphs; those of which nothing is said fit.
#[derive(Debug, Default)]
struct World {
    fits: HashMap<(&'static str, usize), bool>,
    times: HashMap<(String, usize), f64>,
    mean: Option<f64>,
    /// How long every run takes that loads its models, where that is known.
    cold: Option<f64>,
}

impl World {
    fn times(&mut self, times: impl IntoIterator<Item = (&'static str, usize, f64)>) {
        self.times.extend(times.into_iter().map(|(graph, stand, seconds)| ((graph.to_owned(), stand), seconds)));
    }

    fn can(&self, graph: &str, stand: usize) -> bool {
        let known = self.fits.iter().find(|((name, place), _)| *name == graph && *place == stand);
        known.is_none_or(|(_, fits)| *fits)
    }
}

impl Knowledge for World {
    fn fits(&self, graph: &StructureHash, _: &Placement, stand: usize) -> bool {
        self.can(graph.as_str(), stand)
    }

    fn run_time(&self, graph: &StructureHash, stand: usize, is_warm: bool) -> Option<f64> {
        self.cold.filter(|_| !is_warm).or_else(|| self.times.get(&(graph.as_str().to_owned(), stand)).copied())
    }

    fn anywhere(&self, graph: &StructureHash) -> Option<f64> {
        let known: Vec<f64> =
            self.times.iter().filter(|((name, _), _)| name == graph.as_str()).map(|(_, seconds)| *seconds).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / f64::from(u32::try_from(known.len()).unwrap()))
    }

    fn mean_of_all(&self) -> Option<f64> {
        self.mean
    }
}

/// A random world.
#[derive(Clone, Debug)]
struct Town {
    jobs: Vec<(u8, i32, usize, bool, Option<u8>)>,
    stands: Vec<(bool, usize, usize, usize, usize, Option<usize>)>,
    fits: Vec<bool>,
    times: Vec<Option<u16>>,
}

const GRAPHS: [&str; 4] = ["w", "x", "y", "z"];
const STANDS: usize = 4;

/// A stand by chance: whether it is open, slots, held, room, room for images, and which graph is warm there.
type Drawn = (bool, usize, usize, usize, usize, Option<usize>);

impl Town {
    fn jobs(&self) -> Vec<Waiting> {
        let job =
            |(number, (tenant, priority, graph, with_images, unfit)): (usize, &(u8, i32, usize, bool, Option<u8>))| {
                let unfit = unfit.iter().map(|place| Way::first(&format!("stand{place}"))).collect();
                let job = of(&format!("tenant{tenant}"), u64::try_from(number).unwrap(), GRAPHS[*graph]);
                Waiting { priority: *priority, with_images: *with_images, unfit, ..job }
            };
        self.jobs.iter().enumerate().map(job).collect()
    }

    fn stands(&self) -> Vec<Stand> {
        let stand = |(place, (is_open, slots, held, room, images, warm)): (usize, &Drawn)| Stand {
            name: format!("stand{place}"),
            is_open: *is_open,
            slots: *slots,
            held: *held,
            room: if *is_open { *room } else { 0 },
            room_for_images: *images,
            backlog: f64::from(u32::try_from(*held).unwrap()) * 3.0,
            warm: warm.map(|graph| StructureHash(GRAPHS[graph].to_owned())),
            ..stand("", 0)
        };
        self.stands.iter().enumerate().map(stand).collect()
    }

    fn world(&self) -> World {
        let pairs = || GRAPHS.iter().flat_map(|graph| (0..STANDS).map(move |stand| (*graph, stand)));
        let fits = pairs().zip(self.fits.iter().copied()).collect();
        let times = pairs().zip(&self.times);
        let times = times.filter_map(|((graph, stand), time)| Some(((graph.to_owned(), stand), f64::from((*time)?))));
        World { fits, times: times.collect(), ..World::default() }
    }
}

fn town() -> impl Strategy<Value = Town> {
    let job = (0..4_u8, -1..2_i32, 0..GRAPHS.len(), prop::bool::weighted(0.2), prop::option::weighted(0.2, 0..4_u8));
    let warm = prop::option::of(0..GRAPHS.len());
    let stand = (prop::bool::weighted(0.9), 1..3_usize, 0..3_usize, 0..4_usize, 0..3_usize, warm);
    let all = GRAPHS.len() * STANDS;
    (
        prop::collection::vec(job, 0..40),
        prop::collection::vec(stand, STANDS),
        prop::collection::vec(prop::bool::weighted(0.7), all),
        prop::collection::vec(prop::option::of(1..60_u16), all),
    )
        .prop_map(|(jobs, stands, fits, times)| Town { jobs, stands, fits, times })
}

fn of(tenant: &str, number: u64, graph: &str) -> Waiting {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Waiting {
        job: JobId::from_bytes(bytes),
        place: i64::try_from(number).unwrap(),
        tenant: tenant.parse().unwrap(),
        priority: 0,
        structures: vec![StructureHash(graph.to_owned())],
        placement: Placement::default(),
        unfit: BTreeSet::new(),
        left: None,
        with_images: false,
    }
}

/// A backend that has so much room and nothing to do.
fn stand(name: &str, room: usize) -> Stand {
    Stand {
        name: name.to_owned(),
        is_open: true,
        is_doubtful: false,
        slots: 1,
        held: 0,
        room,
        room_for_images: room,
        backlog: 0.0,
        warm: None,
        last_given: None,
    }
}

fn number(choice: &Choice) -> u64 {
    u64::try_from(choice.taken.waiter.place).unwrap()
}

fn graph_of(choice: &Choice) -> String {
    if number(choice).is_multiple_of(2) { "x".to_owned() } else { "y".to_owned() }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000) + Duration::from_secs(seconds)
}
