//! What a backend is asked and told about one prompt, always by the prompt's own id.

use super::evidence::{self, Evidence};
use super::machine::SubmitResult;
use crate::comfy::{Accepted, Client, ClientError, SubmitError};
use crate::job::PromptId;
use tracing::debug;

/// Looks where the prompt is. The queue before the history: in the other order one that ends in between would be in neither.
pub(super) async fn look_up(client: &Client, prompt: &PromptId) -> Evidence {
    let queue = match client.queue().await {
        Ok(queue) => queue,
        Err(error) => return no_answer(&error),
    };
    if let Some(evidence) = evidence::from_queue(&queue, prompt) {
        return evidence;
    }
    match client.history(prompt.as_str()).await {
        Ok(Some(entry)) => Evidence::Ended(entry),
        Ok(None) => Evidence::Absent,
        Err(error) => no_answer(&error),
    }
}

fn no_answer(error: &ClientError) -> Evidence {
    if matches!(error, ClientError::Unreachable(_)) { Evidence::Unreachable } else { Evidence::Hung }
}

/// Deletes the prompt where it waits and interrupts it where it runs: by its own id, so nobody else's run is hit.
pub(super) async fn stop_upstream(client: &Client, prompt: &PromptId) {
    if let Err(error) = client.delete_pending(prompt.as_str()).await {
        debug!(%error, "the prompt could not be deleted from the backend's queue");
    }
    if let Err(error) = client.interrupt(prompt.as_str()).await {
        debug!(%error, "the prompt could not be interrupted on the backend");
    }
}

/// Turns ComfyUI's answer to `POST /prompt` into what the machine takes in.
pub fn submit_result(answer: Result<Accepted, SubmitError>) -> SubmitResult {
    match answer {
        Ok(accepted) => SubmitResult::Accepted(accepted.to_warning()),
        Err(SubmitError::Refused(refusal)) if refusal.may_pass_elsewhere() => {
            SubmitResult::Incompatible(refusal.to_failure())
        }
        Err(SubmitError::Refused(refusal)) => SubmitResult::Refused(refusal.to_failure()),
        Err(SubmitError::Unreachable(reason)) => SubmitResult::Unreachable(reason),
        Err(SubmitError::Ambiguous(reason)) => SubmitResult::Ambiguous(reason),
        Err(SubmitError::Unanswered(reason)) => SubmitResult::Unanswered(reason),
    }
}
