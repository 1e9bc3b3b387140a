//! Everything that one simulated server shares between its sockets, its worker and the test that watches it.
//!
//! One lock guards the state; it is never held while waiting. Whoever changes something wakes those who wait for a fact.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::classes::Classes;
use super::engine::{Engine, Item};
use super::files::Files;
use super::frames;
use super::hub::{Audience, Hub};
use super::script::{Fault, Script, Stage};
use super::{Moment, SimImage, SimRequest, SimRun, Witness};
use crate::clock::{Clock, SystemClock};
use crate::lifecycle::Lifecycle;

/// How many images and requests are remembered for tests; the oldest go first.
const LONGEST_MEMORY: usize = 1_000;

/// The server.
#[derive(Debug)]
pub(super) struct World {
    pub(super) classes: Classes,
    pub(super) step: Duration,
    pub(super) previews: bool,
    pub(super) noise_image_bytes: usize,
    pub(super) witness: Option<Witness>,
    pub(super) clock: Arc<SystemClock>,
    pub(super) lifecycle: Lifecycle,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    work: Notify,
    release: Notify,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) engine: Engine,
    pub(super) hub: Hub,
    pub(super) files: Files,
    pub(super) script: Script,
    pub(super) executions: BTreeMap<String, usize>,
    pub(super) images: VecDeque<SimImage>,
    pub(super) requests: VecDeque<SimRequest>,
    pub(super) hanging: usize,
    pub(super) agent: Option<String>,
    stalled: bool,
    /// Ends when the process "dies": what runs is dropped.
    epoch: CancellationToken,
    /// Ends when every connection breaks.
    network: CancellationToken,
    /// Ends when the port stops listening.
    listening: CancellationToken,
    down_for: Duration,
}

/// Counts a place that waits for `Sim::release`, as long as it waits.
struct Hanging<'a>(&'a World);

impl World {
    /// Makes a server that has just been started.
    pub(super) fn new(classes: Classes, step: Duration, previews: bool, noise_image_bytes: usize) -> Self {
        Self {
            classes,
            step,
            previews,
            noise_image_bytes,
            witness: None,
            clock: SystemClock::start(),
            lifecycle: Lifecycle::new(),
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            work: Notify::new(),
            release: Notify::new(),
        }
    }

    /// Looks at the state.
    pub(super) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the state, then wakes everybody who waits for something.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        result
    }

    /// Returns a receiver that hears of every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Returns the milliseconds since 1970, as events carry them.
    pub(super) fn timestamp(&self) -> u64 {
        u64::try_from(self.clock.now().millis()).unwrap_or(0)
    }

    /// Tells the worker that there may be a prompt.
    pub(super) fn wake_worker(&self) {
        self.work.notify_one();
    }

    /// Waits for the next prompt and takes it; the token ends when the process that runs it dies.
    pub(super) async fn take(&self) -> (Arc<Item>, Vec<Fault>, CancellationToken) {
        loop {
            let woken = self.work.notified();
            let taken = self.change(|state| {
                if state.stalled {
                    return None;
                }
                let item = state.engine.take()?;
                *state.executions.entry(item.prompt.clone()).or_default() += 1;
                state.tell_status();
                Some((item, state.script.strike(Stage::Run), state.epoch.clone()))
            });
            if let Some(taken) = taken {
                self.witness(&taken.0, Moment::Begun);
                return taken;
            }
            woken.await;
        }
    }

    /// Tells whoever witnesses it what became of a prompt.
    pub(super) fn witness(&self, item: &Item, moment: Moment) {
        if let Some(witness) = &self.witness {
            witness.tell(&SimRun { prompt: item.prompt.clone(), graph: item.graph.to_string(), moment });
        }
    }

    /// Waits until the test says `release`.
    pub(super) async fn hang(&self) {
        let released = self.release.notified();
        let _hanging = Hanging::new(self);
        released.await;
    }

    /// Lets everything go on that hangs.
    pub(super) fn release(&self) {
        self.release.notify_waiters();
        self.change(|state| state.stalled = false);
        self.work.notify_one();
    }

    /// Takes no prompt from the queue any more, until the test says `release`.
    pub(super) fn stall(&self) {
        self.change(|state| state.stalled = true);
    }

    /// Breaks every connection and refuses new ones for a while; a forgetful restart also loses queue, history and cache.
    pub(super) fn restart(&self, forget: bool, down_for: Duration) {
        self.change(|state| {
            state.down_for = down_for;
            state.hub.clear();
            renew(&mut state.network);
            renew(&mut state.listening);
            if forget {
                state.engine = Engine::default();
                state.files.wipe_temporary();
                renew(&mut state.epoch);
            }
        });
    }

    /// Refuses new connections for a while; those that are open go on.
    pub(super) fn refuse_connections(&self, down_for: Duration) {
        self.change(|state| {
            state.down_for = down_for;
            renew(&mut state.listening);
        });
    }

    /// Returns the token of the connections that are accepted from now on.
    pub(super) fn network(&self) -> CancellationToken {
        self.look(|state| state.network.clone())
    }

    /// Returns the token that ends when the port stops listening.
    pub(super) fn listening(&self) -> CancellationToken {
        self.look(|state| state.listening.clone())
    }

    /// Returns how long the port stays closed.
    pub(super) fn down_for(&self) -> Duration {
        self.look(|state| state.down_for)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends the length of the queue to every socket.
    pub(super) fn tell_status(&self) {
        self.hub.text(&Audience::Everyone, &frames::status(self.engine.remaining(), None));
    }

    /// Remembers an image for the test.
    pub(super) fn note_image(&mut self, prompt: &str, node: &str, index: u32, bytes: Bytes) {
        let image = SimImage { prompt: prompt.to_owned(), node: node.to_owned(), index, bytes };
        self.images.push_back(image);
        if self.images.len() > LONGEST_MEMORY {
            self.images.pop_front();
        }
    }

    /// Remembers a request for the test.
    pub(super) fn note_request(&mut self, request: SimRequest) {
        self.requests.push_back(request);
        if self.requests.len() > LONGEST_MEMORY {
            self.requests.pop_front();
        }
    }
}

impl<'a> Hanging<'a> {
    fn new(world: &'a World) -> Self {
        world.change(|state| state.hanging += 1);
        Self(world)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.hanging -= 1);
    }
}

fn renew(token: &mut CancellationToken) {
    std::mem::take(token).cancel();
}
