//! A disk that is really full, under the program as a process: nothing that was answered 202 is lost, nothing is done
//! twice, and no restart is needed.

use crate::support::{Inbox, PATIENCE, Program, Setup, canvas_files, eventually};
use comfygate::sim::{Fault, Sim, SimOptions};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const QUICK: (&str, &str) = ("COMFYGATE_WEBHOOK_SCHEDULE", "50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms");

#[actix_web::test]
async fn a_process_that_may_write_nothing_refuses_loses_nothing_and_goes_on_when_it_may_again() {
    let setup = Setup::new();
    let data = outlives_a_full_disk(&setup, Disk::Limited).await;
    let checked = Command::new(env!("CARGO_BIN_EXE_comfygate")).args(["fsck", "--data"]).arg(data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[actix_web::test]
async fn a_full_file_system_refuses_loses_nothing_and_goes_on_when_there_is_room_again() {
    let setup = Setup::new();
    let disk = mounting(setup.folder.path()).map_or_else(
        || {
            // Not through the test's own output, which is shown only where it fails.
            let text =
                b"\nNOT TESTED: no file system can be mounted here; the test runs with a limit on files instead\n";
            std::io::stderr().write_all(text).unwrap();
            Disk::Limited
        },
        Disk::Mounted,
    );
    outlives_a_full_disk(&setup, disk).await;
}

/// Returns the folder, in which nothing runs any more.
async fn outlives_a_full_disk(setup: &Setup, disk: Disk) -> PathBuf {
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    let data = setup.folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let words = disk.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let program = Program::serve_behind(&words, setup.folder.path(), &sim.url(), &[QUICK]).await;
    until_ready(&program, 200).await;
    let mut taken_in = vec![take_in(&program, &inbox.url(), 0).await.unwrap()];
    assert_eq!(inbox.next().await.prompt_id(), taken_in[0]);
    // A webhook that is being answered when the disk gets full.
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let held_url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let told_meanwhile = take_in(&program, &held_url, 10_000).await.unwrap();
    let (mut held, _) = tokio::time::timeout(PATIENCE, receiver.accept()).await.unwrap().unwrap();
    sim.inject(Fault::Hang { at: "executing".into() });
    let running = take_in(&program, &inbox.url(), 1).await.unwrap();
    let is_running =
        async || program.get(&format!("/jobs/{running}")).await.filter(|(_, job)| job["status"] == "running");
    eventually("the second job runs", is_running).await;
    sim.inject(Fault::FailNode {
        node: "EmptyImage".into(),
        message: "no".into(),
        exception_type: "ValueError".into(),
    });
    let failing = take_in(&program, &inbox.url(), 2).await.unwrap();
    sim.wait_for(|sim| sim.requests().iter().filter(|request| request.is_prompt()).count() == 4).await.unwrap();
    taken_in.extend([running.clone(), failing.clone()]);

    disk.fill(&program, &data);
    // What room the database has of its own may be used up first; every 202 counts.
    let refused = async {
        for color in 3.. {
            match take_in(&program, &inbox.url(), color).await {
                Ok(id) => taken_in.push(id),
                Err(refused) => return refused,
            }
        }
        unreachable!()
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!((refused.0, &refused.1["code"]), (503, &json!("storage_unavailable")));
    let ready = until_ready(&program, 503).await;
    assert!(ready["store"].as_str().unwrap().contains("cannot write"), "{ready}");
    assert_eq!(ready["backends"][0]["connected"], true, "{ready}");
    assert_eq!(program.get("/health").await.unwrap().0, 200);

    held.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
    while held.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
    // The run ends on its backend, and so does one that fails; its output and its end have to wait, and can be asked about.
    sim.release();
    sim.wait_for(|sim| [&running, &failing].iter().all(|id| sim.executions().contains_key(*id)) && sim.queued() == 0)
        .await
        .unwrap();
    eventually("output and end found no room", async || {
        let log = program.log();
        let waits = ["an output is not stored", r#"what="the end""#];
        waits.iter().all(|text| log.contains(text) || !disk.is_strict()).then_some(())
    })
    .await;
    let (status, job) = program.get(&format!("/jobs/{running}")).await.unwrap();
    assert_eq!((status, &job["status"]), (200, &json!("running")));

    disk.free(&program, &data);
    until_ready(&program, 200).await;
    let last = async || take_in(&program, &inbox.url(), 9_999).await.ok();
    taken_in.push(eventually("jobs are taken in again", last).await);
    program.until_idle().await;
    let mut told: BTreeMap<String, usize> = BTreeMap::from([(taken_in[0].clone(), 1)]);
    for webhook in inbox.rest() {
        let expected = if webhook.prompt_id() == failing { "node_error" } else { "" };
        assert_eq!(webhook.body["code"].as_str().unwrap_or(""), expected, "{}", webhook.body);
        *told.entry(webhook.prompt_id().to_owned()).or_default() += 1;
    }
    assert_eq!(told, taken_in.into_iter().map(|id| (id, 1)).collect(), "not everybody was told once");
    assert!(receiver.accept().now_or_never().is_none(), "it was told again, though it had answered");
    let (_, job) = program.get(&format!("/jobs/{told_meanwhile}")).await.unwrap();
    assert_eq!(job["status"], "success", "{job}");
    assert!(sim.executions().values().all(|runs| *runs == 1), "{:?}", sim.executions());
    program.terminate();
    assert!(program.ended().await.success());
    sim.stop().await;
    data
}

/// A disk that can be filled.
enum Disk {
    /// The process may not write to any file; this needs no rights.
    Limited,
    /// The data folder is a file system of its own, of 8 MiB, mounted by these words for the program alone.
    Mounted(Vec<String>),
}

impl Disk {
    /// What stands before the program on the command line.
    fn words(&self) -> Vec<String> {
        match self {
            // A write beyond the limit is an error then, as on a full disk, and not the end.
            Self::Limited => ["sh", "-c", r#"trap '' XFSZ; exec "$0" "$@""#].map(str::to_owned).into(),
            Self::Mounted(words) => words.clone(),
        }
    }

    /// Says whether nothing at all can be written: a full file system may have room left within its files.
    fn is_strict(&self) -> bool {
        matches!(self, Self::Limited)
    }

    fn fill(&self, program: &Program, data: &Path) {
        match self {
            Self::Limited => limit(program, "0:"),
            Self::Mounted(_) => {
                let mut filler = File::create(filler(program, data)).unwrap();
                for size in [1 << 20, 1 << 12, 1] {
                    while filler.write_all(&vec![1; size]).is_ok() {}
                }
            }
        }
    }

    fn free(&self, program: &Program, data: &Path) {
        match self {
            Self::Limited => limit(program, "unlimited:"),
            Self::Mounted(_) => std::fs::remove_file(filler(program, data)).unwrap(),
        }
    }
}

fn limit(program: &Program, most: &str) {
    let arguments = ["--pid".to_owned(), program.id().to_string(), format!("--fsize={most}")];
    assert!(Command::new("prlimit").args(arguments).status().unwrap().success(), "prlimit is needed");
}

/// A file in the data folder as the program sees it.
fn filler(program: &Program, data: &Path) -> PathBuf {
    Path::new("/proc").join(program.id().to_string()).join("root").join(data.strip_prefix("/").unwrap()).join("filler")
}

/// Finds out how a small file system can be mounted for one process alone.
fn mounting(folder: &Path) -> Option<Vec<String>> {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let script = r#"mount -t tmpfs -o size=8m,mode=700 tmpfs data && exec "$0" "$@""#;
    let ways = [&["unshare", "--mount"][..], &["unshare", "--mount", "--map-root-user"]];
    ways.into_iter().map(|way| way.iter().chain(&["sh", "-c", script]).map(|word| (*word).to_owned()).collect()).find(
        |words: &Vec<String>| {
            let tried = Command::new(&words[0]).args(&words[1..]).arg("true").current_dir(folder).output();
            tried.is_ok_and(|tried| tried.status.success())
        },
    )
}

/// Posts a request; returns its id, or the status and body with which it was refused.
async fn take_in(program: &Program, webhook_url: &str, color: u32) -> Result<String, (u16, Value)> {
    let mut body = canvas_files(webhook_url);
    body["color"] = json!(color);
    let answer = program.post(&body).await.unwrap();
    let status = answer.status().as_u16();
    let has_pause = answer.headers().contains_key("retry-after");
    let value: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    if status == 202 {
        return Ok(value["prompt_id"].as_str().unwrap().to_owned());
    }
    assert!(has_pause, "{value}");
    Err((status, value))
}

async fn until_ready(program: &Program, expected: u16) -> Value {
    let look = async || program.get("/ready").await.filter(|(status, _)| *status == expected).map(|(_, ready)| ready);
    eventually(&format!("/ready is {expected}"), look).await
}
