//! What others are told of a run while it goes on: the tap hears everything, a receiver what it wants to be told of. Nothing
//! here waits.

use super::machine::{Input, Run};
use super::run::{Parts, Room, Watched};
use crate::clock::Timestamp;
use crate::comfy::event::Event;
use crate::job::{Announcement, Happening, Milestone, News, PromptId, RunEnd, Tapped};
use std::sync::Arc;

impl Room {
    /// Tells what `news` finds: the tap, and the receiver where it wants to be told of such things.
    pub(super) fn tell(&self, prompt: &PromptId, at: Timestamp, news: impl FnOnce(&Run) -> Option<News>) {
        let Some(watched) = self.watched.get(prompt) else { return };
        if watched.audience.is_none() && !self.parts.tap.is_there() {
            return;
        }
        let Some(news) = news(&watched.run) else { return };
        self.parts.tap.tell(|| watched.tapped(at, Happening::of(&news)));
        if let Some(audience) = watched.audience.as_ref().filter(|audience| audience.wants(news.event())) {
            (self.parts.announce)(Announcement { audience: Arc::clone(audience), at, news });
        }
    }

    /// Tells the tap what no receiver is told of.
    pub(super) fn tap(&self, prompt: &PromptId, at: Timestamp, what: Happening) {
        if let Some(watched) = self.watched.get(prompt) {
            self.parts.tap.tell(|| watched.tapped(at, what));
        }
    }
}

impl Parts {
    /// Counts a run that is over.
    pub(super) fn count_over(&self, watched: &Watched, how: RunEnd, at: Timestamp) {
        let (job, backend) = (&watched.job, self.backend.as_str());
        self.tap.count(Milestone::Over { job, backend, how, at });
    }

    /// Counts what an input alone tells of its run.
    pub(super) fn count_heard(&self, input: &Input) {
        let backend = self.backend.as_str();
        if let Input::Event(Event::Cached { nodes, .. }) = input {
            self.tap.count(Milestone::Cached { backend, nodes: nodes.len() });
        } else if let Input::Event(Event::Executing { .. }) = input {
            self.tap.count(Milestone::Executing { backend });
        }
    }

    /// Counts an event that is about nothing.
    pub(super) fn count_noise(&self, event: &Event) {
        if let Event::Noise { .. } = event {
            self.tap.count(Milestone::Noise { backend: &self.backend });
        }
    }
}

impl Watched {
    /// Returns what the tap is told of the run.
    pub(super) fn tapped(&self, at: Timestamp, what: Happening) -> Tapped {
        let run = Some(self.run.plan().number);
        Tapped { job: self.job.id, tenant: self.job.tenant.clone(), run, at, what }
    }
}

/// Returns what an input alone tells of its run.
pub(super) fn heard(input: &Input) -> Option<Happening> {
    match input {
        Input::Event(Event::Cached { nodes, .. }) => Some(Happening::Cached(nodes.clone())),
        Input::Event(_)
        | Input::Submitted(_)
        | Input::Placing(_)
        | Input::Receiving
        | Input::Evidence(_)
        | Input::Stored(..)
        | Input::SocketLost { .. }
        | Input::SocketUp
        | Input::Cancel
        | Input::Tick => None,
    }
}
