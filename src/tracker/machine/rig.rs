//! A run on a bench: what the tests of the machine begin with, and how they read what it answers.

use super::*;
use crate::comfy::event::{Event, ImageFrame, ImageOrigin, NodeError, NodeOutput};
use crate::comfy::{HistoryEnd, HistoryEntry, Timeline};
use crate::job::{BlobId, FailureCode, FileRef, JobId, Limits, PromptId, Timeouts};
use crate::media::Kept;
use crate::tracker::evidence::Evidence;
use crate::tracker::harvest::SlotResult;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PROMPT: &str = "prompt-1";

pub(super) fn plan() -> Plan {
    let limits = Limits {
        queue: Duration::from_hours(1),
        start: Duration::from_mins(5),
        silence: Duration::from_mins(2),
        run: Duration::from_mins(30),
    };
    Plan {
        job: JobId::from_bytes([1; 16]),
        number: 1,
        prompt: PromptId(PROMPT.into()),
        backend: "here".into(),
        refused: Vec::new(),
        may_join: false,
        elsewhere: false,
        alike: false,
        otherwise: false,
        variant: 0,
        nodes: ["1", "2", "9"].map(str::to_owned).into(),
        labels: Arc::default(),
        weights: Arc::default(),
        usual: None,
        websocket_nodes: BTreeSet::new(),
        declared: None,
        expected_images: Some(1),
        limits: limits.with(&Timeouts::default()),
        queued_since: Timestamp::from_millis(0),
        may_retry: true,
    }
}

/// A run, its time, and what it wanted done.
pub(super) struct Rig {
    pub(super) run: Run,
    now: Timestamp,
}

impl Rig {
    pub(super) fn new(plan: Plan) -> Self {
        let now = Timestamp::from_millis(0);
        Self { run: Run::about_to_submit(plan, now), now }
    }

    pub(super) fn accepted(plan: Plan) -> Self {
        let mut rig = Self::new(plan);
        assert_eq!(rig.take(Input::Submitted(SubmitResult::Accepted(None))), []);
        rig
    }

    pub(super) fn running(plan: Plan) -> Self {
        let mut rig = Self::accepted(plan);
        assert_eq!(rig.event(Event::Started { prompt: PROMPT.into() }), [Effect::Started]);
        rig
    }

    pub(super) fn take(&mut self, input: Input) -> Vec<Effect> {
        step(&mut self.run, input, self.now)
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        self.take(Input::Event(event))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_secs(seconds);
        self
    }

    /// Lets the time pass until the next look, and answers it; returns when that was.
    pub(super) fn look_at(&mut self, evidence: &Evidence) -> Timestamp {
        let (at, why) = self.run.next_deadline().unwrap();
        assert_eq!(why, Deadline::Look);
        self.now = self.now.max(at);
        assert_eq!(self.take(Input::Tick), [Effect::LookUp]);
        assert_eq!(self.take(Input::Evidence(evidence.clone())), []);
        self.now
    }

    /// Lets the time pass as the task would: ticks at deadlines, looks answered with `evidence`, until it ended.
    pub(super) fn live_on(&mut self, evidence: &Evidence) -> (Timestamp, Vec<Effect>) {
        for _ in 0..100_000 {
            let Some((at, _)) = self.run.next_deadline() else { panic!("a run that has not ended has a deadline") };
            self.now = self.now.max(at);
            let mut effects = self.take(Input::Tick);
            if effects.contains(&Effect::LookUp) {
                effects.extend(self.take(Input::Evidence(evidence.clone())));
            }
            if self.run.is_done() {
                return (self.now, effects);
            }
        }
        panic!("the run does not end");
    }
}

pub(super) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

pub(super) fn code(effects: &[Effect]) -> Option<FailureCode> {
    effects.iter().find_map(|effect| {
        if let Effect::Finish(Outcome::Failed(failure, _))
        | Effect::Requeue { failure, .. }
        | Effect::Elsewhere { failure, .. } = effect
        {
            Some(failure.code)
        } else {
            None
        }
    })
}

pub(super) fn requeued(effects: &[Effect]) -> Option<bool> {
    effects.iter().find_map(|effect| if let Effect::Requeue { counts, .. } = effect { Some(*counts) } else { None })
}

pub(super) fn images(effects: &[Effect]) -> Option<Vec<(String, u32)>> {
    effects.iter().find_map(|effect| {
        let Effect::Finish(Outcome::Succeeded(outputs)) = effect else { return None };
        Some(outputs.iter().map(|output| (output.node_id.clone(), output.index)).collect())
    })
}

pub(super) fn file(name: &str, folder: &str) -> FileRef {
    FileRef { filename: name.into(), subfolder: String::new(), folder: folder.into() }
}

pub(super) fn executed(node: &str, files: &[FileRef]) -> Event {
    let output = NodeOutput { files: files.to_vec(), texts: vec![] };
    Event::Executed { prompt: PROMPT.into(), node: node.into(), display_node: node.into(), output }
}

pub(super) fn succeeded() -> Event {
    Event::Succeeded { prompt: PROMPT.into() }
}

pub(super) fn stored(slot: usize) -> Input {
    let result = SlotResult::Stored(Kept::as_it_came("image/png", 10, BlobId("ab".into())));
    Input::Stored(SlotId(slot), result)
}

pub(super) fn ended(outputs: Vec<(&str, Vec<FileRef>)>, end: HistoryEnd) -> Evidence {
    let outputs = outputs.into_iter().map(|(node, files)| (node.to_owned(), NodeOutput { files, texts: vec![] }));
    Evidence::Ended(HistoryEntry { end, outputs: outputs.collect(), timeline: Timeline::default() })
}

pub(super) fn websocket_plan(images: u32) -> Plan {
    Plan { websocket_nodes: ["9".to_owned()].into(), expected_images: Some(images), ..plan() }
}

pub(super) fn frame(index: f64) -> [Event; 2] {
    let (prompt, node) = (PROMPT.to_owned(), "9".to_owned());
    let origin = ImageOrigin { prompt: prompt.clone(), node: node.clone(), display_node: node.clone() };
    let image =
        ImageFrame { origin: Some(origin), content_type: "image/png".into(), bytes: Bytes::from_static(b"png") };
    [Event::Progress { prompt: Some(prompt), node: Some(node), value: index, max: 2.0 }, Event::Image(image)]
}

pub(super) fn node_error(exception: &str) -> NodeError {
    NodeError { node: "2".into(), class: "KSampler".into(), exception: exception.into(), message: "no memory".into() }
}
