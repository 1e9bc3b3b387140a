//! Values that would be more than values: names of files and models that lead elsewhere, texts that are longer than they may
//! be, and texts with which somebody could write lines of their own into the log.

use crate::support::{Answer, Inbox, Program, Setup, TestGateway, canvas, eventually, starter};
use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A workflow that lets callers choose a picture, the name of the result and, of a list, the model.
const CONFIG: &str = r#"
node_mappings:
  prompt: { node_id: "6", property: text }
  photo: { node_id: "10", property: image }
  filename_prefix: { node_id: "9", property: filename_prefix }
  checkpoint: { node_id: "4", property: ckpt_name, enum: [v1-5-pruned-emaonly.ckpt, "other.safetensors"] }
  lora: { node_id: "11", property: lora_name, enum: [style.safetensors] }
"#;

const TEMPLATE: &str = r#"{
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.ckpt"}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["11", 1]}},
  "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "made", "images": ["10", 0]}},
  "10": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
  "11": {"class_type": "LoraLoader", "inputs": {"lora_name": "style.safetensors", "strength_model": 1,
         "strength_clip": 1, "model": ["4", 0], "clip": ["4", 1]}}
}"#;

#[actix_web::test]
async fn a_picture_is_named_without_the_folder_it_would_be_read_from() {
    let names = ["secret.png [output]", "x.png [temp]", "x.png [input] ", "../x.png", "/etc/passwd", "..\\x.png", ""];
    for_each("photo", "invalid_filename", &names).await;
}

#[actix_web::test]
async fn a_result_is_named_without_a_way_out_of_its_folder_and_without_patterns() {
    let names = ["../../x", "/x", "%date:yyyy%", "a/../../x", "c:\\x", "a\\..\\x", "%KSampler.seed%", ""];
    for_each("filename_prefix", "invalid_filename", &names).await;
}

#[actix_web::test]
async fn a_model_that_the_workflow_does_not_list_is_not_allowed() {
    let names =
        ["evil.ckpt", "../v1-5-pruned-emaonly.ckpt", "V1-5-pruned-emaonly.ckpt", "v1-5-pruned-emaonly.ckpt ", ""];
    for_each("checkpoint", "not_allowed", &names).await;
    for_each("lora", "not_allowed", &["evil.safetensors", "loras/style.safetensors"]).await;
}

#[actix_web::test]
async fn a_prompt_of_the_longest_length_is_taken_and_one_letter_more_is_too_long() {
    let gateway = TestGateway::start().await;
    let with = |prompt: String| json!({ "workflow": "starter", "prompt": prompt, "width": 64, "height": 64 });
    for letter in ["x", "ü"] {
        refused(&gateway.post("/generate", &with(letter.repeat(100_001))).await, "too_long", letter);
        assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    }
    // It is not run: to draw so much text would take the simulator its time.
    gateway.sim.inject(Fault::Stall);
    gateway.generate(&with("ü".repeat(100_000))).await;
}

#[actix_web::test]
async fn a_prompt_with_escapes_line_ends_and_marks_is_taken_and_writes_nothing_into_the_log() {
    for format in ["human", "json"] {
        let log = log_of_hostile_texts(format).await;
        let lines: Vec<&str> = log.split_terminator('\n').collect();
        let begins = if format == "json" { "{\"timestamp\":\"20" } else { "20" };
        let foreign: Vec<_> = lines.iter().filter(|line| !line.starts_with(begins)).collect();
        assert!(foreign.is_empty(), "lines that are not the gateway's: {foreign:#?}");
        for trace in ["forged", "olleh", "[31m", "\u{1b}", "\r", "\u{202e}", "\u{2066}", "\u{7}", "\u{9b}"] {
            let line = lines.iter().find(|line| line.contains(trace));
            assert_eq!(line, None, "{trace:?} in a log as {format}");
        }
        // Whether a backend is asked for a model that it lacks depends on whether it has told its models already.
        let count = |said: &str| lines.iter().filter(|line| line.contains(said)).count();
        let (asked, ended) = (count("submitting"), count("run ended"));
        assert!((2..=4).contains(&asked) && (2..=3).contains(&ended), "{asked} {ended}: {log}");
        assert!(count("the backend cannot run this job") + count("job failed before it ran") > 0, "{log}");
    }
}

/// Sends texts that would spoil a terminal through prompts, metadata, the words of a node and the name of a model; returns
/// all that two backends and three jobs have made the gateway log.
async fn log_of_hostile_texts(format: &str) -> String {
    let hostile = "red \u{1b}[31m\r\n2026-01-01T00:00:00Z  INFO forged line \u{202e}olleh\u{2066}\u{7}\u{9b}31m";
    let setup = Setup::new();
    let models = Some(vec!["v1-5-pruned-emaonly-fp16.safetensors".into()]);
    let options = SimOptions { step: Duration::ZERO, models, ..SimOptions::default() };
    let sims = [Sim::start(options.clone()).await.unwrap(), Sim::start(options).await.unwrap()];
    let both = format!("{},{}", sims[0].url(), sims[1].url());
    let settings = [("COMFYGATE_LOG", "debug"), ("COMFYGATE_LOG_FORMAT", format)];
    let program = Program::serve(setup.folder.path(), &both, &settings).await;
    let inbox = Inbox::open();
    let mut texts = canvas(&inbox.url());
    texts["prompt"] = json!(hostile);
    texts["metadata"] = json!({ hostile: hostile });
    assert_eq!(program.post(&texts).await.unwrap().status(), 202);
    let told = inbox.next().await;
    assert_eq!((&told.body["status"], &told.body["metadata"][hostile]), (&json!("success"), &json!(hostile)));
    for sim in &sims {
        let message = hostile.to_owned();
        sim.inject(Fault::FailNode { node: "KSampler".into(), message, exception_type: "ValueError".into() });
    }
    assert_eq!(program.post(&starter(&inbox.url())).await.unwrap().status(), 202);
    assert_eq!(inbox.next().await.body["code"], "node_error");
    // Both backends refuse a model that they do not have, and ComfyUI repeats its name.
    let mut model = starter(&inbox.url());
    model["checkpoint"] = json!(hostile);
    assert_eq!(program.post(&model).await.unwrap().status(), 202);
    let told = inbox.next().await;
    assert!(told.body["error"].as_str().unwrap().contains("forged line"), "{}", told.body);
    program.until_idle().await;
    program.terminate();
    let log = Arc::clone(&program.log);
    assert!(program.ended().await.success());
    for sim in sims {
        sim.stop().await;
    }
    eventually("the last line is read", async || {
        Some(log.lock().unwrap().clone()).filter(|log| log.contains("stopped"))
    })
    .await
}

/// Submits each of these values for this parameter; all must be refused, and nothing made.
async fn for_each(parameter: &str, code: &str, values: &[&str]) {
    let gateway = Setup::new().with_workflow("files", CONFIG, TEMPLATE).start().await;
    for value in values {
        let body = json!({ "workflow": "files", "prompt": "x", "params": { parameter: value } });
        refused(&gateway.post("/generate", &body).await, code, value);
    }
    assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    gateway.close().await;
}

fn refused(answer: &Answer, code: &str, what: &str) {
    let error: Value = answer.json();
    assert_eq!((answer.status, answer.code().as_str()), (400, code), "{what:?}: {error}");
    assert!(error["error"].as_str().is_some_and(|text| !text.is_empty()), "{what:?}: {error}");
}
