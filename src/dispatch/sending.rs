//! Sends a run to its backend: its input images first, then its graph with their names there.

use crate::comfy::{Accepted, Client, ExtraData, Refusal, SubmitError};
use crate::crash::{self, Point};
use crate::graph::Graph;
use crate::inputs::{Placed, Shelf, Unplaced};
use crate::job::{Failure, FailureCode, InputImages, Params, PromptId, Request};
use crate::pool::Backend;
use crate::secret::Secret;
use crate::tracker::{SubmitResult, Tracker, Watching, submit_result};
use crate::workflow::{BuildError, Built, Pair, build};
use std::sync::Arc;
use std::time::Duration;

/// How much longer than another one a run with images may take to be sent, besides bringing them: a prompt is refused in between,
/// and a backend asked whether it is well.
const TO_PLACE: Duration = Duration::from_mins(2);

/// How long looking for images on our own disk may take.
const TO_FIND: Duration = Duration::from_secs(10);

/// How long bringing all images of a run may take together, wherever one alone may not take longer.
const TO_BRING: Duration = Duration::from_mins(10);

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
    pub(super) watching: Watching,
    pub(super) prompt: PromptId,
    pub(super) ready: Ready,
    pub(super) shelf: Arc<Shelf>,
    /// The job's key for partner nodes.
    key: Option<Secret>,
    backend: String,
    client: Client,
    tracker: Tracker,
    /// Hears why a graph is refused.
    heed: Option<Heed>,
}

type Heed = Box<dyn Fn(&Graph, &Refusal) + Send + Sync>;

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

    /// Returns how long bringing all of its images may take: what they need together, and no longer than [`TO_BRING`] or than the
    /// operator allows for each.
    fn time_to_bring(&self, client: &Client) -> Duration {
        let uploads = self.images.values().flat_map(|image| {
            let mask = image.mask.as_ref().map(|mask| mask.alpha.as_ref().map_or(mask.bytes, |(_, bytes)| *bytes));
            std::iter::once(image.bytes).chain(mask)
        });
        let together = uploads.map(|bytes| client.time_to_upload(bytes)).fold(Duration::ZERO, Duration::saturating_add);
        together.min(TO_BRING.max(client.time_to_upload(0)))
    }
}

impl Sending {
    pub(super) fn new(
        backend: &Backend,
        watching: Watching,
        prompt: PromptId,
        ready: Ready,
        key: Option<Secret>,
        shelf: &Arc<Shelf>,
    ) -> Self {
        let (name, client, tracker) = (backend.name.clone(), backend.client.clone(), backend.tracker.clone());
        Self { watching, prompt, ready, shelf: Arc::clone(shelf), key, backend: name, client, tracker, heed: None }
    }

    /// Lets `heed` hear why its graph is refused, if it is.
    pub(super) fn heeding(self, heed: impl Fn(&Graph, &Refusal) + Send + Sync + 'static) -> Self {
        Self { heed: Some(Box::new(heed)), ..self }
    }

    /// Sends it, unless its run ends before, and says how that ended.
    pub(super) async fn send(self) -> SubmitResult {
        if self.ready.images.is_empty() {
            if self.watching.ended.is_cancelled() {
                return SubmitResult::GivenUp;
            }
            return submit_result(self.post(&self.ready.built).await);
        }
        let answer = match self.place_and_post().await {
            // What it was remembered to have it has lost: once more, and then all of it has been brought just now.
            Ok((Err(SubmitError::Refused(refusal)), true)) if has_bad_file(&refusal) => {
                self.shelf.forget(&self.backend, &self.ready.images);
                self.tracker.places_again(self.prompt.clone()).await;
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
        let placed = tokio::select! {
            // Whoever wished for them may be gone, and nobody counts what goes on.
            () = self.watching.ended.cancelled() => return Err(SubmitResult::GivenUp),
            placed = tokio::time::timeout(limit, placing) => placed,
        };
        let placed = placed.unwrap_or_else(|_| {
            let limit = humantime::format_duration(limit);
            Err(Unplaced::TooSlow(format!("its {} images were not there within {limit}", images.len())))
        });
        let placed = match placed {
            Ok(placed) => placed,
            Err(unplaced) => return Err(self.not_placed(&unplaced).await),
        };
        let built = build(workflow, &placed.joined(params))
            .map_err(|error| SubmitResult::Refused(Failure::new(FailureCode::Internal, error.to_string())))?;
        if !self.tracker.placed(self.prompt.clone()).await {
            return Err(SubmitResult::GivenUp);
        }
        Ok((self.post(&built).await, placed.is_from_memory))
    }

    /// A backend that cannot be reached leaves the job to another try; an image that it does not take may suit another backend.
    /// Whether a way that was too slow or the backend itself is to blame, the backend is asked. For our own disk it is not blamed.
    async fn not_placed(&self, unplaced: &Unplaced) -> SubmitResult {
        let text = unplaced.to_string();
        match unplaced {
            Unplaced::Unreachable(_) => SubmitResult::Unreachable(text),
            Unplaced::TooSlow(_) => match self.client.probe().await {
                Ok(_) => {
                    let what = "the input images could not be brought to the backend, which answers otherwise";
                    SubmitResult::NotPlaced(Failure::new(FailureCode::BackendLost, format!("{what}: {text}")))
                }
                Err(error) => SubmitResult::Unreachable(format!("{text}; {error}")),
            },
            Unplaced::Unread(_) => SubmitResult::NotPlaced(Failure::new(FailureCode::Internal, text)),
            Unplaced::TooLarge(_) => SubmitResult::Incompatible(Failure::new(FailureCode::Validation, text)),
            Unplaced::Unreadable(_) => SubmitResult::Refused(Failure::new(FailureCode::Validation, text)),
            Unplaced::Lost(_) => SubmitResult::Refused(Failure::new(FailureCode::Internal, text)),
        }
    }

    async fn post(&self, built: &Built) -> Result<Accepted, SubmitError> {
        crash::pass(Point::Submitting);
        let extra = ExtraData { api_key_comfy_org: self.key.as_ref() };
        let answer = self.client.submit_with(&built.graph, &self.watching.client_id, self.prompt.as_str(), extra).await;
        crash::pass(Point::Submitted);
        if let (Err(SubmitError::Refused(refusal)), Some(heed)) = (&answer, &self.heed) {
            heed(&built.graph, refusal);
        }
        answer
    }
}

fn has_bad_file(refusal: &Refusal) -> bool {
    refusal.problems.iter().any(|problem| problem.kind == BAD_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::InputImage;
    use crate::tracker::Desk;
    use crate::workflow::{Source, shipped};
    use tempfile::TempDir;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(30);
    const NOBODY: &str = "http://127.0.0.1:1";

    #[tokio::test]
    async fn a_run_that_has_ended_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody listens there, so what is sent is told from what is not.
        assert!(matches!(sending(NOBODY, &folder).send().await, SubmitResult::Unreachable(_)));
        let ended = sending(NOBODY, &folder);
        ended.watching.ended.cancel();
        assert_eq!(ended.send().await, SubmitResult::GivenUp);
    }

    #[tokio::test]
    async fn what_is_brought_for_a_run_that_ends_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut sending = sending(&format!("http://{}", listener.local_addr().unwrap()), &folder);
        let (name, image) = image(1);
        let (fan_out, rest) = image.sha256.as_str().split_at(2);
        let place = folder.path().join("blobs").join(fan_out);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join(rest), [0; 100]).unwrap();
        sending.ready.images.insert(name, image);
        let ended = sending.watching.ended.clone();
        let server = async {
            let (mut upload, _) = listener.accept().await.unwrap();
            assert!(upload.read(&mut [0; 16]).await.unwrap() > 0);
            ended.cancel();
            // Without an answer it reads on until the other side has gone.
            while upload.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
        };
        let both = futures_util::future::join(sending.send(), server);
        assert_eq!(tokio::time::timeout(PATIENCE, both).await.unwrap().0, SubmitResult::GivenUp);
    }

    #[test]
    fn all_images_of_a_run_together_have_an_upper_limit() {
        let client = |minutes| {
            let client = Client::new(NOBODY.parse().unwrap()).unwrap();
            client.with_upload_limit(Duration::from_mins(minutes))
        };
        let mut ready = sending(NOBODY, &tempfile::tempdir().unwrap()).ready;
        assert_eq!(ready.time_to_place(&client(1)), Duration::ZERO);
        ready.images = (0..1).map(image).collect();
        assert_eq!(ready.time_to_bring(&client(1)), Duration::from_mins(1) + Duration::from_secs(256));
        ready.images = (0..16).map(image).collect();
        assert_eq!(ready.time_to_bring(&client(1)), TO_BRING);
        assert_eq!(ready.time_to_bring(&client(30)), Duration::from_mins(30), "the operator said so");
    }

    fn image(number: u64) -> (String, InputImage) {
        let (sha256, bytes) = (format!("{number:064}"), 32 << 20);
        let image =
            format!(r#"{{"sha256":"{sha256}","bytes":{bytes},"content_type":"image/png","width":1,"height":1}}"#);
        (format!("image{number}"), serde_json::from_str(&image).unwrap())
    }

    fn sending(url: &str, folder: &TempDir) -> Sending {
        let (tracker, _) = Tracker::channel();
        let client = Client::new(url.parse().unwrap()).unwrap();
        let backend = Backend::new("gpu", client, tracker, Arc::new(Desk::default()));
        let watching = Watching { client_id: "client".into(), ended: tokio_util::sync::CancellationToken::new() };
        let pair = &shipped::PAIRS[0];
        let (config, template) = (pair.config.to_owned(), pair.template.to_owned());
        let source = Source { hash: String::new(), name: pair.name.into(), config, template };
        let second = r#"{"secs":1,"nanos":0}"#;
        let limits = format!(r#"{{"queue":{second},"start":{second},"silence":{second},"run":{second}}}"#);
        let request = format!(r#"{{"workflow":"canvas","revision":"","params":{{}},"limits":{limits}}}"#);
        let workflow = Arc::new(Pair::from_source(&source).unwrap());
        let ready = Ready::build(workflow, &serde_json::from_str(&request).unwrap()).unwrap();
        Sending::new(&backend, watching, PromptId("prompt".into()), ready, None, &Arc::new(Shelf::over(folder.path())))
    }
}
