//! What others are told of a run while it goes on: the tap hears everything, a receiver what it wants to be told of. Nothing
//! here waits.

use super::machine::{Input, NodeChange, Plan};
use super::run::{Parts, Room, Watched};
use crate::clock::Timestamp;
use crate::comfy::event::{Event, ImageFrame};
use crate::job::{Announcement, Followed, Happening, Milestone, News, Preview, PromptId, RawFrame, RunEnd, Tapped};
use bytes::Bytes;
use std::sync::Arc;

/// The largest preview that is told of, in bytes. ComfyUI's own have at most 512 pixels a side.
const LARGEST_PREVIEW: usize = 4 << 20;

impl Room {
    /// Tells what `news` finds: the tap, and the receiver where it wants to be told of such things.
    pub(super) fn tell(&self, prompt: &PromptId, at: Timestamp, news: impl FnOnce(&Watched) -> Option<News>) {
        let Some(watched) = self.watched.get(prompt) else { return };
        if watched.audience.is_none() && !self.parts.tap.is_there() {
            return;
        }
        let Some(news) = news(watched) else { return };
        self.parts.tap.tell(|| watched.tapped(at, watched.happening(&news)));
        if let Some(audience) = watched.audience.as_ref().filter(|audience| audience.wants(news.event())) {
            (self.parts.announce)(Announcement { audience: Arc::clone(audience), at, news });
        }
    }

    /// Tells the tap of the nodes that began to run or are over.
    pub(super) fn tell_nodes(&self, prompt: &PromptId, at: Timestamp, changes: Vec<NodeChange>) {
        for NodeChange { id, is_running } in changes {
            self.tap(prompt, at, Happening::Node { id, is_running });
        }
    }

    /// Hands on a frame as it was sent, if it is about a run of ours or about none.
    pub(super) fn hand_on(&self, prompt: Option<&PromptId>, frame: RawFrame) {
        let Some(prompt) = prompt else { return self.parts.tap.frame(None, frame) };
        let followed = self.watched.get(prompt).map(|watched| (watched.job.id, &watched.job.tenant));
        // Its last frames come after it has ended.
        let job = followed
            .or_else(|| self.lately.iter().find(|(ended, ..)| ended == prompt).map(|(_, job, tenant)| (*job, tenant)));
        if job.is_some() {
            self.parts.tap.frame(job, frame);
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
        Tapped::of(&self.job, Some(self.run.plan().number), at, what)
    }

    /// Returns what is known of the run before anything is heard of it.
    pub(super) fn followed(&self) -> Happening {
        let Plan { backend, usual, labels, .. } = self.run.plan();
        let started_at = self.job.started_at.filter(|_| self.run.is_running());
        Happening::Followed(Followed {
            backend: backend.clone(),
            started_at,
            usual: *usual,
            labels: Arc::clone(labels),
        })
    }

    fn happening(&self, news: &News) -> Happening {
        match news {
            News::Started => Happening::Started,
            News::Progress(advance) => {
                Happening::Progress { advance: advance.clone(), is_weighed: self.run.is_weighed() }
            }
            News::Output(output) => {
                let name = self.job.request.output_names.get(&output.node_id).cloned();
                Happening::Output { output: output.clone(), name }
            }
        }
    }
}

/// Returns what an input alone tells of a run of this plan.
pub(super) fn heard(input: &Input, plan: &Plan) -> Option<Happening> {
    match input {
        Input::Event(Event::Cached { nodes, .. }) => Some(Happening::Cached(nodes.clone())),
        Input::Event(Event::Image(frame)) => preview(frame, plan).map(Happening::Preview),
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

/// Returns an image that is no result.
fn preview(frame: &ImageFrame, plan: &Plan) -> Option<Preview> {
    let origin = frame.origin.as_ref();
    let is_result = |node: &String| plan.websocket_nodes.contains(node);
    if origin.is_some_and(|origin| is_result(&origin.node) || is_result(&origin.display_node)) {
        return None;
    }
    if frame.bytes.len() > LARGEST_PREVIEW {
        return None;
    }
    let node = origin.and_then(|origin| plan.node_of_graph(&origin.display_node)).map(str::to_owned);
    // A copy, since what the socket gave is counted as held until it is dropped, and a preview may be kept for as long as its run.
    Some(Preview { node, content_type: frame.content_type.clone(), bytes: Bytes::copy_from_slice(&frame.bytes) })
}
