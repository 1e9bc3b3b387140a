//! Sends a run to its backend: its input images first, then its graph with their names there.

use super::backend::Backend;
use crate::comfy::{Accepted, Client, ExtraData, Refusal, SubmitError};
use crate::crash::{self, Point};
use crate::inputs::{Placed, Shelf, Unplaced};
use crate::job::{Failure, FailureCode, InputImages, Params, PromptId, Request};
use crate::secret::Secret;
use crate::tracker::{SubmitResult, submit_result};
use crate::workflow::{BuildError, Built, Pair, build};
use std::sync::Arc;
use std::time::Duration;

/// How long bringing the images of one run may take.
const PLACING: Duration = Duration::from_mins(1);

/// How much longer than another one a run with images may take to be sent: its images are brought at most twice, and a prompt is
/// refused in between.
pub(super) const TO_PLACE: Duration = Duration::from_mins(3);

/// ComfyUI's word for an input that a node does not find good, as `LoadImage` a file that is not there.
const BAD_FILE: &str = "custom_validation_failed";

/// A job's graph, as far as it is known before it is known what its images are called on a backend.
pub(super) struct Ready {
    pub(super) built: Built,
    workflow: Arc<Pair>,
    params: Params,
    images: InputImages,
}

/// A run that is watched and to be sent.
pub(super) struct Sending {
    pub(super) client_id: String,
    pub(super) prompt: PromptId,
    pub(super) ready: Ready,
    pub(super) shelf: Arc<Shelf>,
    /// The job's key for partner nodes.
    key: Option<Secret>,
    backend: String,
    client: Client,
}

impl Ready {
    /// Builds the graph of a request.
    pub(super) fn build(workflow: Arc<Pair>, request: &Request) -> Result<Self, BuildError> {
        let Request { params, images, .. } = request.clone();
        let built = build(&workflow, &Placed::expected(&images).joined(&params))?;
        Ok(Self { built, workflow, params, images })
    }

    /// Returns how much longer than others it may take to be sent.
    pub(super) fn time_to_place(&self) -> Duration {
        if self.images.is_empty() { Duration::ZERO } else { TO_PLACE }
    }
}

impl Sending {
    pub(super) fn new(
        backend: &Backend,
        client_id: String,
        prompt: PromptId,
        ready: Ready,
        key: Option<Secret>,
        shelf: &Arc<Shelf>,
    ) -> Self {
        let (name, client) = (backend.name.clone(), backend.client.clone());
        Self { client_id, prompt, ready, shelf: Arc::clone(shelf), key, backend: name, client }
    }

    /// Sends it and says how that ended.
    pub(super) async fn send(self) -> SubmitResult {
        if self.ready.images.is_empty() {
            return submit_result(self.post(&self.ready.built).await);
        }
        let answer = match self.place_and_post().await {
            // What it was remembered to have it has lost: once more, and then all of it has been brought just now.
            Ok((Err(SubmitError::Refused(refusal)), true)) if has_bad_file(&refusal) => {
                self.shelf.forget(&self.backend, &self.ready.images);
                self.place_and_post().await
            }
            answer => answer,
        };
        answer.map_or_else(|failed| failed, |(answer, _)| submit_result(answer))
    }

    /// Returns the answer to the prompt, and whether some image was only remembered to be there.
    async fn place_and_post(&self) -> Result<(Result<Accepted, SubmitError>, bool), SubmitResult> {
        let Ready { workflow, params, images, .. } = &self.ready;
        let placing = self.shelf.place(&self.backend, &self.client, images);
        let placed = match tokio::time::timeout(PLACING, placing).await {
            Ok(placed) => placed.map_err(|unplaced| not_placed(&unplaced))?,
            Err(_) => return Err(SubmitResult::Unreachable("bringing the input images took too long".into())),
        };
        let built = build(workflow, &placed.joined(params))
            .map_err(|error| SubmitResult::Refused(Failure::new(FailureCode::Internal, error.to_string())))?;
        Ok((self.post(&built).await, placed.is_from_memory))
    }

    async fn post(&self, built: &Built) -> Result<Accepted, SubmitError> {
        crash::pass(Point::Submitting);
        let extra = ExtraData { api_key_comfy_org: self.key.as_ref() };
        let answer = self.client.submit_with(&built.graph, &self.client_id, self.prompt.as_str(), extra).await;
        crash::pass(Point::Submitted);
        answer
    }
}

fn has_bad_file(refusal: &Refusal) -> bool {
    refusal.problems.iter().any(|problem| problem.kind == BAD_FILE)
}

/// A backend that cannot be reached leaves the job to another try; an image that it does not take may suit another backend.
fn not_placed(unplaced: &Unplaced) -> SubmitResult {
    let text = unplaced.to_string();
    match unplaced {
        Unplaced::Unreachable(_) => SubmitResult::Unreachable(text),
        Unplaced::TooLarge(_) => SubmitResult::Incompatible(Failure::new(FailureCode::Validation, text)),
        Unplaced::Unreadable(_) => SubmitResult::Refused(Failure::new(FailureCode::Validation, text)),
        Unplaced::Lost(_) => SubmitResult::Refused(Failure::new(FailureCode::Internal, text)),
    }
}
