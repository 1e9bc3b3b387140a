//! A TCP proxy in which a test lets the network go wrong: resets, half-open and frozen connections, delays, answers that
//! end too early, and connections that end at a certain message of a WebSocket.
//!
//! It understands as much of HTTP as it needs to know which request a connection carries, and changes no byte. Its own
//! tests come with it into every program that uses it.

mod carry;
mod link;
mod rule;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use rule::{At, Effect, On, Rule, Way};

use carry::BUFFER;
use comfygate::lifecycle::Lifecycle;
use link::Link;
use rule::Armed;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use wire::Request;

/// How long [`Proxy::until`] waits before something must be wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// A proxy in front of one server, on a port of its own; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    lifecycle: Lifecycle,
    listens: watch::Sender<bool>,
    changed: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    armed: Armed,
    links: Vec<Arc<Link>>,
    exchanges: Vec<Request>,
    struck: usize,
    events: usize,
    messages: usize,
    is_listening: bool,
}

impl Proxy {
    /// Starts a proxy before a server, which need not be there yet.
    pub(crate) async fn before(upstream: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            lifecycle: Lifecycle::new(),
            listens: watch::Sender::new(true),
            changed: watch::Sender::new(0),
            state: Mutex::default(),
        });
        let place = place(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = place.local_addr().unwrap();
        let listener = place.listen(1024).unwrap();
        shared.change(|state| state.is_listening = true);
        shared.lifecycle.spawn("proxy", listen(Arc::clone(&shared), listener, address));
        let proxy = Self { address, shared };
        proxy.until("it listens", Proxy::is_listening).await;
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a base URL without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Arms a rule for the next exchange that it is for. A rule about events also takes a WebSocket that is open.
    pub(crate) fn arm(&self, on: On, at: At, effect: Effect) {
        self.arm_times(1, on, at, effect);
    }

    /// Arms a rule for every exchange that begins from now on.
    pub(crate) fn arm_every(&self, on: On, at: At, effect: Effect) {
        self.arm_times(usize::MAX, on, at, effect);
    }

    /// Arms a rule for the next so many exchanges.
    pub(crate) fn arm_times(&self, times: usize, on: On, at: At, effect: Effect) {
        let rule = Rule::new(on, at, effect);
        self.shared.change(|state| {
            let open = state.links.iter().rev().find(|link| link.is_open() && link.is_meant_by(&rule.on));
            match open.filter(|link| matches!(at, At::Event(_) | At::Message(_)) && link.client_id().is_some()) {
                Some(link) => link.take(rule),
                None => state.armed.add(rule, times),
            }
        });
    }

    /// Lets something happen now, and from now on, to every open connection whose present exchange is meant. Returns
    /// how many there are.
    pub(crate) fn strike(&self, on: &On, effect: Effect) -> usize {
        self.shared.look(|state| {
            let meant = state.links.iter().filter(|link| link.is_open() && link.is_meant_by(on));
            meant.inspect(|link| link.strike(effect)).count()
        })
    }

    /// Refuses connections from now on; those that are open go on.
    pub(crate) async fn refuse(&self) {
        self.shared.listens.send_replace(false);
        self.until("it refuses", |proxy| !proxy.is_listening()).await;
    }

    /// Accepts connections again.
    pub(crate) async fn accept(&self) {
        self.shared.listens.send_replace(true);
        self.until("it listens", Proxy::is_listening).await;
    }

    /// Forgets every rule, and lets everything pass on the connections that are open.
    pub(crate) fn heal(&self) {
        self.shared.change(|state| {
            state.armed.clear();
            state.links.iter().for_each(|link| link.heal());
        });
    }

    /// How many rules have had their effect; what was done with `strike` is not counted.
    pub(crate) fn struck(&self) -> usize {
        self.shared.look(|state| state.struck)
    }

    /// The calls that began so far, such as `GET /queue`, in their order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.shared.look(|state| state.exchanges.iter().map(Request::call).collect())
    }

    /// How many calls began so far whose method and path begin so.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|known| known.starts_with(call)).count()
    }

    /// The client ids of all sockets so far, in their order.
    pub(crate) fn client_ids(&self) -> Vec<String> {
        self.shared.look(|state| {
            let sockets = state.exchanges.iter().filter(|request| request.is_websocket);
            sockets.map(|request| request.parameter("clientId").unwrap_or_default().to_owned()).collect()
        })
    }

    /// The client ids of the sockets that are open.
    pub(crate) fn open_sockets(&self) -> Vec<String> {
        self.shared.look(|state| {
            state.links.iter().filter(|link| link.is_open()).filter_map(|link| link.client_id()).collect()
        })
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.shared.look(|state| state.links.iter().filter(|link| link.is_open()).count())
    }

    /// How many messages came over sockets so far, those of the type `status` not counted.
    pub(crate) fn events(&self) -> usize {
        self.shared.look(|state| state.events)
    }

    /// How many messages came over sockets so far.
    pub(crate) fn messages(&self) -> usize {
        self.shared.look(|state| state.messages)
    }

    /// Waits until a fact holds.
    pub(crate) async fn until(&self, what: &str, mut fact: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let seen = async {
            while !fact(self) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("did not happen: {what}; {self:?}"));
    }

    fn is_listening(&self) -> bool {
        self.shared.look(|state| state.is_listening)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lifecycle.stop().cancel();
    }
}

impl Shared {
    fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    async fn stopped(&self) {
        self.lifecycle.stop().cancelled_owned().await;
    }

    fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock().unwrap())
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state.lock().unwrap());
        self.note_change();
        result
    }

    fn note_change(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn note_strike(&self) {
        self.change(|state| state.struck += 1);
    }

    fn note_message(&self, is_status: bool) {
        self.change(|state| {
            state.messages += 1;
            state.events += usize::from(!is_status);
        });
    }

    /// Notes an exchange that begins, and returns its rules.
    fn rules_for(&self, request: &Request) -> Vec<Rule> {
        self.change(|state| {
            state.exchanges.push(request.clone());
            state.armed.for_exchange(request)
        })
    }
}

async fn listen(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    let mut listens = shared.listens.subscribe();
    let mut listener = Some(listener);
    loop {
        let wanted = *listens.borrow_and_update();
        if !wanted && let Some(open) = listener.take() {
            drop(open);
            // Nobody else can take the port meanwhile, and connections to it are refused.
            let kept = place(address).unwrap();
            shared.change(|state| state.is_listening = false);
            tokio::select! {
                () = shared.stopped() => return,
                _ = listens.wait_for(|wanted| *wanted) => {}
            }
            listener = Some(kept.listen(1024).unwrap());
            shared.change(|state| state.is_listening = true);
        }
        let Some(open) = &listener else { return };
        let accepted = tokio::select! {
            () = shared.stopped() => return,
            _ = listens.changed() => continue,
            accepted = open.accept() => accepted,
        };
        let Ok((client, _)) = accepted else { continue };
        // Without it small frames wait; a failure is a client that has gone.
        let _ = client.set_nodelay(true);
        let link = Arc::new(Link::new());
        let effects = shared.change(|state| {
            state.links.push(Arc::clone(&link));
            state.armed.for_connection()
        });
        shared.lifecycle.spawn("proxy's connection", carry::carry(Arc::clone(&shared), link, client, effects));
    }
}

/// Takes a port without listening on it.
fn place(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // The connections inherit it.
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(address)?;
    Ok(socket)
}
