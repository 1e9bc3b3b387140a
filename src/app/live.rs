//! The relay: what is told to it, and what it asks.

use super::ground::Ground;
use crate::api::place_of;
use crate::dispatch::Outlooks;
use crate::pool::{BackendEvent, BackendTap, remaining};
use crate::relay::{self, Pace, Queue, Relay};
use crate::tracker::Progress;
use std::sync::Arc;

impl Ground {
    /// Lets listeners hear what happens, once [`Ground::tell`] has begun. Before the backends are opened, which know who listens.
    pub(super) fn open_relay(&mut self) -> (Relay, Queue) {
        let (relay, queue) = Relay::new(self.clock.now(), self.settings.server.max_listeners);
        self.frames_wanted = relay.frames_wanted();
        let (jobs, frames, backends) = (relay.clone(), relay.clone(), relay.clone());
        let tap = std::mem::take(&mut self.tap);
        self.tap =
            tap.heard_by(move |tapped| jobs.take(tapped)).with_frames(move |job, frame| frames.take_frame(job, frame));
        self.pool.listen(BackendTap::new(move |news| {
            let reason = match &news.event {
                BackendEvent::Lost { reason } | BackendEvent::Blocked { reason, .. } => Some(reason.as_str()),
                BackendEvent::Added
                | BackendEvent::Removed
                | BackendEvent::Draining
                | BackendEvent::Resumed
                | BackendEvent::Connected
                | BackendEvent::Unblocked { .. } => None,
            };
            backends.take_backend(&news.backend, news.at, news.event.as_str(), reason);
        }));
        (relay, queue)
    }

    /// Begins to tell what happens.
    pub(super) fn tell(&self, relay: &Relay, queue: Queue, outlooks: &Arc<Outlooks>) {
        let outlooks = Arc::clone(outlooks);
        let parts = relay::Parts {
            relay: relay.clone(),
            place: Arc::new(move |job| place_of(&outlooks, job)),
            remaining: Arc::new(|pace: &Pace| {
                let Pace { elapsed, usual, fraction, is_weighed } = *pace;
                remaining(elapsed, usual, Some(&Progress { fraction, is_weighed }))
            }),
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
        };
        self.begin("relay", relay::run(parts, queue, self.lifecycle.stop()));
    }
}
