//! The program itself as a process of its own, which can be killed, told to stop, and whose log can be read.

use super::{client, eventually};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

/// `comfygate serve`, listening.
pub(crate) struct Program {
    child: Child,
    address: String,
    pub(crate) log: Arc<Mutex<String>>,
    client: reqwest::Client,
}

impl Program {
    /// Starts it with these settings and waits until it listens. `folder` holds its data and its workflows.
    pub(crate) async fn serve(folder: &Path, comfyui: &str, settings: &[(&str, &str)]) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_comfygate")), folder, comfyui, settings).await
    }

    /// The same with a fault at a named point, such as `panic:stepping:2`.
    pub(crate) async fn serve_with_fault(fault: &str, folder: &Path, comfyui: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        command.env("COMFYGATE_CRASH_AT", fault);
        Self::start(command, folder, comfyui, settings).await
    }

    /// The same where only so many files may be open.
    pub(crate) async fn serve_with_files(files: u32, folder: &Path, comfyui: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_comfygate")]);
        Self::start(shell, folder, comfyui, &[]).await
    }

    /// The same where it dies at a named point.
    pub(crate) async fn serve_to_die_at(order: &str, folder: &Path, comfyui: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
        command.env("COMFYGATE_CRASH_AT", order);
        Self::start(command, folder, comfyui, settings).await
    }

    /// The same behind these words of a command line.
    pub(crate) async fn serve_behind(words: &[&str], folder: &Path, comfyui: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_comfygate"));
        Self::start(command, folder, comfyui, settings).await
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    async fn start(mut command: Command, folder: &Path, comfyui: &str, settings: &[(&str, &str)]) -> Self {
        command.arg("serve").args(["--address", "127.0.0.1:0", "--comfyui", comfyui]).current_dir(folder);
        for (name, value) in settings {
            command.args(["--set", &format!("{name}={value}")]);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        keep(child.stderr.take().unwrap(), &log);
        keep(child.stdout.take().unwrap(), &log);
        let listening = || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the program ended at its start: {}", log.lock().unwrap());
            std::future::ready(address_in(&log.lock().unwrap()))
        };
        let address = eventually("the program listens", listening).await;
        let client = client().build().unwrap();
        Self { child, address, log, client }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Posts a request; none where no answer came.
    pub(crate) async fn post(&self, body: &Value) -> Option<reqwest::Response> {
        self.post_to("/generate", body).await
    }

    /// Posts to any path; none where no answer came.
    pub(crate) async fn post_to(&self, path: &str, body: &Value) -> Option<reqwest::Response> {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        request.body(body.to_string()).send().await.ok()
    }

    /// Gets a path as JSON; none where no answer came.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let answer = self.client.get(self.url(path)).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).unwrap_or(Value::Null)))
    }

    /// Waits until nothing runs, nothing waits and every end is told.
    pub(crate) async fn until_idle(&self) {
        let idle = async || {
            let (_, ready) = self.get("/ready").await?;
            let backlog = &ready["backlog"];
            ["queued", "running", "deliveries"].iter().all(|name| backlog[name] == 0).then_some(())
        };
        eventually("everything has ended and was told", idle).await;
    }

    /// Kills it at this very moment.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop as a supervisor does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        eventually("the program ends", || std::future::ready(self.child.try_wait().unwrap())).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps all that comes, whatever it is.
fn keep(output: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let kept = Arc::clone(log);
    std::thread::spawn(move || {
        let (mut output, mut line) = (BufReader::new(output), Vec::new());
        while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            kept.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

fn address_in(log: &str) -> Option<String> {
    let line =
        log.lines().find(|line| line.contains("listening address=") || line.contains(r#""message":"listening""#))?;
    let (_, rest) = line.split_once("address=").or_else(|| line.split_once(r#""address":""#))?;
    rest.split(|letter: char| letter.is_whitespace() || letter == '"').next().map(str::to_owned)
}
