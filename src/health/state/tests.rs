//! What makes a backend silent, down and well again, and how often that is told.

use super::*;
use proptest::prelude::*;

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// A backend and its time in seconds.
struct Rig {
    state: State,
    socket: SocketState,
}

impl Rig {
    fn new() -> Self {
        Self { state: State::new(at(0)), socket: SocketState::default() }
    }

    fn up(&mut self, second: i64) -> Vec<Turn> {
        let connections = self.socket.connections + 1;
        self.socket = SocketState { stands: true, connections, tries: 0, reason: None };
        self.state.take(Finding::Socket(self.socket.clone()), at(second))
    }

    fn gone(&mut self, second: i64) -> Vec<Turn> {
        self.socket.tries = if self.socket.stands { 0 } else { self.socket.tries + 1 };
        self.socket.stands = false;
        self.socket.reason = Some("reset".to_owned());
        self.state.take(Finding::Socket(self.socket.clone()), at(second))
    }

    fn missed(&mut self, second: i64) -> Vec<Turn> {
        self.state.take(Finding::Missed { asked: at(second), reason: "refused".to_owned() }, at(second))
    }

    fn answered(&mut self, second: i64, queue_remaining: u64, ours: u64) -> Vec<Turn> {
        let took = Duration::ZERO;
        self.state.take(Finding::Answered { took, queue_remaining, ours, system: None }, at(second))
    }

    fn standing(&self) -> Standing {
        self.state.sight().standing
    }

    fn reason(&self) -> &str {
        self.state.sight().reason.as_deref().unwrap_or_default()
    }
}

fn lost(reason: &str) -> Turn {
    Turn::Lost(reason.to_owned())
}

#[test]
fn one_question_without_an_answer_is_silence_and_three_are_the_end() {
    let mut rig = Rig::new();
    assert_eq!(rig.up(0), [Turn::Back]);
    assert!(rig.answered(1, 0, 0).is_empty());
    assert!(rig.missed(31).is_empty() && rig.missed(41).is_empty());
    assert_eq!((rig.standing(), rig.state.sight().since), (Standing::Silent, at(31)));
    assert_eq!(rig.reason(), "2 of 3 questions had no answer: refused");
    let reason = "its socket stands, but 3 questions had no answer: refused";
    assert_eq!(rig.missed(51), [Turn::Unwell(reason.to_owned()), lost(reason)]);
    assert_eq!((rig.standing(), rig.state.sight().since), (Standing::Down, at(51)));
    assert!(rig.missed(61).is_empty(), "it is told once");
    assert_eq!(rig.answered(71, 0, 0), [Turn::Well, Turn::Back]);
    assert_eq!((rig.standing(), rig.state.sight().since), (Standing::Up, at(71)));
}

#[test]
fn answers_in_between_begin_the_count_anew() {
    let mut rig = Rig::new();
    rig.up(0);
    for round in 0..20 {
        assert!(rig.missed(100 + 10 * round).is_empty() && rig.missed(102 + 10 * round).is_empty());
        assert!(rig.answered(104 + 10 * round, 0, 0).is_empty());
    }
}

#[test]
fn a_backend_that_answers_and_has_no_socket_is_not_one_that_is_gone() {
    let mut rig = Rig::new();
    rig.up(0);
    rig.answered(1, 0, 0);
    assert_eq!(rig.gone(20), [lost("its socket is gone: reset")]);
    assert_eq!((rig.standing(), rig.state.sight().socket.link), (Standing::Silent, Link::Reconnecting));
    assert!(rig.answered(21, 0, 0).is_empty());
    assert_eq!(rig.reason(), "it answers, but it has no socket: reset");
    assert!(rig.gone(22).is_empty());
    assert_eq!((rig.standing(), rig.state.sight().socket.link), (Standing::Silent, Link::Disconnected));
    assert!(rig.missed(40).is_empty() && rig.missed(50).is_empty());
    let reason = "it has no socket, and 3 questions had no answer: refused";
    assert_eq!(rig.missed(60), [Turn::Unwell(reason.to_owned())], "that it is lost was told");
    assert_eq!(rig.up(90), [Turn::Well, Turn::Back], "a socket begins with an answer");
    assert_eq!(rig.standing(), Standing::Up);
}

#[test]
fn what_is_missed_right_after_a_reconnect_does_not_count() {
    let mut rig = Rig::new();
    rig.up(0);
    rig.answered(1, 0, 0);
    rig.gone(100);
    rig.up(105);
    for second in 105..115 {
        assert!(rig.missed(second).is_empty(), "{second}");
    }
    assert_eq!((rig.standing(), rig.state.sight().http.misses), (Standing::Up, 0));
    rig.missed(115);
    assert_eq!((rig.standing(), rig.state.sight().http.misses), (Standing::Silent, 1), "the grace is over");
    // A question of the grace whose time is over after it.
    let late = Finding::Missed { asked: at(114), reason: "no answer".to_owned() };
    rig.state.take(late, at(124));
    assert_eq!(rig.state.sight().http.misses, 1);
}

#[test]
fn a_backend_that_is_away_at_the_start_is_told_once_and_may_come_later() {
    let mut rig = Rig::new();
    assert!(rig.missed(0).is_empty() && rig.gone(1).is_empty() && rig.gone(2).is_empty());
    assert_eq!((rig.standing(), rig.state.sight().socket.link), (Standing::Connecting, Link::Disconnected));
    assert_eq!(rig.gone(4).len(), 1);
    for second in 5..500 {
        rig.gone(second);
        rig.missed(second);
    }
    assert_eq!((rig.standing(), rig.state.sight().socket.tries), (Standing::Down, 498));
    assert_eq!(rig.up(500), [Turn::Well, Turn::Back]);
}

#[test]
fn a_socket_that_was_lost_and_came_back_unseen_is_told_as_both() {
    let mut rig = Rig::new();
    rig.up(0);
    rig.socket = SocketState { stands: true, connections: 5, tries: 0, reason: None };
    let turns = rig.state.take(Finding::Socket(rig.socket.clone()), at(9));
    assert_eq!(turns, [lost("its socket is gone"), Turn::Back]);
}

#[test]
fn what_is_not_ours_in_its_queue_is_counted() {
    let mut rig = Rig::new();
    rig.up(0);
    rig.answered(1, 7, 2);
    assert_eq!((rig.state.sight().queue_remaining, rig.state.sight().foreign), (Some(7), Some(5)));
    rig.answered(2, 1, 2);
    assert_eq!(rig.state.sight().foreign, Some(0), "one of ours is on its way there");
    rig.missed(20);
    assert_eq!((rig.state.sight().queue_remaining, rig.state.sight().foreign), (None, None));
}

proptest! {
    #[test]
    fn whatever_happens_it_is_told_in_turns(steps in prop::collection::vec((0..4_u8, 1..20_i64), 0..200)) {
        let mut rig = Rig::new();
        let (mut now, mut reachable, mut well) = (0, None, true);
        for (step, wait) in steps {
            now += wait;
            let turns = match step {
                0 => rig.up(now),
                1 => rig.gone(now),
                2 => rig.missed(now),
                _ => rig.answered(now, 3, 1),
            };
            for turn in turns {
                match turn {
                    Turn::Back => { prop_assert_ne!(reachable, Some(true)); reachable = Some(true); }
                    Turn::Lost(_) => { prop_assert_ne!(reachable, Some(false)); reachable = Some(false); }
                    Turn::Unwell(_) => { prop_assert!(well); well = false; }
                    Turn::Well => { prop_assert!(!well); well = true; }
                }
            }
            let sight = rig.state.sight();
            prop_assert_eq!(well, sight.standing != Standing::Down);
            match sight.standing {
                Standing::Up => prop_assert!(sight.reason.is_none()),
                Standing::Silent | Standing::Down => prop_assert!(sight.reason.is_some()),
                Standing::Connecting => {}
            }
            if reachable == Some(true) {
                prop_assert!(sight.socket.link == Link::Connected && well);
            }
        }
    }
}
