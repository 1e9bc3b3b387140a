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

/// How much longer than another one a run with images may take to be sent, besides bringing them: a prompt is refused in between,
/// and a backend asked whether it is well.
const TO_PLACE: Duration = Duration::from_mins(2);

/// How long looking for images on our own disk may take.
const TO_FIND: Duration = Duration::from_secs(10);

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

    /// Returns how much longer than others it may take to be sent through `client`: its images are brought at most twice.
    pub(super) fn time_to_place(&self, client: &Client) -> Duration {
        if self.images.is_empty() { Duration::ZERO } else { TO_PLACE + self.time_to_bring(client) * 2 }
    }

    /// Returns how long bringing all of its images may take.
    fn time_to_bring(&self, client: &Client) -> Duration {
        let uploads = self.images.values().flat_map(|image| {
            let mask = image.mask.as_ref().map(|mask| mask.alpha.as_ref().map_or(mask.bytes, |(_, bytes)| *bytes));
            std::iter::once(image.bytes).chain(mask)
        });
        uploads.map(|bytes| client.time_to_upload(bytes)).sum()
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
        let limit = self.ready.time_to_bring(&self.client) + TO_FIND;
        let placed = tokio::time::timeout(limit, placing).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(limit);
            Err(Unplaced::TooSlow(format!("its {} images were not there within {limit}", images.len())))
        });
        let placed = match placed {
            Ok(placed) => placed,
            Err(unplaced) => return Err(self.not_placed(&unplaced).await),
        };
        let built = build(workflow, &placed.joined(params))
            .map_err(|error| SubmitResult::Refused(Failure::new(FailureCode::Internal, error.to_string())))?;
        Ok((self.post(&built).await, placed.is_from_memory))
    }

    /// A backend that cannot be reached leaves the job to another try; an image that it does not take may suit another backend.
    /// Whether a way that was too slow or the backend itself is to blame, the backend is asked.
    async fn not_placed(&self, unplaced: &Unplaced) -> SubmitResult {
        let text = unplaced.to_string();
        match unplaced {
            Unplaced::Unreachable(_) => SubmitResult::Unreachable(text),
            Unplaced::TooSlow(_) => match self.client.probe().await {
                Ok(_) => SubmitResult::NotPlaced(text),
                Err(error) => SubmitResult::Unreachable(format!("{text}; {error}")),
            },
            Unplaced::TooLarge(_) => SubmitResult::Incompatible(Failure::new(FailureCode::Validation, text)),
            Unplaced::Unreadable(_) => SubmitResult::Refused(Failure::new(FailureCode::Validation, text)),
            Unplaced::Lost(_) => SubmitResult::Refused(Failure::new(FailureCode::Internal, text)),
        }
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
