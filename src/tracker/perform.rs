//! Does what the machine of a run answers with: each effect is a task of its own that reports back.

use super::ending::{self, End, Return};
use super::evidence::Evidence;
use super::harvest::{SlotId, SlotResult, Source};
use super::machine::{Effect, Input};
use super::run::{Room, Watched};
use super::storing::Storing;
use super::upstream::{look_up, stop_upstream};
use crate::clock::Timestamp;
use crate::job::{FailureCode, Happening, Milestone, News, Profile, PromptId, RunEnd, Timing};
use crate::media::Treatment;
use crate::telemetry::job_span;
use std::sync::Arc;
use tracing::{debug, info, warn};

impl Room {
    /// Begins to do what `effect` says for the run of `prompt`.
    pub(super) fn perform(&mut self, prompt: &PromptId, effect: Effect, now: Timestamp) {
        let Some(watched) = self.watched.get_mut(prompt) else { return };
        let (id, number) = (watched.job.id, watched.run.plan().number);
        let span = job_span(id);
        let _in_span = span.enter();
        match effect {
            Effect::Started => {
                let (job, backend) = (&watched.job, self.parts.backend.as_str());
                self.parts.tap.count(Milestone::Began { job, run: number, backend, at: now });
                watched.job.started_at = Some(now);
                self.last_begun = Some(now);
                self.parts.desk.runs_prompts();
                self.tell(prompt, now, |_| Some(News::Started));
                let store = Arc::clone(&self.parts.store);
                self.parts.lifecycle.spawn("note start", async move {
                    if let Err(error) = store.started(id, number, now).await {
                        // Only a look at the job shows it; its end says when it began all the same.
                        debug!(%error, "the start was not noted");
                    }
                });
            }
            Effect::LookUp => {
                let (parts, tracker, prompt) = (self.parts.clone(), self.tracker.clone(), prompt.clone());
                self.parts.lifecycle.spawn("look up", async move {
                    let evidence = parts.lifecycle.contain("look up", look_up(&parts.client, &prompt)).await;
                    tracker.happened(prompt, Input::Evidence(evidence.unwrap_or(Evidence::Hung))).await;
                });
            }
            Effect::Reconnect => self.replace_socket(),
            // One that is given up is stopped until it is gone; while a run is followed, its machine repeats this.
            Effect::StopUpstream if watched.run.is_done() => self.orphans.add(prompt.clone(), now),
            Effect::StopUpstream => self.stop_upstream(prompt.clone()),
            Effect::Collect(slot, source) => {
                let treatment = Treatment::of(&watched.job.request);
                self.collect(prompt.clone(), slot, source, treatment);
            }
            Effect::Finish(outcome) => {
                info!(backend = %self.parts.backend, state = outcome.state().as_str(), "run ended");
                self.parts.count_over(watched, RunEnd::of(&outcome), now);
                let (parts, end) = (self.parts.clone(), watched.end(now));
                self.parts.lifecycle.spawn("finish", async move { ending::finish(&parts, &end, outcome).await });
            }
            Effect::Requeue { failure, counts } => {
                // What a node says may repeat what the caller sent. It is the job's, and not the log's.
                let said = (failure.code != FailureCode::NodeError).then_some(failure.message.as_str());
                let reason = said.or(watched.run.fault());
                warn!(backend = %self.parts.backend, reason, counts, "run goes back into the queue");
                self.parts.count_over(watched, RunEnd::Again, now);
                self.parts.tap.tell(|| watched.tapped(now, Happening::Again { reason: failure.message }));
                let (parts, end) = (self.parts.clone(), watched.end(now));
                let how = Return::Again { counts };
                self.parts.lifecycle.spawn("requeue", async move { ending::put_back(&parts, &end, &how).await });
            }
            Effect::Elsewhere { failure, counts } => {
                // What ComfyUI says repeats what the caller sent. It is the job's, and not the log's.
                let class = failure.node.as_ref().map(|node| node.class.as_str());
                warn!(backend = %self.parts.backend, node.class = class, "the backend cannot run this job");
                self.parts.count_over(watched, RunEnd::Elsewhere, now);
                self.parts.tap.tell(|| watched.tapped(now, Happening::Again { reason: failure.message.clone() }));
                let (parts, end) = (self.parts.clone(), watched.end(now));
                let how = Return::Elsewhere { reason: failure.message, counts };
                self.parts.lifecycle.spawn("pass on", async move { ending::put_back(&parts, &end, &how).await });
            }
        }
    }

    /// Gives up a socket that hears nothing. It is no socket any more from this moment on, however long its end takes:
    /// whatever is submitted under its name would be lost too.
    fn replace_socket(&mut self) {
        let reason = "the socket was deaf";
        if self.client_id.take().is_some() {
            warn!(backend = %self.parts.backend, reason, "replacing the connection to ComfyUI");
        }
        self.parts.desk.disconnected(reason);
        self.parts.reconnect.notify_one();
    }

    fn stop_upstream(&self, prompt: PromptId) {
        let client = self.parts.client.clone();
        self.parts.lifecycle.spawn("stop upstream", async move { stop_upstream(&client, &prompt).await });
    }

    fn collect(&self, prompt: PromptId, slot: SlotId, source: Source, treatment: Treatment) {
        let (parts, tracker) = (self.parts.clone(), self.tracker.clone());
        self.parts.lifecycle.spawn("collect", async move {
            let (client, clock) = (&parts.client, parts.clock.as_ref());
            let storing = Storing { blobs: &parts.blobs, client, clock, max_output: parts.max_output, treatment };
            let stop = parts.lifecycle.stop();
            let stored = parts.lifecycle.contain("collect", storing.store(&source, &stop)).await;
            if let Some(result) = stored.unwrap_or(Some(SlotResult::Failed)) {
                tracker.happened(prompt, Input::Stored(slot, result)).await;
            }
        });
    }
}

impl Watched {
    fn end(&self, at: Timestamp) -> End {
        let plan = self.run.plan();
        let (run, prompt) = (plan.number, plan.prompt.clone());
        let queued_ms = Timing::of(&self.job, at).queued_ms;
        let profile = self.run.profile(at).map(|profile| Profile { queued_ms, ..profile });
        End { job: self.job.clone(), run, prompt, at, profile, _held: Arc::clone(&self.held) }
    }
}
