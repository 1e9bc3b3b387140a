//! Says a prompt's events to whoever listens, with the faults that strike while it speaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::engine::Item;
use super::frames::{self, FrameImage};
use super::hub::{Audience, Command, Hub};
use super::json::Json;
use super::script::Fault;
use super::world::World;

/// One prompt's voice.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) world: Arc<World>,
    pub(super) faults: Vec<Fault>,
    prompt: String,
    listener: Audience,
    spectators: Audience,
    said: usize,
}

/// Who is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// Those who hear `execution_*`, `executing` and `executed`.
    Listener,
    /// Those who see progress and images.
    Spectators,
}

/// What is said.
#[derive(Debug)]
enum Speech<'a> {
    Text(&'a str),
    Image { node: &'a str, bytes: &'a Bytes },
}

impl Voice {
    /// Gives a prompt its voice.
    pub(super) fn new(world: Arc<World>, item: &Item, faults: Vec<Fault>) -> Self {
        let (listener, spectators) = (item.listener(), item.spectators());
        Self { world, faults, prompt: item.prompt.clone(), listener, spectators, said: 0 }
    }

    /// Returns whether images go out with their description.
    pub(super) fn describes_images(&self) -> bool {
        self.world.look(|state| state.hub.wants_metadata(&self.spectators))
    }

    /// Returns whether a fault of this kind struck.
    pub(super) fn suffers(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }

    /// Sends a text frame of an event type.
    pub(super) async fn say(&mut self, to: To, kind: &str, frame: &str) {
        self.speak(to, kind, &Speech::Text(frame)).await;
    }

    /// Sends an image; `kind` is `image` for a result and `preview` for a preview.
    pub(super) async fn show(&mut self, kind: &str, node: &str, bytes: &Bytes) {
        self.speak(To::Spectators, kind, &Speech::Image { node, bytes }).await;
    }

    /// Comes to a moment in which nothing is said: only what hangs there hangs.
    pub(super) async fn moment(&mut self, kind: &str) {
        let is_here = |fault: &Fault| matches!(fault, Fault::Hang { at } if at == kind);
        if self.faults.iter().any(is_here) {
            self.faults.retain(|fault| !is_here(fault));
            self.world.hang().await;
        }
    }

    async fn speak(&mut self, to: To, kind: &str, speech: &Speech<'_>) {
        for fault in std::mem::take(&mut self.faults) {
            if !self.strike(&fault, to, kind).await {
                self.faults.push(fault);
            }
        }
        let is_lost = self.suffers(&Fault::Silent)
            || (kind == "image" && self.suffers(&Fault::LoseFrames))
            || (is_end(kind) && self.suffers(&Fault::NoEnd));
        let times = if is_lost { 0 } else { 1 + usize::from(self.suffers(&Fault::DuplicateEvents)) };
        for _ in 0..times {
            self.world.change(|state| self.send(&state.hub, to, speech));
        }
        self.said += 1;
        let closes = |fault: &Fault| matches!(fault, Fault::CloseSocketAfter { event } if event == kind);
        if self.faults.iter().any(closes) {
            self.faults.retain(|fault| !closes(fault));
            self.world.change(|state| state.hub.cut(&self.spectators));
        }
    }

    /// Does what a fault does before an event; returns whether the fault is used up.
    async fn strike(&self, fault: &Fault, to: To, kind: &str) -> bool {
        if let Fault::Hang { at } = fault
            && at == kind
        {
            self.world.hang().await;
            return true;
        }
        if let Fault::Restart { at: Some(at), forget, down_for } = fault
            && at == kind
        {
            self.world.restart(*forget, *down_for);
            if *forget {
                // The worker drops this future: the process has died.
                std::future::pending::<()>().await;
            }
            return true;
        }
        if let Fault::CloseSocketAt { event_index } = fault
            && *event_index == self.said
        {
            self.world.change(|state| state.hub.cut(&self.spectators));
            return true;
        }
        if *fault == Fault::DeafSocket {
            self.world.change(|state| state.hub.deafen(&self.spectators));
            return true;
        }
        if let Fault::Slow(wait) = fault {
            tokio::time::sleep(*wait).await;
        }
        if *fault == Fault::ForeignEvents {
            self.world.change(|state| babble(&state.hub, self.audience(to)));
        }
        false
    }

    fn send(&self, hub: &Hub, to: To, speech: &Speech<'_>) {
        match speech {
            Speech::Text(frame) => hub.text(self.audience(to), frame),
            Speech::Image { node, bytes } => {
                hub.image(self.audience(to), &FrameImage { prompt: &self.prompt, node, bytes });
            }
        }
    }

    fn audience(&self, to: To) -> &Audience {
        match to {
            To::Listener => &self.listener,
            To::Spectators => &self.spectators,
        }
    }

    /// Returns how long to wait before the history is written.
    pub(super) fn history_delay(&self) -> Option<Duration> {
        self.faults.iter().find_map(|fault| if let Fault::LateHistory(wait) = fault { Some(*wait) } else { None })
    }
}

/// `idle` stands for `executing` with `node: null`.
fn is_end(kind: &str) -> bool {
    matches!(kind, "execution_success" | "execution_error" | "execution_interrupted" | "idle")
}

/// Says what belongs to nobody here: another prompt's events and image, and frames that are broken.
fn babble(hub: &Hub, audience: &Audience) {
    let other = "00000000-0000-4000-8000-000000000000";
    let prompt_only = Json::object([("prompt_id", other.into())]);
    for frame in [
        frames::progress(other, "2", 1, 2),
        frames::executing(other, Some("2")),
        frames::message("execution_success", &prompt_only),
        frames::executing(other, None),
        frames::message("crystools.monitor", &Json::object([("cpu_utilization", Json::float(3.5))])),
        "{\"type\": ".to_owned(),
        "[]".to_owned(),
    ] {
        hub.text(audience, &frame);
    }
    let bytes = Bytes::from_static(b"\x89PNG\r\n\x1a\nnot a picture of yours");
    let foreign = frames::image(&FrameImage { prompt: other, node: "9", bytes: &bytes }, true);
    for frame in [foreign, Bytes::from_static(b"\0\0\0\x01"), Bytes::from_static(b"\0\0\0\x63what"), Bytes::new()] {
        hub.send(audience, &Command::Binary(frame));
    }
}
