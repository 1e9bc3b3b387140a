//! What others say to the tracker of a backend, and the handle by which they do.

use super::machine::{Input, Run, SubmitResult};
use crate::job::{Job, JobId, PromptId};
use tokio::sync::{mpsc, oneshot};

/// What others ask of a backend's tracker.
#[derive(Debug)]
pub enum Command {
    /// Watch a run that is about to be submitted, or was submitted in an earlier life of the gateway.
    Watch {
        /// The run.
        run: Box<Run>,
        /// Its job.
        job: Box<Job>,
        /// Answered with the client id to submit under; none while there is no socket.
        watching: oneshot::Sender<Option<String>>,
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

    /// Has a run watched. Returns the client id to submit under; none where there is no socket or the tracker ended.
    pub async fn watch(&self, run: Run, job: Job) -> Option<String> {
        let (watching, answer) = oneshot::channel();
        let command = Command::Watch { run: Box::new(run), job: Box::new(job), watching };
        self.commands.send(command).await.ok()?;
        answer.await.ok()?
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
