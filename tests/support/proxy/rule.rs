//! What shall go wrong, where and when: the vocabulary of the proxy, and which rule an exchange takes with it.

use super::wire::Request;
use std::time::Duration;

/// What a rule is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum On {
    /// Every connection.
    Any,
    /// Every exchange that is not a WebSocket.
    Http,
    /// Every WebSocket.
    WebSocket,
    /// Every exchange whose method and path begin so, such as `POST /prompt` or `GET /view`.
    Call(&'static str),
}

/// The place at which it happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    /// As soon as the connection is accepted, before anything is read. Only for [`On::Any`].
    Connect,
    /// When so many bytes of the request have gone to the server; 0: nothing gets through.
    Request(usize),
    /// When so many bytes of the answer have gone to the client; 0: the server has answered, and nobody hears of it.
    Answer(usize),
    /// Before this message of the server, from 0; for an open WebSocket counted from when the rule was armed. Messages
    /// of the type `status` are not counted, as ComfyUI sends them to everybody at any time.
    Event(usize),
    /// The same, and every message is counted.
    Message(usize),
}

/// The way that bytes take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    ToServer,
    ToClient,
    Both,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Both ends get a TCP reset.
    Reset,
    /// Both ends get an orderly end of the connection.
    Close,
    /// The connection stays, and what is sent goes nowhere; not even the end of the connection is passed on.
    Swallow(Way),
    /// Nothing is read any more: whoever sends is held up, and what was sent arrives when the proxy is healed.
    Freeze(Way),
    /// Everything arrives this much later.
    Delay(Way, Duration),
    /// Only so many bytes in a second pass.
    Throttle(Way, u32),
}

/// What goes wrong where and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rule {
    pub(super) on: On,
    pub(super) at: At,
    pub(super) effect: Effect,
}

impl Rule {
    pub(crate) fn new(on: On, at: At, effect: Effect) -> Self {
        assert!(at != At::Connect || on == On::Any, "what a connection is for is not known when it is accepted");
        Self { on, at, effect }
    }
}

impl On {
    /// Says whether an exchange is meant.
    pub(super) fn means(&self, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::Http => !request.is_websocket,
            Self::WebSocket => request.is_websocket,
            Self::Call(start) => request.call().starts_with(start),
        }
    }
}

impl Way {
    pub(super) fn includes(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// Rules that wait for their exchange, and how many exchanges each still takes.
#[derive(Debug, Default)]
pub(super) struct Armed(Vec<(Rule, usize)>);

impl Armed {
    pub(super) fn add(&mut self, rule: Rule, times: usize) {
        self.0.push((rule, times));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns what happens to a connection that is being accepted.
    pub(super) fn for_connection(&mut self) -> Vec<Effect> {
        self.take(|rule| rule.at == At::Connect).into_iter().map(|rule| rule.effect).collect()
    }

    /// Returns the rules of an exchange that begins.
    pub(super) fn for_exchange(&mut self, request: &Request) -> Vec<Rule> {
        self.take(|rule| rule.at != At::Connect && rule.on.means(request))
    }

    fn take(&mut self, is_meant: impl Fn(&Rule) -> bool) -> Vec<Rule> {
        let mut taken = Vec::new();
        for (rule, times) in &mut self.0 {
            if *times > 0 && is_meant(rule) {
                *times -= 1;
                taken.push(rule.clone());
            }
        }
        self.0.retain(|(_, times)| *times > 0);
        taken
    }
}
