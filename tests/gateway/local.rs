//! A ComfyUI that is started here: a folder whose "main.py" is a script for the shell, and the shell as its Python. Where it is
//! well, the script becomes the simulator.

use crate::support::{PATIENCE, eventually};
use comfygate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use comfygate::comfy::Client;
use comfygate::lifecycle::Lifecycle;
use comfygate::local::{Condition, Local, LocalOptions, Parts, ServerNotReady, Supervisor};
use comfygate::sim::{Sim, SimOptions};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Becomes the simulator; called with `--listen ADDRESS --port PORT`.
pub(crate) fn becomes_sim() -> String {
    format!("exec '{}' sim --step 0ms --address \"$2:$4\"", env!("CARGO_BIN_EXE_comfygate"))
}

/// A folder that looks like a ComfyUI's.
pub(crate) fn home(script: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("main.py"), script).unwrap();
    home
}

fn options(home: &TempDir) -> LocalOptions {
    LocalOptions { python: Some("sh".into()), ready_within: PATIENCE, ..LocalOptions::new(home.path()) }
}

/// What a start needs, and what it told.
struct Ground {
    parts: Parts,
    told: Arc<Mutex<Vec<String>>>,
}

impl Ground {
    fn new() -> Self {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&told);
        let tell = Arc::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()));
        Self { parts: Parts { clock: SystemClock::start(), lifecycle: Lifecycle::new(), tell }, told }
    }

    async fn start(&self, options: &LocalOptions) -> Result<Local, ServerNotReady> {
        tokio::time::timeout(PATIENCE, Local::start(options, &self.parts)).await.expect("a start ends")
    }

    async fn end(self) {
        tokio::time::timeout(PATIENCE, self.parts.lifecycle.end()).await.expect("whoever reads its output ends");
        assert_eq!(self.parts.lifecycle.panics(), 0);
    }
}

/// Says whether a process runs; one that has ended and was not yet waited for does not.
pub(crate) fn runs(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// Reads the ids of processes that a script has written.
pub(crate) async fn ids(folder: &Path, count: usize) -> Vec<String> {
    let path = folder.join("ids");
    let read = async || {
        let ids: Vec<String> =
            std::fs::read_to_string(&path).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        (ids.len() >= count).then_some(ids)
    };
    eventually("the script has written the ids", read).await
}

async fn until_gone(ids: &[String]) {
    let gone = async || ids.iter().all(|id| !runs(id)).then_some(());
    eventually(&format!("the processes {ids:?} have ended"), gone).await;
}

/// Starts a child that ignores to be asked to end, writes the ids, then goes on with `rest`.
fn with_stubborn_child(rest: &str) -> String {
    format!("sh -c \"trap '' TERM; while :; do sleep 1; done\" &\necho $$ $! > ids.new; mv ids.new ids\n{rest}")
}

#[actix_web::test]
async fn a_local_comfyui_starts_becomes_ready_and_stops_with_its_children() {
    let home = home(&with_stubborn_child(&becomes_sim()));
    let ground = Ground::new();
    let local = ground.start(&options(&home)).await.unwrap();
    let client = Client::new(local.url().clone()).unwrap();
    assert!(client.system_stats().await.is_ok());
    let ids = ids(home.path(), 2).await;
    assert!(ids.iter().all(|id| runs(id)), "{ids:?}");
    tokio::time::timeout(PATIENCE, local.stop()).await.unwrap();
    // What is killed needs a moment to be gone.
    until_gone(&ids).await;
    let told = ground.told.lock().unwrap().join("\n");
    assert!(told.contains("starting ComfyUI in") && told.contains("ComfyUI is ready at http://127.0.0.1:"), "{told}");
    ground.end().await;
}

#[actix_web::test]
async fn a_local_comfyui_is_asked_to_end_before_it_is_made_to() {
    let sim = becomes_sim().replacen("exec ", "", 1);
    let home = home(&format!("trap 'echo asked > asked; exit 0' TERM\n{sim} &\nwait $!"));
    let ground = Ground::new();
    let local = ground.start(&options(&home)).await.unwrap();
    tokio::time::timeout(PATIENCE, local.stop()).await.unwrap();
    assert!(home.path().join("asked").exists());
    ground.end().await;
}

#[actix_web::test]
async fn a_local_comfyui_that_is_dropped_ends_with_its_children() {
    let home = home(&with_stubborn_child(&becomes_sim()));
    let ground = Ground::new();
    let local = ground.start(&options(&home)).await.unwrap();
    let ids = ids(home.path(), 2).await;
    assert!(ids.iter().all(|id| runs(id)), "{ids:?}");
    drop(local);
    until_gone(&ids).await;
    ground.end().await;
}

#[actix_web::test]
async fn a_local_comfyui_that_ends_at_once_shows_its_status_and_what_it_wrote() {
    let home = home(&with_stubborn_child("echo out; echo 'No module named torch' >&2; exit 3"));
    let ground = Ground::new();
    let error = ground.start(&options(&home)).await.unwrap_err();
    let ServerNotReady::Ended { status, log } = &error else { panic!("{error:?}") };
    assert!(status.contains('3'), "{status}");
    assert!(log.contains(&"out".to_owned()) && log.contains(&"No module named torch".to_owned()), "{log:?}");
    assert!(error.to_string().contains("No module named torch"), "{error}");
    let ids = ids(home.path(), 2).await;
    assert!(ids.iter().all(|id| !runs(id)), "{ids:?}");
    ground.end().await;
}

#[actix_web::test]
async fn a_local_comfyui_that_never_answers_is_ended_after_its_time_and_shows_what_it_wrote() {
    let home = home(&with_stubborn_child("echo loading; while :; do sleep 1; done"));
    let ground = Ground::new();
    let options = LocalOptions { ready_within: Duration::from_millis(700), ..options(&home) };
    let error = ground.start(&options).await.unwrap_err();
    let ServerNotReady::TimedOut { within, log } = &error else { panic!("{error:?}") };
    assert_eq!((*within, log.as_slice()), (Duration::from_millis(700), &["loading".to_owned()][..]));
    assert!(error.to_string().contains("COMFYUI_READY_WITHIN"), "{error}");
    let ids = ids(home.path(), 2).await;
    assert!(ids.iter().all(|id| !runs(id)), "{ids:?}");
    ground.end().await;
}

#[actix_web::test]
async fn a_port_that_is_taken_a_folder_without_main_py_and_a_missing_python_are_named() {
    let home = home(&becomes_sim());
    let ground = Ground::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = ground.start(&LocalOptions { port: Some(port), ..options(&home) }).await.unwrap_err();
    assert!(matches!(error, ServerNotReady::PortTaken { .. }), "{error:?}");
    let said = error.to_string();
    let who = format!("port {port} is taken by another server (process {}, `", std::process::id());
    assert!(said.contains(&who) && said.contains("stop what listens there, or set COMFY_PORT"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let error = ground.start(&LocalOptions::new(empty.path())).await.unwrap_err();
    assert!(matches!(error, ServerNotReady::NoMain(_)), "{error:?}");
    let python = Some("no-such-python-anywhere".into());
    let error = ground.start(&LocalOptions { python, ..options(&home) }).await.unwrap_err();
    assert!(matches!(error, ServerNotReady::NoPython { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-python-anywhere"), "{error}");
    assert!(!home.path().join("ids").exists());
    ground.end().await;
}

#[actix_web::test]
async fn a_server_of_others_that_takes_the_port_meanwhile_is_not_taken_for_comfyui() {
    let home = home("echo $4 > port.new; mv port.new port; exec sleep 60");
    let ground = Ground::new();
    let options = options(&home);
    let other = async {
        let port = async || std::fs::read_to_string(home.path().join("port")).ok()?.trim().parse::<u16>().ok();
        let port = eventually("ComfyUI begins", port).await;
        let sim =
            Sim::start(SimOptions { addr: ([127, 0, 0, 1], port).into(), ..SimOptions::default() }).await.unwrap();
        (sim, port)
    };
    let (started, (sim, port)) = tokio::join!(ground.start(&options), other);
    let error = started.unwrap_err();
    assert!(matches!(error, ServerNotReady::PortTaken { .. }), "{error:?}");
    let said = error.to_string();
    let who = format!("another server answers there (process {}, `", std::process::id());
    assert!(
        said.contains(&format!("127.0.0.1:{port}")) && said.contains(&who) && said.contains("COMFY_PORT"),
        "{said}"
    );
    assert!(sim.requests().iter().all(|request| request.path == "/system_stats"), "it was only asked who it is");
    sim.stop().await;
    ground.end().await;
}

#[actix_web::test]
async fn a_local_comfyui_gets_its_words_and_no_secret_of_the_gateways() {
    let script = "printf '%s|' \"$@\" > words; env > environment; exec sleep 60";
    let home = home(script);
    let ground = Ground::new();
    let args = vec!["--cpu".to_owned(), "--output-directory".to_owned(), "/my pictures".to_owned()];
    let options = LocalOptions { args, ready_within: Duration::from_millis(500), port: None, ..options(&home) };
    ground.start(&options).await.unwrap_err();
    let words = std::fs::read_to_string(home.path().join("words")).unwrap();
    let port = words.split('|').nth(3).unwrap().to_owned();
    assert_eq!(words, format!("--listen|127.0.0.1|--port|{port}|--cpu|--output-directory|/my pictures|"));
    let environment = std::fs::read_to_string(home.path().join("environment")).unwrap();
    assert!(environment.contains("PYTHONUNBUFFERED=1") && environment.contains("PATH="), "{environment}");
    ground.end().await;
}

#[actix_web::test]
async fn what_a_local_comfyui_writes_is_kept_in_its_file_and_the_file_before_it() {
    let home = home("echo \"life $(cat life)\"; exit 1");
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("comfyui.log");
    let ground = Ground::new();
    let options = LocalOptions { log_file: Some(file.clone()), ..options(&home) };
    for life in ["one", "two"] {
        std::fs::write(home.path().join("life"), life).unwrap();
        ground.start(&options).await.unwrap_err();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "life two\n");
    assert_eq!(std::fs::read_to_string(data.path().join("comfyui.log.1")).unwrap(), "life one\n");
    ground.end().await;
}

#[actix_web::test]
async fn a_comfyui_that_loads_for_long_and_dies_at_once_is_given_longer_pauses() {
    let home =
        home(&format!("echo $$ > id.new; mv id.new id; until rm loaded 2>&-; do sleep 0.02; done\n{}", becomes_sim()));
    let data = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let options = LocalOptions { ready_within: Duration::from_hours(1), ..options(&home) };
    let supervisor = Supervisor::prepare(options, data.path(), clock.as_ref()).await.unwrap();
    let standing = supervisor.standing();
    let lifecycle = Lifecycle::new();
    let parts =
        Parts { clock: Arc::<ManualClock>::clone(&clock), lifecycle: lifecycle.clone(), tell: Arc::new(|_: &str| ()) };
    lifecycle.spawn("supervisor", supervisor.run(parts, || 0));
    let condition = || standing.borrow().condition;
    for pause in [500, 1000, 2000] {
        let id = eventually("it loads", async || std::fs::read_to_string(home.path().join("id")).ok()).await;
        std::fs::remove_file(home.path().join("id")).unwrap();
        clock.advance(Duration::from_mins(3));
        std::fs::write(home.path().join("loaded"), "").unwrap();
        let is_ready = async || {
            if condition() == Condition::Running {
                return Some(());
            }
            clock.advance(Duration::from_millis(250));
            None
        };
        eventually("it is ready", is_ready).await;
        assert!(std::process::Command::new("kill").args(["-KILL", id.trim()]).status().unwrap().success());
        eventually("its end is seen", async || (condition() == Condition::Waiting).then_some(())).await;
        let began = clock.now();
        while condition() == Condition::Waiting {
            clock.advance(Duration::from_millis(100));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert!(clock.now().since(began) < Duration::from_mins(1), "it is started again");
        }
        let waited = clock.now().since(began);
        let longest = Duration::from_millis(pause + 300);
        assert!(waited >= Duration::from_millis(pause) && waited < longest, "{waited:?} and not {pause} ms");
    }
    eventually("it loads", async || home.path().join("id").exists().then_some(())).await;
    tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            () = lifecycle.end() => {}
            () = async { loop { clock.advance(Duration::from_secs(1)); tokio::time::sleep(Duration::from_millis(50)).await; } } => {}
        }
    })
    .await
    .unwrap();
}
