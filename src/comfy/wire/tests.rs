//! Answers of ComfyUI, as it writes them.

use super::*;
use serde_json::json;

#[test]
fn pending_prompts_come_in_the_order_in_which_they_will_run() {
    let body = r#"{"queue_running": [[3, "r", {"1": {"inputs": {"x": NaN}}}, {}, ["1"]]],
        "queue_pending": [[-5.0, "b", {}, {}, []], [7, "d", {"deep": [[[1e999]]]}], [-5, "a"], [NaN, "z"], [6, "\ud800"], []]}"#;
    let expected =
        Queue { running: vec!["r".into()], pending: ["a", "b", "\u{fffd}", "d", "z"].map(str::to_owned).to_vec() };
    assert_eq!(queue(body).unwrap(), expected);
}

#[test]
fn a_foreign_graph_nested_without_end_does_not_hide_the_queue() {
    let graph = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"queue_running": [], "queue_pending": [[1, "p", {graph}, {{}}, []]]}}"#);
    assert_eq!(queue(&body).unwrap().pending, ["p"]);
}

#[test]
fn what_is_no_queue_is_an_error() {
    for body in ["", "{}", "[]", r#"{"queue_running": 3, "queue_pending": []}"#, "<html>"] {
        assert!(queue(body).is_err(), "{body}");
    }
}

#[test]
fn a_prompt_ends_as_its_last_message_says() {
    let error = json!(["execution_error", {"node_id": "4", "node_type": "C", "exception_type": "E", "exception_message": "m\n"}]);
    let failed = HistoryEnd::Failed(NodeError {
        node: "4".into(),
        class: "C".into(),
        exception: "E".into(),
        message: "m".into(),
    });
    let start = json!(["execution_start", {"timestamp": 17}]);
    let cases = [
        (json!([start, ["execution_success", {}]]), "success", HistoryEnd::Succeeded),
        (json!([start, ["execution_interrupted", {}]]), "error", HistoryEnd::Interrupted),
        (json!([start, error]), "error", failed.clone()),
        (json!([start, error]), "success", failed),
        (json!([start]), "success", HistoryEnd::Unknown),
        (json!(null), "success", HistoryEnd::Unknown),
        (json!([null, 3, []]), "", HistoryEnd::Unknown),
        (
            json!([start]),
            "error",
            HistoryEnd::Failed(NodeError {
                message: "ComfyUI did not say why it failed".into(),
                ..NodeError::default()
            }),
        ),
    ];
    for (messages, status, expected) in cases {
        let body = json!({"p": {"prompt": [1], "outputs": {}, "status": {"status_str": status, "messages": messages}}});
        let entry = history(&body.to_string(), "p").unwrap().unwrap();
        assert_eq!(entry.end, expected, "{body}");
    }
}

#[test]
fn an_entry_tells_its_outputs_and_its_start() {
    let body = json!({"p": {"outputs": {"2": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}, "3": null},
        "status": {"messages": [["execution_start", {"timestamp": 17}], ["execution_cached", {"nodes": ["7", 8, null]}],
            ["execution_success", {"timestamp": 1017}]]}}});
    let entry = history(&body.to_string(), "p").unwrap().unwrap();
    let timeline = Timeline { start_ms: Some(17), end_ms: Some(1017), cached: vec!["7".into(), "8".into()] };
    assert_eq!((entry.timeline.took(), entry.timeline), (Some(Duration::from_secs(1)), timeline));
    let backwards = Timeline { start_ms: Some(5), end_ms: Some(4), cached: vec![] };
    let far = Timeline { start_ms: Some(i64::MIN), end_ms: Some(i64::MAX), cached: vec![] };
    assert_eq!((backwards.took(), far.took(), Timeline::default().took()), (None, None, None));
    assert_eq!(entry.outputs[0].1.files[0].filename, "a.png");
    assert_eq!(entry.outputs[1], ("3".into(), NodeOutput::default()));
    assert_eq!(history("{}", "p").unwrap(), None);
    assert_eq!(history(r#"{"other": {}}"#, "p").unwrap(), None);
    assert!(history("[]", "p").is_err());
    assert_eq!(history(r#"{"p": {"status": null, "outputs": 3}}"#, "p").unwrap().unwrap().end, HistoryEnd::Unknown);
}

#[test]
fn a_prompt_request_always_has_both_ids_as_text() {
    let graph = json!({});
    let mut body = PromptRequest { prompt: &graph, client_id: "c", prompt_id: "p", extra_data: ExtraData::default() };
    assert_eq!(serde_json::to_value(&body).unwrap(), json!({"prompt": {}, "client_id": "c", "prompt_id": "p"}));
    let key = Secret::new("k");
    body.extra_data.api_key_comfy_org = Some(&key);
    assert_eq!(serde_json::to_value(&body).unwrap()["extra_data"], json!({"api_key_comfy_org": "k"}));
    assert!(!format!("{body:?}").contains("\"k\""));
}

#[test]
fn stats_name_version_and_devices() {
    let body = json!({"system": {"comfyui_version": "0.3.64", "ram_total": 1}, "devices": [
        {"name": "cpu", "type": "cpu", "index": null, "vram_total": 8, "vram_free": 3}]});
    let device = Device { name: "cpu".into(), kind: "cpu".into(), vram_total: Some(8), vram_free: Some(3) };
    let (version, devices) = (Some("0.3.64".into()), vec![device]);
    let expected = SystemStats { version, ram_total: Some(1), devices, ..SystemStats::default() };
    assert_eq!(system_stats(&body.to_string()).unwrap(), expected);
}
