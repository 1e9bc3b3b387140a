//! The WebSocket of one ComfyUI: keeps one connection and tells what it heard. How a connection is made is `socket/opening`'s,
//! how it is read `socket/listening`'s.
//!
//! It never waits for whoever listens: a slow reader would freeze every client of that server (T21). What a lost
//! connection means for the jobs on it is decided by others.

mod frame;
mod listening;
mod opening;

use super::address::ComfyUrl;
use super::event::Event;
use super::held::Held;
use super::route::Route;
use crate::clock::{Clock, Timestamp};
use crate::job::RawFrame;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

/// What the socket tells.
#[derive(Clone, PartialEq, Debug)]
pub enum SocketEvent {
    /// A connection stands and its handshake is done: prompts may be sent with this client id.
    Connected {
        /// The name of this connection, never used before.
        client_id: String,
    },
    /// Something was heard on it; and what that was before it was read, where somebody wants to have it.
    Event(Event, Option<RawFrame>),
    /// Part of something was heard, for a while already: a large image on a slow line.
    Receiving,
    /// An attempt to connect failed, and there will be another.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// The connection is gone, and with it whatever was said since. Follows each `Connected`, unless everything stops.
    Lost {
        /// The name of the connection.
        client_id: String,
        /// Why.
        reason: String,
    },
}

/// The limits of a socket.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Until a connection stands.
    pub connect_limit: Duration,
    /// Until the handshake is answered; a server that does not know it never answers.
    pub handshake_limit: Duration,
    /// Between our pings.
    pub ping_every: Duration,
    /// From a ping until anything comes; a server that encodes images or loads models is mute for a while (T26), and
    /// giving up a connection that lives loses what it would have said.
    pub pong_limit: Duration,
    /// Until a connection that we close is closed.
    pub close_limit: Duration,
    /// The pause before the first attempt to reconnect; each further one waits twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The largest frame in bytes: each image is one frame (T24).
    pub largest_frame: usize,
    /// Says whether the server at the address is the one that is meant; no connection is begun before. None: it always is.
    pub gate: Option<watch::Receiver<bool>>,
    /// How the server is reached, and what it is shown when a connection is opened.
    pub route: Route,
    /// How many bytes of images may wait to be stored. With more the listener cannot follow, and loses the connection.
    pub most_held: usize,
    /// Somebody wants frames as they are sent, too.
    pub frames_wanted: Arc<AtomicBool>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(10),
            handshake_limit: Duration::from_secs(5),
            ping_every: Duration::from_secs(20),
            pong_limit: Duration::from_secs(45),
            close_limit: Duration::from_secs(2),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            largest_frame: 320 << 20,
            gate: None,
            route: Route::none(),
            most_held: 128 << 20,
            frames_wanted: Arc::default(),
        }
    }
}

/// Keeps a connection until told to stop, or until nobody listens any more.
///
/// `reconnect` is for whoever thinks that the connection is deaf (T20): it is given up for a new one.
pub async fn run(
    url: ComfyUrl,
    options: SocketOptions,
    out: mpsc::Sender<SocketEvent>,
    reconnect: Arc<Notify>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let held = Held::new(options.most_held);
    let socket = Socket { url, options, held, out, reconnect, clock };
    // Boxed, because the buffers of a connection are in it.
    let work = Box::pin(socket.keep_connected(&stop));
    work.await;
}

struct Socket {
    url: ComfyUrl,
    options: SocketOptions,
    held: Held,
    out: mpsc::Sender<SocketEvent>,
    reconnect: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

impl Socket {
    async fn keep_connected(self, stop: &CancellationToken) {
        let mut failures = 0;
        while self.is_let_in(stop).await {
            // A fresh name each time: one that was used before may be deaf as soon as its old connection ends (T19).
            let name = Uuid::new_v4();
            let began = self.clock.now();
            let connected = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                connected = self.connect(name.to_string()) => connected,
            };
            match connected {
                Ok(connection) => {
                    if !self.serve(connection, stop).await {
                        return;
                    }
                    failures = if self.lived_long(began) { 0 } else { failures };
                }
                Err(reason) => self.say_unreachable(reason, failures),
            }
            let pause = pause(&self.options, failures, name.as_u64_pair().1);
            failures = failures.saturating_add(1);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.out.closed() => return,
                () = self.after(pause) => {}
            }
        }
    }

    /// Waits until there may be a connection; false if all shall end.
    async fn is_let_in(&self, stop: &CancellationToken) -> bool {
        let mut gate = self.options.gate.clone();
        let is_open = async {
            match &mut gate {
                Some(gate) => gate.wait_for(|is_open| *is_open).await.is_ok(),
                None => true,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            is_open = is_open => is_open,
            () = self.out.closed() => false,
        }
    }

    fn say_unreachable(&self, reason: String, failures: u32) {
        if failures == 0 {
            warn!(backend.url = %self.url, reason, "no socket to the backend");
        } else {
            debug!(backend.url = %self.url, reason, failures, "still no socket to the backend");
        }
        // A listener that is busy hears of the next attempt; one that is gone is noticed in the pause.
        let _ = self.out.try_send(SocketEvent::Unreachable { reason });
    }

    fn keeps_raw(&self) -> bool {
        self.options.frames_wanted.load(Ordering::Relaxed)
    }

    fn lived_long(&self, began: Timestamp) -> bool {
        self.clock.now().since(began) > self.options.longest_pause
    }

    fn after(&self, wait: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(self.clock.now() + wait)
    }
}

/// Returns the pause before attempt number `attempt`: doubling, limited, and in its upper half left to `chance`.
fn pause(options: &SocketOptions, attempt: u32, chance: u64) -> Duration {
    let doubled = options.first_pause.saturating_mul(2_u32.saturating_pow(attempt)).min(options.longest_pause);
    let half = doubled / 2;
    let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    half + Duration::from_millis(chance % span)
}

#[cfg(test)]
mod tests;
