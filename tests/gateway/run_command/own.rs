//! Runs on a ComfyUI that is started for them: one that ends by itself, one that never answers.

use super::desk::{Desk, ended, objects, of, output, signal, stdout};
use crate::local::{becomes_sim, home};
use crate::support::eventually;
use comfygate::definitions::Definitions;
use comfygate::graph::Graph;
use comfygate::runner::{ComfyExecutor, Context, Executor, Found, News, Plan, Subject, Wishes};
use comfygate::settings::Settings;
use comfygate::sim::{Sim, SimOptions, SimRequest};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How long a command may take to see that its ComfyUI has ended, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

/// A ComfyUI that notes its process and its port, says something secret, and takes its time.
fn slow_home() -> TempDir {
    let notes = "echo $$ > pid.new; mv pid.new pid; echo $4 > port; echo loading with HF_TOKEN=sesame";
    let model = "--model v1-5-pruned-emaonly-fp16.safetensors";
    home(&format!("{notes}; {} {model}", becomes_sim().replace("0ms", "100ms")))
}

fn kill(home: &Path) {
    let id = std::fs::read_to_string(home.join("pid")).unwrap();
    assert!(Command::new("kill").args(["-KILL", id.trim()]).status().unwrap().success());
}

#[actix_web::test]
async fn a_comfyui_of_our_own_that_ends_is_told_at_once_with_its_last_lines() {
    let desk = Desk::new().await;
    let home = slow_home();
    let args = ["-w", "templates/starter.json", "-p", "Steps=1000", "--mode", "local", "--json", "--batch", "3"];
    let mut command = desk.command(&args);
    command.env("COMFYUI_HOME", home.path()).env("COMFYUI_PYTHON", "sh");
    command.stdout(Stdio::from(std::fs::File::create(desk.path("lines")).unwrap())).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let begun = async || {
        let lines = std::fs::read_to_string(desk.path("lines")).unwrap_or_default();
        lines.contains("\"started\"").then_some(())
    };
    eventually("a run has begun", begun).await;
    kill(home.path());
    let waiting = eventually("it ends", || std::future::ready(child.try_wait().unwrap()));
    let status = tokio::time::timeout(SOON, waiting).await.expect("it does not wait for a server that is gone");
    assert_eq!(status.code(), Some(1));
    let text = std::fs::read_to_string(desk.path("lines")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends = of(&lines, "ended");
    assert_eq!(ends.len(), 3, "{ends:?}");
    for end in ends {
        let message = end["error"]["message"].as_str().unwrap();
        assert_eq!(end["error"]["code"], "connector", "{end}");
        assert!(message.contains("has ended (signal: 9") && message.contains("loading with HF_TOKEN=***"), "{message}");
        assert!(!message.contains("sesame") && !message.contains("is ComfyUI running there?"), "{message}");
    }
    desk.close().await;
}

#[actix_web::test]
async fn who_takes_the_port_of_a_comfyui_that_ended_gets_none_of_its_prompts() {
    let home = slow_home();
    let mut settings = Settings::default();
    settings.local.home = Some(home.path().to_owned());
    settings.local.python = Some("sh".into());
    let (patience, stop, tell) = (Duration::from_secs(10), CancellationToken::new(), Arc::new(|_: &str| {}));
    let executor = ComfyExecutor::start_local(Context { settings, patience, stop, tell }).await.unwrap();
    executor.prepare().await.unwrap();
    let mut graph = Graph::parse(&std::fs::read_to_string("templates/starter.json").unwrap()).unwrap();
    graph.set("3", "steps", json!(1000)).unwrap();
    let subject = Subject::Graph { name: "long".into(), graph };
    let plan = Plan::new(subject, Wishes::default(), Definitions::default(), || 7).unwrap();
    let ticket = executor.submit(&plan.order(0, &|_| Found::NoPath).unwrap()).await.unwrap();
    while !executor.poll(&ticket).await.unwrap().contains(&News::Started) {}
    kill(home.path());
    let until_lost = async { while executor.poll(&ticket).await.is_ok() {} };
    tokio::time::timeout(SOON, until_lost).await.expect("it is seen to have ended");
    let port: u16 = std::fs::read_to_string(home.path().join("port")).unwrap().trim().parse().unwrap();
    let options = SimOptions { addr: ([127, 0, 0, 1], port).into(), ..SimOptions::default() };
    let other = Sim::start(options).await.unwrap();
    // A socket that is let in comes again after a quarter of a second, and the job with it.
    let given = other.wait_for(|sim| sim.requests().iter().any(SimRequest::is_prompt));
    let given = tokio::time::timeout(Duration::from_secs(4), given).await;
    assert!(given.is_err(), "{:?}", other.requests());
    executor.close().await;
    other.stop().await;
}

#[actix_web::test]
async fn ctrl_c_while_a_comfyui_of_our_own_starts_ends_with_the_summary() {
    let desk = Desk::new().await;
    let home = home("echo $$ > pid.new; mv pid.new pid; exec sleep 300");
    let args = ["-w", "templates/starter.json", "--mode", "local", "--json", "--batch", "3", "-p", "Steps=1"];
    let mut command = desk.command(&args);
    command.env("COMFYUI_HOME", home.path()).env("COMFYUI_PYTHON", "sh");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = async || home.path().join("pid").exists().then_some(());
    eventually("ComfyUI begins", begun).await;
    signal(&child, "INT");
    let told = ended(child).await;
    let lines = objects(&told);
    assert_eq!(told.status.code(), Some(130), "{told:?}");
    assert!(of(&lines, "error").is_empty(), "{lines:?}");
    let summary = of(&lines, "summary")[0];
    assert_eq!((&summary["runs"], &summary["cancelled"]), (&json!(3), &json!(3)));
    desk.close().await;
}

#[actix_web::test]
async fn what_no_nodes_can_mend_is_told_without_starting_a_comfyui() {
    let desk = Desk::new().await;
    let home = home("echo begun > begun; exit 1");
    std::fs::write(desk.path("twice.json"), r#"{"1": {"class_type": "A"}, "1": {"class_type": "A"}}"#).unwrap();
    let mapping = std::fs::read_to_string(desk.path("configs/starter.yaml")).unwrap();
    std::fs::write(desk.path("configs/starter.yaml"), mapping.replace("node_mappings", "node_maping")).unwrap();
    for (workflow, reason) in [("twice.json", "is written twice"), ("starter", "node_mappings")] {
        let mut command = desk.command(&["-w", workflow, "--mode", "local", "--json"]);
        command.env("COMFYUI_HOME", home.path()).env("COMFYUI_PYTHON", "sh");
        let told = output(command).await;
        assert!(stdout(&told).contains(reason), "{told:?}");
        assert!(!home.path().join("begun").exists(), "{workflow}: nothing was started");
    }
    desk.close().await;
}
