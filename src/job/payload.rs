//! The final object of a job, frozen once: the webhook's body and the answer of `GET /jobs/{id}` are the same bytes.
//!
//! Images are not in it: a body is text with holes, and each hole is a blob that is written as base64 when the body
//! is sent. Blobs are named by their content and never change, so every sending gives the same bytes.

use super::{BlobId, Job, JobState, Outcome, Output, OutputKind};
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A piece of a frozen body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Bytes as they are.
    Text(String),
    /// A blob of this many bytes, sent as padded base64.
    Base64(BlobId, u64),
}

impl Segment {
    fn sent_bytes(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Base64(_, bytes) => bytes.div_ceil(3) * 4,
        }
    }
}

/// A body whose bytes are settled, though the images in it are only named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrozenBody {
    /// The pieces in order.
    pub segments: Vec<Segment>,
}

impl FrozenBody {
    /// Returns the exact `content-length` of the body.
    pub fn content_length(&self) -> u64 {
        self.segments.iter().map(Segment::sent_bytes).sum()
    }

    /// Returns how many bytes of text the body has: what it takes in memory while it is not sent.
    pub fn text_bytes(&self) -> u64 {
        let text = |segment: &Segment| match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::Base64(..) => 0,
        };
        self.segments.iter().map(text).sum()
    }

    /// Returns the blobs that the body needs.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobId> {
        self.blobs_with_sizes().map(|(blob, _)| blob)
    }

    /// Returns the blobs that the body needs, and how many bytes of each.
    pub fn blobs_with_sizes(&self) -> impl Iterator<Item = (&BlobId, u64)> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Text(_) => None,
            Segment::Base64(blob, bytes) => Some((blob, *bytes)),
        })
    }
}

/// How long a job waited and ran, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Timing {
    /// From acceptance to the start of execution, or to the end where it never started.
    pub queued_ms: u64,
    /// From the start of execution to the end.
    pub run_ms: u64,
}

impl Timing {
    /// Measures `job` up to `until`.
    pub fn of(job: &Job, until: Timestamp) -> Self {
        let started = job.started_at.unwrap_or(until);
        Self { queued_ms: started.millis_since(job.created_at), run_ms: until.millis_since(started) }
    }
}

/// Freezes the final object of `job`, which ended with `outcome` at `now`; outputs are linked below `base_url`.
pub fn freeze(job: &Job, outcome: &Outcome, now: Timestamp, base_url: &str) -> FrozenBody {
    match outcome {
        Outcome::Succeeded(outputs) => success(job, outputs, now, base_url),
        Outcome::Failed(failure, outputs) => {
            let mut more = common(job, outputs, now, base_url);
            more.insert("type".into(), json!("generation.failure"));
            more.insert("code".into(), json!(failure.code));
            if let Some(node) = &failure.node {
                more.insert("node".into(), json!(node));
            }
            failed(job, &failure.message, more)
        }
        Outcome::Cancelled => {
            let mut more = common(job, &[], now, base_url);
            more.insert("type".into(), json!("generation.failure"));
            more.insert("code".into(), json!("cancelled"));
            failed(job, "the job was cancelled by its caller", more)
        }
    }
}

/// Describes a job that has not ended: how far it is and what was asked for.
pub fn live_view(job: &Job, now: Timestamp) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("status".into(), json!(job.state.as_str()));
    view.insert("prompt_id".into(), json!(job.id.to_string()));
    view.insert("workflow".into(), json!(job.request.workflow));
    if let Some(seed) = job.request.seed {
        view.insert("seed".into(), json!(seed));
    }
    view.insert("created_at".into(), json!(job.created_at.rfc3339()));
    if let Some(started) = job.started_at {
        view.insert("started_at".into(), json!(started.rfc3339()));
    }
    view.insert("timing".into(), json!(Timing::of(job, job.ended_at.unwrap_or(now))));
    if let (Some(run), JobState::Submitted | JobState::Running) = (&job.run, job.state) {
        view.insert("run".into(), json!({ "number": run.number, "backend": run.backend }));
    }
    if job.cancel_requested && !job.state.is_final() {
        view.insert("cancel_requested".into(), json!(true));
    }
    if let Some(metadata) = &job.request.metadata {
        view.insert("metadata".into(), metadata.clone());
    }
    view
}

fn success(job: &Job, outputs: &[Output], now: Timestamp, base_url: &str) -> FrozenBody {
    let mut more = common(job, outputs, now, base_url);
    more.insert("type".into(), json!("generation.success"));
    let mut text = format!(r#"{{"status":"success","prompt_id":"{}","images":["#, job.id);
    let mut segments = Vec::new();
    let images = outputs.iter().filter(|output| output.kind() == OutputKind::Image);
    for (place, image) in images.enumerate() {
        text.push_str(if place == 0 { "\"" } else { ",\"" });
        segments.push(Segment::Text(std::mem::take(&mut text)));
        segments.push(Segment::Base64(image.sha256.clone(), image.bytes));
        text.push('"');
    }
    text.push(']');
    segments.push(Segment::Text(text + &tail(more)));
    FrozenBody { segments }
}

fn failed(job: &Job, error: &str, more: Map<String, Value>) -> FrozenBody {
    let text = format!(
        r#"{{"status":"failure","prompt_id":"{}","images":null,"error":{}{}"#,
        job.id,
        Value::from(error),
        tail(more)
    );
    FrozenBody { segments: vec![Segment::Text(text)] }
}

fn common(job: &Job, outputs: &[Output], now: Timestamp, base_url: &str) -> Map<String, Value> {
    let mut more = Map::new();
    more.insert("timestamp".into(), json!(now.rfc3339()));
    more.insert("workflow".into(), json!(job.request.workflow));
    if let Some(seed) = job.request.seed {
        more.insert("seed".into(), json!(seed));
    }
    let outputs: Vec<Value> = outputs
        .iter()
        .enumerate()
        .map(|(place, output)| {
            let mut entry = json!({
                "node_id": output.node_id,
                "index": output.index,
                "content_type": output.content_type,
                "bytes": output.bytes,
                "sha256": output.sha256,
                "url": format!("{base_url}/jobs/{}/outputs/{place}", job.id),
            });
            if let Some(filename) = &output.filename {
                entry["filename"] = json!(filename);
            }
            entry
        })
        .collect();
    more.insert("outputs".into(), Value::Array(outputs));
    more.insert("timing".into(), json!(Timing::of(job, now)));
    if let Some(metadata) = &job.request.metadata {
        more.insert("metadata".into(), metadata.clone());
    }
    more
}

/// Writes the members of `more` behind an open object and closes it.
fn tail(more: Map<String, Value>) -> String {
    let object = Value::Object(more).to_string();
    let members = object.strip_prefix('{').expect("an object begins with a brace");
    format!(",{members}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Failure, FailureCode, JobId, Limits, Params, Request};
    use std::time::Duration;

    #[test]
    fn a_success_has_comfylites_fields_first_and_holes_for_the_images() {
        let body = freeze(&job(), &Outcome::Succeeded(vec![png("9", 0, 5), png("9", 1, 3)]), at(3_000), "http://gw");
        let text = rendered(&body);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(
            text.starts_with(r#"{"status":"success","prompt_id":"00000000-0001-7000-8000-000000000000","images":["#)
        );
        assert_eq!(value["images"], json!(["xxxxxxxx", "xxxx"]));
        assert_eq!(value["type"], "generation.success");
        assert_eq!(value["seed"], json!(u64::MAX));
        assert_eq!(value["timing"], json!({"queued_ms": 1_000, "run_ms": 1_000}));
        assert_eq!(value["outputs"][1]["index"], 1);
        assert!(value["outputs"][1]["url"].as_str().unwrap().ends_with("/outputs/1"));
        assert_eq!(body.content_length(), text.len() as u64);
    }

    #[test]
    fn a_failure_has_null_images_and_the_code() {
        let failure = Failure::new(FailureCode::TimeoutRun, "it ran for \"too\" long");
        let text = rendered(&freeze(&job(), &Outcome::Failed(failure, vec![]), at(3_000), ""));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["status"], "failure");
        assert_eq!(value["images"], Value::Null);
        assert_eq!(value["error"], "it ran for \"too\" long");
        assert_eq!(value["code"], "timeout_run");
        assert_eq!(value["metadata"], json!({"order": 7}));
    }

    #[test]
    fn a_success_without_images_has_an_empty_list() {
        let text = rendered(&freeze(&job(), &Outcome::Succeeded(vec![]), at(3_000), ""));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["images"], json!([]));
    }

    fn rendered(body: &FrozenBody) -> String {
        body.segments
            .iter()
            .map(|segment| match segment {
                Segment::Text(text) => text.clone(),
                Segment::Base64(_, bytes) => "x".repeat(usize::try_from(bytes.div_ceil(3) * 4).unwrap()),
            })
            .collect()
    }

    fn png(node: &str, index: u32, bytes: u64) -> Output {
        Output {
            node_id: node.into(),
            index,
            content_type: "image/png".into(),
            filename: None,
            bytes,
            sha256: BlobId("ab".repeat(32)),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn job() -> Job {
        Job {
            id: JobId::from_bytes([0, 0, 0, 0, 0, 1, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            tenant: crate::job::Tenant::default(),
            request: Request {
                workflow: "canvas".into(),
                revision: "r".into(),
                params: Params::new(),
                seed: Some(u64::MAX),
                expected_images: Some(2),
                webhook_url: None,
                webhook_events: std::collections::BTreeSet::new(),
                delivery: crate::job::DeliveryMode::default(),
                strip_metadata: false,
                conversion: None,
                metadata: Some(json!({"order": 7})),
                priority: 0,
                limits: Limits {
                    queue: Duration::from_secs(1),
                    start: Duration::from_secs(1),
                    silence: Duration::from_secs(1),
                    run: Duration::from_secs(1),
                },
            },
            state: JobState::Running,
            run: None,
            cancel_requested: false,
            created_at: at(1_000),
            submitted_at: Some(at(1_500)),
            started_at: Some(at(2_000)),
            ended_at: None,
        }
    }
}
