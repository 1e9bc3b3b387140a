//! `comfygate convert`: what it writes where, and what its exit code says. What conversion means is tested beside the room.

use crate::support::{stderr, stdout};
use crate::workflow_commands::{file, run, run_with_input};
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conversions");
const CASE: &str = "2_pass_pose_worship";

fn saved() -> String {
    format!("{FIXTURES}/cases/{CASE}/workflow.json")
}

fn classes() -> String {
    format!("{FIXTURES}/object_info.json")
}

/// A small workflow as ComfyUI saves it, of classes that the simulator has.
fn small() -> Value {
    json!({
        "version": 0.4, "last_node_id": 2, "last_link_id": 1,
        "nodes": [
            {"id": 1, "type": "EmptyImage", "pos": [0, 0], "size": [200, 60], "flags": {}, "order": 0, "mode": 0, "inputs": [],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}], "properties": {}, "widgets_values": [64, 32, 1, 7]},
            {"id": 2, "type": "SaveImage", "pos": [300, 0], "size": [200, 60], "flags": {}, "order": 1, "mode": 0,
             "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "outputs": [], "properties": {}, "widgets_values": ["x"]}
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]]
    })
}

#[test]
fn a_saved_workflow_is_written_as_comfyui_executes_it() {
    let wanted: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{FIXTURES}/cases/{CASE}/api.json")).unwrap()).unwrap();
    let converted = run(&["convert", &saved(), "--object-info", &classes()]);
    assert_eq!(converted.status.code(), Some(0), "{converted:?}");
    let text = stdout(&converted);
    let found: Value = serde_json::from_str(&text).unwrap();
    for (id, node) in wanted.as_object().unwrap() {
        assert_eq!(found[id]["class_type"], node["class_type"], "{id}");
        assert_eq!(found[id]["inputs"], node["inputs"], "{id}");
    }
    assert_eq!(found.as_object().unwrap().len(), wanted.as_object().unwrap().len());
    assert!(text.starts_with("{\n  \"") && text.ends_with("}\n"), "it is written for people");

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("graph.json").display().to_string();
    let written = run(&["convert", &saved(), "--object-info", &classes(), "-o", &out]);
    assert_eq!((written.status.code(), stdout(&written)), (Some(0), String::new()));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), text);
    let piped = std::fs::read_to_string(saved()).unwrap();
    let piped = run_with_input(&["convert", "-", "--object-info", &classes()], &piped);
    assert_eq!(stdout(&piped), text);
}

#[test]
fn what_is_in_api_format_already_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\"2\": {\"class_type\": \"B\"},\n\n \"1\":   {\"class_type\": \"A\", \"inputs\": {}}}";
    let graph = file(folder.path(), "graph.json", text);
    let converted = run(&["convert", &graph]);
    assert_eq!((converted.status.code(), stdout(&converted)), (Some(0), text.to_owned()));
    assert_eq!(stderr(&converted), format!("note: {graph} is in API format already, it stays as it is\n"));
}

#[test]
fn what_cannot_be_converted_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, text: &str| file(folder.path(), name, text);
    let mut unknown = small();
    unknown["nodes"][0]["type"] = json!("EmptyImag");
    let unknown = of("unknown.json", &unknown.to_string());
    let classes = classes();
    for (args, reason) in [
        (&[&*unknown, "--object-info", &classes][..], "EmptyImag"),
        (&[&of("half.json", "{\"nodes\": ["), "--object-info", &classes], "not valid JSON"),
        (&[&of("list.json", "[]"), "--object-info", &classes], "in neither of ComfyUI's formats"),
        (&["nowhere.json", "--object-info", &classes], "cannot read `nowhere.json`"),
        (&[&of("small.json", &small().to_string()), "--backend", "http://127.0.0.1:1"], "is ComfyUI running there?"),
    ] {
        let converted = run(&[&["convert"], args].concat());
        assert_eq!(converted.status.code(), Some(1), "{args:?}: {converted:?}");
        assert!(stderr(&converted).contains(reason), "{args:?}: {converted:?}");
        assert_eq!(stdout(&converted), "");
    }
}

#[actix_web::test]
async fn a_running_comfyui_is_asked_for_its_nodes() {
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let url = format!("http://{}", sim.addr());
    let convert = move || run_with_input(&["convert", "-", "--backend", &url], &small().to_string());
    let converted = actix_web::rt::task::spawn_blocking(convert).await.unwrap();
    let graph: Value = serde_json::from_str(&stdout(&converted)).unwrap();
    assert_eq!(graph["1"]["inputs"], json!({"width": 64, "height": 32, "batch_size": 1, "color": 7}), "{converted:?}");
    assert_eq!(graph["2"]["inputs"], json!({"images": ["1", 0], "filename_prefix": "x"}));
    sim.stop().await;
}

#[test]
fn a_saved_workflow_is_converted_before_it_is_validated() {
    let classes = classes();
    let checked = run_with_input(&["validate", "-w", "-", "--object-info", &classes], &small().to_string());
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let mut wrong = small();
    wrong["nodes"][0]["widgets_values"][2] = json!(0);
    let checked = run_with_input(&["validate", "-w", "-", "--object-info", &classes], &wrong.to_string());
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(stdout(&checked).contains("node `1` (EmptyImage)") && stdout(&checked).contains("input `batch_size`"));
    wrong["nodes"][0]["type"] = json!("EmptyImag");
    let checked = run_with_input(&["validate", "-w", "-", "--object-info", &classes, "--json"], &wrong.to_string());
    let told: Value = serde_json::from_str(&stdout(&checked)).unwrap();
    assert_eq!((checked.status.code(), &told["problems"][0]["type"]), (Some(1), &json!("not_convertible")), "{told}");
    let checked = run_with_input(&["validate", "-w", "-"], &small().to_string());
    assert_eq!(checked.status.code(), Some(2));
    assert!(stderr(&checked).contains("--object-info"), "{checked:?}");
}

#[test]
fn a_token_is_shown_to_the_comfyui_that_is_asked() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let mut heard = Vec::new();
        let mut some = [0; 1024];
        while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut some).unwrap();
            assert!(read > 0, "the request broke off");
            heard.extend_from_slice(&some[..read]);
        }
        let body = r#"{"EmptyImage": {"input": {"required": {}}, "output": ["IMAGE"]}}"#;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(heard).unwrap()
    });
    let graph = json!({"1": {"class_type": "EmptyImage", "inputs": {}}}).to_string();
    let checked = run_with_input(&["validate", "-w", "-", "--backend", &url, "--token", "sesame"], &graph);
    assert_eq!(checked.status.code(), Some(1), "no output: {checked:?}");
    let heard = answer.join().unwrap();
    assert!(
        heard.starts_with("GET /object_info ") && heard.to_lowercase().contains("\r\nauthorization: bearer sesame\r\n")
    );
}
