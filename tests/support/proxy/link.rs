//! What one connection through the proxy is told to do, and the places at which its rules strike.

use super::Shared;
use super::rule::{At, Effect, On, Rule, Way};
use super::wire::Request;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    orders: watch::Sender<Orders>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    request: Option<Request>,
    waiting: Vec<Waiting>,
    sent: usize,
    answered: usize,
    is_over: bool,
}

/// A rule whose place has not come.
#[derive(Debug)]
struct Waiting {
    rule: Rule,
    /// So many events go before it.
    events: usize,
}

/// How bytes go one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Course {
    pub(super) gate: Gate,
    pub(super) delay: Duration,
    /// Bytes in a second.
    pub(super) rate: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Gate {
    #[default]
    Open,
    Swallows,
    Frozen,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Courses {
    to_server: Course,
    to_client: Course,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub(super) now: Courses,
    /// What holds again when the next exchange begins.
    lasting: Courses,
    pub(super) end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Reset,
    Close,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { orders: watch::Sender::new(Orders::default()), state: Mutex::default() }
    }

    /// Does something at once; it lasts beyond the exchange.
    pub(super) fn strike(&self, effect: Effect) {
        self.order(effect, true);
    }

    /// Takes a rule about events, counted from now on.
    pub(super) fn take(&self, rule: Rule) {
        self.state.lock().unwrap().waiting.push(Waiting::new(rule));
    }

    /// Forgets every rule and lets everything pass again.
    pub(super) fn heal(&self) {
        self.state.lock().unwrap().waiting.clear();
        self.orders.send_modify(|orders| *orders = Orders { end: orders.end, ..Orders::default() });
    }

    /// Says whether it carries anything; one that was told to end is on its way out.
    pub(super) fn is_open(&self) -> bool {
        !self.state.lock().unwrap().is_over && self.orders.borrow().end.is_none()
    }

    /// Says whether what goes on here now is meant.
    pub(super) fn is_meant_by(&self, on: &On) -> bool {
        self.state.lock().unwrap().request.as_ref().map_or(*on == On::Any, |request| on.means(request))
    }

    pub(super) fn client_id(&self) -> Option<String> {
        let state = self.state.lock().unwrap();
        let request = state.request.as_ref().filter(|request| request.is_websocket)?;
        request.parameter("clientId").map(str::to_owned)
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.state.lock().unwrap().request.as_ref().is_some_and(|request| request.is_websocket)
    }

    pub(super) fn begin(&self, request: Request, rules: Vec<Rule>) {
        self.orders.send_modify(|orders| orders.now = orders.lasting);
        let mut state = self.state.lock().unwrap();
        let waiting = rules.into_iter().map(Waiting::new).collect();
        *state = State { request: Some(request), waiting, ..State::default() };
    }

    fn order(&self, effect: Effect, is_lasting: bool) {
        self.orders.send_modify(|orders| {
            let Orders { now, lasting, end } = orders;
            now.follow(effect);
            if is_lasting {
                lasting.follow(effect);
            }
            match effect {
                Effect::Reset => *end = Some(End::Reset),
                Effect::Close => *end = Some(End::Close),
                Effect::Swallow(_) | Effect::Freeze(_) | Effect::Delay(..) | Effect::Throttle(..) => {}
            }
        });
    }

    /// Does what is due before the next byte of a way; returns how many bytes may go before there is more to do.
    pub(super) fn before_next(&self, way: Way, shared: &Shared) -> usize {
        let mut free = usize::MAX;
        let mut due = Vec::new();
        let mut state = self.state.lock().unwrap();
        let gone = if way == Way::ToServer { state.sent } else { state.answered };
        state.waiting.retain(|waiting| match (waiting.rule.at, way) {
            (At::Request(place), Way::ToServer) | (At::Answer(place), Way::ToClient) => {
                if place > gone {
                    free = free.min(place - gone);
                    return true;
                }
                due.push(waiting.rule.effect);
                false
            }
            (At::Connect | At::Request(_) | At::Answer(_) | At::Event(_) | At::Message(_), _) => true,
        });
        drop(state);
        self.perform(due, shared);
        free
    }

    /// Does what is due before the next message of the server.
    pub(super) fn before_message(&self, is_status: bool, shared: &Shared) {
        let mut due = Vec::new();
        self.state.lock().unwrap().waiting.retain_mut(|waiting| {
            let counts = match waiting.rule.at {
                At::Event(_) => !is_status,
                At::Message(_) => true,
                At::Connect | At::Request(_) | At::Answer(_) => false,
            };
            if counts && waiting.events == 0 {
                due.push(waiting.rule.effect);
                return false;
            }
            waiting.events -= usize::from(counts);
            true
        });
        self.perform(due, shared);
        shared.note_message(is_status);
    }

    /// What it is told to do, and hears of every change.
    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    /// Lets what holds now hold beyond the exchange.
    pub(super) fn keep_course(&self) {
        self.orders.send_modify(|orders| orders.lasting = orders.now);
    }

    pub(super) fn end(&self) {
        self.state.lock().unwrap().is_over = true;
    }

    pub(super) fn perform(&self, due: Vec<Effect>, shared: &Shared) {
        for effect in due {
            self.order(effect, false);
            shared.note_strike();
        }
    }

    pub(super) fn note_gone(&self, way: Way, count: usize) {
        let mut state = self.state.lock().unwrap();
        let gone = if way == Way::ToServer { &mut state.sent } else { &mut state.answered };
        *gone += count;
    }
}

impl Waiting {
    fn new(rule: Rule) -> Self {
        let events = match rule.at {
            At::Event(number) | At::Message(number) => number,
            At::Connect | At::Request(_) | At::Answer(_) => 0,
        };
        Self { rule, events }
    }
}

impl Courses {
    pub(super) fn of(&self, way: Way) -> Course {
        if way == Way::ToServer { self.to_server } else { self.to_client }
    }

    fn follow(&mut self, effect: Effect) {
        for (course, own) in [(&mut self.to_server, Way::ToServer), (&mut self.to_client, Way::ToClient)] {
            match effect {
                Effect::Swallow(way) if way.includes(own) => course.gate = Gate::Swallows,
                Effect::Freeze(way) if way.includes(own) => course.gate = Gate::Frozen,
                Effect::Delay(way, delay) if way.includes(own) => course.delay = delay,
                Effect::Throttle(way, rate) if way.includes(own) => course.rate = Some(rate.max(1)),
                Effect::Reset
                | Effect::Close
                | Effect::Swallow(_)
                | Effect::Freeze(_)
                | Effect::Delay(..)
                | Effect::Throttle(..) => {}
            }
        }
    }
}
