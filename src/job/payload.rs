//! The final object of a job, frozen once: the webhook's body and the answer of `GET /jobs/{id}` are the same bytes.
//!
//! How its images reach the receiver is the caller's wish, and the operator's where they are too large to be in it.

use super::input::described;
use super::{DeliveryMode, FrozenBody, Job, JobState, LinkKey, Outcome, Output, OutputKind, Profile, Segment};
use crate::clock::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The largest body that has its images in it, where nobody says otherwise.
const INLINE_MAX: u64 = 32 << 20;
/// How long links hold, where nobody says otherwise.
const LINK_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// What bodies are written by, the same for all jobs.
#[derive(Debug)]
pub struct BodyRules {
    /// What links begin with, such as `https://gateway.example`; without a slash at the end.
    pub base_url: String,
    /// Signs the links.
    pub links: LinkKey,
    /// How long after a job's end its links hold.
    pub link_lifetime: Duration,
    /// The most bytes that a body may have with its images in it; a larger one is written without them.
    pub inline_max: u64,
}

impl BodyRules {
    /// Returns the usual rules.
    pub fn new(base_url: impl Into<String>, links: LinkKey) -> Self {
        Self { base_url: base_url.into(), links, link_lifetime: LINK_LIFETIME, inline_max: INLINE_MAX }
    }

    /// Returns the link to an output of a job that is made now.
    pub fn url(&self, job: &Job, place: usize, now: Timestamp) -> String {
        let expires = (now + self.link_lifetime).millis().div_euclid(1000);
        let query = self.links.query(job.id, place, expires);
        format!("{}/jobs/{}/outputs/{place}?{query}", self.base_url, job.id)
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

/// Freezes the final object of `job`, which ended with `outcome` at `now` and without a run.
pub fn freeze(job: &Job, outcome: &Outcome, now: Timestamp, rules: &BodyRules) -> FrozenBody {
    freeze_run(job, outcome, None, now, rules)
}

/// Freezes the final object of `job`, which ended with `outcome` at `now`, and says how its last run went.
pub fn freeze_run(
    job: &Job,
    outcome: &Outcome,
    profile: Option<&Profile>,
    now: Timestamp,
    rules: &BodyRules,
) -> FrozenBody {
    let common = |outputs: &[Output]| {
        let mut more = common(job, outputs, now, rules);
        if let Some(profile) = profile {
            more.insert("profile".into(), profile.brief());
        }
        more
    };
    match outcome {
        Outcome::Succeeded(outputs) => success(job, outputs, common(outputs), rules),
        Outcome::Failed(failure, outputs) => {
            let mut more = common(outputs);
            more.insert("type".into(), json!("generation.failure"));
            more.insert("code".into(), json!(failure.code));
            if let Some(node) = &failure.node {
                more.insert("node".into(), json!(node));
            }
            failed(job, &failure.message, more)
        }
        Outcome::Cancelled => {
            let mut more = common(&[]);
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
    seeds(job, &mut view);
    if !job.request.images.is_empty() {
        view.insert("inputs".into(), described(&job.request.images));
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

/// Writes the images into the body unless the caller wants links, or the body would be too large with them.
fn success(job: &Job, outputs: &[Output], mut more: Map<String, Value>, rules: &BodyRules) -> FrozenBody {
    more.insert("type".into(), json!("generation.success"));
    let images: Vec<&Output> = outputs.iter().filter(|output| output.kind() == OutputKind::Image).collect();
    let wants_them = match job.request.delivery {
        DeliveryMode::Inline | DeliveryMode::Both => true,
        DeliveryMode::Links => images.is_empty(),
    };
    if wants_them {
        let body = with_images(job, &images, more.clone());
        if images.is_empty() || body.content_length() <= rules.inline_max {
            return body;
        }
    }
    more.insert("inline_omitted".into(), json!(true));
    with_images(job, &[], more)
}

fn with_images(job: &Job, images: &[&Output], more: Map<String, Value>) -> FrozenBody {
    let mut text = format!(r#"{{"status":"success","prompt_id":"{}","images":["#, job.id);
    let mut segments = Vec::new();
    for (place, image) in images.iter().enumerate() {
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

fn common(job: &Job, outputs: &[Output], now: Timestamp, rules: &BodyRules) -> Map<String, Value> {
    let mut more = Map::new();
    more.insert("timestamp".into(), json!(now.rfc3339()));
    more.insert("workflow".into(), json!(job.request.workflow));
    seeds(job, &mut more);
    if !job.request.images.is_empty() {
        more.insert("inputs".into(), described(&job.request.images));
    }
    let outputs: Vec<Value> = outputs
        .iter()
        .enumerate()
        .map(|(place, output)| {
            let mut entry = entry(output, &job.request.output_names);
            entry["url"] = json!(rules.url(job, place, now));
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

fn seeds(job: &Job, view: &mut Map<String, Value>) {
    if let Some(seed) = job.request.seed {
        view.insert("seed".into(), json!(seed));
    }
    if !job.request.seeds.is_empty() {
        view.insert("seeds".into(), json!(job.request.seeds));
    }
}

/// Describes an output, but for its link; `names` are those of outputs by their node.
pub(super) fn entry(output: &Output, names: &BTreeMap<String, String>) -> Value {
    described_output(output, names.get(&output.node_id).map(String::as_str))
}

/// Describes an output, but for its link, with the name that it has by its workflow.
pub fn described_output(output: &Output, name: Option<&str>) -> Value {
    let mut entry = json!({
        "node_id": output.node_id,
        "index": output.index,
        "content_type": output.content_type,
        "bytes": output.bytes,
        "sha256": output.sha256,
    });
    if let Some(name) = name {
        entry["name"] = json!(name);
    }
    if let Some(filename) = &output.filename {
        entry["filename"] = json!(filename);
    }
    if let Some(is_stripped) = output.metadata_stripped {
        entry["metadata_stripped"] = json!(is_stripped);
    }
    entry
}

/// Writes the members of `more` behind an open object and closes it.
pub(super) fn tail(more: Map<String, Value>) -> String {
    let object = Value::Object(more).to_string();
    let members = object.strip_prefix('{').expect("an object begins with a brace");
    format!(",{members}")
}

#[cfg(test)]
mod tests;
