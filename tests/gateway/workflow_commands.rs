//! `comfygate validate` and `comfygate workflows`: what they write, and what their exit codes say.

pub(crate) use crate::support::{stderr, stdout};
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CLASSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/check/classes.json");

#[test]
fn a_graph_alone_is_checked_for_links_and_circles() {
    let folder = tempfile::tempdir().unwrap();
    let starter = std::fs::read_to_string("templates/starter.json").unwrap();
    let good = file(folder.path(), "good.json", &starter);
    let checked = run(&["validate", "-w", &good]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(stdout(&checked).starts_with(&format!("{good}: good (the graph alone; ")), "{checked:?}");
    assert_eq!(stdout(&checked).lines().count(), 1);

    let image = |from: &str| json!({"class_type": "ImageInvert", "inputs": {"image": [from, 0]}});
    let bad =
        json!({"1": image("2"), "2": image("1"), "3": image("7"), "4": {"class_type": "SaveImage", "inputs": {}}});
    let bad = file(folder.path(), "bad.json", &bad.to_string());
    let checked = run(&["validate", "-w", &bad]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let text = stdout(&checked);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(&format!("{bad}: 2 errors (")), "{text}");
    assert_eq!(lines[1], "node `3`");
    assert_eq!(
        lines[2],
        "  error: input `image` of node `3` is linked to node `7`, which the graph does not have; there are: 1, 2, 3, 4"
    );
    assert!(lines[4].starts_with("  error: nodes feed each other in a circle"), "{text}");

    let told: Value = serde_json::from_str(&stdout(&run(&["validate", "-w", &bad, "--json"]))).unwrap();
    assert_eq!((&told["good"], &told["errors"], &told["checked_against"]), (&json!(false), &json!(2), &Value::Null));
    assert_eq!(told["problems"][0]["type"], "dangling_link");
    assert_eq!((&told["problems"][0]["node"], &told["problems"][0]["input"]), (&json!("3"), &json!("image")));
    assert_eq!(told["problems"][1]["type"], "cycle");

    let idle = json!({"1": {"class_type": "EmptyImage", "inputs": {}}});
    let checked = run(&["validate", "-w", &file(folder.path(), "idle.json", &idle.to_string())]);
    assert_eq!(checked.status.code(), Some(0), "a warning is no error");
    assert!(stdout(&checked).contains("  warning: no node looks like an output"), "{checked:?}");
}

#[test]
fn a_file_that_is_no_graph_is_a_problem_and_one_that_is_not_there_cannot_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    for (text, reason) in [
        ("{\"1\": {", "not valid JSON"),
        ("[]", "a graph is an object of nodes by id, but this is a list"),
        ("{\"1\": {\"inputs\": {}}}", "node `1` has no `class_type`"),
    ] {
        let checked = run(&["validate", "-w", &file(folder.path(), "graph.json", text)]);
        assert_eq!(checked.status.code(), Some(1), "{checked:?}");
        assert!(stdout(&checked).contains(reason), "{checked:?}");
    }
    let graph = file(folder.path(), "graph.json", &std::fs::read_to_string("templates/canvas.json").unwrap());
    for (args, reason) in [
        (&["-w", "nowhere.json"][..], "cannot read `nowhere.json`"),
        (&["-w", "startr"], "there is no workflow `startr` in `./configs` and `./templates`; did you mean `starter`?"),
        (&["-w", &graph, "--object-info", "nowhere.json"], "cannot read `nowhere.json`"),
        (&["-w", &graph, "--object-info", &graph], "no node class is described here"),
        (&["-w", &graph, "--backend", "http://127.0.0.1:1"], "does not say which nodes it has"),
        (&["-w", &graph, "--backend", "ftp://a"], "is no address"),
        (&["-w", &graph, "--backend", "http://127.0.0.1:1", "--object-info", CLASSES], "cannot be used with"),
    ] {
        let checked = run(&[&["validate"], args].concat());
        assert_eq!(checked.status.code(), Some(2), "{args:?}: {checked:?}");
        assert!(stderr(&checked).contains(reason), "{args:?}: {checked:?}");
        assert_eq!(stdout(&checked), "");
    }
}

#[test]
fn a_graph_is_held_against_a_servers_nodes_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": "many", "batch_size": 0, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}, "_meta": {"title": "Keep"}},
        "3": {"class_type": "PreviewImag", "inputs": {"images": ["1", 0]}},
    });
    let bad = file(folder.path(), "bad.json", &graph.to_string());
    let checked = run(&["validate", "-w", &bad, "--object-info", CLASSES]);
    let text = stdout(&checked);
    assert_eq!(checked.status.code(), Some(1), "{text}");
    assert!(text.starts_with(&format!("{bad}: 4 errors (checked against {CLASSES})\n")), "{text}");
    let under = |heading: &str| -> Vec<&str> {
        let lines = text.lines().skip_while(|line| *line != heading).skip(1);
        lines.take_while(|line| line.starts_with("  ")).collect()
    };
    assert_eq!(under("node `1` (EmptyImage)").len(), 2, "{text}");
    assert!(under("node `2` (SaveImage) `Keep`")[0].contains("input `filename_prefix`"), "{text}");
    assert!(under("node `3` (PreviewImag)")[0].contains("did you mean \"PreviewImage\"?"), "{text}");
    let told = run_with_input(&["validate", "-w", "-", "--object-info", CLASSES, "--json"], &graph.to_string());
    let told: Value = serde_json::from_str(&stdout(&told)).unwrap();
    assert_eq!(
        (&told["errors"], &told["checked_against"], &told["workflow"]),
        (&json!(4), &json!(CLASSES), &json!("-"))
    );
    let problems = told["problems"].as_array().unwrap();
    let missing = problems.iter().find(|problem| problem["type"] == "required_input_missing").unwrap();
    assert_eq!((&missing["node"], &missing["input"]), (&json!("2"), &json!("filename_prefix")));
}

#[actix_web::test]
async fn a_workflow_of_the_catalogue_is_held_against_a_running_comfyui() {
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let url = format!("http://{}", sim.addr());
    let ask = async |args: &[&str]| {
        let args: Vec<String> =
            [&["validate", "--backend", &url], args].concat().iter().map(|it| (*it).to_owned()).collect();
        actix_web::rt::task::spawn_blocking(move || run(&args.iter().map(String::as_str).collect::<Vec<_>>()))
            .await
            .unwrap()
    };
    let checked = ask(&["-w", "canvas"]).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(stdout(&checked).starts_with("canvas: good"), "{checked:?}");
    assert!(stdout(&checked).contains(&format!("(checked against {url}")), "{checked:?}");

    let folder = tempfile::tempdir().unwrap();
    let config = "node_mappings:\n  prompt: { node_id: \"1\", property: txt }\n";
    let template = json!({"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "x"}}}).to_string();
    file(folder.path(), "mine.yaml", config);
    file(folder.path(), "mine.json", &template);
    let set = |name: &str| format!("{name}={}", folder.path().display());
    let (configs, templates) = (set("COMFYGATE_CONFIGS"), set("COMFYGATE_TEMPLATES"));
    let checked = ask(&["-w", "mine", "--set", &configs, "--set", &templates]).await;
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let text = stdout(&checked);
    assert!(text.contains("mine.yaml:2\n") && text.contains("did you mean `text`?"), "{text}");
    sim.stop().await;
}

#[test]
fn the_workflows_of_the_folders_are_listed_and_shown() {
    let listed = run(&["workflows", "list"]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let text = stdout(&listed);
    let names: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["canvas", "flux", "starter"], "{text}");
    assert!(text.lines().any(|line| line.starts_with("starter") && line.contains("cfg, checkpoint")), "{text}");
    assert_eq!(stdout(&run(&["templates", "list"])), text, "another word for the same");

    let shown = stdout(&run(&["templates", "show", "starter"]));
    let row = |name: &str| shown.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    assert!(row("steps").contains("integer  20 ") && row("steps").contains("1 to 150"), "{shown}");
    assert!(row("steps").contains("3.steps") && row("steps").contains("Sampling steps"), "{shown}");
    assert!(row("seed").contains("drawn"), "{shown}");
    assert!(row("prompt").contains("a lighthouse above a sea of clouds"), "the template's own value: {shown}");

    let told: Value = serde_json::from_str(&stdout(&run(&["workflows", "show", "starter", "--json"]))).unwrap();
    let steps = told["parameters"].as_array().unwrap().iter().find(|it| it["name"] == "steps").unwrap().clone();
    assert_eq!(
        steps,
        json!({"name": "steps", "type": "integer", "required": false, "default": 20, "min": 1, "max": 150, "choices": [],
               "suggested": [], "description": "Sampling steps", "targets": [{"node": "3", "input": "steps"}]})
    );
    assert_eq!(told["default"], true);
    let all: Value = serde_json::from_str(&stdout(&run(&["workflows", "list", "--json"]))).unwrap();
    let names: Vec<&Value> = all["workflows"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["canvas", "flux", "starter"]);

    let unknown = run(&["workflows", "show", "canvs"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("did you mean `canvas`?"), "{unknown:?}");
}

#[test]
fn a_broken_pair_is_told_beside_those_that_work() {
    let folder = tempfile::tempdir().unwrap();
    let template = json!({"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}).to_string();
    let good = "aliases: [second]\noutputs: [\"1\"]\nnode_mappings:\n  files: { node_id: \"1\", property: filename_prefix, required: true, enum: [a, b] }\n";
    for (name, config) in [("good", good), ("bad", "node_mappings:\n  files: { node_id: \"2\", property: x }\n")] {
        file(folder.path(), &format!("{name}.yaml"), config);
        file(folder.path(), &format!("{name}.json"), &template);
    }
    let set = |name: &str| format!("{name}={}", folder.path().display());
    let (configs, templates) = (set("COMFYGATE_CONFIGS"), set("COMFYGATE_TEMPLATES"));
    let ask = |args: &[&str]| run(&[&["workflows"], args, &["--set", &configs, "--set", &templates]].concat());
    let listed = ask(&["list"]);
    assert!(stdout(&listed).lines().nth(1).is_some_and(|line| line.starts_with("good  second  files")), "{listed:?}");
    assert!(stderr(&listed).contains("bad.yaml:2: ") && stderr(&listed).contains("has no node `2`"), "{listed:?}");
    let all: Value = serde_json::from_str(&stdout(&ask(&["list", "--json"]))).unwrap();
    assert_eq!((&all["broken"][0]["name"], &all["workflows"][0]["other_names"]), (&json!("bad"), &json!(["second"])));
    let shown = stdout(&ask(&["show", "second"]));
    assert!(shown.contains("required") && shown.contains("a, b") && shown.contains("node 1"), "{shown}");
    let shown = ask(&["show", "bad"]);
    assert!(stderr(&shown).contains("workflow `bad` cannot be used: "), "{shown:?}");
}

pub(crate) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs the program where no setting of this machine reaches it.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("COMFYGATE_CONFIGS");
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    command(args).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn run_with_input(args: &[&str], input: &str) -> Output {
    let mut child = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
