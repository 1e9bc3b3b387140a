//! The data folder and the processes that want it: killed while they write outputs, two at once, started on damage.

use crate::support::{Inbox, Program, Setup, canvas, canvas_files, eventually};
use comfygate::sim::{Fault, Sim, SimOptions, When};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const QUICK: (&str, &str) = ("COMFYGATE_WEBHOOK_SCHEDULE", "50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms");

#[actix_web::test]
async fn a_kill_while_outputs_are_written_leaves_nothing_dangling_and_after_the_next_start_nothing_at_all() {
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let failing = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let (node, message, exception_type) = ("EmptyImage".into(), "no".into(), "ValueError".into());
    failing.inject_when(Fault::FailNode { node, message, exception_type }, When::Every);
    for (point, left) in [("drafted", "draft"), ("kept", "orphan")] {
        for request in [canvas, canvas_files] {
            // Either the runs are taken up again, or the next start knows nothing of them and they fail: then nobody makes
            // the same outputs again, and those of before are nobody's.
            for (number, is_made_again) in [(1, true), (2, false)] {
                let setup = Setup::new();
                let inbox = Inbox::open();
                let order = format!("kill:{point}:{number}");
                let program = Program::serve_to_die_at(&order, setup.folder.path(), &sim.url(), &[QUICK]).await;
                let mut taken_in = BTreeSet::new();
                for color in 0..4 {
                    let mut body = request(&inbox.url());
                    (body["color"], body["image_count"]) = (json!(color), json!(2));
                    let Some(answer) = program.post(&body).await else { break };
                    let Ok(bytes) = answer.bytes().await else { break };
                    let id = serde_json::from_slice::<Value>(&bytes).unwrap()["prompt_id"].clone();
                    taken_in.insert(id.as_str().unwrap().to_owned());
                }
                program.ended().await;
                let (code, report) = fsck(setup.folder.path());
                let found = codes(&report);
                assert!(found.contains(left), "{order}: {report:#}");
                assert!(found.is_subset(&BTreeSet::from(["draft", "orphan"])), "{order}: {report:#}");
                assert_eq!(code, 1);

                let next = if is_made_again { &sim } else { &failing };
                let program = Program::serve(setup.folder.path(), &next.url(), &[QUICK]).await;
                program.until_idle().await;
                let told: BTreeSet<String> =
                    inbox.rest().iter().map(|webhook| webhook.prompt_id().to_owned()).collect();
                assert!(told.is_superset(&taken_in), "{order}: {told:?} lacks some of {taken_in:?}");
                program.terminate();
                assert!(program.ended().await.success());
                let (code, report) = fsck(setup.folder.path());
                assert_eq!((code, &report["problems"]), (0, &json!([])), "{order}");
                inbox.close().await;
            }
        }
    }
    failing.stop().await;
    sim.stop().await;
}

#[actix_web::test]
async fn a_second_gateway_on_a_folder_refuses_at_once_and_a_killed_one_is_in_nobodys_way() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    for command in [&["serve", "--address", "127.0.0.1:0"][..], &["fsck"]] {
        let (code, text) = run(setup.folder.path(), command).await;
        assert_eq!(code, Some(if command[0] == "fsck" { 2 } else { 1 }), "{text}");
        let expected = "the data folder `./data` is in use: another comfygate holds `./data/lock`; stop that one or";
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(program.post(&canvas(&inbox.url())).await.unwrap().status(), 202);
    assert_eq!(inbox.next().await.body["status"], "success");
    program.until_idle().await;
    program.kill();
    assert!(setup.folder.path().join("data/lock").exists());
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    assert_eq!(program.post(&canvas(&inbox.url())).await.unwrap().status(), 202);
    assert_eq!(inbox.next().await.body["status"], "success");
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn a_damaged_database_stops_the_start_with_a_message_and_is_left_as_it_is() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let inbox = Inbox::open();
    let program = Program::serve(setup.folder.path(), &sim.url(), &[QUICK]).await;
    program.post(&canvas(&inbox.url())).await.unwrap();
    inbox.next().await;
    program.until_idle().await;
    program.terminate();
    assert!(program.ended().await.success());
    let database = setup.folder.path().join("data/comfygate.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    let page_of = |table: &str| {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let page: u32 = connection.query_row(sql, [table], |row| row.get(0)).unwrap();
        (page as usize - 1) * 4096
    };
    let pages = (page_of("job"), page_of("result"));
    drop(connection);
    let sound = std::fs::read(&database).unwrap();
    for (place, length) in [(0, 16), (40, 8), (100, 8), (pages.0, 8), (pages.1, 64)] {
        let mut damaged = sound.clone();
        damaged[place..place + length].iter_mut().for_each(|byte| *byte ^= 0xFF);
        std::fs::write(&database, &damaged).unwrap();
        let (code, text) = run(setup.folder.path(), &["serve", "--address", "127.0.0.1:0"]).await;
        assert_eq!(code, Some(1), "{place}: {text}");
        assert!(
            text.contains("`./data/comfygate.db` is damaged") && text.contains("restore it from a backup"),
            "{text}"
        );
        assert!(!text.contains("panicked"), "{text}");
        assert_eq!(std::fs::read(&database).unwrap(), damaged, "{place}");
        assert_eq!(fsck(setup.folder.path()).0, 1);
    }
    std::fs::write(&database, &sound).unwrap();
    let (code, report) = fsck(setup.folder.path());
    assert_eq!((code, &report["clean"], &report["database"]["jobs"]), (0, &json!(true), &json!(1)), "{report:#}");
    sim.stop().await;
}

/// Checks the data folder; returns the exit code and the report.
pub(crate) fn fsck(folder: &Path) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_comfygate"))
        .args(["fsck", "--data", "data", "--json"])
        .current_dir(folder)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// Runs a command that must end by itself; returns its exit code and what it says on stderr.
async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
    let command = command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Ended(command.spawn().unwrap());
    let status = eventually("the command ends", || std::future::ready(child.0.try_wait().unwrap())).await;
    let mut text = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code(), text)
}

/// A process that does not outlive its test, not even one that fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the words for what is wrong.
pub(crate) fn codes(report: &Value) -> BTreeSet<&str> {
    report["problems"].as_array().unwrap().iter().map(|problem| problem["code"].as_str().unwrap()).collect()
}
