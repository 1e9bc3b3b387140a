//! What a run of the remote control has come to, in the words of its answer. Pure; which status that is, is the API's business.

use crate::clock::Timestamp;
use crate::comfy::Client;
use crate::job::{BodyRules, Failure, FailureCode, Fault, FrozenBody, Job, JobState, Output, OutputKind, Segment};
use crate::store::Finished;
use serde_json::{Map, Value, json};

/// How a run ended, and all that is told of it.
#[derive(Clone, PartialEq, Debug)]
pub struct End {
    /// How.
    pub how: How,
    /// What is answered.
    pub told: Map<String, Value>,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// With its outputs.
    Succeeded,
    /// With a failure of this fault; whether a limit was over.
    Failed(Fault, bool),
    /// Because somebody wished it.
    Cancelled,
}

impl How {
    fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "success",
            Self::Failed(..) => "failure",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Tells how a job ended. `client` leads to the backend that ran it, where that is there still.
pub(super) fn end(job: &Job, finished: &Finished, client: Option<&Client>, rules: &BodyRules, now: Timestamp) -> End {
    let frozen = frozen(&finished.body);
    let how = match job.state {
        JobState::Succeeded => How::Succeeded,
        JobState::Cancelled => How::Cancelled,
        JobState::Failed | JobState::Queued | JobState::Submitted | JobState::Running => {
            let code = code(&frozen);
            let is_late = matches!(
                code,
                FailureCode::TimeoutQueue
                    | FailureCode::TimeoutStart
                    | FailureCode::TimeoutSilence
                    | FailureCode::TimeoutRun
            );
            How::Failed(code.fault(), is_late)
        }
    };
    let mut told = Map::new();
    told.insert("STATUS".into(), json!(how.word()));
    told.insert("prompt_id".into(), json!(job.id.to_string()));
    for member in ["error", "code", "node", "timing", "seeds"] {
        told.extend(frozen.get(member).map(|value| (member.to_owned(), value.clone())));
    }
    let outputs = finished.outputs.iter().enumerate();
    let outputs: Vec<Value> =
        outputs.map(|(place, output)| of_output(job, place, output, client, rules, now)).collect();
    let image = finished.outputs.iter().position(|output| output.kind() == OutputKind::Image);
    let image = image.and_then(|place| outputs.get(place));
    for (name, member) in [("image_filename", "filename"), ("image_url", "url"), ("output_url", "output_url")] {
        told.insert(name.into(), image.map_or(Value::Null, |image| image[member].clone()));
    }
    told.insert("outputs".into(), Value::Array(outputs));
    End { how, told }
}

/// Tells of one output: what it is called, where ComfyUI gives it, and where the gateway does. What only went over the wire is
/// in no folder of ComfyUI's: its name and its link are the gateway's.
fn of_output(
    job: &Job,
    place: usize,
    output: &Output,
    client: Option<&Client>,
    rules: &BodyRules,
    now: Timestamp,
) -> Value {
    let own = rules.url(job, place, now);
    let at_comfyui = client.zip(output.origin.as_ref()).map(|(client, origin)| client.view_url(origin).to_string());
    let filename = output.origin.as_ref().map(|origin| &origin.filename).or(output.filename.as_ref());
    json!({
        "node_id": output.node_id,
        "content_type": output.content_type,
        "bytes": output.bytes,
        "filename": filename.cloned().unwrap_or_else(|| own_name(output, place)),
        "url": at_comfyui.as_ref().unwrap_or(&own),
        "output_url": own,
    })
}

fn own_name(output: &Output, place: usize) -> String {
    let ending = match output.content_type.as_str() {
        "image/jpeg" => "jpg",
        "text/plain" => "txt",
        other => other
            .rsplit('/')
            .next()
            .filter(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .unwrap_or("bin"),
    };
    format!("output-{place}.{ending}")
}

/// Reads the final object; the images in it are left out.
fn frozen(body: &FrozenBody) -> Value {
    let text = body.segments.iter().map(|segment| match segment {
        Segment::Text(text) => text.as_str(),
        Segment::Base64(..) => "",
    });
    serde_json::from_str(&text.collect::<String>()).unwrap_or(Value::Null)
}

fn code(frozen: &Value) -> FailureCode {
    let word = frozen.get("code").and_then(Value::as_str).unwrap_or_default();
    FailureCode::ALL.into_iter().find(|code| code.as_str() == word).unwrap_or(FailureCode::Internal)
}

/// What is told of a job of which nothing is kept.
pub(super) fn lost(job: &Job) -> Failure {
    Failure::new(FailureCode::Internal, format!("the result of job {} is not kept any more", job.id))
}
