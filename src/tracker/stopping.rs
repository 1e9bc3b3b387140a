//! Stops a prompt on its backend, and comes back until it is gone: a backend that did not answer just now may go on with
//! it afterwards. Always by the prompt's own id, so that nobody else's run is hit.

use super::desk::Desk;
use super::limits::{LATE_PAUSE, LET_GO_LIMIT, LONGEST_STOP_PAUSE, STOP_PATIENCE, STOP_PAUSE};
use crate::clock::Clock;
use crate::comfy::{Client, ClientError};
use crate::job::PromptId;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// A prompt that shall stop, and where.
pub(super) struct Stopping<'a> {
    pub(super) client: &'a Client,
    pub(super) clock: &'a dyn Clock,
    pub(super) desk: &'a Desk,
    pub(super) prompt: &'a PromptId,
}

/// What the backend's queue says of a prompt that was told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Waiting,
    Running,
}

impl Stopping<'_> {
    /// Tells the backend once.
    pub(super) async fn once(&self) {
        if let Err(error) = self.tell().await {
            debug!(%error, "the prompt could not be stopped on the backend");
        }
    }

    /// Tells the backend until the prompt is gone. What is not there may still arrive for as long as `late` says.
    pub(super) async fn until_gone(&self, late: Duration, stop: &CancellationToken) {
        let began = self.clock.now();
        let (mut answered_at, mut pause) = (began, STOP_PAUSE);
        loop {
            let now = self.clock.now();
            let told = tokio::select! {
                () = stop.cancelled() => return,
                told = self.tell() => told,
            };
            match told {
                Ok(Left::Nothing) if now >= began + late => break,
                Ok(Left::Nothing) => pause = LATE_PAUSE,
                Ok(Left::Running) if now >= began + LET_GO_LIMIT => {
                    answered_at = now;
                    self.desk.does_not_let_go(self.prompt);
                }
                Ok(Left::Running | Left::Waiting) => answered_at = now,
                Err(error) if now >= answered_at + STOP_PATIENCE => {
                    warn!(%error, prompt = %self.prompt, "the prompt could not be stopped on the backend");
                    break;
                }
                Err(error) => debug!(%error, prompt = %self.prompt, "the prompt is not stopped yet"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(now + pause) => pause = (pause * 2).min(LONGEST_STOP_PAUSE),
            }
        }
        self.desk.has_let_go(self.prompt);
    }

    /// Deletes the prompt where it waits and interrupts it where it runs, then looks what is left of it.
    async fn tell(&self) -> Result<Left, ClientError> {
        let id = self.prompt.as_str();
        if let Err(error) = self.client.delete_pending(id).await {
            debug!(%error, "the prompt could not be deleted from the backend's queue");
        }
        self.client.interrupt(id).await?;
        let queue = self.client.queue().await?;
        let is_in = |prompts: &[String]| prompts.iter().any(|prompt| prompt == id);
        Ok(if is_in(&queue.running) {
            Left::Running
        } else if is_in(&queue.pending) {
            Left::Waiting
        } else {
            Left::Nothing
        })
    }
}
