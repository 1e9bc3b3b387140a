//! The task that tells: takes what happened from its queue, a good deal at a time, and now and then asks how jobs wait.

use super::Relay;
use super::ear::{HAS_LOST, STOPPING};
use super::event::Place;
use super::frames::Framed;
use super::pace::Remaining;
use crate::clock::{Clock, Timestamp};
use crate::job::{Happening, JobId, Tapped};
use crate::lifecycle::Lifecycle;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How many things are told before others may look at the board.
const AT_ONCE: usize = 256;

/// How often it is asked how jobs wait, and of how many at once.
const LOOK: Duration = Duration::from_secs(1);
const PLACES_AT_ONCE: usize = 256;

/// What the task works with.
pub struct Parts {
    /// The relay.
    pub relay: Relay,
    /// Says how a job waits.
    pub place: Arc<dyn Fn(JobId) -> Option<Place> + Send + Sync>,
    /// Says how much longer a run should take.
    pub remaining: Arc<Remaining>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Contains panics.
    pub lifecycle: Lifecycle,
}

/// What waits to be told.
#[derive(Debug)]
pub struct Queue(pub(super) mpsc::Receiver<Taken>);

#[derive(Debug)]
pub(super) enum Taken {
    Job(Box<Tapped>),
    Frame(Framed),
    Backend { backend: String, at: Timestamp, event: &'static str, reason: Option<String> },
}

impl Taken {
    /// How many bytes of images are in it.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Job(tapped) => match &tapped.what {
                Happening::Preview(preview) => preview.bytes.len(),
                Happening::Queued
                | Happening::Followed(_)
                | Happening::Submitted { .. }
                | Happening::Started
                | Happening::Cached(_)
                | Happening::Node { .. }
                | Happening::Progress { .. }
                | Happening::Output { .. }
                | Happening::Again { .. }
                | Happening::Ended { .. } => 0,
            },
            Self::Frame(framed) => framed.frame.size(),
            Self::Backend { .. } => 0,
        }
    }

    pub(super) fn may_be_left_out(&self) -> bool {
        match self {
            Self::Job(tapped) => matches!(tapped.what, Happening::Preview(_)),
            Self::Frame(framed) => framed.is_image(),
            Self::Backend { .. } => false,
        }
    }
}

/// Tells what happens, until told to stop.
pub async fn run(parts: Parts, queue: Queue, stop: CancellationToken) {
    let Queue(mut queue) = queue;
    let mut taken = Vec::with_capacity(AT_ONCE);
    let mut look = parts.clock.sleep_until(parts.clock.now() + LOOK);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return parts.relay.board().cut_all(STOPPING, true),
            () = &mut look => {
                parts.look();
                look = parts.clock.sleep_until(parts.clock.now() + LOOK);
            }
            _ = queue.recv_many(&mut taken, AT_ONCE) => parts.tell(&mut taken),
        }
    }
}

impl Parts {
    fn tell(&self, taken: &mut Vec<Taken>) {
        let shared = &self.relay.shared;
        for taken in taken.drain(..) {
            let size = taken.size();
            // Should that panic, this one thing is not told.
            let told = self.lifecycle.contain_now("relay", || {
                let mut board = self.relay.board();
                match taken {
                    Taken::Job(tapped) => board.take(*tapped, self.remaining.as_ref()),
                    Taken::Frame(framed) => board.take_frame(framed),
                    Taken::Backend { backend, at, event, reason } => board.take_backend(backend, at, event, reason),
                }
            });
            shared.queued_bytes.fetch_sub(size, Ordering::Relaxed);
            if told.is_err() {
                shared.has_lost.store(true, Ordering::Relaxed);
            }
        }
        if shared.has_lost.swap(false, Ordering::Relaxed) {
            warn!("more happened than could be told: all listeners are cut off, so that none misses it unnoticed");
            self.relay.board().cut_all(HAS_LOST, false);
        }
    }

    fn look(&self) {
        let shared = &self.relay.shared;
        let waiting = {
            let mut board = self.relay.board();
            shared.frames_wanted.store(board.sweep(), Ordering::Relaxed);
            board.waiting(PLACES_AT_ONCE)
        };
        for job in waiting {
            // Asked without the board, which others need.
            if let Ok(Some(place)) = self.lifecycle.contain_now("relay", || (self.place)(job)) {
                self.relay.board().place(job, place, self.clock.now());
            }
        }
    }
}
