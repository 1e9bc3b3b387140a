//! `comfygate run` as a process in a folder with workflows, beside a simulator.

use crate::input_images::png;
use crate::support::{PATIENCE, Setup};
use comfygate::sim::{Sim, SimOptions, SimRequest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The models that the simulator has where a test names none.
const MODELS: [&str; 2] = ["v1-5-pruned-emaonly-fp16.safetensors", "other.safetensors"];

/// A folder with workflows in which the command is run, beside a simulator.
pub(super) struct Desk {
    pub(super) sim: Sim,
    pub(super) folder: Arc<crate::own_folder::Folder>,
}

impl Desk {
    pub(super) async fn new() -> Self {
        Self::with(SimOptions::default()).await
    }

    pub(super) async fn with(options: SimOptions) -> Self {
        let models = options.models.or_else(|| Some(MODELS.map(str::to_owned).to_vec()));
        let options = SimOptions { models, ..options };
        let folder = Setup::new().folder;
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { sim: Sim::start(options).await.unwrap(), folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        command(self.folder.path(), args)
    }

    /// Runs it against the simulator.
    pub(super) async fn run(&self, args: &[&str]) -> Output {
        output(self.command(&[args, &["--url", &self.sim.url()]].concat())).await
    }

    /// Starts it and does not wait.
    pub(super) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(&[args, &["--url", &self.sim.url()]].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts it, and keeps what it writes.
    pub(super) fn spawn_heard(&self, args: &[&str]) -> Child {
        let mut command = self.command(&[args, &["--url", &self.sim.url()]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it and returns the objects of its lines.
    pub(super) async fn run_json(&self, args: &[&str]) -> (Option<i32>, Vec<Value>) {
        let output = self.run(&[args, &["--json"]].concat()).await;
        (output.status.code(), objects(&output))
    }

    /// Gives the simulator a prompt of somebody else's, `of-another`.
    pub(super) async fn post_as_another(&self, graph: &Value) {
        let others = json!({ "prompt": graph, "client_id": "other", "prompt_id": "of-another" });
        let post = reqwest::Client::builder().no_proxy().build().unwrap().post(format!("{}/prompt", self.sim.url()));
        let answer = post.header("content-type", "application/json").body(others.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// The graphs that were posted, by prompt id, in their order.
    pub(super) fn posted(&self) -> Vec<(String, Value)> {
        let posts = self.sim.requests().into_iter().filter(SimRequest::is_prompt);
        let read = posts.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
        read.map(|body| (body["prompt_id"].as_str().unwrap().to_owned(), body["prompt"].clone())).collect()
    }

    /// What is in a folder, by name.
    pub(super) fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.path(name)).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
    }

    /// Ends it; nothing may be left where the system has its temporary files.
    pub(super) async fn close(self) {
        assert_eq!(self.files("tmp").keys().collect::<Vec<_>>(), Vec::<&String>::new());
        self.sim.stop().await;
    }
}

pub(super) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
    command.arg("run").args(args).current_dir(folder).env("TMPDIR", folder.join("tmp")).stdin(Stdio::null());
    for name in ["COMFYUI_ADDRESS", "COMFYUI_HOME", "COMFYGATE_LOG"] {
        command.env_remove(name);
    }
    command
}

pub(super) async fn output(mut command: Command) -> Output {
    let run = actix_web::rt::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(PATIENCE, run).await.expect("the command ends").unwrap()
}

pub(super) fn by_run(mut lines: Vec<&Value>) -> Vec<&Value> {
    lines.sort_by_key(|line| line["run"].as_u64());
    lines
}

pub(super) fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

pub(super) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The objects of its lines.
pub(super) fn objects(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for one that was started.
pub(super) async fn ended(child: Child) -> Output {
    let run = actix_web::rt::task::spawn_blocking(move || child.wait_with_output().unwrap());
    tokio::time::timeout(PATIENCE, run).await.expect("the command ends").unwrap()
}

/// A desk with a graph `look.json` that loads a picture, and pictures of these frames in `in`.
pub(super) async fn picture_desk(frames: &[u64]) -> Desk {
    let desk = Desk::with(SimOptions { step: Duration::from_millis(100), ..SimOptions::default() }).await;
    let graph = json!({
        "1": { "class_type": "LoadImage", "inputs": { "image": "there.png" } },
        "2": { "class_type": "SaveImage", "inputs": { "images": ["1", 0], "filename_prefix": "look" } },
    });
    std::fs::write(desk.path("look.json"), graph.to_string()).unwrap();
    std::fs::create_dir(desk.path("in")).unwrap();
    for frame in frames {
        let picture = png(16, 16, u8::try_from(frame % 256).unwrap());
        std::fs::write(desk.path(&format!("in/shot_{frame:04}.png")), picture).unwrap();
    }
    desk
}
