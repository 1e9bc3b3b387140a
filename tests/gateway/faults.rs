//! A backend that goes wrong in every way that it knows: the job still ends once, and in the right way.

use crate::support::{Inbox, Setup, TestGateway, canvas, canvas_files, starter};
use comfygate::sim::{Fault, Refusal, When};
use serde_json::{Value, json};
use std::time::Duration;

/// Runs one job under a fault; it must succeed with the bytes that ComfyUI made, and be told once.
async fn still_succeeds(fault: Fault, request: fn(&str) -> Value) {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(fault.clone());
    let webhook = gateway.run_one(&inbox, &request(&inbox.url())).await;
    assert_eq!(webhook.body["status"], "success", "{fault:?}: {}", webhook.body);
    let made: Vec<Vec<u8>> = gateway.sim.images().iter().map(|image| image.bytes.to_vec()).collect();
    assert!(!webhook.images().is_empty() && webhook.images().iter().all(|image| made.contains(image)), "{fault:?}");
    gateway.close().await;
    assert!(inbox.rest().is_empty(), "{fault:?}");
}

/// Runs one job under a fault; it must fail with this code, and be told once.
async fn fails(fault: Fault, request: fn(&str) -> Value, code: &str) -> Value {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject_when(fault.clone(), When::Every);
    let webhook = gateway.run_one(&inbox, &request(&inbox.url())).await;
    assert_eq!(
        (&webhook.body["status"], &webhook.body["code"]),
        (&json!("failure"), &json!(code)),
        "{fault:?}: {}",
        webhook.body
    );
    gateway.sim.clear_faults();
    gateway.close().await;
    assert!(inbox.rest().is_empty(), "{fault:?}");
    webhook.body
}

#[actix_web::test]
async fn a_node_that_raises_is_told_at_once_with_its_id_class_and_message() {
    let fault = Fault::FailNode {
        node: "SaveImageWebsocket".into(),
        message: "cannot write /home/gpu/secret/out.png".into(),
        exception_type: "ValueError".into(),
    };
    let body = fails(fault, canvas, "node_error").await;
    assert_eq!((&body["node"]["id"], &body["node"]["class"]), (&json!("3"), &json!("SaveImageWebsocket")));
    let error = body["error"].as_str().unwrap();
    assert!(error.contains("ValueError") && !error.contains("/home/gpu") && !error.contains("Traceback"), "{error}");
}

#[actix_web::test]
async fn a_node_without_memory_is_a_node_error() {
    let body = fails(Fault::OutOfMemory { node: "KSampler".into() }, starter, "node_error").await;
    assert!(body["error"].as_str().unwrap().contains("OutOfMemory"), "{body}");
}

#[actix_web::test]
async fn somebody_elses_interrupt_is_told_as_one() {
    fails(Fault::Interrupt { node: "SaveImage".into() }, canvas_files, "interrupted").await;
}

#[actix_web::test]
async fn duplicate_events_change_nothing() {
    still_succeeds(Fault::DuplicateEvents, canvas).await;
    still_succeeds(Fault::DuplicateEvents, canvas_files).await;
}

#[actix_web::test]
async fn foreign_and_malformed_events_change_nothing() {
    still_succeeds(Fault::ForeignEvents, canvas).await;
    still_succeeds(Fault::ForeignEvents, canvas_files).await;
}

#[actix_web::test]
async fn a_prompt_of_which_nothing_is_heard_is_found_by_asking() {
    still_succeeds(Fault::DeafSocket, canvas_files).await;
    still_succeeds(Fault::DeafSocket, canvas).await;
}

#[actix_web::test]
async fn lost_frames_lead_to_another_run() {
    still_succeeds(Fault::LoseFrames, canvas).await;
}

#[actix_web::test]
async fn an_end_that_is_not_said_is_found_by_asking() {
    still_succeeds(Fault::NoEnd, canvas_files).await;
}

#[actix_web::test]
async fn a_lost_answer_to_the_submission_does_not_run_the_job_twice() {
    for fault in
        [Fault::DropAfterAccept, Fault::Refuse(Refusal::CrashButQueued), Fault::SlowAnswer(Duration::from_millis(300))]
    {
        let gateway = TestGateway::start().await;
        let inbox = Inbox::open();
        gateway.sim.inject(fault.clone());
        let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
        assert_eq!(webhook.body["status"], "success", "{fault:?}");
        let runs: usize = gateway.sim.executions().values().sum();
        assert_eq!(runs, 1, "{fault:?}");
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_server_that_crashed_on_the_submission_gets_it_again() {
    still_succeeds(Fault::Refuse(Refusal::Crash), canvas).await;
}

#[actix_web::test]
async fn nan_and_null_in_outputs_are_no_reason_to_fail() {
    still_succeeds(Fault::NanInOutputs, canvas_files).await;
    still_succeeds(Fault::NanInOutputs, canvas).await;
    still_succeeds(Fault::NullOutputs, canvas).await;
}

#[actix_web::test]
async fn a_late_history_is_waited_for() {
    still_succeeds(Fault::LateHistory(Duration::from_millis(300)), canvas_files).await;
}

#[actix_web::test]
async fn a_success_that_is_followed_by_an_error_stays_a_success() {
    still_succeeds(Fault::SuccessThenError, canvas).await;
}

#[actix_web::test]
async fn a_frame_of_seventeen_megabytes_arrives() {
    still_succeeds(Fault::OversizeFrame(17 << 20), canvas).await;
}

#[actix_web::test]
async fn an_output_above_the_limit_fails_its_job_and_nothing_else() {
    for request in [canvas, canvas_files] {
        let mut setup = Setup::new();
        setup.settings.limits.max_output = 1 << 20;
        let gateway = setup.start().await;
        let inbox = Inbox::open();
        gateway.sim.inject(Fault::OversizeFrame(2 << 20));
        let webhook = gateway.run_one(&inbox, &request(&inbox.url())).await;
        assert_eq!((&webhook.body["code"], &webhook.body["images"]), (&json!("output_too_large"), &Value::Null));
        assert!(webhook.body["error"].as_str().unwrap().contains("1048576 bytes"), "{}", webhook.body);
        let mut small = request(&inbox.url());
        small["color"] = json!(7);
        assert_eq!(gateway.run_one(&inbox, &small).await.body["status"], "success");
        gateway.close().await;
    }
}

#[actix_web::test]
async fn files_that_are_gone_are_named() {
    let body = fails(Fault::MissingFiles, canvas_files, "output_missing").await;
    assert!(body["error"].as_str().unwrap().contains(".png"), "{body}");
}

#[actix_web::test]
async fn a_prompt_that_somebody_deletes_from_the_queue_is_run_again() {
    still_succeeds(Fault::DeleteFromQueue, canvas).await;
}

#[actix_web::test]
async fn a_graph_that_is_accepted_in_part_fails_only_if_its_outputs_are_missing() {
    let body = fails(Fault::NodeErrorsPartial, canvas_files, "validation").await;
    assert!(body["error"].is_string());
    still_succeeds(Fault::NodeErrorsPartial, canvas).await;
}
