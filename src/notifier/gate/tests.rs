//! A gate before a host, answer by answer.

use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const FAILED: Answer = Answer::Failed(Trouble::Connect);

#[test]
fn ten_failures_in_a_row_close_the_gate_and_nine_do_not() {
    let mut gate = Gate::new(4);
    for _ in 0..9 {
        assert_eq!(answer(&mut gate, &FAILED, NOW), None);
    }
    assert_eq!(answer(&mut gate, &status(404), NOW), None);
    for _ in 0..9 {
        assert_eq!(answer(&mut gate, &FAILED, NOW), None);
    }
    assert!(gate.is_open(0, NOW));
    assert_eq!(answer(&mut gate, &FAILED, NOW), Some(Change::WentDown(NOW + FIRST_WAIT)));
    assert!(!gate.is_open(0, NOW + Duration::from_millis(29_999)));
    assert!(gate.is_open(0, NOW + FIRST_WAIT));
}

#[test]
fn of_a_host_that_is_down_there_is_one_probe_at_a_time_and_each_wait_is_twice_the_last() {
    let mut gate = down();
    let mut now = NOW;
    for wait in [30, 60, 120, 240, 480, 600, 600] {
        let wait = Duration::from_secs(wait);
        assert_eq!(gate.opens_at(now), Some(now + wait));
        assert!(!gate.is_open(0, now + wait.saturating_sub(Duration::from_millis(1))), "{wait:?}");
        now = now + wait;
        assert!(gate.is_open(3, now), "what began before does not hold up the probe");
        assert!(gate.begin());
        assert!(!gate.is_open(0, now + Duration::from_hours(1)), "a second probe");
        assert_eq!(gate.opens_at(now), None);
        assert_eq!(gate.end(true, Sign::of(&FAILED), now), None);
    }
}

#[test]
fn one_good_answer_opens_the_gate_a_little_and_more_of_them_wholly() {
    let mut gate = down();
    assert!(gate.begin());
    assert_eq!(gate.end(true, Sign::of(&status(200)), NOW), Some(Change::CameBack));
    assert!(gate.is_open(1, NOW) && !gate.is_open(2, NOW));
    for _ in 0..2 {
        answer(&mut gate, &status(204), NOW);
    }
    assert!(gate.is_open(3, NOW) && !gate.is_open(4, NOW));
    assert!(gate.is_as_new(NOW));
}

#[test]
fn what_began_before_the_host_went_down_closes_nothing_but_may_open() {
    let mut gate = down();
    let before = gate.clone();
    gate.end(false, Sign::of(&FAILED), NOW + Duration::from_secs(5));
    assert_eq!(gate.opens_at(NOW), before.opens_at(NOW));
    assert_eq!(gate.end(false, Sign::of(&status(200)), NOW), Some(Change::CameBack));
}

#[test]
fn a_probe_that_we_failed_ourselves_is_no_answer() {
    let mut gate = down();
    let later = NOW + FIRST_WAIT;
    assert!(gate.begin());
    assert_eq!(gate.end(true, Sign::of(&Answer::Failed(Trouble::BodyUnreadable)), later), None);
    assert!(gate.is_down() && gate.is_open(0, later));
}

#[test]
fn who_is_overloaded_gets_half_and_earns_each_place_back() {
    for slow in [status(502), status(504), status(429), Answer::Failed(Trouble::Timeout)] {
        let mut gate = Gate::new(8);
        for places in [4, 2, 1, 1] {
            answer(&mut gate, &slow, NOW);
            assert!(gate.is_open(places - 1, NOW) && !gate.is_open(places, NOW), "{slow:?}");
        }
        for places in [2, 3, 4] {
            answer(&mut gate, &status(200), NOW);
            assert!(gate.is_open(places - 1, NOW) && !gate.is_open(places, NOW), "{slow:?}");
        }
    }
}

#[test]
fn what_one_request_is_answered_says_nothing_of_the_others() {
    for fine in [status(200), status(302), status(400), status(401), status(404), status(410), status(429)] {
        let mut gate = Gate::new(4);
        for _ in 0..100 {
            answer(&mut gate, &fine, NOW);
        }
        assert!(!gate.is_down(), "{fine:?}");
    }
    for own in [Trouble::InvalidUrl, Trouble::BlockedAddress, Trouble::Internal, Trouble::BodyUnreadable] {
        let mut gate = Gate::new(4);
        for _ in 0..100 {
            answer(&mut gate, &Answer::Failed(own), NOW);
        }
        assert!(gate.is_as_new(NOW), "{own:?}");
    }
    let troubles = [Trouble::Dns, Trouble::Connect, Trouble::Tls, Trouble::ConnectionLost, Trouble::BadResponse];
    let failures = troubles.map(Answer::Failed).into_iter().chain([500, 501, 503, 599, 199, 700].map(status));
    for failure in failures {
        let mut gate = Gate::new(4);
        for _ in 0..10 {
            answer(&mut gate, &failure, NOW);
        }
        assert!(gate.is_down(), "{failure:?}");
    }
}

proptest! {
    #[test]
    fn a_gate_that_is_shut_always_opens_again(
        steps in prop::collection::vec((0..6_usize, 0..900_u64), 0..80),
    ) {
        let answers = [status(200), status(404), status(504), FAILED, Answer::Failed(Trouble::Internal), status(429)];
        let (mut gate, mut now, mut under_way) = (Gate::new(4), NOW, Vec::new());
        for (choice, seconds) in steps {
            now = now + Duration::from_secs(seconds);
            if gate.is_open(under_way.len(), now) {
                under_way.push(gate.begin());
            } else if let Some(is_probe) = under_way.pop() {
                gate.end(is_probe, Sign::of(&answers[choice]), now);
            }
            prop_assert!(under_way.len() <= 5);
            prop_assert!(under_way.iter().filter(|is_probe| **is_probe).count() <= 1);
        }
        for is_probe in under_way {
            gate.end(is_probe, Sign::of(&FAILED), now);
        }
        prop_assert!(gate.is_open(0, now + LONGEST_WAIT));
    }
}

fn down() -> Gate {
    let mut gate = Gate::new(4);
    for _ in 0..10 {
        answer(&mut gate, &FAILED, NOW);
    }
    assert!(gate.is_down());
    gate
}

fn answer(gate: &mut Gate, answer: &Answer, now: Timestamp) -> Option<Change> {
    let is_probe = gate.begin();
    gate.end(is_probe, Sign::of(answer), now)
}

fn status(status: u16) -> Answer {
    Answer::Status { status, retry_after: None }
}
