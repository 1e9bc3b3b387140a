//! What the final object looks like, to the byte.

use super::*;
use crate::job::{BlobId, Failure, FailureCode, JobId, Limits, Request};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_success_has_comfylites_fields_first_and_holes_for_the_images() {
    let body = freeze(&job(), &Outcome::Succeeded(vec![png("9", 0, 5), png("9", 1, 3)]), at(3_000), &rules());
    let text = rendered(&body);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(text.starts_with(r#"{"status":"success","prompt_id":"00000000-0001-7000-8000-000000000000","images":["#));
    assert_eq!(value["images"], json!(["xxxxxxxx", "xxxx"]));
    assert_eq!(value["type"], "generation.success");
    assert_eq!(value["seed"], json!(u64::MAX));
    assert_eq!(value["timing"], json!({"queued_ms": 1_000, "run_ms": 1_000}));
    assert_eq!(value["outputs"][1]["index"], 1);
    let url = value["outputs"][1]["url"].as_str().unwrap();
    let start = "http://gw/jobs/00000000-0001-7000-8000-000000000000/outputs/1?exp=604803&sig=";
    assert!(url.starts_with(start), "{url}");
    assert!(value.get("inline_omitted").is_none());
    assert_eq!(body.content_length(), text.len() as u64);
}

#[test]
fn a_failure_has_null_images_and_the_code() {
    let failure = Failure::new(FailureCode::TimeoutRun, "it ran for \"too\" long");
    let text = rendered(&freeze(&job(), &Outcome::Failed(failure, vec![]), at(3_000), &rules()));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["status"], "failure");
    assert_eq!(value["images"], Value::Null);
    assert_eq!(value["error"], "it ran for \"too\" long");
    assert_eq!(value["code"], "timeout_run");
    assert_eq!(value["metadata"], json!({"order": 7}));
}

#[test]
fn a_success_without_images_has_an_empty_list() {
    let text = rendered(&freeze(&job(), &Outcome::Succeeded(vec![]), at(3_000), &rules()));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["images"], json!([]));
}

#[test]
fn links_instead_of_images_leave_an_empty_list_and_say_so() {
    let outputs = vec![png("9", 0, 5), png("9", 1, 3)];
    let body = freeze(&job_with(DeliveryMode::Links), &Outcome::Succeeded(outputs), at(3_000), &rules());
    let value: Value = serde_json::from_str(&rendered(&body)).unwrap();
    assert_eq!((&value["images"], &value["inline_omitted"]), (&json!([]), &json!(true)));
    assert_eq!(value["outputs"].as_array().unwrap().len(), 2);
    assert_eq!(body.blobs().count(), 0);
}

#[test]
fn where_there_are_no_images_none_are_omitted() {
    for mode in DeliveryMode::ALL {
        let sound = Output { content_type: "audio/mpeg".into(), ..png("9", 0, 5) };
        let rules = BodyRules { inline_max: 1, ..rules() };
        let body = freeze(&job_with(mode), &Outcome::Succeeded(vec![sound]), at(3_000), &rules);
        let value: Value = serde_json::from_str(&rendered(&body)).unwrap();
        assert_eq!((&value["images"], value.get("inline_omitted")), (&json!([]), None));
    }
}

#[test]
fn images_are_left_out_where_the_body_would_be_larger_than_the_limit_by_one_byte() {
    for mode in [DeliveryMode::Inline, DeliveryMode::Both] {
        let outcome = Outcome::Succeeded(vec![png("9", 0, 5), png("9", 1, 3)]);
        let whole = freeze(&job_with(mode), &outcome, at(3_000), &rules());
        let limited = |inline_max| {
            let body = freeze(&job_with(mode), &outcome, at(3_000), &BodyRules { inline_max, ..rules() });
            let value: Value = serde_json::from_str(&rendered(&body)).unwrap();
            (value["images"].as_array().unwrap().len(), value.get("inline_omitted").is_some())
        };
        assert_eq!(limited(whole.content_length()), (2, false));
        assert_eq!(limited(whole.content_length() - 1), (0, true));
        assert_eq!(limited(0), (0, true));
    }
}

#[test]
fn what_was_taken_out_is_told_only_where_that_was_asked() {
    for told in [None, Some(true), Some(false)] {
        let output = Output { metadata_stripped: told, ..png("9", 0, 5) };
        let body = freeze(&job(), &Outcome::Succeeded(vec![output]), at(3_000), &rules());
        let value: Value = serde_json::from_str(&rendered(&body)).unwrap();
        assert_eq!(value["outputs"][0].get("metadata_stripped"), told.map(Value::from).as_ref());
    }
}

fn rules() -> BodyRules {
    BodyRules::new("http://gw", LinkKey::new([1; 32]))
}

fn job_with(delivery: DeliveryMode) -> Job {
    let mut job = job();
    job.request.delivery = delivery;
    job
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
        metadata_stripped: None,
        origin: None,
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
            seed: Some(u64::MAX),
            expected_images: Some(2),
            metadata: Some(json!({"order": 7})),
            ..Request::plain("canvas", "r", Limits { queue: SECOND, start: SECOND, silence: SECOND, run: SECOND })
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
