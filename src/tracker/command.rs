//! What others say to the tracker of a backend, and the handle by which they do.

use super::machine::{Input, Run, SubmitResult};
use crate::job::{Job, JobId, PromptId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What others ask of a backend's tracker.
#[derive(Debug)]
pub enum Command {
    /// Watch a run that is about to be submitted, or was submitted in an earlier life of the gateway.
    Watch {
        /// The run.
        run: Box<Run>,
        /// Its job.
        job: Box<Job>,
        /// Answered with what it is submitted with; none while there is no socket.
        watching: oneshot::Sender<Option<Watching>>,
    },
    /// The input images of a run are at its backend.
    Placed {
        /// The run's prompt id.
        prompt: PromptId,
        /// Answered with whether the run is still to be sent; from then on it counts as sent.
        sends: oneshot::Sender<bool>,
    },
    /// Something happened to a run; what the units report comes this way too.
    Happened {
        /// The run's prompt id.
        prompt: PromptId,
        /// What happened.
        input: Box<Input>,
    },
    /// The caller wants a job cancelled.
    Cancel(JobId),
    /// A backend that rested was asked whether it is well again.
    Asked(Result<(), String>),
}

/// What a run that is watched is submitted with.
#[derive(Clone, Debug)]
pub struct Watching {
    /// The client id to submit under.
    pub client_id: String,
    /// Cancelled when the run is not watched any more, however it ended: then it must not be sent.
    pub ended: CancellationToken,
}

/// Speaks to the tracker of one backend.
#[derive(Clone, Debug)]
pub struct Tracker {
    commands: mpsc::Sender<Command>,
}

impl Tracker {
    /// Makes the handle and the end that the tracker's task reads.
    pub fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(1024);
        (Self { commands }, inbox)
    }

    /// Has a run watched. Returns what to submit it with; none where there is no socket or the tracker ended.
    pub async fn watch(&self, run: Run, job: Job) -> Option<Watching> {
        let (watching, answer) = oneshot::channel();
        let command = Command::Watch { run: Box::new(run), job: Box::new(job), watching };
        self.commands.send(command).await.ok()?;
        answer.await.ok()?
    }

    /// Tells that the input images of a run are brought to its backend once more.
    pub async fn places_again(&self, prompt: PromptId) {
        self.happened(prompt, Input::Placing(true)).await;
    }

    /// Tells that they are there. Returns whether the run is still to be sent; if so, it is taken for sent from now on.
    pub async fn placed(&self, prompt: PromptId) -> bool {
        let (sends, answer) = oneshot::channel();
        self.commands.send(Command::Placed { prompt, sends }).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Tells how `POST /prompt` ended.
    pub async fn submitted(&self, prompt: PromptId, result: SubmitResult) {
        self.happened(prompt, Input::Submitted(result)).await;
    }

    /// Tells that the caller wants a job cancelled.
    pub async fn cancel(&self, job: JobId) {
        // A tracker that has ended needs no telling: the wish is in the store and is read at the next start.
        let _ = self.commands.send(Command::Cancel(job)).await;
    }

    pub(super) async fn asked(&self, answer: Result<(), String>) {
        // A tracker that has ended asks nothing any more.
        let _ = self.commands.send(Command::Asked(answer)).await;
    }

    pub(super) async fn happened(&self, prompt: PromptId, input: Input) {
        let _ = self.commands.send(Command::Happened { prompt, input: Box::new(input) }).await;
    }
}
