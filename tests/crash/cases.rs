//! The tests of the short form: one for each point at which the gateway may die, some with random moments, and those of
//! this program's own parts.

use crate::campaign::{Campaign, End, Life, Upheaval};
use crate::history::Who;
use crate::{arguments, checker, farm};
use anyhow::Context;
use comfygate::crash::Point;
use std::time::Duration;

/// A test.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) run: Box<dyn Fn() -> anyhow::Result<()> + Send + Sync>,
}

/// Every test.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let own: [(&str, fn()); 6] = [
        (
            "arguments::what_cargo_test_hands_to_every_program_never_starts_the_long_form",
            arguments::tests::what_cargo_test_hands_to_every_program_never_starts_the_long_form,
        ),
        (
            "arguments::the_long_form_has_options_of_its_own_and_wrong_ones_are_refused",
            arguments::tests::the_long_form_has_options_of_its_own_and_wrong_ones_are_refused,
        ),
        (
            "checker::each_kind_of_violation_is_noticed_and_taken_for_nothing_else",
            checker::tests::each_kind_of_violation_is_noticed_and_taken_for_nothing_else,
        ),
        ("checker::what_a_death_explains_is_no_violation", checker::tests::what_a_death_explains_is_no_violation),
        (
            "farm::a_second_run_counts_where_the_first_could_be_reached",
            farm::tests::a_second_run_counts_where_the_first_could_be_reached,
        ),
        (
            "farm::what_was_possible_is_what_each_could_do_while_it_lived",
            farm::tests::what_was_possible_is_what_each_could_do_while_it_lived,
        ),
    ];
    for (name, test) in own {
        cases.push(case(name, move || {
            test();
            Ok(())
        }));
    }
    for point in Point::ALL {
        let name = format!("points::nothing_is_lost_when_the_gateway_dies_at_{}", point.as_str());
        cases.push(case(&name, move || at_point(point).run()?.verdict()));
    }
    cases.push(case("random::nothing_is_lost_when_the_gateway_is_killed_again_and_again", || {
        at_random(10, 150, Cast::GatewayOnly, Duration::from_millis(600))
    }));
    cases.push(case("random::nothing_is_lost_when_comfyui_and_the_receiver_die_too", || {
        at_random(6, 60, Cast::Everybody, Duration::from_millis(800))
    }));
    cases.push(case("farm::backends_that_die_freeze_and_lie_lose_no_job_and_run_none_twice", || {
        farm::run(300, false)?.verdict()
    }));
    cases
}

/// Says which tests there are, as the usual harness does.
pub(crate) fn list() {
    for case in all() {
        println!("{}: test", case.name);
    }
}

fn case(name: &str, run: impl Fn() -> anyhow::Result<()> + Send + Sync + 'static) -> Case {
    Case { name: name.to_owned(), run: Box::new(run) }
}

fn at_random(kills: usize, jobs: usize, cast: Cast, longest: Duration) -> anyhow::Result<()> {
    let mut chance = Chance::of_now();
    let campaign = random(&mut chance, kills, jobs, cast, longest);
    campaign.run().and_then(|report| report.verdict()).with_context(|| format!("with the seed {}", chance.seed))
}

/// Three lives that end at a point: at its first pass and at later ones, with others under way.
pub(crate) fn at_point(point: Point) -> Campaign {
    let numbers: [u64; 3] = match point {
        Point::Stepping => [1, 25, 60],
        Point::Writing | Point::Written => [1, 4, 15],
        // After the job's state, after its outputs, after its result.
        Point::Halfway | Point::Requeuing | Point::Requeued => [1, 2, 3],
        Point::Received
        | Point::Accepted
        | Point::Claimed
        | Point::Submitting
        | Point::Submitted
        | Point::Drafted
        | Point::Kept
        | Point::Ending
        | Point::Ended
        | Point::Leased
        | Point::Answered
        | Point::Recorded => [1, 2, 6],
    };
    let is_requeue = matches!(point, Point::Requeuing | Point::Requeued);
    // Around the submission each prompt must be executed at most once, so none may need a second run.
    let files_only = matches!(point, Point::Claimed | Point::Submitting | Point::Submitted);
    let life = |number| Life { end: End::At(point, number), others: Vec::new() };
    let lives = numbers.into_iter().map(life).collect();
    Campaign { lives, jobs: 30, files_only, loses: if is_requeue { 40 } else { 0 }, is_loud: false }
}

/// Who dies at random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cast {
    /// The gateway; every job's picture is a file, so that nothing excuses a second run.
    GatewayAndFiles,
    /// The gateway.
    GatewayOnly,
    /// The gateway, and ComfyUI and the receiver now and then.
    Everybody,
}

/// Lives that end at random moments up to `longest`, and some at random points.
pub(crate) fn random(chance: &mut Chance, kills: usize, jobs: usize, cast: Cast, longest: Duration) -> Campaign {
    let mut lives = Vec::new();
    for _ in 0..kills {
        let after = chance.moment(longest);
        let end = if chance.one_in(3) {
            let point = Point::ALL[chance.below(Point::ALL.len())];
            End::Perhaps(point, 1 + chance.below(20) as u64, longest)
        } else {
            End::Killed(after)
        };
        let mut others = Vec::new();
        for who in [Who::Comfyui, Who::Sink] {
            if cast == Cast::Everybody && chance.one_in(3) {
                others.push(Upheaval { who, at: chance.moment(longest), away: chance.moment(longest) });
            }
        }
        lives.push(Life { end, others });
    }
    Campaign { lives, jobs, files_only: cast == Cast::GatewayAndFiles, loses: 0, is_loud: false }
}

/// Numbers that follow from a seed.
pub(crate) struct Chance {
    pub(crate) seed: u64,
    state: u64,
}

impl Chance {
    pub(crate) fn of(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    pub(crate) fn of_now() -> Self {
        Self::of(rand::random())
    }

    fn next(&mut self) -> u64 {
        // A step by an odd number passes every state; the rest scatters its bits.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn moment(&mut self, longest: Duration) -> Duration {
        let part = f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        longest.mul_f64(part)
    }
}
