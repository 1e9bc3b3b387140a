//! What is told before anything is sent.

use super::desk::{Desk, ended, objects, of, output, picture_desk, signal, stderr, stdout};
use crate::proxy::{At, Effect, On, Proxy};
use comfygate::sim::SimOptions;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

#[actix_web::test]
async fn a_server_that_is_not_there_is_told_and_nothing_waits_for_it() {
    let desk = Desk::new().await;
    let url = "http://127.0.0.1:1";
    let told = output(desk.command(&["-w", "starter", "--url", url, "--wait", "100ms", "--json"])).await;
    assert_eq!(told.status.code(), Some(1));
    let line: Value = serde_json::from_str(&stdout(&told)).unwrap();
    assert_eq!((&line["event"], &line["error"]["code"]), (&json!("error"), &json!("server_not_ready")));
    let message = line["error"]["message"].as_str().unwrap();
    assert!(message.contains(url) && message.contains("refused") && stderr(&told).contains(message), "{told:?}");
    desk.close().await;
}

#[actix_web::test]
async fn what_is_wrong_without_a_server_is_told_without_one_all_at_once() {
    let desk = Desk::new().await;
    let ask = async |args: &[&str]| {
        let output = output(desk.command(&[args, &["--url", "http://127.0.0.1:1"]].concat())).await;
        (output.status.code(), stderr(&output))
    };
    let wrong = ["-w", "templates/starter.json", "-p", "Stpes=3", "8.samples=1", "6.txt=x", "99.text=x", "Steps=many"];
    let (code, text) = ask(&wrong).await;
    assert_eq!(code, Some(1));
    for part in [
        "`Stpes`; did you mean `steps`?",
        "comes from node `3` by a link",
        "`6` (CLIPTextEncode) has no input `txt`; did you mean `text`?",
        "nothing called `99.text`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text) = ask(&["-w", "templates/starter.json", "-p", "Steps=many", "--wait", "100ms"]).await;
    assert!(code == Some(1) && text.contains("`Steps` must be a number, not `many`"), "{text}");
    let (code, text) = ask(&["-w", "startr"]).await;
    assert!(code == Some(1) && text.contains("did you mean `starter`?"), "{text}");
    let (code, text) = ask(&["-w", "starter", "-p", "steps=900"]).await;
    assert!(code == Some(1) && text.contains("900 is outside 1..=150"), "{text}");
    for wrong in [&["-w", "starter", "-p", "steps"][..], &["-p", "steps=1"], &["-w", "x", "--frame-range", "9-1"]] {
        assert_eq!(ask(wrong).await.0, Some(2), "{wrong:?}");
    }
    desk.close().await;
}

#[actix_web::test]
async fn a_graph_that_the_server_cannot_run_is_refused_before_anything_is_sent() {
    let desk = Desk::new().await;
    let template = std::fs::read_to_string(desk.path("templates/starter.json")).unwrap();
    std::fs::write(desk.path("odd.json"), template.replace("VAEDecode\"", "VAEDecoder\"")).unwrap();
    let (code, lines) = desk.run_json(&["-w", "odd.json", "-p", "Steps=0"]).await;
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    let details = lines[0]["error"]["details"].as_array().unwrap();
    let codes = details.iter().map(|fault| (fault["code"].as_str().unwrap(), fault["subject"].as_str().unwrap()));
    let mut codes: Vec<_> = codes.collect();
    codes.sort_unstable();
    assert_eq!(codes, [("missing_node_type", "8"), ("value_smaller_than_min", "3.steps")], "{lines:?}");
    assert!(desk.posted().is_empty());

    let (code, lines) = desk.run_json(&["-w", "odd.json", "--no-check"]).await;
    let ended = of(&lines, "ended")[0];
    assert_eq!((code, &ended["error"]["code"]), (Some(1), &json!("submission")), "{ended}");
    assert_eq!(desk.posted().len(), 1, "the server was asked");
    desk.close().await;
}

/// A class that the template alone tells too little of: `8` is a number with a fraction, and seeds end at 7.
const ODD: &str = r#"{ "Odd": { "output": ["IMAGE"], "input": { "required": {
    "image": ["IMAGE"],
    "amount": ["FLOAT", { "default": 8, "min": 0, "max": 10 }],
    "seed": ["INT", { "default": 0, "min": 0, "max": 7 }]
} } } }"#;

/// A desk with a pair `odd` that uses the class.
async fn odd_desk() -> Desk {
    let desk = Desk::with(SimOptions { classes: Some(ODD.to_owned()), ..SimOptions::default() }).await;
    let graph = json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 64, "height": 64, "batch_size": 1, "color": 0 } },
        "2": { "class_type": "Odd", "inputs": { "image": ["1", 0], "amount": 8, "seed": -1 } },
        "3": { "class_type": "SaveImage", "inputs": { "images": ["2", 0], "filename_prefix": "odd" } },
    });
    std::fs::write(desk.path("templates/odd.json"), graph.to_string()).unwrap();
    let mapping =
        "node_mappings:\n  amount: { node_id: '2', property: amount }\n  seed: { node_id: '2', property: seed }\n";
    std::fs::write(desk.path("configs/odd.yaml"), mapping).unwrap();
    desk
}

#[actix_web::test]
async fn a_parameter_has_the_type_and_the_bounds_that_the_server_tells_of_its_input() {
    let desk = odd_desk().await;
    for workflow in ["odd", "configs/odd.yaml", "templates/odd.json"] {
        let before = desk.posted().len();
        let (code, lines) = desk.run_json(&["-w", workflow, "-p", "amount=7.5", "seed=3"]).await;
        assert_eq!(code, Some(0), "{workflow}: {lines:?}");
        let (_, graph) = &desk.posted()[before];
        assert_eq!(graph["2"]["inputs"]["amount"], json!(7.5), "{workflow}");
        let (code, lines) = desk.run_json(&["-w", workflow, "-p", "amount=10.5", "seed=3"]).await;
        assert_eq!((code, &lines[0]["error"]["code"]), (Some(1), &json!("validation")), "{workflow}: {lines:?}");
        let message = lines[0]["error"]["message"].as_str().unwrap();
        assert!(message.contains("10.5") && message.contains("amount"), "{workflow}: {message}");
        assert_eq!(desk.posted().len(), before + 1, "{workflow}: nothing was sent");
    }
    desk.close().await;
}

#[actix_web::test]
async fn a_seed_is_drawn_within_what_its_class_takes() {
    let desk = odd_desk().await;
    for workflow in ["odd", "templates/odd.json"] {
        let (code, lines) = desk.run_json(&["-w", workflow, "--batch", "8"]).await;
        assert_eq!(code, Some(0), "{workflow}: {lines:?}");
    }
    let seeds: Vec<u64> =
        desk.posted().iter().map(|(_, graph)| graph["2"]["inputs"]["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds.len(), 16);
    assert!(seeds.iter().all(|seed| *seed <= 7), "{seeds:?}");
    desk.close().await;
}

#[actix_web::test]
async fn a_workflow_with_a_mapping_is_refused_with_the_report_of_validate() {
    let none_of_ours = Some(vec!["other.safetensors".to_owned()]);
    for models in [none_of_ours, Some(Vec::new())] {
        let desk = Desk::with(SimOptions { models, ..SimOptions::default() }).await;
        let url = desk.sim.url();
        for workflow in ["starter", "configs/starter.yaml", "templates/starter.json"] {
            let validate = async |more: &[&str]| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
                // Of a mapping file, what it maps is checked.
                let workflow = workflow.replace("configs/starter.yaml", "starter");
                command.args(["validate", "--backend", &url, "-w", &workflow]).args(more);
                output({
                    command.current_dir(desk.folder.path());
                    command
                })
                .await
            };
            let told = desk.run(&["-w", workflow]).await;
            assert_eq!(told.status.code(), Some(1), "{told:?}");
            let report = stdout(&validate(&[]).await);
            assert!(report.contains("has no model file \"v1-5-pruned-emaonly-fp16.safetensors\""), "{report}");
            let below_the_name = |text: &str| text.split_once(": ").unwrap().1.to_owned();
            assert_eq!(below_the_name(&stderr(&told)), below_the_name(&report), "{workflow}");
            let (_, lines) = desk.run_json(&["-w", workflow]).await;
            let report: Value = serde_json::from_str(&stdout(&validate(&["--json"]).await)).unwrap();
            assert_eq!(lines[0]["error"]["problems"], report["problems"], "{workflow}");
            assert_eq!(lines[0]["error"]["checked_against"], report["checked_against"], "{workflow}");
        }
        assert!(desk.posted().is_empty());
        desk.close().await;
    }
}

#[actix_web::test]
async fn every_run_is_checked_before_the_first_is_sent() {
    let models = Some(vec!["m1".to_owned(), "m3".to_owned()]);
    let desk = Desk::with(SimOptions { models, ..SimOptions::default() }).await;
    let frames = ["-w", "starter", "--frame-range", "1-3", "-p", "Checkpoint=m{frame}"];
    let told = desk.run(&frames).await;
    let text = stderr(&told);
    assert_eq!(told.status.code(), Some(1), "{text}");
    assert!(text.starts_with("starter-0002: 1 error") && text.contains("\"m2\""), "{text}");
    assert!(desk.posted().is_empty());
    desk.close().await;
}

#[actix_web::test]
async fn a_fault_of_a_later_run_is_told_with_its_name() {
    let desk = Desk::new().await;
    let told = desk.run(&["-w", "starter", "--frame-range", "148-152", "-p", "steps={frame}"]).await;
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert!(
        stderr(&told).starts_with("error: run `starter-0151`: parameter `steps`: 151 is outside 1..=150"),
        "{told:?}"
    );
    let told = desk.run(&["-w", "starter", "--batch", "3", "-p", "steps=151"]).await;
    assert!(stderr(&told).starts_with("error: parameter `steps`: 151 is outside"), "{told:?}");
    assert!(desk.sim.requests().is_empty(), "no server was needed");
    desk.close().await;
}

#[actix_web::test]
async fn a_frame_whose_picture_is_missing_is_told_before_the_first_is_sent() {
    let desk = picture_desk(&[1, 3]).await;
    for (pattern, missing) in [("in/shot_####.png", "in/shot_0002.png"), ("./in/shot_####.png", "./in/shot_0002.png")] {
        for range in ["1-3", "2-3"] {
            let image = format!("Image={pattern}");
            let told = desk.run(&["-w", "look.json", "--frame-range", range, "-p", &image]).await;
            assert_eq!(told.status.code(), Some(1), "{told:?}");
            assert!(stderr(&told).contains(&format!("no file `{missing}`")), "{range}: {told:?}");
        }
    }
    assert!(desk.posted().is_empty());
    desk.close().await;
}

#[actix_web::test]
async fn a_server_that_does_not_tell_its_nodes_is_no_obstacle_and_that_is_told() {
    let desk = Desk::new().await;
    let proxy = Proxy::before(desk.sim.url().trim_start_matches("http://").parse().unwrap()).await;
    proxy.arm_every(On::Call("GET /object_info"), At::Request(0), Effect::Close);
    let url = proxy.url();
    for workflow in ["canvas", "templates/canvas.json"] {
        let told = output(desk.command(&["-w", workflow, "--url", &url])).await;
        assert_eq!(told.status.code(), Some(0), "{told:?}");
        let warnings = stderr(&told).matches("does not tell its nodes, so nothing was checked").count();
        assert_eq!(warnings, 1, "{told:?}");
    }
    assert_eq!(desk.posted().len(), 2);
    // Where the template alone tells what is wrong, it is told.
    let told = output(desk.command(&["-w", "starter", "-p", "Steps=many", "--url", &url])).await;
    assert!(stderr(&told).contains("`Steps` must be"), "{told:?}");
    assert_eq!((told.status.code(), desk.posted().len()), (Some(1), 2));
    desk.close().await;
}

#[actix_web::test]
async fn ctrl_c_ends_the_check_of_many_frames_at_once() {
    let desk = Desk::new().await;
    let args = ["-w", "templates/starter.json", "--frame-range", "1-100000", "-p", "PositivePrompt=####", "--json"];
    let child = desk.spawn_heard(&args);
    desk.sim.wait_for(|sim| sim.requests().iter().any(|it| it.path == "/object_info")).await.unwrap();
    signal(&child, "INT");
    // To check all of them takes far longer.
    let told = tokio::time::timeout(Duration::from_secs(5), ended(child)).await.expect("it ends at once");
    let lines = objects(&told);
    let summary = of(&lines, "summary")[0];
    assert_eq!((told.status.code(), &summary["runs"]), (Some(130), &json!(100_000)));
    assert_eq!(summary["cancelled"], json!(100_000));
    assert!(desk.posted().is_empty());
    desk.close().await;
}
